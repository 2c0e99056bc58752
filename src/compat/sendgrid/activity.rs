//! `GET /v3/messages`, `GET /v3/messages/{id}`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Error, SendGrid};
use crate::compat::ids::{id_of, uuid_of};
use crate::compat::inner::{Call, Inner, Refusal};
use crate::compat::mail::events_of;
use crate::compat::query::{Ours, number};
use crate::compat::service::{By, fault, list as list_of, ok, text};
use crate::domain::fault::{Fault, FaultCode};

/// Each message is read for its recipients.
const LIMIT_MAX: usize = 100;

/// A row for each recipient, newest message first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let (mut limit, mut wanted) = (10, None);
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => limit = number(&name, &value)?.min(LIMIT_MAX),
            "query" => wanted = Some(wanted_by(&value)?),
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    let mut messages = Vec::new();
    if let Some(Wanted::Message(id)) = &wanted {
        match inner.call(&caller, Call::get(format!("/v1/messages/{id}"))).await {
            Ok(found) => messages.push(found.json()),
            Err(refusal) if refusal.kind == "not-found" => {}
            Err(refusal) => return Err(refusal.into()),
        }
    } else {
        let mut query = Ours::new("/v1/messages");
        query.put("limit", &limit.max(1).to_string());
        if let Some(Wanted::Recipient(email)) = &wanted {
            query.put_of("to", email, "query");
        }
        let listed = query.ask(&inner, &caller).await?;
        for message in list_of(&listed, "data") {
            let path = format!("/v1/messages/{}", text(message, "id"));
            messages.push(inner.call(&caller, Call::get(path)).await?.json());
        }
    }
    let mut rows = Vec::new();
    for message in &messages {
        for recipient in list_of(message, "recipients") {
            let is_wanted = match &wanted {
                Some(Wanted::Recipient(email)) => text(recipient, "email").eq_ignore_ascii_case(email),
                _ => true,
            };
            if is_wanted && rows.len() < limit {
                rows.push(row(message, recipient));
            }
        }
    }
    Ok(ok(&json!({"messages": rows})))
}

/// What a query asks for.
enum Wanted {
    Recipient(String),
    /// Our id.
    Message(String),
}

/// `to_email="a@b.c"`, `msg_id="…"`, or `msg_id LIKE '…%'`: the language has more words than are understood.
fn wanted_by(query: &str) -> Result<Wanted, Vec<Fault>> {
    let not_understood = || fault("query", FaultCode::InvalidParameter, "must be to_email=\"…\" or msg_id=\"…\"");
    let (name, value) = match query.split_once('=') {
        Some(pair) => pair,
        None => query.split_once(" LIKE ").or_else(|| query.split_once(" like ")).ok_or_else(not_understood)?,
    };
    let value = value.trim().trim_matches(['"', '\'']).trim_end_matches('%');
    match name.trim() {
        "to_email" => Ok(Wanted::Recipient(value.to_owned())),
        "msg_id" => id_of("msg", value).map(Wanted::Message).map_err(|_| not_understood()),
        _ => Err(not_understood()),
    }
}

fn row(message: &Value, recipient: &Value) -> Value {
    let count = |name: &str| u8::from(recipient[name].is_string());
    let last = recipient["settled_at"].as_str().or_else(|| message["created_at"].as_str());
    json!({"from_email": message["from"], "msg_id": uuid_of(text(message, "id")), "subject": message["subject"],
        "to_email": recipient["email"], "status": status_of(text(recipient, "status")), "opens_count": count("opened_at"),
        "clicks_count": count("clicked_at"), "last_event_time": last})
}

fn status_of(status: &str) -> &'static str {
    match status {
        "delivered" => "delivered",
        "bounced" | "expired" | "suppressed" | "cancelled" => "not_delivered",
        _ => "processed",
    }
}

/// One message, of its first recipient, with what happened to it.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let message = inner.call(&caller, Call::get(format!("/v1/messages/{id}"))).await?.json();
    let recipient = list_of(&message, "recipients").first().ok_or_else(Refusal::not_found)?;
    let events = events_of(&inner, &caller, &id).await?;
    let of_recipient = events.iter().filter(|event| event["recipient_id"] == recipient["id"]).filter_map(event_of);
    Ok(ok(&json!({"from_email": message["from"], "msg_id": uuid_of(&id), "subject": message["subject"],
        "to_email": recipient["email"], "status": status_of(text(recipient, "status")), "template_id": message["template"],
        "events": of_recipient.collect::<Vec<_>>()})))
}

/// An event in SendGrid's words; `None`: it has none for it.
fn event_of(event: &Value) -> Option<Value> {
    let name = match text(event, "type") {
        "message.queued" => "processed",
        "message.delivered" => "delivered",
        "message.deferred" => "deferred",
        "message.bounced" | "message.bounced_later" | "message.expired" => "bounce",
        "message.suppressed" => "drop",
        "message.opened" => "open",
        "message.clicked" => "click",
        "message.complained" => "spam_report",
        "message.unsubscribed" => "unsubscribe",
        _ => return None,
    };
    let mut told = json!({"event_name": name, "processed": event["occurred_at"]});
    if event["reply"].is_object() {
        told["reason"] = event["reply"]["text"].clone();
        told["mx_server"] = event["reply"]["host"].clone();
    }
    Some(told)
}
