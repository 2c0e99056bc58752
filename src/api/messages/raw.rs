//! `GET /v1/messages/{id}/raw`

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::Response;

use crate::api::Shared;
use crate::api::answer::SetAside;
use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::domain::access::Scope;
use crate::store::mail::messages::StoredRaw;

/// The bytes that go on the wire, as a file.
pub async fn raw(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let message = super::find(&api, &caller, &id).await?;
    let set_aside = SetAside::for_answer(&api, &caller, usize::try_from(message.size).unwrap_or(0))?;
    let bytes = match api.store.load_raw(caller.project, message.id).await? {
        StoredRaw::Kept(bytes) => bytes,
        StoredRaw::NotKept => return Err(Problem::body_not_kept()),
        StoredRaw::Absent if message.scheduled.is_some() => return Err(Problem::not_composed()),
        StoredRaw::Absent => return Err(Problem::not_found()),
    };
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("message/rfc822"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"message.eml\""));
    Ok(set_aside.carried_by(response))
}
