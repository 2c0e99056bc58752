//! Postmark (`postmarkapp.com/developer/webhooks/webhooks-overview`).

use serde_json::{Value, json};

use super::{author, is_of_address, reply, text, uuid};
use crate::domain::clock::{Timestamp, from_unix};
use crate::domain::event::EventType;
use crate::domain::id::EventId;
use crate::domain::named_tag::STREAM;

/// Where the numbers of bounces begin to count: 2020, in milliseconds of the Unix clock.
const EPOCH: u64 = 1_577_836_800_000;
/// How many bits tell bounces of one millisecond apart. With the time before them they are what a double holds exactly.
const APART: u32 = 12;
/// The lowest bits of an id, which tell its shard.
const SHARD_BITS: u32 = 6;

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
            json!({"ID": bounce_id(text(told, "event_id")), "Type": kind, "TypeCode": code, "Name": name, "Description": name, "Details": reply(told),
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

/// The number of a bounce, of the id of its event: when it happened, and what tells it apart. By the first it is found again.
pub fn bounce_id(event_id: &str) -> u64 {
    let Some(id) = EventId::parse(event_id) else { return 0 };
    let millis = u64::try_from(id.made_at().unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    // Above the shard, in which bounces of one millisecond are likely to lie together.
    let apart = (id.uuid().as_u128() >> SHARD_BITS & ((1 << APART) - 1)) as u64;
    millis.saturating_sub(EPOCH) << APART | apart
}

/// The second in which the bounce of that number happened; `None`: no bounce has it.
pub fn second_of(bounce_id: u64) -> Option<Timestamp> {
    let millis = (bounce_id >> APART).checked_add(EPOCH)?;
    i64::try_from(millis / 1000).ok().and_then(from_unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_bounce_says_when_it_was_and_fits_a_double() {
        let id = "evt_01a221d85ec77737b78b655a6b37eb15";
        let number = bounce_id(id);
        let seconds = EventId::parse(id).unwrap().made_at().unix_timestamp();
        assert_eq!(second_of(number).map(Timestamp::unix_timestamp), Some(seconds));
        assert!(number < 1 << 53, "{number}");
        // Of the same millisecond, and another.
        // In one shard, too: its bits are not those that tell apart.
        assert_eq!(number, bounce_id("evt_01a221d85ec77737b78b655a6b37eb16"));
        assert_ne!(number, bounce_id("evt_01a221d85ec77737b78b655a6b37eb55"));
        assert_ne!(number, bounce_id("evt_01a221d85ec77737b78b655a6b35eb15"));
        assert_eq!((bounce_id(""), bounce_id("evt_x"), second_of(u64::MAX)), (0, 0, None));
    }
}
