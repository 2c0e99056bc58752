//! `PATCH /v1/domains/{id}`

use axum::extract::State;
use axum::response::Response;

use super::change::Change;
use super::get::DomainView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::fault::{Fault, FaultCode};

/// What is not given stays. Another return path is used once its record is seen.
pub async fn update(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let body = body.object(&api).await?;
    let change = Change::read(&api, body.map, false)?;
    let mut domain = super::find(&api, &caller, &id).await?;
    domain.rotate_days = change.rotate_days.or(domain.rotate_days).filter(|days| *days > 0);
    if let Some(label) = change.return_path_label.filter(|label| *label != domain.return_path_label) {
        domain.return_path_label = label;
        domain.standing.has_return_path = false;
    }
    if let Some(label) = change.link_label.filter(|label| *label != domain.link_label) {
        domain.link_label = label;
        domain.standing.has_link_host = false;
    }
    if domain.link_label == domain.return_path_label {
        let detail = "one name is an alias of one host: return_path has it";
        return Err(Problem::validation(vec![Fault::new("/link_host", FaultCode::Conflict, detail)]));
    }
    if !api.store.update_domain(&domain).await? {
        return Err(Problem::not_found());
    }
    let found = api.domains.in_full(domain).await?;
    Ok(ok_json(&DomainView::of(&found)))
}
