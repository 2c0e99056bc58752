//! The body of a webhook: `{type, timestamp, data}`.

use serde::Serialize;
use serde_json::Value;

use crate::domain::access::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, RecipientId};
use crate::store::queue::webhook_jobs::{LeasedJob, LoadedJob};

/// The schema `WebhookPayload`.
#[derive(Serialize)]
struct PayloadView<'j> {
    #[serde(rename = "type")]
    event_type: EventType,
    timestamp: String,
    data: PayloadDataView<'j>,
}

/// The schema `WebhookPayloadData`.
#[derive(Serialize)]
struct PayloadDataView<'j> {
    event_id: EventId,
    message_id: MessageId,
    recipient_id: RecipientId,
    mode: Mode,
    email: &'j str,
    sequence: i32,
    #[serde(flatten)]
    report: ReportView<'j>,
    tags: &'j Value,
    metadata: &'j Value,
}

/// The try that an event reports; `message.queued` reports none.
#[derive(Serialize)]
pub struct ReportView<'d> {
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<ReplyView<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppression: Option<SuppressedView<'d>>,
}

/// The schema `SuppressedBy`.
#[derive(Serialize)]
struct SuppressedView<'d> {
    id: &'d str,
    reason: &'d str,
    scope: &'d str,
    since: &'d str,
}

impl<'d> ReportView<'d> {
    /// The report in the stored data of an event.
    pub fn of(data: &'d Value) -> Self {
        Self {
            attempt: data["attempt"].as_i64(),
            reply: data.get("reply").map(ReplyView::of),
            suppression: data.get("suppression").and_then(SuppressedView::of),
        }
    }
}

impl<'d> SuppressedView<'d> {
    fn of(why: &'d Value) -> Option<Self> {
        let text = |name: &str| why[name].as_str();
        Some(Self { id: text("id")?, reason: text("reason")?, scope: text("scope")?, since: text("since")? })
    }
}

/// The schema `Reply`.
#[derive(Serialize)]
pub struct ReplyView<'r> {
    pub code: Option<i64>,
    pub enhanced: Option<&'r str>,
    pub text: Option<&'r str>,
    pub host: Option<&'r str>,
    pub class: Option<&'r str>,
}

impl<'r> ReplyView<'r> {
    fn of(reply: &'r Value) -> Self {
        let text = |name: &str| reply[name].as_str();
        Self {
            code: reply["code"].as_i64(),
            enhanced: text("enhanced"),
            text: text("text"),
            host: text("host"),
            class: text("class"),
        }
    }
}

/// The same bytes for every try of a job.
pub fn body(job: &LeasedJob, loaded: &LoadedJob) -> Vec<u8> {
    let payload = PayloadView {
        event_type: loaded.event_type,
        timestamp: rfc3339(loaded.occurred_at),
        data: PayloadDataView {
            event_id: job.event,
            message_id: job.message,
            recipient_id: loaded.recipient,
            mode: loaded.mode,
            email: &loaded.email,
            sequence: loaded.sequence,
            report: ReportView::of(&loaded.data),
            tags: &loaded.tags,
            metadata: &loaded.metadata,
        },
    };
    serde_json::to_vec(&payload).unwrap_or_default()
}
