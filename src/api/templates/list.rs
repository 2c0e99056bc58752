//! `GET /v1/templates`

use axum::extract::State;
use axum::response::Response;

use super::get::TemplateView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// The project's templates, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let rows = api.store.list_templates((caller.project, caller.mode), cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, TemplateView::of, |template| template.id.to_string())))
}
