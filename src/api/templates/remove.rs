//! `DELETE /v1/templates/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::domain::access::Scope;

/// Deletes a template: later sends are refused, and what was accepted is as it was.
pub async fn remove(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let template = super::find(&api, &caller, &id).await?;
    super::check_unused(&api, &caller, &template.alias, "").await?;
    let step = super::step(&api, &caller);
    let is_done = api.store.delete_template(caller.project, template.id, &step).await?;
    api.templates.forget(caller.project);
    if is_done { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Problem::not_found()) }
}
