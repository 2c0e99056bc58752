//! `GET /v1/domains/{id}/records`

use axum::extract::State;
use axum::response::Response;

use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::ops::with_type;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::domain::sending_domain::export::{RecordsForm, write};

/// The records to publish, as text for elsewhere.
pub async fn records(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let form = params.parsed("format", "table, zone, terraform or dig", RecordsForm::parse);
    let caller = super::caller(&api, authed, params).await?;
    let found = super::find_in_full(&api, &caller, &id).await?;
    let text = write(form.unwrap_or(RecordsForm::Table), &found.domain.name, &found.records);
    Ok(with_type(text, "text/plain; charset=utf-8"))
}
