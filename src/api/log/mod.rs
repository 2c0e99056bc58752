//! What happened, and what there is, as streams: the project's events in the order of their commits, and exports.

pub mod events;
pub mod export_events;
pub mod export_messages;
mod stream;

use serde::Serialize;
use serde_json::Value;

use crate::domain::access::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, RecipientId};
use crate::store::mail::log::{EventMessage, ProjectEvent};
use crate::webhook::payload::ReportView;

/// The schema `ProjectEvent`: what a webhook would say.
#[derive(Serialize)]
struct EventView<'e> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    timestamp: String,
    data: EventDataView<'e>,
}

#[derive(Serialize)]
struct EventDataView<'e> {
    event_id: EventId,
    message_id: MessageId,
    recipient_id: RecipientId,
    mode: Mode,
    sequence: i32,
    #[serde(flatten)]
    of_message: Option<OfMessageView<'e>>,
    #[serde(flatten)]
    report: ReportView<'e>,
}

/// What is left out once the message is past its retention.
#[derive(Serialize)]
struct OfMessageView<'e> {
    email: &'e str,
    kind: &'e str,
    position: i16,
    from: &'e str,
    subject: &'e str,
    tags: &'e Value,
    metadata: &'e Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'e str>,
}

impl<'e> EventView<'e> {
    fn of(event: &'e ProjectEvent) -> Self {
        let of_message = |message: &'e EventMessage| OfMessageView {
            email: &message.email,
            kind: &message.kind,
            position: message.position,
            from: &message.author,
            subject: &message.subject,
            tags: &message.tags,
            metadata: &message.metadata,
            idempotency_key: message.key.as_deref(),
        };
        Self {
            id: event.id,
            event_type: event.event_type,
            timestamp: rfc3339(event.occurred_at),
            data: EventDataView {
                event_id: event.id,
                message_id: event.message,
                recipient_id: event.recipient,
                mode: event.mode,
                sequence: event.sequence,
                of_message: event.of_message.as_ref().map(of_message),
                report: ReportView::of(&event.data),
            },
        }
    }
}
