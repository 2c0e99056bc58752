//! SendGrid's API v3 (`docs.sendgrid.com/api-reference`): mail, batches of what is scheduled, what became of it, suppressions.
//!
//! A key of ours stands where SendGrid's stands. Errors are `{errors: [{message, field, help}]}`, which its SDKs raise by status.

mod activity;
mod scheduled;
mod send;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::inner::{Inner, Refusal};
use super::places::Places;
use super::service::{Refused, Service, answer, credentials};
use crate::domain::fault::Fault;

pub struct SendGrid;

type Error = Refused<SendGrid>;

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/v3/mail/send", post(send::send))
        .route("/v3/mail/batch", post(scheduled::make))
        .route("/v3/mail/batch/{id}", get(scheduled::get))
        .route("/v3/user/scheduled_sends", post(scheduled::cancel))
        .route("/v3/messages", get(activity::list))
        .route("/v3/messages/{id}", get(activity::get))
        .route("/v3/suppression/{kind}", get(suppressions::list).delete(suppressions::remove_many))
        .route("/v3/suppression/{kind}/{email}", get(suppressions::get).delete(suppressions::remove))
        .route("/v3/asm/suppressions/global", post(suppressions::unsubscribe))
        .route("/v3/asm/suppressions/global/{email}", get(suppressions::unsubscribed).delete(suppressions::resubscribe))
        .method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

impl Service for SendGrid {
    fn token(headers: &HeaderMap) -> Option<String> {
        credentials(headers, "bearer").map(str::to_owned)
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let one = |message: &str, field: Value| json!({"message": message, "field": field, "help": null});
        let errors: Vec<_> = if matches!(refusal.kind.as_str(), "no-key" | "unauthorized") {
            vec![one("The provided authorization grant is invalid, expired, or revoked", Value::Null)]
        } else if refusal.faults.is_empty() {
            vec![one(&refusal.detail, Value::Null)]
        } else {
            let of_fault = |fault: &Fault| {
                let field = places.name(&fault.pointer).replace('[', ".").replace(']', "");
                one(&places.told(fault), if field.is_empty() { Value::Null } else { field.into() })
            };
            refusal.faults.iter().map(of_fault).collect()
        };
        answer(status_of(refusal), &json!({"errors": errors}))
    }
}

/// The status of an error: of those that its SDKs have exceptions for.
fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.kind.as_str() {
        "no-key" => StatusCode::UNAUTHORIZED,
        "validation" | "idempotency-key-reused" | "unsettled" => StatusCode::BAD_REQUEST,
        _ if refusal.status == StatusCode::CONFLICT => StatusCode::BAD_REQUEST,
        _ => refusal.status,
    }
}
