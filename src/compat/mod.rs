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

use crate::api::{Api, with_usual};
use crate::config::Dialect;
use inner::Inner;

/// The API with dialects beside it: each at the paths of its service, and below `/compat/` and its name.
pub(crate) fn with_dialects(api_router: Router, api: &Arc<Api>, dialects: &[Dialect]) -> Router {
    if dialects.is_empty() {
        return api_router;
    }
    let inner = Arc::new(Inner { api: Arc::clone(api), router: api_router.clone() });
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
    with_usual(router, api).with_state(inner).fallback_service(api_router)
}
