//! Events in the payloads of other services, so that what reads theirs reads ours. What a service has no word for is not told.
//!
//! Each form is made of an event as our API shows it, in which `occurred_at`, `type` and `header_id` (its `Message-ID`) stand, too.

pub mod mailgun;
pub mod postmark;
mod resend;
mod sendcloud;
pub mod sendgrid;
mod ses;

use serde_json::Value;
use uuid::Uuid;

use super::payload;
use crate::domain::clock::{from_unix, rfc3339};
use crate::domain::event::EventType;
use crate::domain::id::MessageId;
use crate::domain::webhook::PayloadForm;
use crate::store::mail::log::ProjectEvent;

/// Whether a form has a word for an event. Each has one for what a test tells.
pub fn tells(form: PayloadForm, event_type: EventType) -> bool {
    form == PayloadForm::Standard || word_of(form, event_type).is_some()
}

/// The word of a form for an event of a message.
fn word_of(form: PayloadForm, event_type: EventType) -> Option<&'static str> {
    match form {
        PayloadForm::Standard => Some(event_type.name()),
        // What was cancelled has a name in its list of events, and no webhook.
        PayloadForm::Mailgun => mailgun::name_of(event_type.name()).filter(|_| event_type != EventType::Cancelled),
        PayloadForm::Postmark => postmark::name_of(event_type),
        PayloadForm::Resend => resend::name_of(event_type),
        PayloadForm::SendCloud => sendcloud::name_of(event_type),
        PayloadForm::SendGrid => sendgrid::name_of(event_type),
        PayloadForm::Ses => ses::name_of(event_type),
    }
}

/// The body that tells an event, as far as it is the same for every try; `None`: the form has no word for it.
pub fn body(form: PayloadForm, event: &ProjectEvent) -> Option<Vec<u8>> {
    if form == PayloadForm::Standard {
        return Some(payload::body(event));
    }
    let word = word_of(form, event.event_type)?;
    let told = payload::flat(event);
    let json = match form {
        PayloadForm::SendCloud => return Some(sendcloud::pairs(word, &told).into_bytes()),
        PayloadForm::Mailgun => {
            let headers = serde_json::json!({"message-id": told["header_id"], "from": told["from"], "to": told["email"],
                "subject": told["subject"]});
            mailgun::event_data(&told, &headers, &told)
        }
        PayloadForm::Postmark => postmark::record(word, event.event_type, &told),
        PayloadForm::Resend => resend::event(word, event.event_type, &told),
        PayloadForm::SendGrid => sendgrid::events(word, &told),
        PayloadForm::Ses | PayloadForm::Standard => ses::notification(word, event.event_type, &told),
    };
    serde_json::to_vec(&json).ok()
}

/// A text of an object; empty if there is none.
pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// An id of ours as a UUID.
pub fn uuid(id: &str) -> String {
    let uuid = id.split_once('_').and_then(|(_, hex)| Uuid::parse_str(hex).ok());
    uuid.map_or_else(|| id.to_owned(), |uuid| uuid.hyphenated().to_string())
}

/// When it happened, in seconds of the Unix clock.
fn seconds(told: &Value) -> i64 {
    let at = crate::domain::clock::parse_rfc3339(text(told, "occurred_at"));
    at.map(time::OffsetDateTime::unix_timestamp).unwrap_or_default()
}

/// When its message was accepted, which its id says, to the second.
fn accepted_at(told: &Value) -> String {
    let accepted = MessageId::parse(text(told, "message_id")).and_then(|id| from_unix(id.made_at().unix_timestamp()));
    accepted.map_or_else(|| text(told, "occurred_at").to_owned(), rfc3339)
}

/// Whether a class of replies is about the address, and not about who sent or what.
pub fn is_of_address(class: &str) -> bool {
    let of_address =
        ["bad_mailbox", "mailbox_disabled", "bad_domain", "moved", "no_such_domain", "no_mail_host", "null_mx", ""];
    of_address.contains(&class)
}

/// The address alone of a mailbox.
pub fn author(from: &str) -> &str {
    from.rsplit_once('<').map_or(from, |(_, address)| address.trim_end_matches('>'))
}

/// What a server answered, as one line: its code, its enhanced code, its words.
fn reply(told: &Value) -> String {
    let reply = &told["reply"];
    let code = reply["code"].as_i64().map(|code| code.to_string());
    let parts = [code.as_deref(), reply["enhanced"].as_str(), reply["text"].as_str()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededRng;
    use crate::domain::id::EventId;
    use crate::domain::shard::Shard;
    use crate::webhook::sample;

    #[test]
    fn every_form_tells_what_it_has_a_word_for() {
        let now = time::macros::datetime!(2026-11-28 10:00 UTC);
        let id = EventId::new_in(Shard::of_low_bits(0), now, &SeededRng::new(1));
        for &form in PayloadForm::ALL {
            for &event_type in EventType::ALL {
                let event = sample::of_live(event_type, id, now);
                if event_type.is_of_project() {
                    assert!(form == PayloadForm::Standard || !tells(form, event_type), "{form} {event_type}");
                } else {
                    let has_body = body(form, &event).is_some_and(|body| !body.is_empty());
                    assert_eq!(has_body, tells(form, event_type), "{form} {event_type}");
                }
            }
            for told in
                [EventType::Delivered, EventType::Bounced, EventType::Complained, EventType::Opened, EventType::Clicked]
            {
                assert!(tells(form, told), "{form} {told}");
            }
        }
    }
}
