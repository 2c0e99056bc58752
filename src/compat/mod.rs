//! Dialects: the HTTP APIs of other services, so that a program that sends through them sends through us by another address. Each puts
//! a request into the words of our own API, has that answer, and puts the answer into the words of its service. It decides nothing, and
//! knows of nothing behind the API: what holds there holds here, and what it refuses is refused here, by the service's own name of the
//! field.

mod alicloud;
mod aoksend;
mod draft;
mod form;
mod ids;
mod inner;
mod mail;
mod mailgun;
mod places;
mod postmark;
mod query;
mod raw;
mod resend;
mod sendcloud;
mod sendgrid;
mod service;
mod ses;
mod signed;
mod suppressed;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use crate::api::{Api, with_usual};
use crate::config::Dialect;
use inner::{Inner, Refusal};
use places::Places;
use service::{Refused, credentials};

/// The API with dialects beside it: each at the paths of its service, and below `/compat/` and its name.
pub(crate) fn with_dialects(api_router: Router, api: &Arc<Api>, dialects: &[Dialect]) -> Router {
    if dialects.is_empty() {
        return api_router;
    }
    let inner = Arc::new(Inner { api: Arc::clone(api), router: api_router, spoken: dialects.to_vec() });
    let mut router = Router::new();
    for dialect in dialects {
        let routes = match dialect {
            // It has one address, which is the root itself.
            Dialect::AliCloud => {
                router = router.merge(alicloud::routes());
                continue;
            }
            Dialect::AokSend => aoksend::routes(),
            Dialect::Mailgun => mailgun::routes(),
            Dialect::Postmark => postmark::routes(),
            Dialect::Resend => resend::routes(),
            Dialect::SendCloud => sendcloud::routes(),
            Dialect::SendGrid => sendgrid::routes(),
            Dialect::Ses => ses::routes(&inner),
        };
        router = router.merge(routes.clone()).nest(&format!("/compat/{}", dialect.name()), routes);
    }
    with_usual(router.fallback(elsewhere), api).with_state(inner)
}

/// What no dialect understands is our own API's, unless it can be told whose it is: then it is refused in that one's form.
async fn elsewhere(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let Some(dialect) = whose(&inner.spoken, request.uri().path(), request.headers()) else {
        return match inner.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    };
    let detail = format!(
        "{} {} is not understood here: GET /openapi.yaml says what there is",
        request.method(),
        request.uri().path()
    );
    let refusal = Refusal { detail, ..Refusal::not_found() };
    match dialect {
        Dialect::AliCloud => alicloud::refused(&refusal, &Places::default(), ("", "")),
        Dialect::AokSend => Refused::<aoksend::AokSend>::from(refusal).into_response(),
        Dialect::Mailgun => Refused::<mailgun::Mailgun>::from(refusal).into_response(),
        Dialect::Postmark => Refused::<postmark::Postmark>::from(refusal).into_response(),
        Dialect::Resend => Refused::<resend::Resend>::from(refusal).into_response(),
        Dialect::SendCloud => Refused::<sendcloud::SendCloud>::from(refusal).into_response(),
        Dialect::SendGrid => Refused::<sendgrid::SendGrid>::from(refusal).into_response(),
        Dialect::Ses => Refused::<ses::Ses>::from(refusal).into_response(),
    }
}

/// Whose words a request has that nobody understands.
fn whose(spoken: &[Dialect], path: &str, headers: &HeaderMap) -> Option<Dialect> {
    let named =
        path.strip_prefix("/compat/").and_then(|rest| rest.split('/').next()).and_then(|name| name.parse().ok());
    let begins = |begin: &[&str]| begin.iter().any(|begin| path.starts_with(begin));
    let meant = match named {
        Some(named) => named,
        None if headers.contains_key("x-postmark-server-token") => Dialect::Postmark,
        None if begins(&["/v3/", "/v4/", "/v5/"]) && credentials(headers, "basic").is_some() => Dialect::Mailgun,
        None if begins(&["/v3/"]) => Dialect::SendGrid,
        None if begins(&["/v2/"]) => Dialect::Ses,
        None if begins(&["/apiv2/", "/api/"]) => Dialect::SendCloud,
        None if begins(&["/index/api/"]) => Dialect::AokSend,
        None => return None,
    };
    spoken.contains(&meant).then_some(meant)
}
