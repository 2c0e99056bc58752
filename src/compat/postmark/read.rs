//! `GET /messages/outbound`, `GET /messages/outbound/{id}/details`, `GET /messages/outbound/{id}/dump`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Error, Postmark};
use crate::compat::ids::{id_of, uuid_of};
use crate::compat::inner::{Call, Inner};
use crate::compat::mail::{Letter, events_of, of_kind, whole};
use crate::compat::query::{Ours, number};
use crate::compat::service::{By, fault, list as list_of, ok, text};
use crate::domain::clock::{Timestamp, parse_rfc3339, rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::named_tag::STREAM;
use crate::webhook::forms::postmark::bounce_id;

/// The farthest message that can be asked for, as with Postmark.
const FARTHEST: usize = 10_000;
pub(super) const COUNT_MAX: usize = 500;

/// The messages, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let (mut count, mut offset, mut query, mut metadata) = (100, 0, Ours::new("/v1/messages"), Vec::new());
    for (name, value) in pairs {
        match name.to_ascii_lowercase().as_str() {
            "count" => count = number(&name, &value)?,
            "offset" => offset = number(&name, &value)?,
            "recipient" => query.put_of("to", &value, &name),
            "fromemail" => query.put_of("from", &value, &name),
            "tag" => query.put_of("tag", &value, &name),
            "subject" => query.put_of("q", &value, &name),
            "fromdate" => query.put("since", &rfc3339(instant(&name, &value, false)?)),
            "todate" => query.put("until", &rfc3339(instant(&name, &value, true)?)),
            "messagestream" if value == "outbound" => {}
            "messagestream" => query.put("tag", &format!("{STREAM}{value}")),
            "status" => match value.to_ascii_lowercase().as_str() {
                "queued" => query.put("status", "queued"),
                "sent" => ["delivered", "partially_delivered"].iter().for_each(|state| query.put("status", state)),
                "processed" => ["failed", "cancelled"].iter().for_each(|state| query.put("status", state)),
                _ => return Err(fault(&name, FaultCode::InvalidParameter, "must be queued, sent or processed").into()),
            },
            lower if lower.starts_with("metadata_") => metadata.push((name["metadata_".len()..].to_owned(), value)),
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    within(count, offset)?;
    let is_wanted = |message: &Value| metadata.iter().all(|(name, value)| message["metadata"][name] == **value);
    let (mut looked, mut seen, mut messages, mut cursor) = (0, 0, Vec::new(), None::<String>);
    let end = loop {
        let mut page = query.clone();
        page.put("limit", &COUNT_MAX.to_string());
        if let Some(cursor) = &cursor {
            page.put("cursor", cursor);
        }
        let listed = page.ask(&inner, &caller).await?;
        looked += list_of(&listed, "data").len();
        for message in list_of(&listed, "data").iter().filter(|message| is_wanted(message)) {
            if seen >= offset && messages.len() < count {
                messages.push(Value::Object(summary(&whole(&inner, &caller, message).await?)));
            }
            seen += 1;
        }
        match listed["next_cursor"].as_str() {
            None => break seen,
            // How many there are is not counted: who goes on sees an empty page.
            Some(_) if messages.len() == count => break FARTHEST,
            Some(next) => cursor = Some(next.to_owned()),
        }
        if looked >= FARTHEST {
            break FARTHEST;
        }
    };
    Ok(ok(&json!({"TotalCount": end, "Messages": messages})))
}

/// Whether a page may be asked for.
pub(super) fn within(count: usize, offset: usize) -> Result<(), Vec<Fault>> {
    if count == 0 || count > COUNT_MAX {
        return Err(fault("count", FaultCode::InvalidParameter, format!("must be from 1 to {COUNT_MAX}")));
    }
    if count.saturating_add(offset) > FARTHEST {
        let detail = format!("count and offset must not be above {FARTHEST} together: go on with todate");
        return Err(fault("offset", FaultCode::InvalidParameter, detail));
    }
    Ok(())
}

/// Postmark's times are of days or of seconds, and without a zone they are here those of UTC. A day ends with its last second.
pub(super) fn instant(name: &str, value: &str, is_end: bool) -> Result<Timestamp, Vec<Fault>> {
    let whole = match value.len() {
        10 if is_end => format!("{value}T23:59:59Z"),
        10 => format!("{value}T00:00:00Z"),
        19 => format!("{}Z", value.replace(' ', "T")),
        _ => value.to_owned(),
    };
    parse_rfc3339(&whole)
        .ok_or_else(|| fault(name, FaultCode::InvalidTime, "must be a day or a time (2026-11-28T09:30:00)"))
}

/// One message, with its words and what happened to it.
pub async fn details(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let message = inner.call(&caller, Call::get(format!("/v1/messages/{id}"))).await?.json();
    let letter = Letter::of(&inner, &caller, &id).await?;
    let events = events_of(&inner, &caller, &id).await?;
    let mut details = summary(&message);
    details.insert("TextBody".to_owned(), letter.text.into());
    details.insert("HtmlBody".to_owned(), letter.html.into());
    details.insert("Attachments".to_owned(), json!(letter.attachments));
    details.insert("Body".to_owned(), String::from_utf8_lossy(&letter.raw).into());
    let events = events.iter().filter_map(event_of);
    details.insert("MessageEvents".to_owned(), events.collect());
    Ok(ok(&details.into()))
}

/// The message as it was sent.
pub async fn dump(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let raw = inner.call(&caller, Call::get(format!("/v1/messages/{id}/raw"))).await?.bytes;
    Ok(ok(&json!({"Body": String::from_utf8_lossy(&raw)})))
}

/// An event in Postmark's words; `None`: it has none for it.
fn event_of(event: &Value) -> Option<Value> {
    let kind = match text(event, "type") {
        "message.delivered" => "Delivered",
        "message.bounced" | "message.bounced_later" | "message.expired" => "Bounced",
        "message.deferred" => "Transient",
        "message.opened" => "Opened",
        "message.clicked" => "LinkClicked",
        "message.unsubscribed" | "message.complained" => "SubscriptionChanged",
        _ => return None,
    };
    let reply = &event["reply"];
    let words =
        format!("{} {}", reply["code"].as_i64().map_or_else(String::new, |code| code.to_string()), text(reply, "text"));
    let (words, host) = (words.trim(), text(reply, "host"));
    let details = match kind {
        "Delivered" | "Transient" => json!({"DeliveryMessage": words, "DestinationServer": host, "DestinationIP": ""}),
        "Bounced" => {
            json!({"Summary": words, "DestinationServer": host, "BounceID": bounce_id(text(event, "id")).to_string()})
        }
        "LinkClicked" => json!({"Summary": "", "Link": text(&event["engagement"], "url"), "ClickLocation": "HTML"}),
        "SubscriptionChanged" => json!({"Summary": "", "Origin": "Recipient", "SuppressSending": "True"}),
        _ => json!({"Summary": ""}),
    };
    let (recipient, at) = (&event["email"], &event["occurred_at"]);
    Some(json!({"Recipient": recipient, "Type": kind, "ReceivedAt": at, "Details": details}))
}

/// What a list shows of a message.
fn summary(message: &Value) -> Map<String, Value> {
    let of = |kind: &str| -> Vec<Value> {
        of_kind(message, kind).into_iter().map(|email| json!({"Email": email, "Name": null})).collect()
    };
    let recipients: Vec<_> = list_of(message, "recipients").iter().map(|recipient| &recipient["email"]).collect();
    let tags = || list_of(message, "tags").iter().filter_map(Value::as_str);
    let stream = tags().find_map(|tag| tag.strip_prefix(STREAM)).unwrap_or("outbound");
    let status = match text(message, "status") {
        "scheduled" | "queued" | "sending" => "Queued",
        "delivered" | "partially_delivered" => "Sent",
        _ => "Processed",
    };
    let entries = [
        ("Tag", json!(tags().find(|tag| !tag.starts_with(STREAM)))),
        ("MessageID", uuid_of(text(message, "id")).into()),
        ("MessageStream", stream.into()),
        ("To", of("to").into()),
        ("Cc", of("cc").into()),
        ("Bcc", of("bcc").into()),
        ("Recipients", json!(recipients)),
        ("ReceivedAt", message["created_at"].clone()),
        ("From", message["from"].clone()),
        ("Subject", message["subject"].clone()),
        ("Attachments", json!([])),
        ("Status", status.into()),
        // Whether opens and clicks are followed is not kept with a message.
        ("TrackOpens", false.into()),
        ("TrackLinks", "None".into()),
        ("Metadata", message["metadata"].clone()),
        ("Sandboxed", (message["mode"] == "test").into()),
    ];
    entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}
