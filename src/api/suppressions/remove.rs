//! `DELETE /v1/suppressions/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::domain::access::Scope;

/// Deletes a suppression: from now on mail is sent there again.
pub async fn remove(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let found = super::find(&api, &caller, &id).await?;
    if api.store.delete_suppression(caller.project, caller.mode, found.id).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found())
    }
}
