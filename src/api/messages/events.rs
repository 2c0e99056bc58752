//! `GET /v1/messages/{id}/events`

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
use crate::domain::id::{EventId, RecipientId};
use crate::store::mail::events::StoredEvent;
use crate::webhook::payload::ReportView;

/// The schema `Event`.
#[derive(Serialize)]
struct EventView<'e> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    occurred_at: String,
    recipient_id: RecipientId,
    email: &'e str,
    sequence: i32,
    #[serde(flatten)]
    report: ReportView<'e>,
}

/// What happened to the message's recipients, oldest first.
pub async fn events(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let message = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_events(message.id, message.created_at, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, EventView::of, |event| event.id.to_string())))
}

impl<'e> EventView<'e> {
    fn of(event: &'e StoredEvent) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type,
            occurred_at: rfc3339(event.occurred_at),
            recipient_id: event.recipient,
            email: &event.email,
            sequence: event.sequence,
            report: ReportView::of(&event.data),
        }
    }
}
