//! SendCloud (`sendcloud.net/doc/email_v2`, "WebHook"): a form.

use serde_json::Value;

use super::{reply, text, uuid};
use crate::domain::event::EventType;
use crate::domain::named_tag::LABEL;

pub fn name_of(event_type: EventType) -> Option<&'static str> {
    Some(match event_type {
        EventType::Queued => "request",
        EventType::Delivered => "deliver",
        EventType::Bounced | EventType::BouncedLater | EventType::Suppressed => "invalid",
        EventType::Expired => "soft_bounce",
        EventType::Complained => "report_spam",
        EventType::Opened => "open",
        EventType::Clicked => "click",
        EventType::Unsubscribed => "unsubscribe",
        _ => return None,
    })
}

/// Why it was not delivered, by a number and in words.
fn sub_status(word: &str, told: &Value) -> Option<(&'static str, &'static str)> {
    match (word, text(&told["suppression"], "reason")) {
        ("soft_bounce", _) => return Some(("503", "expired")),
        ("invalid", "unsubscribe" | "manual") => return Some(("402", "unsubscribed")),
        ("invalid", "bounce" | "complaint") => return Some(("401", "suppressed")),
        ("invalid", _) => {}
        _ => return None,
    }
    Some(match text(&told["reply"], "class") {
        "bad_mailbox" | "mailbox_disabled" | "moved" => ("406", "no such address"),
        "bad_domain" | "no_such_domain" | "no_mail_host" | "null_mx" => ("404", "no such domain"),
        "ip_blocked" | "unauthenticated" => ("405", "address or domain of the sender refused"),
        "content" => ("407", "content refused"),
        "sender_blocked" | "policy" | "relay_denied" => ("408", "sender or recipient refused"),
        _ => ("409", "refused"),
    })
}

/// Its pairs, but for those that sign it.
pub fn pairs(word: &str, told: &Value) -> String {
    let (id, email) = (uuid(text(told, "message_id")), text(told, "email"));
    let message = match word {
        "deliver" => "Successfully delivered".to_owned(),
        "invalid" => reply(told),
        _ => String::new(),
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    let own = format!("{id}${email}");
    form.append_pair("event", word).append_pair("emailId", &own).append_pair("recipient", email);
    form.append_pair("message", &message);
    if word == "request" {
        let list = |one: &str| serde_json::json!([one]).to_string();
        form.append_pair("recipientArray", &list(email))
            .append_pair("emailIds", &list(&own))
            .append_pair("recipientSize", "1");
    }
    if let Some((status, about)) = sub_status(word, told) {
        form.append_pair("subStat", status).append_pair("subStatDesc", about);
    }
    // One: most who read forms keep one of a name.
    let tags = || told["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(tag) = tags().find(|tag| !tag.starts_with(LABEL)) {
        form.append_pair("labelName", tag);
    }
    if let Some(label) = tags().find_map(|tag| tag.strip_prefix(LABEL)) {
        form.append_pair("labelId", label);
    }
    if word == "click" {
        form.append_pair("url", text(&told["engagement"], "url"));
    }
    form.finish()
}
