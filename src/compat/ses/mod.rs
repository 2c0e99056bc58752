//! Amazon SES' API v2 (`docs.aws.amazon.com/ses/latest/APIReference-V2`): email, bulk email, what became of it, suppressions.
//!
//! Requests are signed (Signature Version 4) by a key of ours that signs: its id is the access key's, its text the secret. Errors have a
//! name in the header `x-amzn-ErrorType`, by which SDKs raise them.

mod bulk;
mod insights;
mod send;
mod signature;
mod suppressions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use serde_json::json;

use super::inner::{Inner, Refusal};
use super::places::Places;
use super::service::{Refused, Service, answer};
use crate::domain::fault::FaultCode;

pub struct Ses;

type Error = Refused<Ses>;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The routes, at the root of the service's address.
pub fn routes(inner: &Arc<Inner>) -> Router<Arc<Inner>> {
    Router::new()
        .route("/v2/email/outbound-emails", post(send::send))
        .route("/v2/email/outbound-bulk-emails", post(bulk::send))
        .route("/v2/email/insights/{id}", get(insights::get))
        .route("/v2/email/insights/{id}/", get(insights::get))
        .route("/v2/email/account", get(insights::account))
        .route("/v2/email/suppression/addresses", get(suppressions::list).put(suppressions::put))
        .route("/v2/email/suppression/addresses/{email}", get(suppressions::get).delete(suppressions::remove))
        .route("/v2/email/{*rest}", any(nothing))
        .method_not_allowed_fallback(nothing)
        .layer(from_fn_with_state(Arc::clone(inner), with_request_id))
}

async fn nothing(method: Method, uri: Uri) -> Error {
    let detail = format!("{method} {} is not understood here: GET /openapi.yaml says what there is", uri.path());
    Refusal { detail, kind: "elsewhere".to_owned(), ..Refusal::not_found() }.into()
}

/// Every answer has an id.
async fn with_request_id(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&inner.api.rng.token().to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

impl Service for Ses {
    /// None can be read: it signs.
    fn token(_: &HeaderMap) -> Option<String> {
        None
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, name) = name_of(refusal);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer(status, &json!({"message": refusal.told(places)}));
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(name));
        response
    }
}

/// Status and name of an error, as SDKs know them.
fn name_of(refusal: &Refusal) -> (u16, &'static str) {
    match refusal.kind.as_str() {
        "no-key" => (403, "MissingAuthenticationTokenException"),
        signature::INCOMPLETE => (403, "IncompleteSignature"),
        signature::EXPIRED => (403, "RequestExpired"),
        signature::UNKNOWN | "unauthorized" => (403, "UnrecognizedClientException"),
        signature::WRONG => (403, "InvalidSignatureException"),
        "missing-scope" | "address-not-allowed" | "test-only" | "operator-only" => (403, "AccessDeniedException"),
        "foreign-domain" | "unverified-domain" => (400, "MailFromDomainNotVerifiedException"),
        "project-suspended" => (400, "SendingPausedException"),
        "elsewhere" => (404, "UnknownOperationException"),
        "not-found" => (404, "NotFoundException"),
        "method-not-allowed" => (405, "UnknownOperationException"),
        "too-large" => (413, "BadRequestException"),
        "timeout" => (408, "BadRequestException"),
        "quota-exceeded" => (400, "LimitExceededException"),
        "rate-limited" => (429, "TooManyRequestsException"),
        "validation" => match refusal.faults.first() {
            Some(fault) if fault.code == FaultCode::UnknownTemplate => (404, "NotFoundException"),
            Some(fault) if fault.pointer == "?cursor" => (400, "InvalidNextTokenException"),
            _ => (400, "BadRequestException"),
        },
        "malformed" | "unsupported-media-type" | "unsettled" | "idempotency-key-reused" | "body-not-kept" => {
            (400, "BadRequestException")
        }
        _ if refusal.status == StatusCode::TOO_MANY_REQUESTS => (429, "TooManyRequestsException"),
        _ if refusal.status == StatusCode::SERVICE_UNAVAILABLE => (503, "ServiceUnavailable"),
        _ => (500, "InternalFailure"),
    }
}
