//! `PATCH /v1/projects/{id}`

use axum::extract::State;
use axum::response::Response;

use super::change::{Change, refused};
use super::get::ProjectView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// What is not given stays. Limits are given all together. A suspension is in force everywhere within `auth.cache`.
pub async fn update(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Admin)?;
    let body = body.object(&api).await?;
    // What is foreign is as absent; one's own is there, and an operator's to change.
    let mut project = super::find(&api, &caller, &id).await?;
    if !caller.is_operator {
        return Err(Problem::operator_only());
    }
    let change = Change::read(body.map, false)?;
    let was_suspended = project.terms.suspension.is_some();
    project.terms.suspension = change.suspension(project.terms.suspension, api.clock.now())?;
    project.requires_verified_domain = change.requires_verified_domain.unwrap_or(project.requires_verified_domain);
    if let Some(allowed) = change.allowed_recipients {
        project.allowed_recipients = Some(allowed).filter(|allowed| !allowed.is_empty());
    }
    project.alarm = change.alarm.unwrap_or(project.alarm);
    project.name = change.name.unwrap_or(project.name);
    project.terms.limits = change.limits.unwrap_or(project.terms.limits);
    if !api.store.update_project(&project, change.decides_suspension).await.map_err(refused)? {
        return Err(Problem::not_found());
    }
    if was_suspended != project.terms.suspension.is_some() {
        tracing::info!(project.id = %project.terms.project, suspended = !was_suspended, "an operator changed a suspension");
    }
    Ok(ok_json(&ProjectView::of(&project)))
}
