//! Request bodies: bounded in bytes, in time, and together in memory; `gzip` undone within the same bound.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::problem::Problem;

/// A JSON object, and the memory that it was granted; the grant ends when this is dropped.
pub struct JsonObject {
    pub map: Map<String, Value>,
    _grant: OwnedSemaphorePermit,
}

impl FromRequest<Arc<Api>> for JsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        check_type(&head.headers)?;
        let gzip = is_gzip(&head.headers)?;
        let limit = api.http.body_limit.0;
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        // What is not announced, or may grow, is granted the most that it may have.
        let expected = if gzip { limit } else { announced.unwrap_or(limit) };
        let kib = u32::try_from(expected / 1024 + 1).unwrap_or(u32::MAX);
        let grant = Arc::clone(&api.body_kib)
            .try_acquire_many_owned(kib)
            .map_err(|_| Problem::busy("too many bytes of requests are being read"))?;
        let bytes = tokio::time::timeout(api.http.body_timeout.0, read(body, limit))
            .await
            .map_err(|_| Problem::timeout())??;
        let bytes = if gzip { inflate(&bytes, limit)? } else { bytes };
        let map = parse(&bytes)?;
        Ok(Self { map, _grant: grant })
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type(format!("Content-Type is '{essence}'; it must be application/json")))
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or_default().trim()) {
        None | Some("" | "identity") => Ok(false),
        Some("gzip") => Ok(true),
        Some(other) => {
            Err(Problem::unsupported_media_type(format!("Content-Encoding is '{other}'; only gzip is understood")))
        }
    }
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::too_large(limit)),
        Err(error) => Err(Problem::malformed(format!("the body broke off: {error}"))),
    }
}

fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    let mut inflated = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::GzDecoder::new(bytes)
        .take(bound)
        .read_to_end(&mut inflated)
        .map_err(|error| Problem::malformed(format!("the body is not gzip: {error}")))?;
    if inflated.len() > limit { Err(Problem::too_large(limit)) } else { Ok(inflated) }
}

/// Values that a body may hold: several times what the largest message needs, and little memory.
const VALUES_MAX: usize = 100_000;

/// How many values a JSON text can hold at most: each but the first follows a comma, a colon or a bracket
/// that stands outside of strings.
fn count_values(bytes: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (1, false, false);
    for &byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b':' | b'[' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    // Each value but the first takes two bytes at least.
    if bytes.len() > 2 * VALUES_MAX && count_values(bytes) > VALUES_MAX {
        return Err(Problem::malformed(format!("the body holds more than {VALUES_MAX} values")));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Problem::malformed("the body must be a JSON object")),
        Err(error) => Err(Problem::malformed(format!("the body is not JSON: {error}"))),
    }
}
