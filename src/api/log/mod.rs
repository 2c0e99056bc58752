//! What happened, and what there is, as streams: the project's events in the order of their commits, and exports.

pub mod events;
pub mod export_events;
pub mod export_messages;
mod stream;

use serde::Serialize;

use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::id::EventId;
use crate::store::mail::log::ProjectEvent;
use crate::webhook::payload::EventDataView;

/// The schema `ProjectEvent`: what a webhook would say.
#[derive(Serialize)]
struct EventView<'e> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    timestamp: String,
    data: EventDataView<'e>,
}

impl<'e> EventView<'e> {
    fn of(event: &'e ProjectEvent) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type,
            timestamp: rfc3339(event.occurred_at),
            data: EventDataView::of(event),
        }
    }
}
