//! `PATCH /v1/keys/{id}`

use axum::extract::State;
use axum::response::Response;

use super::change::{Change, may_hold};
use super::get::KeyView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// What is not given stays. Limits are given all together.
pub async fn update(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Keys, &api, project).await?;
    let body = body.object(&api).await?;
    let mut key = super::find(&api, &caller, &id).await?;
    let change = Change::read(&caller, body.map)?;
    may_hold(&caller, &key.rights)?;
    key.name = change.name.unwrap_or(key.name);
    key.rights.limits = change.limits.unwrap_or(key.rights.limits);
    if !api.store.update_key(&key).await? {
        return Err(Problem::not_found());
    }
    Ok(ok_json(&KeyView::of(&key, api.clock.now())))
}
