//! Errors as RFC 9457 problems. A handler gives a [`Problem`]; it is written out at the edge, where the
//! request's id is known. Internals are logged once, here, and never told.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;

use crate::auth::AuthError;
use crate::domain::access::Scope;
use crate::domain::fault::Fault;
use crate::store::StoreError;
use crate::submit::{Full, SubmitError, WriteError};

/// A queue that is full needs a moment.
const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(10);

/// An error as the client sees it.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    /// The last segment of the `type` URI.
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<Fault>,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Missing or wrong credentials", detail)
    }

    pub fn missing_scope(scope: Scope) -> Self {
        let detail = format!("this credential lacks the scope '{}'", scope.name());
        Self::new(StatusCode::FORBIDDEN, "missing-scope", "Not allowed", detail)
    }

    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "Not found",
            "there is no such thing here, or not for this credential",
        )
    }

    pub fn body_not_kept() -> Self {
        let detail = "the bytes of this message are older than `retention.bodies` and are no longer kept";
        Self::new(StatusCode::NOT_FOUND, "body-not-kept", "No longer kept", detail)
    }

    pub fn method_not_allowed() -> Self {
        let detail = "this address does not take that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    pub fn timeout() -> Self {
        let detail = "the request's body did not come in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "Too slow", detail)
    }

    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the request's body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type", detail)
    }

    pub fn validation(errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", if only.pointer.is_empty() { "/" } else { &only.pointer }, only.detail),
            all => format!("{} faults", all.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", "The request is not valid", detail) }
    }

    pub fn busy(detail: &str) -> Self {
        Self {
            retry_after: Some(super::RETRY_AFTER),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much at once", detail)
        }
    }

    fn backlog(full: Full) -> Self {
        let problem = match full {
            Full::All => Self::busy("too many deliveries are in the queue already"),
            Full::Project => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "backlog",
                "Too much is waiting",
                "this project has too many deliveries in the queue already",
            ),
        };
        Self { retry_after: Some(BACKLOG_RETRY_AFTER), ..problem }
    }

    fn store_away() -> Self {
        // A COMMIT whose answer was lost may have happened: no promise either way.
        let detail = "the store did not answer; try again, with the same Idempotency-Key if there was one";
        Self {
            retry_after: Some(super::RETRY_AFTER),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "Temporarily unavailable", detail)
        }
    }

    pub fn internal() -> Self {
        let detail = "an error of ours, which was logged under this request's id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_away() {
            tracing::warn!(%error, "a request was answered with 503");
            Self::store_away()
        } else {
            tracing::error!(%error, "a request was answered with 500");
            Self::internal()
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(why) => Self::unauthorized(why),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(faults) => Self::validation(faults),
            SubmitError::ForeignDomain(domain) => Self::new(
                StatusCode::FORBIDDEN,
                "foreign-domain",
                "Not allowed",
                format!("this credential may not send as '{domain}'"),
            ),
            SubmitError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Idempotency key used before",
                "this Idempotency-Key was used with another request body; nothing was sent",
            ),
            SubmitError::Backlog(full) => Self::backlog(full),
            SubmitError::Write(WriteError::Busy) => Self::busy("too many messages are waiting to be stored"),
            SubmitError::Write(WriteError::Away(_)) => Self::store_away(),
            SubmitError::Write(WriteError::Failed(reason)) => {
                tracing::error!(reason, "a message could not be stored");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    /// The status, with the problem in the extensions for [`write_out`].
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem that a response carries into its body.
pub fn write_out(mut response: Response<Body>, request: &str) -> Response<Body> {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut body = json!({
        "type": format!("/problems/{}", problem.kind),
        "title": problem.title,
        "status": problem.status.as_u16(),
        "detail": problem.detail,
        "instance": format!("/requests/{request}"),
    });
    if !problem.errors.is_empty() {
        body["errors"] = json!(problem.errors);
    }
    *response.body_mut() = Body::from(format!("{body}\n"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(delay) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
