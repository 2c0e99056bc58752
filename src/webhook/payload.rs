//! The body of a webhook: `{type, timestamp, data}`.

use serde::Serialize;
use serde_json::Value;

use crate::domain::access::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, RecipientId};
use crate::store::mail::log::{EventMessage, ProjectEvent};

/// The schema `WebhookPayload`.
#[derive(Serialize)]
struct PayloadView<'e> {
    #[serde(rename = "type")]
    event_type: EventType,
    timestamp: String,
    data: EventDataView<'e>,
}

/// What an event says, to endpoints and in the log.
#[derive(Serialize)]
#[serde(untagged)]
pub enum EventDataView<'e> {
    Message(Box<MessageDataView<'e>>),
    Endpoint(EndpointDataView<'e>),
    Domain(DomainDataView<'e>),
    Project(ProjectDataView<'e>),
}

/// The schemas `WebhookPayloadData` and `ProjectEventData`.
#[derive(Serialize)]
pub struct MessageDataView<'e> {
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

/// The schema `EndpointEventData`.
#[derive(Serialize)]
pub struct EndpointDataView<'e> {
    event_id: EventId,
    mode: Mode,
    webhook_id: &'e str,
    url: &'e str,
    reason: &'e str,
    failing_since: Option<&'e str>,
}

/// The schema `DomainEventData`.
#[derive(Serialize)]
pub struct DomainDataView<'e> {
    event_id: EventId,
    mode: Mode,
    domain_id: &'e str,
    name: &'e str,
    state: &'e str,
    wrong_since: Option<&'e str>,
    reasons: &'e Value,
    selectors: &'e Value,
}

/// The schema `ProjectAlarmData`.
#[derive(Serialize)]
pub struct ProjectDataView<'e> {
    event_id: EventId,
    mode: Mode,
    reason: &'e str,
    paused: bool,
    accepted: i64,
    bounced: i64,
    complaints: i64,
}

impl<'e> EventDataView<'e> {
    pub fn of(event: &'e ProjectEvent) -> Self {
        let text = |name: &str| event.data[name].as_str();
        if event.event_type.is_of_domain() {
            return Self::Domain(DomainDataView {
                event_id: event.id,
                mode: event.mode,
                domain_id: text("domain_id").unwrap_or_default(),
                name: text("name").unwrap_or_default(),
                state: text("state").unwrap_or_default(),
                wrong_since: text("wrong_since"),
                reasons: &event.data["reasons"],
                selectors: &event.data["selectors"],
            });
        }
        if event.event_type == EventType::ProjectAlarm {
            let count = |name: &str| event.data[name].as_i64().unwrap_or_default();
            return Self::Project(ProjectDataView {
                event_id: event.id,
                mode: event.mode,
                reason: text("reason").unwrap_or_default(),
                paused: event.data["paused"] == true,
                accepted: count("accepted"),
                bounced: count("bounced"),
                complaints: count("complaints"),
            });
        }
        if event.event_type.is_of_project() {
            return Self::Endpoint(EndpointDataView {
                event_id: event.id,
                mode: event.mode,
                webhook_id: text("webhook_id").unwrap_or_default(),
                url: text("url").unwrap_or_default(),
                reason: text("reason").unwrap_or_default(),
                failing_since: text("failing_since"),
            });
        }
        Self::Message(Box::new(MessageDataView {
            event_id: event.id,
            message_id: event.message,
            recipient_id: event.recipient,
            mode: event.mode,
            sequence: event.sequence,
            of_message: event.of_message.as_ref().map(OfMessageView::of),
            report: ReportView::of(&event.data),
        }))
    }
}

impl<'e> OfMessageView<'e> {
    fn of(message: &'e EventMessage) -> Self {
        Self {
            email: &message.email,
            kind: &message.kind,
            position: message.position,
            from: &message.author,
            subject: &message.subject,
            tags: &message.tags,
            metadata: &message.metadata,
            idempotency_key: message.key.as_deref(),
        }
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engagement: Option<EngagementView<'d>>,
}

/// The schema `Engagement`.
#[derive(Serialize)]
struct EngagementView<'d> {
    user_agent: &'d str,
    machine: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'d str>,
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
            stream: data["stream"].as_str(),
            engagement: data["user_agent"].as_str().map(|user_agent| EngagementView {
                user_agent,
                machine: data["machine"].as_str(),
                url: data["url"].as_str(),
            }),
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

/// An event in one object, of which other forms are made.
pub fn flat(event: &ProjectEvent) -> Value {
    let mut flat = serde_json::to_value(EventDataView::of(event)).unwrap_or_default();
    if let Value::Object(flat) = &mut flat {
        flat.insert("type".to_owned(), event.event_type.name().into());
        flat.insert("occurred_at".to_owned(), rfc3339(event.occurred_at).into());
        flat.insert("header_id".to_owned(), event.of_message.as_ref().map(|message| message.header_id.clone()).into());
    }
    flat
}

/// The same bytes for every try.
pub fn body(event: &ProjectEvent) -> Vec<u8> {
    let payload = PayloadView {
        event_type: event.event_type,
        timestamp: rfc3339(event.occurred_at),
        data: EventDataView::of(event),
    };
    serde_json::to_vec(&payload).unwrap_or_default()
}
