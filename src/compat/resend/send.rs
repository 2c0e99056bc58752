//! `POST /emails`, `POST /emails/batch`

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Error, answer, uuid_of};
use crate::api::body::UnreadBody;
use crate::compat::inner::{Call, Caller, IDEMPOTENCY_KEY, Inner, Refusal, pass_on};
use crate::compat::places::Places;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::{Fields, wrong_type};

/// Whether a batch is taken as far as it can be.
const VALIDATION: &str = "x-batch-validation";
const BATCH_MAX: usize = 100;

/// Fields that are the same in both.
const SAME: [&str; 8] = ["from", "to", "cc", "bcc", "reply_to", "subject", "html", "text"];

/// Sends one email.
pub async fn one(
    State(inner): State<Arc<Inner>>,
    caller: Caller,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let mut faults = Vec::new();
    let mut places = Places::default();
    let map = email(value, inner.api.clock.now(), (&mut faults, &mut places));
    if !faults.is_empty() {
        return Err(Error::of(Refusal::faulty(faults), &Places::default()));
    }
    let call = Call::new(Method::POST, "/v1/send".to_owned()).body(map, sent);
    let taken = inner.call(&caller, call.key(headers.get(&IDEMPOTENCY_KEY).cloned())).await;
    let taken = taken.map_err(|refusal| Error::of(refusal, &places))?;
    let id = uuid_of(taken.json()["id"].as_str().unwrap_or_default());
    let mut response = answer(StatusCode::OK, &json!({"id": id}));
    pass_on(&taken.headers, &mut response);
    Ok(response)
}

/// Sends up to a hundred, all or none of them; or, where that is asked for, those that are sound.
pub async fn batch(
    State(inner): State<Arc<Inner>>,
    caller: Caller,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let Value::Array(emails) = value else {
        return Err(Error::new(422, "validation_error", "the body must be a list of emails"));
    };
    if emails.len() > BATCH_MAX {
        return Err(Error::new(422, "validation_error", format!("{} emails; the limit is {BATCH_MAX}", emails.len())));
    }
    let mode = match headers.get(VALIDATION).map(|value| value.to_str().unwrap_or_default()) {
        None | Some("strict") => "strict",
        Some("permissive") => "permissive",
        Some(_) => return Err(Error::new(422, "validation_error", "x-batch-validation must be strict or permissive")),
    };
    let (now, mut places, mut messages, mut wrong) = (inner.api.clock.now(), Places::default(), Vec::new(), Vec::new());
    for (at, value) in emails.into_iter().enumerate() {
        let mut faults = Vec::new();
        let mut of_one = Places::default();
        let map = email(value, now, (&mut faults, &mut of_one));
        if faults.is_empty() {
            messages.push((at, map, of_one));
            continue;
        }
        wrong.push((at, Refusal::faulty(faults).told(&Places::default())));
    }
    if let Some((at, told)) = wrong.first().filter(|_| mode == "strict") {
        return Err(Error::new(422, "validation_error", format!("emails[{at}]: {told}")));
    }
    let positions: Vec<_> = messages.iter().map(|(at, ..)| *at).collect();
    let mut list = Vec::with_capacity(messages.len());
    for (index, (at, map, of_one)) in messages.into_iter().enumerate() {
        places.put(format!("/messages/{index}"), format!("emails[{at}]"));
        places.put_below(&format!("/messages/{index}"), &format!("emails[{at}]"), of_one);
        list.push(Value::Object(map));
    }
    let mut ids = Vec::new();
    let mut headers_of_answer = HeaderMap::new();
    if !list.is_empty() || wrong.is_empty() {
        let map = Map::from_iter([("messages".to_owned(), list.into()), ("mode".to_owned(), mode.into())]);
        let call = Call::new(Method::POST, "/v1/send/batch".to_owned()).body(map, sent);
        let taken = inner.call(&caller, call.key(headers.get(&IDEMPOTENCY_KEY).cloned())).await;
        let taken = taken.map_err(|refusal| Error::of(refusal, &places))?;
        for (index, result) in taken.json()["results"].as_array().into_iter().flatten().enumerate() {
            match result["id"].as_str() {
                Some(id) => ids.push(json!({"id": uuid_of(id)})),
                None => wrong.push((
                    positions.get(index).copied().unwrap_or(index),
                    Refusal::of_problem(&result["error"]).told(&places),
                )),
            }
        }
        headers_of_answer = taken.headers;
    }
    wrong.sort_by_key(|(at, _)| *at);
    let mut body = json!({"data": ids});
    if mode == "permissive" {
        let errors = wrong.into_iter().map(|(index, message)| json!({"index": index, "message": message}));
        body["errors"] = errors.collect();
    }
    let mut response = answer(StatusCode::OK, &body);
    pass_on(&headers_of_answer, &mut response);
    Ok(response)
}

/// An email in the words of a send request, and where what stands.
fn email(value: Value, now: Timestamp, (faults, places): (&mut Vec<Fault>, &mut Places)) -> Map<String, Value> {
    let mut out = Map::new();
    let map = match value {
        Value::Object(map) => map,
        other => {
            faults.push(wrong_type(String::new(), "an object", &other));
            return out;
        }
    };
    let mut fields = Fields::new(map, "", faults);
    for name in SAME {
        if let Some(value) = fields.take(name) {
            out.insert(name.to_owned(), value);
        }
    }
    if let Some(headers) = fields.take("headers") {
        out.insert("headers".to_owned(), headers);
    }
    if let Some(text) = fields.string("scheduled_at") {
        places.put("/send_at", "scheduled_at");
        out.insert("send_at".to_owned(), soon(&text, now).map_or(text, rfc3339).into());
    }
    if let Some(tags) = tags(&mut fields) {
        places.put("/metadata", "tags");
        out.insert("metadata".to_owned(), tags.into());
    }
    if let Some(template) = template(&mut fields) {
        places.put("/template/alias", "template.id");
        out.insert("template".to_owned(), template.into());
    }
    if let Some(files) = attachments(&mut fields) {
        out.insert("attachments".to_owned(), files.into());
    }
    if fields.take("topic_id").is_some() {
        fields.fault(
            "topic_id",
            FaultCode::Conflict,
            "there are no topics here: unsubscribe of POST /v1/send has streams",
        );
    }
    fields.finish();
    out
}

/// Pairs of `{name, value}`.
fn tags(fields: &mut Fields<'_>) -> Option<Map<String, Value>> {
    let list = fields.list("tags")?;
    let (at, mut out) = (fields.pointer("tags"), Map::new());
    for (index, item) in list.into_iter().enumerate() {
        let Value::Object(map) = item else {
            fields.faults.push(wrong_type(format!("{at}/{index}"), "an object", &item));
            continue;
        };
        let mut pair = Fields::new(map, format!("{at}/{index}"), fields.faults);
        let (name, value) = (pair.string("name"), pair.string("value"));
        if name.is_none() {
            pair.fault("name", FaultCode::Required, "must be given");
        }
        pair.finish();
        if let Some(name) = name {
            out.insert(name, value.unwrap_or_default().into());
        }
    }
    Some(out)
}

/// A template by its id or its alias: Resend has one field for both.
fn template(fields: &mut Fields<'_>) -> Option<Map<String, Value>> {
    let map = fields.object("template")?;
    let mut inner = Fields::new(map, fields.pointer("template"), fields.faults);
    let (id, variables) = (inner.string("id"), inner.take("variables"));
    if id.is_none() {
        inner.fault("id", FaultCode::Required, "must be given: the id or the alias of a template");
    }
    inner.finish();
    let id = id?;
    let name = if id.starts_with("tpl_") { "id" } else { "alias" };
    let mut out = Map::from_iter([(name.to_owned(), id.into())]);
    out.extend(variables.map(|variables| ("variables".to_owned(), variables)));
    Some(out)
}

fn attachments(fields: &mut Fields<'_>) -> Option<Vec<Value>> {
    let list = fields.list("attachments")?;
    let (at, mut out) = (fields.pointer("attachments"), Vec::with_capacity(list.len()));
    for (index, item) in list.into_iter().enumerate() {
        let Value::Object(map) = item else {
            fields.faults.push(wrong_type(format!("{at}/{index}"), "an object", &item));
            continue;
        };
        let mut file = Fields::new(map, format!("{at}/{index}"), fields.faults);
        let mut mapped = Map::new();
        for (theirs, ours) in [
            ("filename", "filename"),
            ("content_type", "content_type"),
            ("content_id", "content_id"),
            ("inline_content_id", "content_id"),
        ] {
            if let Some(value) = file.take(theirs) {
                mapped.insert(ours.to_owned(), value);
            }
        }
        if let Some(content) = file.take("content") {
            mapped.insert("content".to_owned(), content_of(content));
        }
        if file.take("path").is_some() {
            file.fault("path", FaultCode::Conflict, "nothing is fetched from elsewhere: give content, in base64");
        }
        file.finish();
        out.push(mapped.into());
    }
    Some(out)
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
        let (mut faults, mut places) = (Vec::new(), Places::default());
        let given = json!({"from": "a@b.c", "to": ["d@e.f"], "subject": "s", "html": "<p>", "cc": null, "scheduled_at": "in 2 hours",
            "tags": [{"name": "kind", "value": "receipt"}], "template": {"id": "welcome", "variables": {"x": 1}},
            "attachments": [{"filename": "a", "content": [104, 105]}, {"filename": "b", "content": {"type": "Buffer", "data": [104]}},
                {"filename": "c", "content": "aGk=", "content_id": "i"}]});
        let map = email(given, now, (&mut faults, &mut places));
        assert_eq!(faults, []);
        let wanted = json!({"from": "a@b.c", "to": ["d@e.f"], "subject": "s", "html": "<p>", "send_at": "2026-11-28T07:00:00.000000Z",
            "metadata": {"kind": "receipt"}, "template": {"alias": "welcome", "variables": {"x": 1}},
            "attachments": [{"filename": "a", "content": "aGk="}, {"filename": "b", "content": "aA=="},
                {"filename": "c", "content": "aGk=", "content_id": "i"}]});
        assert_eq!(Value::Object(map), wanted);
        let given =
            json!({"form": "a@b.c", "topic_id": "t", "attachments": [{"path": "https://a"}], "tags": [{"value": 1}]});
        email(given, now, (&mut faults, &mut places));
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/tags/0/value", "/tags/0/name", "/attachments/0/path", "/topic_id", "/form"]);
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
