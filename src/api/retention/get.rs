//! `GET /v1/retention`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::retention::ProjectRetention;
use crate::domain::span::Span;

/// The schema `Retention`.
#[derive(Serialize)]
pub(super) struct RetentionView {
    bodies: Option<Span>,
    metadata: Option<Span>,
    transcripts: Option<Span>,
    events: Option<Span>,
    installation: InstallationView,
}

/// The schema `InstallationRetention`.
#[derive(Serialize)]
struct InstallationView {
    messages: Span,
    bodies: Span,
}

impl RetentionView {
    pub fn of(api: &Api, retention: &ProjectRetention) -> Self {
        let span = |span: Option<Duration>| span.map(Span);
        Self {
            bodies: span(retention.bodies),
            metadata: span(retention.metadata),
            transcripts: span(retention.transcripts),
            events: span(retention.events),
            installation: InstallationView { messages: api.retention.messages, bodies: api.retention.bodies },
        }
    }
}

/// What the project keeps, and what the installation does.
pub async fn get(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Admin, &api, project).await?;
    let retention = api.store.find_retention(caller.project).await?;
    Ok(ok_json(&RetentionView::of(&api, &retention)))
}
