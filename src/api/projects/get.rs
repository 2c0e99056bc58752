//! `GET /v1/projects/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::usage_limits::ProjectLimitsView;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::ProjectId;
use crate::domain::quota::MailFate;
use crate::store::accounts::projects::StoredProject;

/// The schema `Project`.
#[derive(Serialize)]
pub(super) struct ProjectView<'p> {
    id: ProjectId,
    name: &'p str,
    created_at: String,
    limits: ProjectLimitsView,
    require_verified_domain: bool,
    allowed_recipients: Option<&'p [String]>,
    alarm: AlarmView<'p>,
    suspension: Option<SuspensionView<'p>>,
}

/// The schema `ProjectAlarm`.
#[derive(Serialize)]
struct AlarmView<'p> {
    bounce_percent: f64,
    complaint_percent: f64,
    pause: bool,
    raised_at: Option<String>,
    reason: Option<&'p str>,
}

/// The schema `Suspension`.
#[derive(Serialize)]
struct SuspensionView<'p> {
    since: String,
    reason: &'p str,
    mail: MailFate,
}

/// The project, with its limits.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Admin)?;
    let project = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&ProjectView::of(&project)))
}

impl<'p> ProjectView<'p> {
    pub(super) fn of(project: &'p StoredProject) -> Self {
        let suspension = project.terms.suspension.as_ref();
        Self {
            id: project.terms.project,
            name: &project.name,
            created_at: rfc3339(project.created_at),
            limits: ProjectLimitsView::of(&project.terms.limits),
            require_verified_domain: project.requires_verified_domain,
            allowed_recipients: project.allowed_recipients.as_deref(),
            alarm: AlarmView {
                bounce_percent: project.alarm.bounce_percent,
                complaint_percent: project.alarm.complaint_percent,
                pause: project.alarm.pauses,
                raised_at: project.alarmed.as_ref().map(|(at, _)| rfc3339(*at)),
                reason: project.alarmed.as_ref().map(|(_, reason)| reason.as_str()),
            },
            suspension: suspension.map(|suspension| SuspensionView {
                since: rfc3339(suspension.at),
                reason: &suspension.reason,
                mail: suspension.mail,
            }),
        }
    }
}
