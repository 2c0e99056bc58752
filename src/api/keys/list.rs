//! `GET /v1/keys`

use axum::extract::State;
use axum::response::Response;

use super::get::KeyView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::store::accounts::keys::KeyFilter;

/// The project's keys, newest first, those that ended included.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let (project, cursor, limit) = (params.project(), params.cursor(), params.limit());
    params.finish()?;
    let caller = authed.acting(Scope::Keys, &api, project).await?;
    let filter = KeyFilter { before: cursor, ..super::visible(&caller) };
    let rows = api.store.list_keys(filter, limit.rows()).await?;
    let now = api.clock.now();
    Ok(ok_json(&PageView::of(&rows, limit, |key| KeyView::of(key, now), |key| key.id.to_string())))
}
