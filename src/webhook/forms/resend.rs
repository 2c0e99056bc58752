//! Resend (`resend.com/docs/dashboard/webhooks/event-types`).

use serde_json::{Value, json};

use super::{accepted_at, reply, text, uuid};
use crate::domain::event::EventType;

pub fn name_of(event_type: EventType) -> Option<&'static str> {
    Some(match event_type {
        EventType::Queued => "email.sent",
        EventType::Delivered => "email.delivered",
        EventType::Deferred => "email.delivery_delayed",
        EventType::Bounced | EventType::BouncedLater => "email.bounced",
        EventType::Expired => "email.failed",
        EventType::Suppressed => "email.suppressed",
        EventType::Complained => "email.complained",
        EventType::Opened => "email.opened",
        EventType::Clicked => "email.clicked",
        _ => return None,
    })
}

pub fn event(word: &str, event_type: EventType, told: &Value) -> Value {
    let at = &told["occurred_at"];
    let mut data = json!({"email_id": uuid(text(told, "message_id")), "message_id": format!("<{}>", text(told, "header_id")),
        "created_at": accepted_at(told), "from": told["from"], "to": [told["email"]], "subject": told["subject"], "tags": told["metadata"]});
    let engagement = || {
        let (agent, link) = (text(&told["engagement"], "user_agent"), &told["engagement"]["url"]);
        json!({"ipAddress": "", "link": link, "timestamp": at, "userAgent": agent})
    };
    match event_type {
        EventType::Bounced | EventType::BouncedLater => {
            let message = reply(told);
            let (kind, sub) = match text(&told["reply"], "class") {
                "mailbox_full" => ("Transient", "MailboxFull"),
                _ => ("Permanent", "General"),
            };
            data["bounce"] = json!({"type": kind, "subType": sub, "message": message, "diagnosticCode": [message]});
        }
        EventType::Suppressed => {
            let reason = text(&told["suppression"], "reason");
            data["suppressed"] =
                json!({"type": "OnAccountSuppressionList", "message": format!("the address is suppressed: {reason}")});
        }
        EventType::Expired => data["failed"] = json!({"reason": "expired"}),
        EventType::Clicked => data["click"] = engagement(),
        EventType::Opened => data["open"] = engagement(),
        _ => {}
    }
    json!({"type": word, "created_at": at, "data": data})
}
