//! `POST /v1/domains`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;

use super::change::Change;
use super::get::DomainView;
use super::{caller, live, refused};
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::sending_domain::{LINK_LABEL, RETURN_PATH_LABEL};
use crate::identity::NewDomain;

/// How long keys of a delegated domain sign, unless it is asked for otherwise: nobody has to do anything for a new one.
const DELEGATED_DAYS: i32 = 90;

/// Makes a domain, its keys, and the records to publish. It is verified when the records of its keys are seen.
pub async fn create(State(api): Shared, authed: Authed, params: Params, body: UnreadBody) -> Result<Response, Problem> {
    let caller = live(caller(&api, authed, params).await?)?;
    let body = body.object(&api).await?;
    let change = Change::read(&api, body.map, true)?;
    let new = NewDomain {
        project: caller.project,
        name: change.name.unwrap_or_default(),
        is_delegated: change.is_delegated,
        rotate_days: change.rotate_days.or(change.is_delegated.then_some(DELEGATED_DAYS)).filter(|days| *days > 0),
        return_path_label: change.return_path_label.unwrap_or_else(|| RETURN_PATH_LABEL.to_owned()),
        link_label: change.link_label.unwrap_or_else(|| LINK_LABEL.to_owned()),
    };
    let domain = api.domains.create(new).await.map_err(refused)?;
    let found = api.domains.in_full(domain).await?;
    let mut response = ok_json(&DomainView::of(&found));
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/domains/{}", found.domain.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
