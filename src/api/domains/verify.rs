//! `POST /v1/domains/{id}/verify`

use axum::extract::State;
use axum::response::Response;

use super::get::DomainView;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::fault::{Fault, FaultCode};
use crate::store::accounts::domain_checks::CheckStored;

/// Looks at the domain's records now, and tells what was seen.
pub async fn verify(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    params: Params,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let found = super::find_in_full(&api, &caller, &id).await?;
    if api.domains.check(&found).await? == CheckStored::Taken {
        let detail = "another project has proved this domain, or one above it, and still has its records";
        return Err(Problem::validation(vec![Fault::new("", FaultCode::Conflict, detail)]));
    }
    let found = super::find_in_full(&api, &caller, &id).await?;
    Ok(ok_json(&DomainView::of(&found)))
}
