//! Resend's API (`resend.com/docs/api-reference`): emails, batches of them, what became of them, suppressions.
//!
//! A key of ours stands where Resend's stands; ids are written as UUIDs, which is what Resend's are, and read in either form. Errors are
//! `{statusCode, name, message}`, which its SDKs raise by name.

mod read;
mod send;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use serde_json::{Value, json};
use uuid::Uuid;

use super::inner::{Caller, Inner, Refusal};
use super::places::Places;
use crate::api::peer::Peer;
use crate::domain::fault::FaultCode;

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
    Error::new(405, "method_not_allowed", format!("{method} {} is not understood", uri.path()))
}

/// An error in Resend's form.
pub struct Error {
    status: StatusCode,
    name: &'static str,
    message: String,
    refusal: Option<Box<Refusal>>,
}

impl Error {
    fn new(status: u16, name: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, name, message: message.into(), refusal: None }
    }

    /// What the API refused, by the names that Resend has for it.
    fn of(refusal: Refusal, places: &Places) -> Self {
        let (status, name) = name_of(&refusal);
        let message = refusal.told(places);
        Self { refusal: Some(Box::new(refusal)), ..Self::new(status, name, message) }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::of(refusal, &Places::default())
    }
}

/// Status and name of an error, as Resend's SDKs know them.
fn name_of(refusal: &Refusal) -> (u16, &'static str) {
    match refusal.kind.as_str() {
        "unauthorized" => (403, "invalid_api_key"),
        "missing-scope" | "address-not-allowed" => (401, "restricted_api_key"),
        "foreign-domain" | "unverified-domain" => (403, "validation_error"),
        "test-only" | "operator-only" => (403, "invalid_access"),
        "project-suspended" => (403, "security_error"),
        "not-found" | "body-not-kept" => (404, "not_found"),
        "method-not-allowed" => (405, "method_not_allowed"),
        "malformed" | "unsupported-media-type" => (400, "validation_error"),
        "too-large" => (413, "validation_error"),
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

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({"statusCode": self.status.as_u16(), "name": self.name, "message": self.message});
        let mut response = answer(self.status, &body);
        if let Some(refusal) = &self.refusal {
            refusal.pass_on(&mut response);
        }
        response
    }
}

/// JSON with that status.
fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl FromRequestParts<Arc<Inner>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(head: &mut Parts, _: &Arc<Inner>) -> Result<Self, Error> {
        let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let missing = || Error::new(401, "missing_api_key", "send 'Authorization: Bearer <API key>'");
        let token = token.filter(|token| !token.is_empty()).ok_or_else(missing)?;
        Ok(Self::new(token, &head.headers, head.extensions.get::<Peer>().copied()))
    }
}

/// An id of ours as Resend writes them.
fn uuid_of(id: &str) -> String {
    let uuid = id.split_once('_').and_then(|(_, hex)| Uuid::parse_str(hex).ok());
    uuid.map_or_else(|| id.to_owned(), |uuid| uuid.hyphenated().to_string())
}

/// An id of ours with that prefix, from one in either form.
fn id_of(prefix: &str, text: &str) -> Result<String, Error> {
    let not_found = || Error::from(Refusal::not_found());
    let bare = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or(text);
    Uuid::parse_str(bare).map(|uuid| format!("{prefix}_{}", uuid.simple())).map_err(|_| not_found())
}
