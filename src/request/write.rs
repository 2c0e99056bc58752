//! The other way: a message that was read, as JSON in the same language. What waits for its time waits so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::domain::address::NamedAddress;
use crate::domain::draft::{
    Alternative, Attachment, AutoReplies, Body, Content, Draft, Options, RawDraft, Recipients, TextPart, Tracking,
};
use crate::domain::recipient::RecipientKind;

/// The request that asks for this message and nothing else. Its last instant is left out: it is kept beside.
pub fn write(content: &Content) -> Map<String, Value> {
    let mut map = Map::new();
    match content {
        Content::Draft(draft) => write_draft(&mut map, draft),
        Content::Raw(raw) => write_raw(&mut map, raw),
    }
    write_options(&mut map, content.options());
    map
}

fn put(map: &mut Map<String, Value>, name: &str, value: Value) {
    map.insert(name.to_owned(), value);
}

fn write_draft(map: &mut Map<String, Value>, draft: &Draft) {
    put(map, "from", address(draft.from()));
    write_recipients(map, draft.recipients());
    if !draft.reply_to().is_empty() {
        put(map, "reply_to", addresses(draft.reply_to()));
    }
    put(map, "subject", json!(draft.subject().as_str()));
    match draft.body() {
        Body::Text(text) => put(map, "text", json!(text)),
        Body::Html { html, text } => {
            put(map, "html", json!(html));
            match text {
                TextPart::Given(text) => put(map, "text", json!(text)),
                TextPart::Absent => put(map, "text", json!("")),
                TextPart::FromHtml => {}
            }
        }
    }
    if !draft.alternatives().is_empty() {
        put(map, "alternatives", draft.alternatives().iter().map(alternative).collect());
    }
    if !draft.attachments().is_empty() {
        put(map, "attachments", draft.attachments().iter().map(attachment).collect());
    }
    if !draft.headers().is_empty() {
        let fields = draft.headers().iter().map(|field| (field.name().to_owned(), json!(field.value())));
        put(map, "headers", Value::Object(fields.collect()));
    }
    if let Some(id) = draft.message_id() {
        put(map, "message_id", json!(id.as_str()));
    }
    if let Some(path) = draft.return_path() {
        put(map, "return_path", json!(path.address().as_str()));
    }
    if let Some(otp) = draft.otp() {
        put(map, "otp", json!({"code": otp.code(), "origin": otp.origin()}));
    }
    if draft.auto_replies() != AutoReplies::Allow {
        put(map, "auto_replies", json!(draft.auto_replies()));
    }
}

fn write_raw(map: &mut Map<String, Value>, raw: &RawDraft) {
    let parts = raw.parts();
    put(map, "from", address(&parts.from));
    for kind in RecipientKind::ALL {
        let of_kind = parts.recipients.iter().filter(|recipient| recipient.kind == *kind);
        let named: Vec<_> = of_kind.map(|recipient| recipient.address.as_str()).collect();
        if !named.is_empty() {
            put(map, kind.name(), json!(named));
        }
    }
    if let Some(path) = &parts.reverse_path {
        put(map, "return_path", json!(path.as_str()));
    }
    put(map, "raw", json!(STANDARD.encode(&*parts.bytes)));
}

fn write_recipients(map: &mut Map<String, Value>, recipients: &Recipients) {
    for (name, list) in [("to", recipients.to()), ("cc", recipients.cc()), ("bcc", recipients.bcc())] {
        if !list.is_empty() {
            put(map, name, addresses(list));
        }
    }
}

fn write_options(map: &mut Map<String, Value>, options: &Options) {
    if !options.tags.is_empty() {
        put(map, "tags", json!(options.tags));
    }
    if options.metadata.iter().next().is_some() {
        put(map, "metadata", json!(options.metadata));
    }
    if let Some(script) = &options.script {
        put(map, "sandbox", json!({"script": script.as_str()}));
    }
    if let Some(stream) = &options.stream {
        put(map, "unsubscribe", json!({"stream": stream}));
    }
    if options.tracking != Tracking::default() {
        put(map, "tracking", json!(options.tracking));
    }
    if let Some(pool) = &options.domain_pool {
        put(map, "domain_pool", json!(pool));
    }
    put(map, "priority", json!(options.priority));
    put(map, "tls", json!(options.demand.tls));
    if let Some(pool) = &options.demand.ip_pool {
        put(map, "ip_pool", json!(pool));
    }
}

fn address(named: &NamedAddress) -> Value {
    match &named.name {
        Some(name) => json!({"email": named.address.as_str(), "name": name}),
        None => json!({"email": named.address.as_str()}),
    }
}

fn addresses(list: &[NamedAddress]) -> Value {
    list.iter().map(address).collect()
}

fn alternative(other: &Alternative) -> Value {
    json!({"content_type": other.media_type(), "content": other.content()})
}

fn attachment(file: &Attachment) -> Value {
    let mut map = Map::new();
    put(&mut map, "filename", json!(file.filename().as_str()));
    put(&mut map, "content_type", json!(file.content_type().as_str()));
    put(&mut map, "content", json!(STANDARD.encode(file.content())));
    if let Some(id) = file.content_id() {
        put(&mut map, "content_id", json!(id.as_str()));
    }
    put(&mut map, "disposition", json!(file.disposition()));
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::config::Limits;
    use crate::request::found::Found;
    use crate::request::send::{Context, read};

    #[test]
    fn what_is_written_is_read_as_the_same_message() {
        let file =
            json!({"filename": "ü.pdf", "content": "AAEC", "content_id": "logo", "content_type": "application/pdf"});
        let requests = [
            json!({"from": "Ada <a@example.org>", "to": ["\"B, C\" <b@example.net>", "d@例え.jp"], "cc": "e@example.net",
                "bcc": [{"email": "f@example.net", "name": "F \"x\""}], "reply_to": "r@example.org", "subject": "ß 😀",
                "text": "t", "html": "<p>h", "attachments": [file], "headers": {"X-A": "1"}, "tags": ["t"],
                "alternatives": [{"content_type": "text/calendar; method=REQUEST", "content": "BEGIN:VCALENDAR"}],
                "metadata": {"k": "v"}, "priority": "high", "tls": "required", "ip_pool": "p", "message_id": "x@y",
                "return_path": "b@example.org", "otp": {"code": "1", "origin": "https://example.org"},
                "auto_replies": "suppress"}),
            json!({"from": "a@example.org", "to": "b@example.net", "subject": "", "html": "<p>h", "text": "",
                "unsubscribe": {"stream": "news"}, "tracking": {"opens": true}, "domain_pool": "codes"}),
            json!({"from": "a@example.org", "to": "b@example.net", "subject": "", "html": "<p>h"}),
            json!({"from": "a@example.org", "bcc": "b@example.net", "return_path": "x@example.org", "raw": STANDARD.encode(
                "From: a@example.org\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\nSubject: s\r\n\r\nbody")}),
            json!({"from": "a@bücher.example", "to": "b@example.net", "raw": STANDARD.encode(
                "From: a@bücher.example\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\n")}),
            json!({"from": "a@example.org", "to": "b@example.net", "return_path": "", "raw": STANDARD.encode(
                "From: a@example.org\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\n")}),
        ];
        let (limits, found) = (Limits::default(), Found::default());
        let context = Context { limits: &limits, now: datetime!(2026-11-27 00:00 UTC), found: &found };
        for request in requests {
            let Value::Object(map) = request else { panic!() };
            let first = read(map, "", None, &context).unwrap().contents.remove(0);
            let again = read(write(&first), "", None, &context).unwrap().contents.remove(0);
            assert_eq!(first, again);
        }
    }
}
