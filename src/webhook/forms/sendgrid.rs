//! SendGrid (`docs.sendgrid.com/for-developers/tracking-events/event`): a list, here of one.

use serde_json::{Value, json};

use super::{is_of_address, reply, seconds, text, uuid};
use crate::domain::event::EventType;
use crate::domain::named_tag::BATCH;

/// Before the number of a group, in a stream.
pub const GROUP: &str = "asm-";

/// Names that an event may have there.
const THEIRS: [&str; 34] = [
    "asm_group_id",
    "attempt",
    "bounce_classification",
    "category",
    "cert_err",
    "email",
    "event",
    "ip",
    "marketing_campaign_id",
    "marketing_campaign_name",
    "newsletter",
    "pool",
    "post_type",
    "reason",
    "response",
    "send_at",
    "sg_content_type",
    "sg_event_id",
    "sg_machine_open",
    "sg_message_id",
    "sg_template_id",
    "sg_template_name",
    "sg_user_id",
    "smtp-id",
    "status",
    "template_hash",
    "template_id",
    "template_version_id",
    "timestamp",
    "tls",
    "type",
    "url",
    "url_offset",
    "useragent",
];

pub fn name_of(event_type: EventType) -> Option<&'static str> {
    Some(match event_type {
        EventType::Queued => "processed",
        EventType::Delivered => "delivered",
        EventType::Deferred => "deferred",
        // What could not be delivered in time is a block there.
        EventType::Bounced | EventType::BouncedLater | EventType::Expired => "bounce",
        EventType::Suppressed => "dropped",
        EventType::Opened => "open",
        EventType::Clicked => "click",
        EventType::Complained => "spamreport",
        EventType::Unsubscribed => "unsubscribe",
        _ => return None,
    })
}

pub fn events(word: &str, told: &Value) -> Value {
    let category: Vec<_> = told["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|tag| !tag.starts_with(BATCH))
        .collect();
    let group = text(told, "stream").strip_prefix(GROUP).and_then(|group| group.parse::<i64>().ok());
    let mut event = json!({"email": told["email"], "timestamp": seconds(told), "event": word, "category": category,
        "smtp-id": format!("<{}>", text(told, "header_id")), "sg_event_id": uuid(text(told, "event_id")),
        "sg_message_id": uuid(text(told, "message_id"))});
    match word {
        "delivered" | "deferred" => event["response"] = reply(told).into(),
        "bounce" => {
            let is_expired = text(told, "type") == "message.expired";
            event["type"] =
                if is_expired || !is_of_address(text(&told["reply"], "class")) { "blocked" } else { "bounce" }.into();
            event["reason"] = if is_expired { "Expired".to_owned() } else { reply(told) }.into();
            event["status"] = told["reply"]["enhanced"].clone();
        }
        "dropped" => {
            event["reason"] = match text(&told["suppression"], "reason") {
                "bounce" => "Bounced Address",
                "complaint" => "Spam Reporting Address",
                _ => "Unsubscribed Address",
            }
            .into();
            event["status"] = "5.0.0".into();
        }
        "open" | "click" => {
            event["useragent"] = text(&told["engagement"], "user_agent").into();
            if word == "open" {
                event["sg_machine_open"] = told["engagement"]["machine"].is_string().into();
            } else {
                event["url"] = told["engagement"]["url"].clone();
            }
        }
        _ => {}
    }
    if let Some(group) = group.filter(|_| word == "unsubscribe") {
        event["event"] = "group_unsubscribe".into();
        event["asm_group_id"] = group.into();
    }
    if word == "deferred" {
        event["attempt"] = told["attempt"].as_i64().map_or_else(String::new, |attempt| attempt.to_string()).into();
    }
    // What the caller keeps with a message stands beside it, and never in the place of a name of theirs.
    if let Value::Object(event) = &mut event {
        for (name, value) in told["metadata"].as_object().into_iter().flatten() {
            if !THEIRS.contains(&name.as_str()) {
                event.insert(name.clone(), value.clone());
            }
        }
    }
    json!([event])
}
