//! Pages of lists, which Mailgun names by links.

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::header::HOST;
use axum::http::request::Parts;
use std::convert::Infallible;

/// Where a list was asked for, as the caller sees it: without its query.
pub struct Here {
    address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Here {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let OriginalUri(uri) = OriginalUri::from_request_parts(head, state).await?;
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let host = header(HOST.as_str()).or_else(|| uri.host()).unwrap_or("localhost");
        let scheme = header("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
        Ok(Self { address: format!("{scheme}://{host}{}", uri.path()) })
    }
}

impl Here {
    /// A link to another page of it: `behind` is put behind its path.
    pub fn link(&self, behind: &str, query: &[(String, String)]) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query.iter().map(|(name, value)| (name, value)));
        format!("{}{behind}?{}", self.address, text.finish())
    }

    /// The same place, without what stands behind the last of its segments.
    pub fn above(mut self) -> Self {
        if let Some(at) = self.address.rfind('/') {
            self.address.truncate(at);
        }
        self
    }
}
