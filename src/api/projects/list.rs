//! `GET /v1/projects`

use axum::extract::State;
use axum::response::Response;

use super::get::ProjectView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// All projects for an operator, and the caller's own for everyone else.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let caller = authed.with(Scope::Admin)?;
    let only = (!caller.is_operator).then_some(caller.project);
    let rows = api.store.list_projects(only, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, ProjectView::of, |row| row.terms.project.to_string())))
}
