//! Mailgun's API v3 (`documentation.mailgun.com`): messages, events, suppressions.
//!
//! A key of ours is the password of `Basic`, whatever the user. Errors are `{message}`. The domain in a path says nothing: whose mail it
//! is, `from` says.

mod batch;
mod events;
mod links;
mod send;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get, post};
use serde_json::json;

use super::inner::{Inner, Refusal};
use super::places::Places;
use super::service::{Refused, Service, answer, password};

pub struct Mailgun;

type Error = Refused<Mailgun>;

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    let mut router = Router::new()
        .route("/v3/{domain}/messages", post(send::send))
        .route("/v3/{domain}/messages.mime", post(send::mime))
        .route("/v3/{domain}/events", get(events::list))
        .route("/v3/{domain}/events/{page}", get(events::page));
    for table in suppressions::TABLES {
        let of_all = get(suppressions::list).post(suppressions::add).delete(suppressions::remove_all);
        let of_one = get(suppressions::get).delete(suppressions::remove);
        let path = format!("/v3/{{domain}}/{}", table.name);
        router = router
            .route(&path, of_all.layer(axum::Extension(table)))
            .route(&format!("{path}/{{address}}"), of_one.layer(axum::Extension(table)));
    }
    for path in
        ["/v3/{domain}/whitelists", "/v3/{domain}/allowlists", "/v3/{domain}/whitelists/{address}", "/v3/domains"]
    {
        router = router.route(path, any(elsewhere));
    }
    router = router.route("/v3/domains/{*rest}", any(elsewhere));
    router.method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

async fn elsewhere(uri: Uri) -> Error {
    let ours =
        if uri.path().contains("list") { "there are no exceptions from /v1/suppressions" } else { "use /v1/domains" };
    let detail = format!("{} is not understood here: {ours}", uri.path());
    Refusal { detail, ..Refusal::not_found() }.into()
}

impl Service for Mailgun {
    fn token(headers: &HeaderMap) -> Option<String> {
        password(headers)
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, message) = match refusal.kind.as_str() {
            "no-key" | "unauthorized" => (StatusCode::UNAUTHORIZED, "Invalid private key".to_owned()),
            "validation" | "idempotency-key-reused" | "unsettled" => (StatusCode::BAD_REQUEST, refusal.told(places)),
            _ => (refusal.status, refusal.told(places)),
        };
        answer(status, &json!({"message": message}))
    }
}
