//! `DELETE /v1/webhooks/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::domain::access::Scope;

/// Deletes an endpoint; what waits for it is given up.
pub async fn remove(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let endpoint = super::find(&api, &caller, &id).await?;
    if api.store.delete_endpoint(caller.project, endpoint.id).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found())
    }
}
