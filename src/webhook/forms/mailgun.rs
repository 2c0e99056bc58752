//! Mailgun (`documentation.mailgun.com`, "Event structure").

use serde_json::{Value, json};

use super::text;
use crate::domain::clock::parse_rfc3339;

/// Their names of events, and ours.
pub const EVENTS: [(&str, &[&str]); 8] = [
    ("accepted", &["message.queued"]),
    ("delivered", &["message.delivered"]),
    (
        "failed",
        &["message.deferred", "message.bounced", "message.bounced_later", "message.expired", "message.suppressed"],
    ),
    ("opened", &["message.opened"]),
    ("clicked", &["message.clicked"]),
    ("unsubscribed", &["message.unsubscribed"]),
    ("complained", &["message.complained"]),
    ("rejected", &["message.cancelled"]),
];

/// The name of an event of ours.
pub fn name_of(kind: &str) -> Option<&'static str> {
    EVENTS.iter().find(|(_, ours)| ours.contains(&kind)).map(|(name, _)| *name)
}

/// An event; `message` has the tags and the metadata of its message.
pub fn event_data(event: &Value, headers: &Value, message: &Value) -> Value {
    let (kind, email) = (text(event, "type"), text(event, "email"));
    let at = parse_rfc3339(text(event, "occurred_at"));
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit")]
    let timestamp = at.map(|at| (at.unix_timestamp_nanos() / 1000) as f64 / 1e6);
    let id = event.get("id").or_else(|| event.get("event_id"));
    let mut told = json!({"event": name_of(kind), "id": id, "timestamp": timestamp, "recipient": email,
        "recipient-domain": email.rsplit('@').next(), "message": {"headers": headers}, "tags": message["tags"],
        "user-variables": message["metadata"]});
    let reply = &event["reply"];
    if reply.is_object() {
        told["delivery-status"] = json!({"code": reply["code"], "message": reply["text"], "description": "",
            "enhanced-code": reply["enhanced"], "attempt-no": event["attempt"], "mx-host": reply["host"]});
    }
    told["log-level"] = match kind {
        "message.deferred" | "message.complained" | "message.unsubscribed" => "warn",
        _ if name_of(kind) == Some("failed") => "error",
        _ => "info",
    }
    .into();
    told["flags"] = json!({"is-test-mode": event["mode"] == "test"});
    if kind == "message.suppressed" {
        let (code, why) = match text(&event["suppression"], "reason") {
            "bounce" => (605, "Not delivering to previously bounced address"),
            "complaint" => (607, "Not delivering to a user who marked your messages as spam"),
            _ => (606, "Not delivering to unsubscribed address"),
        };
        told["delivery-status"] = json!({"code": code, "message": "", "description": why, "attempt-no": 1});
    }
    if name_of(kind) == Some("failed") {
        told["severity"] = if kind == "message.deferred" { "temporary" } else { "permanent" }.into();
        told["reason"] = match (kind, text(&event["suppression"], "reason")) {
            ("message.suppressed", "bounce") => "suppress-bounce",
            ("message.suppressed", "complaint") => "suppress-complaint",
            ("message.suppressed", _) => "suppress-unsubscribe",
            ("message.expired", _) => "old",
            ("message.bounced" | "message.bounced_later", _) => "bounce",
            _ => "generic",
        }
        .into();
    }
    if event["engagement"].is_object() {
        told["url"] = event["engagement"]["url"].clone();
        told["client-info"] = json!({"user-agent": event["engagement"]["user_agent"]});
    }
    told
}
