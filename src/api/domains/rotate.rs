//! `POST /v1/domains/{id}/rotate-dkim`

use axum::extract::State;
use axum::response::Response;

use super::get::DomainView;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};

/// Makes new keys. Those that sign go on until the records of the new ones are seen everywhere.
pub async fn rotate(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    params: Params,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let found = super::find_in_full(&api, &caller, &id).await?;
    api.domains.rotate(&found).await.map_err(super::refused)?;
    let found = api.domains.in_full(found.domain).await?;
    Ok(ok_json(&DomainView::of(&found)))
}
