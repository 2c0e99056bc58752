//! Amazon SES by SNS, delivered raw (`docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html`).

use serde_json::{Map, Value, json};

use super::{accepted_at, author, reply, text, uuid};
use crate::domain::event::EventType;
use crate::domain::named_tag::CONFIGURATION_SET;

pub fn name_of(event_type: EventType) -> Option<&'static str> {
    Some(match event_type {
        EventType::Queued => "Send",
        EventType::Delivered => "Delivery",
        EventType::Deferred => "DeliveryDelay",
        EventType::Bounced | EventType::BouncedLater | EventType::Suppressed | EventType::Expired => "Bounce",
        EventType::Complained => "Complaint",
        EventType::Opened => "Open",
        EventType::Clicked => "Click",
        EventType::Unsubscribed => "Subscription",
        _ => return None,
    })
}

pub fn notification(word: &str, event_type: EventType, told: &Value) -> Value {
    let (at, email, from) = (&told["occurred_at"], &told["email"], text(told, "from"));
    let mut tags: Map<_, _> = told["metadata"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect();
    for tag in told["tags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if let Some(name) = tag.strip_prefix(CONFIGURATION_SET) {
            tags.insert("ses:configuration-set".to_owned(), json!([name]));
        }
    }
    let header_id = format!("<{}>", text(told, "header_id"));
    let headers = json!({"from": [from], "to": [email], "messageId": header_id, "subject": told["subject"]});
    let mail = json!({"timestamp": accepted_at(told), "source": author(text(told, "from")), "messageId": uuid(text(told, "message_id")), "destination": [email],
        "headersTruncated": false, "headers": [], "commonHeaders": headers, "tags": tags});
    let (host, words) = (text(&told["reply"], "host"), reply(told));
    let (mta, diagnostic) = (format!("dsn; {host}"), format!("smtp; {words}"));
    let feedback = uuid(text(told, "event_id"));
    let engagement = &told["engagement"];
    let details = match event_type {
        EventType::Delivered => {
            json!({"timestamp": at, "recipients": [email], "smtpResponse": words, "reportingMTA": host})
        }
        EventType::Deferred => json!({"timestamp": at, "delayType": "General",
            "delayedRecipients": [{"emailAddress": email, "status": told["reply"]["enhanced"], "diagnosticCode": diagnostic}]}),
        EventType::Bounced | EventType::BouncedLater | EventType::Suppressed | EventType::Expired => {
            let (kind, sub) = match event_type {
                EventType::Suppressed => ("Permanent", "OnAccountSuppressionList"),
                EventType::Expired => ("Transient", "General"),
                _ => ("Permanent", "General"),
            };
            json!({"bounceType": kind, "bounceSubType": sub, "timestamp": at, "feedbackId": feedback, "reportingMTA": mta,
                "bouncedRecipients": [{"emailAddress": email, "action": "failed", "status": told["reply"]["enhanced"],
                    "diagnosticCode": diagnostic}]})
        }
        EventType::Complained => json!({"complainedRecipients": [{"emailAddress": email}], "timestamp": at,
            "feedbackId": feedback, "complaintFeedbackType": "abuse"}),
        EventType::Opened => json!({"timestamp": at, "userAgent": text(engagement, "user_agent"), "ipAddress": ""}),
        EventType::Clicked => json!({"timestamp": at, "userAgent": text(engagement, "user_agent"), "ipAddress": "",
            "link": engagement["url"], "linkTags": null}),
        EventType::Unsubscribed => {
            json!({"contactList": told["stream"], "timestamp": at, "source": "UnsubscribeHeader"})
        }
        _ => json!({}),
    };
    // `deliveryDelay` for `DeliveryDelay`.
    let name = word[..1].to_ascii_lowercase() + &word[1..];
    Value::Object(Map::from_iter([("eventType".to_owned(), word.into()), ("mail".to_owned(), mail), (name, details)]))
}
