//! `GET /v1/uploads/{id}`

use axum::extract::State;
use axum::response::Response;

use super::UploadView;
use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::id::UploadId;

/// One upload, without its bytes.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Send)?;
    let id = UploadId::parse(&id).ok_or_else(Problem::not_found)?;
    let found = api.store.find_upload(caller.project, caller.sees_only(), id).await?;
    Ok(ok_json(&UploadView::of(&found.ok_or_else(Problem::not_found)?)))
}
