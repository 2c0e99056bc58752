//! Files that are uploaded once and attached to many messages.

use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;

use crate::Client;
use crate::client::{Content, Repeat, escaped};
use crate::error::Error;

/// A file that the service keeps: [`Attachment::uploaded`](crate::Attachment::uploaded) names it by its id.
#[derive(Debug, Clone, Deserialize)]
pub struct Upload {
    pub id: String,
    pub filename: String,
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
    pub created_at: String,
    /// When a message named it last, to the day. It is removed 30 days later.
    pub last_used_at: String,
}

impl Client {
    /// Uploads a file. The same file under the same name and type is the same upload.
    pub async fn upload(&self, filename: &str, content_type: &str, bytes: impl Into<Bytes>) -> Result<Upload, Error> {
        let path = format!("/v1/uploads?filename={}", escaped(filename));
        let content = Content { media_type: content_type, bytes: bytes.into() };
        self.exchange(&Method::POST, &path, Some(content), Repeat::Freely).await?.read()
    }
}
