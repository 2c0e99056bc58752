//! `POST /v1/projects`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;

use super::change::{Change, refused};
use super::get::ProjectView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::alarm::AlarmRates;
use crate::domain::id::ProjectId;
use crate::store::accounts::projects::{ProjectTerms, StoredProject};

/// Makes a project. It has no keys yet: an operator makes the first.
pub async fn create(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Admin)?;
    if !caller.is_operator {
        return Err(Problem::operator_only());
    }
    let body = body.object(&api).await?;
    let change = Change::read(body.map, true)?;
    let now = api.clock.now();
    let project = StoredProject {
        name: change.name.unwrap_or_default(),
        created_at: now,
        requires_verified_domain: change.requires_verified_domain.unwrap_or(api.requires_verified_domain),
        allowed_recipients: change.allowed_recipients.filter(|allowed| !allowed.is_empty()),
        alarm: change.alarm.unwrap_or(AlarmRates::DEFAULT),
        alarmed: None,
        terms: ProjectTerms {
            project: ProjectId::new(now, &*api.rng),
            limits: change.limits.unwrap_or_default(),
            suspension: None,
        },
    };
    api.store.insert_project(&project).await.map_err(refused)?;
    let mut response = ok_json(&ProjectView::of(&project));
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/projects/{}", project.terms.project)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
