//! `POST /emails`, `POST /emails/batch`

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Error, Resend};
use crate::api::body::UnreadBody;
use crate::compat::draft::{Draft, Item, send_many};
use crate::compat::ids::uuid_of;
use crate::compat::inner::{IDEMPOTENCY_KEY, Inner, pass_on};
use crate::compat::service::{By, fault, ok, text};
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

/// Whether a batch is taken as far as it can be.
const VALIDATION: &str = "x-batch-validation";
const BATCH_MAX: usize = 100;

/// Fields that are the same in both.
const SAME: [&str; 9] = ["from", "to", "cc", "bcc", "reply_to", "subject", "html", "text", "headers"];

/// Fields of a file, there and here.
const FILE: [(&str, &str); 4] = [
    ("filename", "filename"),
    ("content_type", "content_type"),
    ("content_id", "content_id"),
    ("inline_content_id", "content_id"),
];

/// Sends one email.
pub async fn one(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let draft = email(value, inner.api.clock.now())?;
    let taken = draft.send(&inner, &caller, sent, headers.get(&IDEMPOTENCY_KEY).cloned()).await?;
    let id = uuid_of(text(&taken.json(), "id"));
    let mut response = ok(&json!({"id": id}));
    pass_on(&taken.headers, &mut response);
    Ok(response)
}

/// Sends up to a hundred, all or none of them; or, where that is asked for, those that are sound.
pub async fn batch(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let Value::Array(emails) = value else {
        return Err(fault("", FaultCode::WrongType, "the body must be a list of emails").into());
    };
    if emails.len() > BATCH_MAX {
        let detail = format!("{} emails; the limit is {BATCH_MAX}", emails.len());
        return Err(fault("", FaultCode::TooMany, detail).into());
    }
    let is_strict = match headers.get(VALIDATION).map(|value| value.to_str().unwrap_or_default()) {
        None | Some("strict") => true,
        Some("permissive") => false,
        Some(_) => {
            return Err(fault(VALIDATION, FaultCode::InvalidParameter, "must be strict or permissive").into());
        }
    };
    let now = inner.api.clock.now();
    let items = emails.into_iter().enumerate();
    let items = items.map(|(at, value)| Item { name: format!("emails[{at}]"), read: email(value, now) }).collect();
    let key = headers.get(&IDEMPOTENCY_KEY).cloned();
    let outcomes = send_many((&inner, &caller), items, is_strict, sent, key).await?;
    let (mut data, mut errors) = (Vec::new(), Vec::new());
    for (index, outcome) in outcomes.each.into_iter().enumerate() {
        match outcome {
            Ok(taken) => data.push(json!({"id": uuid_of(text(&taken, "id"))})),
            Err((_, message)) => errors.push(json!({"index": index, "message": message})),
        }
    }
    let body = if is_strict { json!({"data": data}) } else { json!({"data": data, "errors": errors}) };
    let mut response = ok(&body);
    pass_on(&outcomes.headers, &mut response);
    Ok(response)
}

/// An email in the words of a send request.
fn email(value: Value, now: Timestamp) -> Result<Draft, Vec<Fault>> {
    let (mut draft, mut faults) = (Draft::default(), Vec::new());
    let mut fields = Fields::of(value, "", &mut faults);
    for name in SAME {
        draft.put_some(name, fields.take(name), name);
    }
    if let Some(text) = fields.string("scheduled_at") {
        draft.put("send_at", soon(&text, now).map_or(text, rfc3339), "scheduled_at");
    }
    draft.pairs("metadata", &mut fields, ("tags", "tags"), ("name", "value"));
    draft.places.put("/metadata", "tags");
    if let Some(map) = fields.object("template") {
        let mut inner = Fields::new(map, "/template", fields.faults);
        if let Some(id) = inner.required("id") {
            draft.template(id, "template.id");
        }
        if let Some(variables) = inner.take("variables") {
            draft.set("template", "variables", variables, "template.variables");
        }
        inner.finish();
    }
    draft.files(&mut fields, ("attachments", "attachments"), &FILE, |file, mapped| {
        if let Some(content) = file.take("content") {
            mapped.insert("content".to_owned(), content_of(content));
        }
        if file.take("path").is_some() {
            file.fault("path", FaultCode::Conflict, "nothing is fetched from elsewhere: give content, in base64");
        }
    });
    if fields.take("topic_id").is_some() {
        fields.fault(
            "topic_id",
            FaultCode::Conflict,
            "there are no topics here: unsubscribe of POST /v1/send has streams",
        );
    }
    fields.finish();
    if faults.is_empty() { Ok(draft) } else { Err(faults) }
}

/// Base64, from a text; from a list of octets, as Python writes it; or from a Node `Buffer` as JSON.
fn content_of(value: Value) -> Value {
    let list = match &value {
        Value::Array(list) => Some(list),
        Value::Object(map) if map.get("type").and_then(Value::as_str) == Some("Buffer") => {
            map.get("data").and_then(Value::as_array)
        }
        _ => None,
    };
    let octets =
        list.and_then(|list| list.iter().map(|octet| u8::try_from(octet.as_u64()?).ok()).collect::<Option<Vec<_>>>());
    octets.map_or(value, |octets| STANDARD.encode(octets).into())
}

/// The instant of `in 5 minutes`: other words than these are no instant.
fn soon(text: &str, now: Timestamp) -> Option<Timestamp> {
    let mut words = text.trim().strip_prefix("in ")?.split_whitespace();
    let (count, unit) = (words.next()?, words.next()?);
    let count: i64 = if matches!(count, "a" | "an") { 1 } else { count.parse().ok()? };
    let span = match unit.trim_end_matches('s') {
        "sec" | "second" => time::Duration::seconds(count),
        "min" | "minute" => time::Duration::seconds(count.checked_mul(60)?),
        "hr" | "hour" => time::Duration::seconds(count.checked_mul(3600)?),
        "day" => time::Duration::seconds(count.checked_mul(86_400)?),
        _ => return None,
    };
    words.next().is_none().then(|| now.checked_add(span)).flatten()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_email_comes_to_a_send_request() {
        let now = datetime!(2026-11-28 5:00 UTC);
        let given = json!({"from": "a@b.c", "to": ["d@e.f"], "subject": "s", "html": "<p>", "cc": null, "scheduled_at": "in 2 hours",
            "tags": [{"name": "kind", "value": "receipt"}], "template": {"id": "welcome", "variables": {"x": 1}},
            "attachments": [{"filename": "a", "content": [104, 105]}, {"filename": "b", "content": {"type": "Buffer", "data": [104]}},
                {"filename": "c", "content": "aGk=", "content_id": "i"}]});
        let map = email(given, now).unwrap().map;
        let wanted = json!({"from": "a@b.c", "to": ["d@e.f"], "subject": "s", "html": "<p>", "send_at": "2026-11-28T07:00:00.000000Z",
            "metadata": {"kind": "receipt"}, "template": {"alias": "welcome", "variables": {"x": 1}},
            "attachments": [{"filename": "a", "content": "aGk="}, {"filename": "b", "content": "aA=="},
                {"filename": "c", "content": "aGk=", "content_id": "i"}]});
        assert_eq!(Value::Object(map), wanted);
        let given =
            json!({"form": "a@b.c", "topic_id": "t", "attachments": [{"path": "https://a"}], "tags": [{"value": 1}]});
        let faults = email(given, now).unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/tags/0/name", "/tags/0/value", "/attachments/0/path", "/topic_id", "/form"]);
    }

    #[test]
    fn times_in_words_are_read_as_far_as_they_are_plain() {
        let now = datetime!(2026-11-28 5:00 UTC);
        assert_eq!(soon("in 1 min", now), Some(datetime!(2026-11-28 5:01 UTC)));
        assert_eq!(soon("in an hour", now), Some(datetime!(2026-11-28 6:00 UTC)));
        for text in [
            "tomorrow",
            "in many days",
            "in 5",
            "in 5 minutes or so",
            "2026-11-28T05:00:00Z",
            "in 9223372036854775807 days",
        ] {
            assert_eq!(soon(text, now), None, "{text}");
        }
    }
}
