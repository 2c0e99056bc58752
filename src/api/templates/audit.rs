//! `GET /v1/templates/{id}/audit`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::TemplateStepId;
use crate::domain::template::TemplateAction;
use crate::store::accounts::templates::TemplateStep;

/// The schema `TemplateStep`.
#[derive(Serialize)]
struct StepView<'s> {
    id: TemplateStepId,
    action: TemplateAction,
    version: Option<i32>,
    actor: &'s str,
    reason: Option<&'s str>,
    at: String,
}

/// Who did what with a template, newest first.
pub async fn audit(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let template = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_template_steps(template.id, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, StepView::of, |step| step.id.to_string())))
}

impl<'s> StepView<'s> {
    fn of(step: &'s TemplateStep) -> Self {
        Self {
            id: step.id,
            action: step.action,
            version: step.version,
            actor: &step.actor,
            reason: step.reason.as_deref(),
            at: rfc3339(step.at),
        }
    }
}
