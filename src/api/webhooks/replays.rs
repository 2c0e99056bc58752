//! `GET /v1/webhooks/{id}/replays`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, ReplayId};
use crate::store::queue::webhook_replays::Replay;

/// The schema `WebhookReplay`.
#[derive(Serialize)]
pub(super) struct ReplayView<'r> {
    id: ReplayId,
    status: &'static str,
    event_ids: &'r [EventId],
    since: Option<String>,
    until: String,
    types: &'r [EventType],
    only_failed: bool,
    events: i64,
    created_at: String,
    done_at: Option<String>,
}

/// What the endpoint is or was told again, newest first.
pub async fn replays(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let (project, cursor, limit) = (params.project(), params.cursor(), params.limit());
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let endpoint = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_replays(endpoint.id, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, ReplayView::of, |replay| replay.id.to_string())))
}

impl<'r> ReplayView<'r> {
    pub fn of(replay: &'r Replay) -> Self {
        Self {
            id: replay.id,
            status: if replay.done_at.is_some() { "done" } else { "running" },
            event_ids: &replay.event_ids,
            since: replay.since.map(rfc3339),
            until: rfc3339(replay.until),
            types: &replay.types,
            only_failed: replay.only_failed,
            events: replay.events,
            created_at: rfc3339(replay.created_at),
            done_at: replay.done_at.map(rfc3339),
        }
    }
}
