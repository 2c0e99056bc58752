//! Examples of events, for whoever tests an endpoint. They name no message that there is.

use serde_json::{Value, json};

use crate::domain::access::Mode;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::event::EventType;
use crate::domain::id::{DomainId, EventId, MessageId, RecipientId};
use crate::domain::webhook::EndpointMode;
use crate::store::accounts::endpoints::Endpoint;
use crate::store::mail::log::{EventMessage, ProjectEvent};

/// An event of live mail.
#[cfg(test)]
pub fn of_live(event_type: EventType, id: EventId, now: Timestamp) -> ProjectEvent {
    let endpoint = Endpoint {
        id: crate::domain::id::EndpointId::from_uuid(id.uuid()),
        mode: EndpointMode::Live,
        form: crate::domain::webhook::PayloadForm::Standard,
        url: String::new(),
        events: Vec::new(),
        tags: Vec::new(),
        description: String::new(),
        enabled: true,
        disabled_reason: None,
        failing_since: None,
        stalled_at: None,
        signing_seed: Vec::new(),
        created_at: now,
    };
    event(event_type, id, &endpoint, now)
}

/// An event of that type as the endpoint would be told it.
pub fn event(event_type: EventType, id: EventId, endpoint: &Endpoint, now: Timestamp) -> ProjectEvent {
    let of_message = EventMessage {
        email: "ada@example.net".to_owned(),
        kind: "to".to_owned(),
        position: 0,
        author: "Mailwright <test@example.com>".to_owned(),
        subject: "A test of this webhook".to_owned(),
        tags: json!([endpoint.tags.first().map_or("test", String::as_str)]),
        metadata: json!({}),
        key: None,
        header_id: format!("{}@example.com", id.uuid().simple()),
    };
    ProjectEvent {
        id,
        message: MessageId::from_uuid(id.uuid()),
        recipient: RecipientId::from_uuid(id.uuid()),
        mode: if endpoint.mode == EndpointMode::Live { Mode::Live } else { Mode::Test },
        sequence: if event_type == EventType::Queued { 1 } else { 2 },
        event_type,
        occurred_at: now,
        data: data(event_type, endpoint, now),
        of_message: (!event_type.is_of_project()).then_some(of_message),
    }
}

fn data(event_type: EventType, endpoint: &Endpoint, now: Timestamp) -> Value {
    let reply = |code: u16, enhanced: &str, text: &str, class: Option<&str>| {
        let host = "mx.example.net";
        json!({"attempt": 1, "reply": {"code": code, "enhanced": enhanced, "text": text, "host": host, "class": class}})
    };
    match event_type {
        EventType::Delivered => reply(250, "2.0.0", "ok", None),
        EventType::Deferred => reply(451, "4.7.1", "greylisted, come back later", Some("greylisted")),
        EventType::BouncedLater => reply(550, "5.2.2", "mailbox full", Some("mailbox_full")),
        EventType::Bounced => reply(550, "5.1.1", "no such user", Some("bad_mailbox")),
        EventType::Unsubscribed => json!({"stream": "newsletter"}),
        EventType::Opened => json!({"user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "machine": null}),
        EventType::Clicked => {
            json!({"user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "machine": null, "url": "https://example.com/"})
        }
        EventType::Queued
        | EventType::Complained
        | EventType::Expired
        | EventType::Cancelled
        | EventType::Suppressed => json!({}),
        EventType::DomainVerified
        | EventType::DomainWarning
        | EventType::DomainFailed
        | EventType::DomainKeyRotated
        | EventType::DomainListed => json!({
            "domain_id": DomainId::from_uuid(endpoint.id.uuid()),
            "name": "example.com",
            "state": if event_type == EventType::DomainFailed { "failed" } else { "verified" },
            "wrong_since": null,
            "reasons": [],
            "selectors": [],
        }),
        EventType::ProjectAlarm => json!({
            "reason": "6.0 % of 1000 recipients of the last 24 hours bounced; the limit is 5 %",
            "paused": false,
            "accepted": 940,
            "bounced": 60,
            "complaints": 0,
        }),
        EventType::EndpointStalled | EventType::EndpointDisabled | EventType::EndpointTest => json!({
            "webhook_id": endpoint.id,
            "url": endpoint.url,
            "reason": "a test, by request",
            "failing_since": rfc3339(now),
        }),
    }
}
