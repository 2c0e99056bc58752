//! `GET /v1/webhooks`

use axum::extract::State;
use axum::response::Response;

use super::get::EndpointView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// The project's endpoints, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let (project, cursor, limit) = (params.project(), params.cursor(), params.limit());
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let rows = api.store.list_endpoints(caller.project, caller.sees_only(), cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, EndpointView::of, |endpoint| endpoint.id.to_string())))
}
