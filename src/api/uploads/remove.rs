//! `DELETE /v1/uploads/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::domain::access::Scope;
use crate::domain::id::UploadId;

/// Removes an upload. Messages that were accepted have their own copy.
pub async fn remove(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<StatusCode, Problem> {
    let caller = authed.with(Scope::Send)?;
    let id = UploadId::parse(&id).ok_or_else(Problem::not_found)?;
    if api.store.remove_upload(caller.project, caller.sees_only(), id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}
