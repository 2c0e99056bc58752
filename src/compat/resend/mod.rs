//! Resend's API (`resend.com/docs/api-reference`): emails, batches of them, what became of them, suppressions.
//!
//! A key of ours stands where Resend's stands; ids are written as UUIDs, which is what Resend's are, and read in either form. Errors are
//! `{statusCode, name, message}`, which its SDKs raise by name.

mod read;
mod send;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, patch, post};
use serde_json::json;

use super::inner::{Inner, Refusal};
use super::places::Places;
use super::service::{Refused, Service, answer, credentials};
use crate::domain::fault::FaultCode;

pub struct Resend;

type Error = Refused<Resend>;

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/emails", post(send::one).get(read::list))
        .route("/emails/batch", post(send::batch))
        .route("/emails/{id}", get(read::get).patch(read::reschedule))
        .route("/emails/{id}/cancel", post(read::cancel))
        .route("/suppressions", get(suppressions::list).post(suppressions::add))
        .route("/suppressions/batch/add", post(suppressions::add_many))
        .route("/suppressions/batch/remove", post(suppressions::remove_many))
        .route("/suppressions/{id}", patch(nothing).get(suppressions::get).delete(suppressions::remove))
        .method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

impl Service for Resend {
    fn token(headers: &HeaderMap) -> Option<String> {
        credentials(headers, "bearer").map(str::to_owned)
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, name) = name_of(refusal);
        let body = json!({"statusCode": status, "name": name, "message": refusal.told(places)});
        answer(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body)
    }
}

/// Status and name of an error, as Resend's SDKs know them.
fn name_of(refusal: &Refusal) -> (u16, &'static str) {
    match refusal.kind.as_str() {
        "no-key" => (401, "missing_api_key"),
        "unauthorized" => (403, "invalid_api_key"),
        "missing-scope" | "address-not-allowed" => (401, "restricted_api_key"),
        "foreign-domain" | "unverified-domain" => (403, "validation_error"),
        "test-only" | "operator-only" => (403, "invalid_access"),
        "project-suspended" => (403, "security_error"),
        "not-found" | "body-not-kept" => (404, "not_found"),
        "method-not-allowed" => (405, "method_not_allowed"),
        "malformed" | "unsupported-media-type" => (400, "validation_error"),
        "too-large" => (413, "validation_error"),
        "timeout" => (408, "validation_error"),
        "idempotency-key-reused" => (409, "invalid_idempotent_request"),
        "rate-limited" => (429, "rate_limit_exceeded"),
        "quota-exceeded" | "backlog" if refusal.status == StatusCode::TOO_MANY_REQUESTS => {
            (429, "daily_quota_exceeded")
        }
        "validation" => match refusal.faults.first() {
            Some(fault) if fault.code == FaultCode::InvalidIdempotencyKey => (400, "invalid_idempotency_key"),
            Some(fault) if fault.code == FaultCode::Required => (422, "missing_required_field"),
            Some(fault) if fault.pointer.starts_with("/attachments") => (422, "invalid_attachment"),
            _ => (422, "validation_error"),
        },
        "unsettled" => (409, "validation_error"),
        _ if refusal.status == StatusCode::SERVICE_UNAVAILABLE => (503, "application_error"),
        _ => (500, "internal_server_error"),
    }
}
