//! `DELETE /v1/domain-pools/{name}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::domain::access::Mode;

/// Deletes a pool; its domains stay. Scheduled mail that asks for it is not sent.
pub async fn remove(
    State(api): Shared,
    authed: Authed,
    PathId(name): PathId,
    params: Params,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let name = super::named(name)?;
    if caller.mode == Mode::Test || !api.store.delete_pool(caller.project, name.as_str()).await? {
        return Err(Problem::not_found());
    }
    api.door.pools.forget(caller.project, &name);
    Ok(StatusCode::NO_CONTENT.into_response())
}
