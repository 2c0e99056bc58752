//! `DELETE /v1/keys/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::domain::access::Scope;

/// Revokes a key; it works for at most `auth.cache` longer. One that was revoked before stays so.
pub async fn remove(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Keys, &api, project).await?;
    let key = super::find(&api, &caller, &id).await?;
    api.store.revoke_key(key.id, api.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
