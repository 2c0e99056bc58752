//! `GET /v1/erasures`

use axum::extract::State;
use axum::response::Response;

use super::get::ErasureView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// The project's erasures, newest first. They are of live and test mail alike, so that a test credential sees none.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let (project, cursor, limit) = (params.project(), params.cursor(), params.limit());
    params.finish()?;
    let caller = authed.acting(Scope::Admin, &api, project).await?;
    let rows = match caller.sees_only() {
        Some(_) => Vec::new(),
        None => api.store.list_erasures(caller.project, (None, cursor), limit.rows()).await?,
    };
    Ok(ok_json(&PageView::of(&rows, limit, ErasureView::of, |erasure| erasure.id.to_string())))
}
