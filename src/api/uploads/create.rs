//! `POST /v1/uploads`

use aws_lc_rs::digest;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::UploadView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::messages::sending::IDEMPOTENCY_KEY;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::draft::{Filename, MediaType};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::UploadId;
use crate::store::mail::uploads::{NewUpload, Uploaded};
use crate::submit::parse_key;

/// What programs say when they were told of no type.
const UNSAID: [&str; 2] = ["application/x-www-form-urlencoded", "application/octet-stream"];

/// Keeps the body as a file.
pub async fn create(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Send)?;
    let filename = params.text("filename");
    params.finish()?;
    let mut faults = Vec::new();
    let mut sound = |flaw: Flaw, at: &str| faults.push(flaw.at(at));
    let filename = match filename {
        None => {
            sound(Flaw::new(FaultCode::Required, "must be given"), "?filename");
            None
        }
        Some(text) => Filename::parse(text).map_err(|flaw| sound(flaw, "?filename")).ok(),
    };
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let said = said.filter(|said| !UNSAID.iter().any(|unsaid| said.eq_ignore_ascii_case(unsaid)));
    let said = said.and_then(|said| MediaType::parse(said).map_err(|flaw| sound(flaw, "Content-Type")).ok());
    let key = headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default().trim_matches('"'));
    let key = key.and_then(|key| parse_key(key).map_err(|flaw| sound(flaw, "Idempotency-Key")).ok());
    let (Some(filename), true) = (filename, faults.is_empty()) else { return Err(Problem::validation(faults)) };
    let (content, _grant) = body.bytes(&api, api.limits.upload.0).await?;
    if content.is_empty() {
        let flaw = Flaw::new(FaultCode::Required, "the body is the file, and has no bytes");
        return Err(Problem::validation(vec![flaw.at("")]));
    }
    let content_type = said.unwrap_or_else(|| MediaType::of_filename(&filename));
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, &content).as_ref());
    let now = api.clock.now();
    let upload = NewUpload {
        id: UploadId::new(now, &*api.rng),
        project: caller.project,
        mode: caller.mode,
        sha256,
        filename: filename.as_str(),
        content_type: content_type.as_str(),
        content: &content,
        idempotency_key: key.as_deref(),
        created_at: now,
    };
    let (upload, status, is_repeated) = match api.store.keep_upload(&upload).await? {
        Uploaded::New(upload) => (upload, StatusCode::CREATED, false),
        Uploaded::Known(upload) => (upload, StatusCode::CREATED, key.is_some()),
        Uploaded::KeyReused => return Err(Problem::key_reused()),
    };
    let mut response = ok_json(&UploadView::of(&upload));
    *response.status_mut() = status;
    if is_repeated {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}
