//! `POST /v3/{domain}/messages`, `POST /v3/{domain}/messages.mime`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::batch::each;
use super::{Error, Mailgun};
use crate::api::body::UnreadBody;
use crate::compat::draft::{Draft, Item, send_many};
use crate::compat::form::Form;
use crate::compat::inner::{Call, IDEMPOTENCY_KEY, Inner, pass_on};
use crate::compat::mail::mailboxes;
use crate::compat::raw::Whole;
use crate::compat::service::{By, fault, ok, text};
use crate::compose::mail_date;
use crate::domain::address::{NamedAddress, parse_domain};
use crate::domain::clock::{Timestamp, from_unix, rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::MessageId;
use crate::domain::message::made_message_id;

/// What is put into texts there, and not here.
const NOT_REPLACED: [&str; 5] = [
    "%unsubscribe_url%",
    "%tag_unsubscribe_url%",
    "%mailing_list_unsubscribe_url%",
    "%unsubscribe_email%",
    "%tag_unsubscribe_email%",
];

/// Refuses a text with one of them.
fn check_words(form: &mut Form, name: &str, text: &str) {
    if let Some(word) = NOT_REPLACED.iter().find(|word| text.contains(**word)) {
        let detail = format!("{word} is not replaced here: unsubscribe of POST /v1/send makes links");
        form.fault(name, FaultCode::Conflict, detail);
    }
}

/// Sends a message, or one for each recipient that has variables of its own.
pub async fn send(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    let (mut form, sent) = inner.form(body).await?;
    let draft = message(&mut form);
    let variables = form.object("recipient-variables");
    form.finish()?;
    let from = draft.map.get("from").and_then(Value::as_str).map(str::to_owned);
    let own_id = draft.map.get("message_id").and_then(Value::as_str).map(str::to_owned);
    let key = headers.get(&IDEMPOTENCY_KEY).cloned();
    let (id, passed) = match variables {
        Some(variables) if !variables.is_empty() => {
            let items = each(&inner, &draft, &variables)?;
            let items = items.into_iter().map(|draft| Item { name: String::new(), read: Ok(draft) }).collect();
            let taken = send_many((&inner, &caller), items, true, sent, key).await?;
            let first = taken.each.iter().find_map(|each| each.as_ref().ok()).map(|first| text(first, "id").to_owned());
            (first.unwrap_or_default(), taken.headers)
        }
        _ => {
            let taken = draft.send(&inner, &caller, sent, key).await?;
            (text(&taken.json(), "id").to_owned(), taken.headers)
        }
    };
    let mut response = queued(&own_id.unwrap_or_else(|| message_id(&id, from.as_deref())));
    pass_on(&passed, &mut response);
    Ok(response)
}

/// Sends a message that comes whole.
pub async fn mime(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    let (mut form, sent) = inner.form(body).await?;
    let mut draft = Draft::default();
    envelope(&mut form, &mut draft);
    // What the message says of itself stands in it.
    form.texts("subject");
    let mut id = String::new();
    let mut parts = form.parts("message");
    if parts.len() > 1 {
        form.fault("message", FaultCode::DuplicateField, "must be given once");
    }
    match parts.pop() {
        None => form.fault("message", FaultCode::Required, "must be given: the message"),
        Some(part) => match Whole::read(&part.into_bytes(), &inner) {
            Err(flaw) => form.faults.push(flaw.at("/message")),
            Ok(whole) => {
                if !draft.map.contains_key("from") {
                    draft.put_some("from", whole.from, "message");
                }
                draft.put("raw", whole.raw, "message");
                id = whole.message_id;
            }
        },
    }
    options(&mut form, &mut draft);
    values(&mut form, &mut draft);
    form.finish()?;
    let taken = draft.send(&inner, &caller, sent, headers.get(&IDEMPOTENCY_KEY).cloned()).await?;
    // What was sent before has the id that it was given then.
    if taken.headers.contains_key("idempotent-replayed") {
        let stored = inner.call(&caller, Call::get(format!("/v1/messages/{}", text(&taken.json(), "id")))).await;
        if let Ok(stored) = stored {
            text(&stored.json(), "message_id").clone_into(&mut id);
        }
    }
    let mut response = queued(&id);
    pass_on(&taken.headers, &mut response);
    Ok(response)
}

pub(super) fn check_domain(domain: &str) -> Result<(), Vec<Fault>> {
    let detail = |error| fault("domain", FaultCode::InvalidDomain, format!("of the path: {error}"));
    parse_domain(domain).map(|_| ()).map_err(detail)
}

fn queued(id: &str) -> Response {
    ok(&json!({"id": format!("<{}>", id.trim_matches(['<', '>'])), "message": "Queued. Thank you."}))
}

/// The `Message-ID` of a message that has none of the caller's own.
fn message_id(id: &str, from: Option<&str>) -> String {
    let from = from.and_then(|from| NamedAddress::parse(from).ok());
    match (MessageId::parse(id), from) {
        (Some(id), Some(from)) => made_message_id(id, from.address.domain()),
        _ => id.to_owned(),
    }
}

/// A message in the words of a send request, but for `recipient-variables`.
fn message(form: &mut Form) -> Draft {
    let mut draft = Draft::default();
    envelope(form, &mut draft);
    for name in ["from", "to"] {
        if !draft.map.contains_key(name) {
            form.fault(name, FaultCode::Required, "must be given");
        }
    }
    for name in ["subject", "text", "html"] {
        if let Some(text) = form.text(name) {
            check_words(form, name, &text);
            draft.put(name, text, name);
        }
    }
    if let Some(amp) = form.text("amp-html") {
        check_words(form, "amp-html", &amp);
        let alternative = [("content_type".to_owned(), "text/x-amp-html".into()), ("content".to_owned(), amp.into())];
        draft.push("alternatives", Map::from_iter(alternative), "amp-html");
    }
    for (name, is_inline) in [("attachment", false), ("inline", true)] {
        for part in form.parts(name) {
            let mut file = part.attachment();
            if is_inline {
                file.insert("disposition".to_owned(), "inline".into());
                file.insert("content_id".to_owned(), file["filename"].clone());
            }
            draft.push("attachments", file, name);
        }
    }
    let is_templated = template(form, &mut draft);
    options(form, &mut draft);
    let values = values(form, &mut draft);
    if is_templated {
        for (name, text) in values {
            let variables = draft.map["template"].get("variables");
            if variables.is_none_or(|variables| variables.get(&name).is_none()) {
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                variable(&mut draft, &name, value);
            }
        }
    } else if !["text", "html"].iter().any(|name| draft.map.contains_key(*name)) {
        form.fault("text", FaultCode::Required, "must be given, or html, or template");
    }
    for name in form.names() {
        if let Some(header) = name.strip_prefix("h:") {
            let Some(text) = form.entry(&name) else { continue };
            check_words(form, &name, &text);
            let lower = header.to_ascii_lowercase();
            let ours = match lower.as_str() {
                "reply-to" => "reply_to",
                "message-id" => "message_id",
                _ => "headers",
            };
            if ours != "headers" && draft.map.contains_key(ours) {
                form.fault(&name, FaultCode::DuplicateField, "is there already, in other letters");
            }
            if lower.starts_with("x-mailgun-") {
                form.fault(&name, FaultCode::Conflict, "is not understood as a header: say it by o:, v: or t:");
            }
            match header.to_ascii_lowercase().as_str() {
                "reply-to" => draft.put("reply_to", mailboxes(&text, ','), name),
                "message-id" => draft.put("message_id", text, name),
                _ => draft.set("headers", header, text, name.clone()),
            }
        }
    }
    draft
}

/// Who sends, and who is to get it.
fn envelope(form: &mut Form, draft: &mut Draft) {
    draft.put_some("from", form.text("from"), "from");
    for name in ["to", "cc", "bcc"] {
        let all: Vec<_> = form.texts(name).iter().flat_map(|text| mailboxes(text, ',')).collect();
        if !all.is_empty() {
            draft.put(name, all, name);
        }
    }
}

/// A template, and what it is filled with; whether there is one.
fn template(form: &mut Form, draft: &mut Draft) -> bool {
    let named = form.text("template");
    let is_templated = named.is_some();
    if let Some(named) = named {
        draft.template(named, "template");
        draft.places.put("/template/variables", "t:variables");
    }
    let theirs = ["t:variables", "h:X-Mailgun-Variables"];
    for name in theirs {
        let Some(text) = form.entry(name) else { continue };
        if is_templated {
            for (name, value) in form.object_of(name, &text).unwrap_or_default() {
                variable(draft, &name, value);
            }
        } else if name == "t:variables" {
            form.fault(name, FaultCode::Conflict, "needs a template");
        } else {
            for (entry, value) in form.object_of(name, &text).unwrap_or_default() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                draft.set("metadata", &entry, text, name);
            }
        }
    }
    if form.switch("t:text") == Some(true) {
        form.fault("t:text", FaultCode::Conflict, "must be no: templates have a text of their own");
    }
    match form.text("t:version").map(|version| version.parse::<u32>()) {
        Some(Ok(version)) if is_templated => draft.set("template", "version", version, "t:version"),
        Some(_) => {
            form.fault("t:version", FaultCode::UnknownVersion, "must be the number of a version of the template");
        }
        None => {}
    }
    is_templated
}

fn variable(draft: &mut Draft, name: &str, value: Value) {
    if let Some(Value::Object(template)) = draft.map.get_mut("template") {
        let variables = template.entry("variables").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(variables) = variables {
            variables.insert(name.to_owned(), value);
        }
    }
}

/// `v:`, which is told with every event.
fn values(form: &mut Form, draft: &mut Draft) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for name in form.names() {
        if let Some(entry) = name.strip_prefix("v:")
            && let Some(text) = form.entry(&name)
        {
            draft.set("metadata", entry, text.clone(), name.clone());
            values.push((entry.to_owned(), text));
        }
    }
    values
}

/// `o:`, how it is to be sent.
fn options(form: &mut Form, draft: &mut Draft) {
    for (at, tag) in form.texts("o:tag").into_iter().enumerate() {
        draft.push("tags", tag, if at == 0 { "o:tag".to_owned() } else { format!("o:tag[{at}]") });
    }
    draft.places.put("/tags", "o:tag");
    draft.places.put("/tracking", "o:tracking");
    if let Some(text) = form.text("o:deliverytime") {
        match time(&text) {
            Some(at) => draft.put("send_at", rfc3339(at), "o:deliverytime"),
            None => form.fault(
                "o:deliverytime",
                FaultCode::InvalidTime,
                "must be a date as in mail (RFC 5322, section 3.3)",
            ),
        }
    }
    tracking(form, draft);
    if form.switch("o:require-tls") == Some(true) {
        draft.put("tls", "required", "o:require-tls");
    }
    for (name, wanted, why) in [
        ("o:skip-verification", false, "must be no: how certificates are looked at is the operator's"),
        ("o:dkim", true, "must be yes: what has a key is signed"),
        ("o:testmode", false, "must be no: use a test key (mw_test_…)"),
    ] {
        if form.switch(name).is_some_and(|given| given != wanted) {
            form.fault(name, FaultCode::Conflict, why);
        }
    }
    if let Some(text) = form.text("o:deliver-within") {
        match span(&text) {
            Some(seconds) => draft.put("ttl_seconds", seconds, "o:deliver-within"),
            None => form.fault("o:deliver-within", FaultCode::InvalidTime, "must be a span such as 1h30m"),
        }
    }
    draft.put_some("ip_pool", form.text("o:sending-ip-pool"), "o:sending-ip-pool");
    for (name, why) in [
        ("o:archive-to", "nothing is sent to elsewhere: use bcc"),
        ("o:deliverytime-optimize-period", "there is none here"),
        ("o:secondary-dkim", "what has two keys is signed by both"),
        ("o:secondary-dkim-public", "what has two keys is signed by both"),
        ("o:sending-ip", "name a pool: o:sending-ip-pool"),
        ("o:suppress-headers", "no header of Mailgun's is written"),
        ("o:time-zone-localize", "there is none here"),
        ("o:tracking-pixel-location-top", "the picture stands at the end"),
    ] {
        form.refuse(name, why);
    }
}

/// Opens and clicks, each by its own word or by the word for both.
fn tracking(form: &mut Form, draft: &mut Draft) {
    let mut switch = |name: &'static str| {
        let text = form.text(name)?;
        match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "htmlonly" => Some(true),
            "no" | "false" => Some(false),
            _ => {
                form.fault(name, FaultCode::InvalidParameter, "must be yes, no or htmlonly");
                None
            }
        }
    };
    let (both, opens, clicks) = (switch("o:tracking"), switch("o:tracking-opens"), switch("o:tracking-clicks"));
    for (ours, own, theirs) in [("opens", opens, "o:tracking-opens"), ("clicks", clicks, "o:tracking-clicks")] {
        if let Some(is_on) = own.or(both) {
            draft.set("tracking", ours, is_on, if own.is_some() { theirs } else { "o:tracking" });
        }
    }
}

/// Seconds of `1h30m`.
fn span(text: &str) -> Option<u64> {
    let (mut seconds, mut rest) = (0_u64, text.trim());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(seconds).filter(|seconds| *seconds > 0)
}

/// An instant of RFC 5322 §3.3, or in seconds since 1970.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "parts of a second are not looked at")]
        Ok(seconds) => seconds.is_finite().then(|| from_unix(seconds as i64)).flatten(),
        Err(_) => mail_date(text),
    }
}
