//! `DELETE /v1/sandbox/messages` and `DELETE /v1/sandbox/messages/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::domain::access::Scope;
use crate::domain::id::RecipientId;

/// Empties the inbox of the project, or what a test credential sees of it. Messages and their events stay.
pub async fn all(State(api): Shared, authed: Authed) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    api.store.delete_sandbox(caller.project, caller.sees_only(), None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Takes one copy out of the inbox.
pub async fn one(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let id = RecipientId::parse(&id).ok_or_else(Problem::not_found)?;
    match api.store.delete_sandbox(caller.project, caller.sees_only(), Some(id)).await? {
        0 => Err(Problem::not_found()),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
