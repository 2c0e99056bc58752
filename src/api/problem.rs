//! Errors as RFC 9457 problems. A handler gives a [`Problem`]; it is written out at the edge, where the
//! request's id is known. Internals are logged once, here, and never told.

mod kind;

use std::time::Duration;

pub use kind::ProblemKind;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, Response};
use axum::response::IntoResponse;
use serde::Serialize;
use uuid::Uuid;

use crate::auth::AuthError;
use crate::domain::access::Scope;
use crate::domain::clock::Rng;
use crate::domain::fault::{Fault, TOLD_MAX, quoted};
use crate::domain::hint::did_you_mean;
use crate::domain::quota::Quota;
use crate::store::StoreError;
use crate::submit::{Full, Refusal, Spent, SubmitError, WriteError};

/// Faults of one item that are told, where there are many items.
const TOLD_OF_ITEM: usize = 10;
/// A queue that is full needs a moment.
const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(10);

/// An error as the client sees it.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<Fault>,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// What it is made of: kind, detail, faults, and how long to wait.
    pub fn into_parts(self) -> (ProblemKind, String, Vec<Fault>, Option<Duration>) {
        (self.kind, self.detail, self.errors, self.retry_after)
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Malformed, detail)
    }

    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unauthorized, detail)
    }

    pub fn missing_scope(scope: Scope) -> Self {
        Self::new(ProblemKind::MissingScope, format!("this credential lacks the scope '{}'", scope.name()))
    }

    pub fn test_only() -> Self {
        let detail = "a test credential sees and changes test things only: the mode must be test";
        Self::new(ProblemKind::TestOnly, detail)
    }

    pub fn live_only() -> Self {
        Self::new(ProblemKind::TestOnly, "this concerns live mail too, and needs a live credential")
    }

    pub fn operator_only() -> Self {
        Self::new(ProblemKind::OperatorOnly, "this needs an operator's key (mailwright keys create --operator)")
    }

    pub fn address_not_allowed() -> Self {
        Self::new(ProblemKind::AddressNotAllowed, "this API key may not be used from the address of this request")
    }

    fn quota(spent: Spent) -> Self {
        let Spent { whose, quota, limit, wait } = spent;
        let kind = match quota {
            Quota::MessagesPerSecond => ProblemKind::RateLimited,
            _ => ProblemKind::QuotaExceeded,
        };
        let detail = format!("the {whose}'s limit of {limit} {quota} is reached; nothing was stored");
        // Rounded up: a client that waits so long is not too early.
        let wait = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        Self { retry_after: Some(wait), ..Self::new(kind, detail) }
    }

    pub fn not_found() -> Self {
        Self::new(ProblemKind::NotFound, "there is no such thing here, or not for this credential")
    }

    pub fn body_not_kept() -> Self {
        let detail = "the bytes of this message are older than they are kept for (`retention.bodies`, `GET /v1/retention`), or were erased";
        Self::new(ProblemKind::BodyNotKept, detail)
    }

    pub fn no_spam_filter() -> Self {
        let detail = "name a filter by sandbox.spamassassin or sandbox.rspamd";
        Self::new(ProblemKind::NoSpamFilter, detail)
    }

    pub fn unsettled() -> Self {
        let detail = "a recipient of the message is not settled: cancel it first, or say cancel=true; what has begun is settled soon";
        Self::new(ProblemKind::Unsettled, detail)
    }

    pub fn not_composed() -> Self {
        let detail = "the message is composed when its time comes, and has no bytes until then";
        Self::new(ProblemKind::BodyNotKept, detail)
    }

    /// There is no such address. It is shown as far as it may be an honest mistake.
    pub fn no_route(method: &Method, path: &str) -> Self {
        let known = super::operations();
        let hint = did_you_mean(path, known.iter().map(|(_, path)| *path).filter(|path| !path.contains('{')));
        Self::new(ProblemKind::NotFound, format!("there is no address {method} {}{hint}", quoted(path)))
    }

    pub fn method_not_allowed(method: &Method, path: &str) -> Self {
        Self::new(ProblemKind::MethodNotAllowed, format!("{} does not take the method {method}", quoted(path)))
    }

    pub fn timeout() -> Self {
        Self::new(ProblemKind::Timeout, "the request's body did not come in time")
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(ProblemKind::TooLarge, format!("the request's body is larger than {limit} bytes"))
    }

    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::UnsupportedMediaType, detail)
    }

    /// At most [`TOLD_MAX`] faults are told.
    pub fn validation(mut errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", if only.pointer.is_empty() { "/" } else { &only.pointer }, only.detail),
            all if all.len() > TOLD_MAX => format!("more faults than these {TOLD_MAX}"),
            all => format!("{} faults", all.len()),
        };
        errors.truncate(TOLD_MAX);
        Self { errors, ..Self::new(ProblemKind::Validation, detail) }
    }

    /// Why one item of a request was not taken; `at` is where the item stands in the body.
    pub fn of_refusal(refusal: Refusal, at: &str) -> Self {
        match refusal {
            Refusal::Faulty(faults) => Self::validation(faults),
            Refusal::Unacceptable(place, flaw) => {
                Self::validation(vec![flaw.at(format!("{at}{}", crate::request::send::pointer(place)))])
            }
            Refusal::UnverifiedDomain(why) => Self::new(ProblemKind::UnverifiedDomain, why),
            Refusal::ForeignDomain(domain) => {
                Self::new(ProblemKind::ForeignDomain, format!("this credential may not send as '{domain}'"))
            }
            Refusal::KeyReused => Self::key_reused(),
            Refusal::RefusedBefore => Self::new(
                ProblemKind::Validation,
                "refused when this request was made first, and not looked at again; send it anew under another key",
            ),
        }
    }

    pub fn key_reused() -> Self {
        let detail = "this Idempotency-Key was used with another request body; nothing was sent";
        Self::new(ProblemKind::IdempotencyKeyReused, detail)
    }

    /// As a member of an answer that has other things in it too.
    pub fn as_value(&self) -> serde_json::Value {
        let first = &self.errors[..self.errors.len().min(TOLD_OF_ITEM)];
        serde_json::to_value(ProblemView { errors: first, ..self.view(None) }).unwrap_or_default()
    }

    fn view(&self, instance: Option<String>) -> ProblemView<'_> {
        ProblemView {
            uri: format!("/problems/{}", self.kind.name()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            instance,
            errors: &self.errors,
        }
    }

    pub fn busy(detail: &str) -> Self {
        Self { retry_after: Some(super::RETRY_AFTER), ..Self::new(ProblemKind::Busy, detail) }
    }

    pub fn too_many_at_once(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(super::RETRY_AFTER), ..Self::new(ProblemKind::TooManyAtOnce, detail) }
    }

    fn backlog(full: Full) -> Self {
        let problem = match full {
            Full::All => Self::busy("too many deliveries are in the queue already"),
            Full::Project => {
                Self::new(ProblemKind::Backlog, "this project has too many deliveries in the queue already")
            }
        };
        Self { retry_after: Some(BACKLOG_RETRY_AFTER), ..problem }
    }

    fn store_away() -> Self {
        // A COMMIT whose answer was lost may have happened: no promise either way.
        let detail = "the store did not answer; try again, with the same Idempotency-Key if there was one";
        Self { retry_after: Some(super::RETRY_AFTER), ..Self::new(ProblemKind::StoreUnavailable, detail) }
    }

    fn sealed() -> Self {
        Self::busy("a secret that is needed for this cannot be read here: ask the operator for the sealing key")
    }

    pub fn internal() -> Self {
        Self::new(ProblemKind::Internal, "an error of ours, which was logged under this request's id")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Sealed(_) => Self::sealed(),
            _ if error.is_away() => {
                tracing::warn!(%error, "a request was answered with 503");
                Self::store_away()
            }
            _ => {
                tracing::error!(%error, "a request was answered with 500");
                Self::internal()
            }
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy => Self::busy("too many messages are waiting to be stored"),
            WriteError::Away(_) => Self::store_away(),
            WriteError::Sealed => Self::sealed(),
            WriteError::Failed(reason) => {
                tracing::error!(reason, "the store failed");
                Self::internal()
            }
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
            SubmitError::Refused(_, refusal) => Self::of_refusal(refusal, ""),
            SubmitError::KeyReused => Self::key_reused(),
            SubmitError::TooLarge(bytes, limit) => Self::new(
                ProblemKind::TooLarge,
                format!("the composed messages of the request have {bytes} bytes or more; the limit is {limit}"),
            ),
            SubmitError::Backlog(full) => Self::backlog(full),
            SubmitError::QuotaSpent(spent) => Self::quota(spent),
            SubmitError::Suspended(reason) => {
                let reason = if reason.is_empty() { "by the operator" } else { &reason };
                Self::new(
                    ProblemKind::ProjectSuspended,
                    format!("the project is suspended: {reason}; nothing was stored"),
                )
            }
            SubmitError::Write(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    /// The status, with the problem in the extensions for [`write_out`].
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// The schema `Problem`.
#[derive(Serialize)]
struct ProblemView<'p> {
    #[serde(rename = "type")]
    uri: String,
    title: &'static str,
    status: u16,
    detail: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'p [Fault],
}

/// The id of a request, under which it is logged.
pub fn request_id(rng: &dyn Rng) -> String {
    let mut random = [0; 16];
    rng.fill(&mut random);
    format!("req_{}", Uuid::from_bytes(random).simple())
}

/// The whole answer to a request whose head could not be read, and which no handler sees.
pub fn refusal(status: u16, rng: &dyn Rng) -> Vec<u8> {
    let problem = match status {
        414 => Problem::new(ProblemKind::UriTooLong, "the address with its query is too long"),
        431 => Problem::new(ProblemKind::HeadTooLarge, "the headers of the request are too large, or too many"),
        _ => Problem::malformed(
            "this is not a request of HTTP/1.1: a character in its address or headers may not stand there",
        ),
    };
    let request = request_id(rng);
    let (status, body) = (problem.kind.status(), problem.body(&request));
    tracing::debug!(id = request, status = status.as_u16(), "a request could not be read");
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\nx-request-id: {request}\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
    .into_bytes()
}

impl Problem {
    /// As JSON, with a line end.
    fn body(&self, request: &str) -> String {
        let view = self.view(Some(format!("/requests/{request}")));
        let mut body = serde_json::to_string(&view).unwrap_or_default();
        body.push('\n');
        body
    }
}

/// The whole answer to a request that no handler sees; its connection is closed.
pub fn alone(problem: Problem, rng: &dyn Rng) -> axum::response::Response {
    let request = request_id(rng);
    let mut response = write_out(problem.into_response(), &request);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Writes the problem that a response carries into its body.
pub fn write_out(mut response: Response<Body>, request: &str) -> Response<Body> {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    *response.body_mut() = Body::from(problem.body(request));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(delay) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
    if problem.kind == ProblemKind::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
