//! Operations: health, readiness, metrics, limits, and the API's own description.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use serde::Serialize;

use super::answer::OfTheBinary;
use super::auth::Authed;
use super::problem::Problem;
use super::{Shared, ok_json};
use crate::domain::clock::rfc3339;
use crate::domain::draft::FARTHEST;
use crate::domain::quota::{Quota, Subject};
use crate::store::clock::OFFSET_TOLERATED;

/// The description of this API, as it stands at the project's top level.
const OPENAPI: &str = include_str!("../../openapi.yaml");
/// What a program that writes programs should know first, in the form of <https://llmstxt.org>.
const LLMS_TEXT: &str = include_str!("../../docs/llms.txt");

/// The schemas `Health` and `Readiness`.
#[derive(Serialize)]
struct StateView {
    status: &'static str,
}

/// The process lives.
pub async fn healthz() -> Response {
    ok_json(&StateView { status: "ok" })
}

/// The process can do its work: the store answers, its schema is this binary's, and the machine knows what time it is.
pub async fn readyz(State(api): Shared) -> Result<Response, Problem> {
    api.store.check_schema().await.map_err(|error| {
        tracing::warn!(%error, "not ready");
        Problem::busy(if error.is_away() {
            "the store cannot be reached"
        } else {
            "the store's schema is not this binary's"
        })
    })?;
    if api.store.clock().offset().unsigned_abs() > OFFSET_TOLERATED {
        return Err(Problem::busy("this machine's clock differs from the store's by more than 5 seconds"));
    }
    Ok(ok_json(&StateView { status: "ready" }))
}

/// Prometheus text.
pub async fn metrics(State(api): Shared) -> Response {
    with_type(api.metrics.render(), "text/plain; version=0.0.4; charset=utf-8")
}

/// The schema `Limits`.
#[derive(Serialize)]
struct LimitsView {
    body_bytes: usize,
    message_bytes: usize,
    recipients: usize,
    batch: usize,
    batch_bytes: usize,
    upload_bytes: usize,
    schedule_days: i64,
    attachments: usize,
    tags: usize,
    metadata_bytes: usize,
    headers: usize,
    webhooks: usize,
    templates: usize,
    usage: Vec<UsageView>,
}

/// The schema `Usage`.
#[derive(Serialize)]
struct UsageView {
    subject: Subject,
    quota: Quota,
    limit: u64,
    used: Option<u64>,
    resets_at: Option<String>,
}

/// Every limit of the API, and what the caller's project and key have used of theirs.
pub async fn limits(State(api): Shared, Authed(caller): Authed) -> Result<Response, Problem> {
    let limits = &api.limits;
    let own = caller.project_limits.recipients_per_message.and_then(|most| usize::try_from(most).ok());
    let usage = api.quotas.usage(&caller).await?.into_iter().map(|usage| UsageView {
        subject: usage.whose,
        quota: usage.quota,
        limit: usage.limit,
        used: usage.used,
        resets_at: usage.resets_at.map(rfc3339),
    });
    Ok(ok_json(&LimitsView {
        body_bytes: api.http.body_limit.0,
        message_bytes: limits.message.0,
        recipients: own.map_or(limits.recipients, |own| own.min(limits.recipients)),
        batch: limits.batch,
        batch_bytes: limits.batch_bytes.0,
        upload_bytes: limits.upload.0,
        schedule_days: FARTHEST.whole_days(),
        attachments: limits.attachments,
        tags: limits.tags,
        metadata_bytes: limits.metadata.0,
        headers: limits.headers,
        webhooks: limits.webhooks,
        templates: limits.templates,
        usage: usage.collect(),
    }))
}

pub async fn openapi() -> Response {
    of_the_binary(OPENAPI, "application/yaml")
}

pub async fn llms_text() -> Response {
    of_the_binary(LLMS_TEXT, "text/plain; charset=utf-8")
}

/// A text of this binary, of which no copy is made.
fn of_the_binary(text: &'static str, content_type: &'static str) -> Response {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()).into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.extensions_mut().insert(OfTheBinary);
    response
}

pub(super) fn with_type(text: String, content_type: &'static str) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
