//! Postmark's API (`postmarkapp.com/developer`): email, batches of it, by template, what became of it, bounces, opens, clicks, suppressions.
//!
//! A key of ours stands in `X-Postmark-Server-Token`. Errors are `{ErrorCode, Message}`, which its SDKs raise by number.

mod events;
mod read;
mod send;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get, post, put};
use serde_json::json;

use super::inner::{Inner, Refusal};
use super::places::Places;
use super::service::{Refused, Service, answer};
use crate::domain::fault::FaultCode;

pub struct Postmark;

type Error = Refused<Postmark>;

/// Where begin what is not understood.
const ELSEWHERE: [&str; 13] = [
    "/data-removals",
    "/deliveryStats",
    "/deliverystats",
    "/domains",
    "/email/bulk",
    "/messages/inbound",
    "/senders",
    "/server",
    "/servers",
    "/stats",
    "/templates",
    "/triggers",
    "/webhooks",
];

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    let mut router = Router::new()
        .route("/email", post(send::one))
        .route("/email/batch", post(send::batch))
        .route("/email/withTemplate", post(send::with_template))
        .route("/email/batchWithTemplates", post(send::batch_with_templates))
        .route("/messages/outbound", get(read::list))
        .route("/messages/outbound/{id}/details", get(read::details))
        .route("/messages/outbound/{id}/dump", get(read::dump))
        .route("/messages/outbound/opens", get(events::opens))
        .route("/messages/outbound/opens/{id}", get(events::opens_of))
        .route("/messages/outbound/clicks", get(events::clicks))
        .route("/messages/outbound/clicks/{id}", get(events::clicks_of))
        .route("/bounces", get(events::bounces))
        .route("/bounces/tags", any(elsewhere))
        .route("/bounces/{id}", get(events::bounce))
        .route("/bounces/{id}/dump", get(events::dump))
        .route("/bounces/{id}/activate", put(events::activate))
        .route("/message-streams", any(elsewhere))
        .route("/message-streams/{stream}", any(elsewhere))
        .route("/message-streams/{stream}/suppressions/dump", get(suppressions::dump))
        .route("/message-streams/{stream}/suppressions", post(suppressions::add))
        .route("/message-streams/{stream}/suppressions/delete", post(suppressions::remove));
    for path in ELSEWHERE {
        router = router.route(path, any(elsewhere)).route(&format!("{path}/{{*rest}}"), any(elsewhere));
    }
    router.method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

/// What our own API has, and Postmark's words for it are not understood.
async fn elsewhere(uri: Uri) -> Error {
    let path = uri.path();
    let known = [
        ("webhooks", "/v1/webhooks"),
        ("domains", "/v1/domains"),
        ("senders", "/v1/domains"),
        ("stats", "/v1/stats"),
        ("Stats", "/v1/stats"),
        ("bounces", "/v1/messages?status=bounced and /v1/suppressions"),
        ("templates", "/v1/templates"),
        ("bulk", "/v1/send/batch"),
        ("outbound", "/v1/events"),
    ];
    let ours = known.iter().find(|(part, _)| path.contains(part)).map_or("/v1/messages", |(_, ours)| ours);
    let detail = format!("{path} is not understood here: use {ours}");
    Refusal { detail, kind: "elsewhere".to_owned(), ..Refusal::not_found() }.into()
}

impl Service for Postmark {
    fn token(headers: &HeaderMap) -> Option<String> {
        headers.get("x-postmark-server-token")?.to_str().ok().map(str::to_owned)
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, code) = code_of(refusal);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        answer(status, &json!({"ErrorCode": code, "Message": refusal.told(places)}))
    }
}

/// Status and number of an error (`postmarkapp.com/developer/api/overview#error-codes`).
fn code_of(refusal: &Refusal) -> (u16, u16) {
    match refusal.kind.as_str() {
        "no-key" | "unauthorized" | "missing-scope" | "address-not-allowed" | "test-only" | "operator-only" => {
            (401, 10)
        }
        "foreign-domain" => (422, 400),
        "unverified-domain" => (422, 401),
        "project-suspended" => (422, 405),
        "quota-exceeded" => (429, 405),
        "rate-limited" => (429, 429),
        "backlog" if refusal.status == StatusCode::TOO_MANY_REQUESTS => (429, 429),
        "malformed" => (422, 402),
        "unsupported-media-type" => (422, 409),
        "too-large" => (413, 300),
        "timeout" => (408, 300),
        "elsewhere" => (404, 404),
        "no-bounce" => (422, 407),
        "not-found" => (422, 701),
        "body-not-kept" => (422, 702),
        "method-not-allowed" => (405, 300),
        "validation" => match refusal.faults.first().map(|fault| fault.code) {
            Some(FaultCode::UnknownTemplate) => (422, 1101),
            Some(FaultCode::TooMany) if refusal.faults[0].pointer.is_empty() => (422, 410),
            _ => (422, 300),
        },
        "idempotency-key-reused" | "unsettled" => (422, 300),
        _ if refusal.status == StatusCode::SERVICE_UNAVAILABLE => (503, 100),
        _ => (500, 500),
    }
}
