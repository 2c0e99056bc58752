//! Postmark (`postmarkapp.com/developer/webhooks/webhooks-overview`).

use serde_json::{Value, json};

use super::{author, is_of_address, number, reply, text, uuid};
use crate::domain::event::EventType;
use crate::domain::named_tag::STREAM;

pub fn name_of(event_type: EventType) -> Option<&'static str> {
    Some(match event_type {
        EventType::Delivered => "Delivery",
        EventType::Bounced | EventType::BouncedLater | EventType::Expired => "Bounce",
        EventType::Complained => "SpamComplaint",
        EventType::Opened => "Open",
        EventType::Clicked => "Click",
        EventType::Unsubscribed => "SubscriptionChange",
        _ => return None,
    })
}

/// A record.
pub fn record(word: &str, event_type: EventType, told: &Value) -> Value {
    let tags = || told["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let stream = tags().find_map(|tag| tag.strip_prefix(STREAM)).unwrap_or("outbound");
    let tag = tags().find(|tag| !tag.starts_with(STREAM)).unwrap_or_default();
    let (at, email) = (&told["occurred_at"], &told["email"]);
    let mut record = json!({"RecordType": word, "MessageID": uuid(text(told, "message_id")), "ServerID": 0, "Tag": tag,
        "Metadata": told["metadata"], "MessageStream": stream});
    let more = match event_type {
        EventType::Delivered => json!({"Recipient": email, "DeliveredAt": at, "Details": reply(told)}),
        EventType::Bounced | EventType::BouncedLater | EventType::Expired | EventType::Complained => {
            let (kind, code, name) = match event_type {
                EventType::Bounced if is_of_address(text(&told["reply"], "class")) => ("HardBounce", 1, "Hard bounce"),
                EventType::Bounced => ("Blocked", 100_006, "ISP block"),
                EventType::Complained => ("SpamComplaint", 100_001, "Spam complaint"),
                _ => ("SoftBounce", 4096, "Soft bounce"),
            };
            // What suppresses: a bounce of the address, and a complaint.
            let is_inactive = matches!(kind, "HardBounce" | "SpamComplaint");
            json!({"ID": number(text(told, "event_id")), "Type": kind, "TypeCode": code, "Name": name, "Description": name, "Details": reply(told),
                "Email": email, "From": author(text(told, "from")), "BouncedAt": at, "DumpAvailable": false, "Inactive": is_inactive,
                "CanActivate": kind == "HardBounce", "Subject": told["subject"]})
        }
        EventType::Unsubscribed => {
            json!({"Recipient": email, "ChangedAt": at, "Origin": "Recipient", "SuppressSending": true,
            "SuppressionReason": "ManualSuppression"})
        }
        _ => {
            let engagement = &told["engagement"];
            let mut more = json!({"Recipient": email, "ReceivedAt": at, "UserAgent": text(engagement, "user_agent"),
                "Platform": "", "Geo": {}, "Client": {"Name": "", "Company": "", "Family": ""},
                "OS": {"Name": "", "Company": "", "Family": ""}});
            if event_type == EventType::Clicked {
                more["OriginalLink"] = text(engagement, "url").into();
                more["ClickLocation"] = "HTML".into();
            } else {
                more["FirstOpen"] = true.into();
            }
            more
        }
    };
    if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
        record.extend(more);
    }
    record
}
