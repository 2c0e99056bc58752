//! `GET /v1/domain-pools`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::get::{PoolView, shown};
use crate::api::auth::Authed;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Mode;

/// The schema `DomainPoolList`.
#[derive(Serialize)]
struct PoolListView {
    data: Vec<PoolView>,
}

/// The project's pools by name: they are few.
pub async fn list(State(api): Shared, authed: Authed, params: Params) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let pools = match caller.mode {
        Mode::Live => api.store.list_pools(caller.project, None).await?,
        Mode::Test => Vec::new(),
    };
    Ok(ok_json(&PoolListView { data: shown(&api, pools).await? }))
}
