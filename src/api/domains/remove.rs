//! `DELETE /v1/domains/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;

/// Deletes a domain and its keys: nothing is signed for it from `dkim.cache` later on, and another project may prove it.
pub async fn remove(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    params: Params,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let found = super::find(&api, &caller, &id).await?;
    if api.store.delete_domain(caller.project, found.id).await? {
        api.door.pools.forget_all(caller.project);
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found())
    }
}
