//! `/v3/suppression/…`, `/v3/asm/suppressions/global`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Error, SendGrid};
use crate::api::body::UnreadBody;
use crate::compat::inner::{Inner, Refusal};
use crate::compat::query::number;
use crate::compat::service::{By, answer, fault, ok, text};
use crate::compat::suppressed::{self, Entry, Search};
use crate::domain::clock::{Timestamp, from_unix, parse_rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

const MANY_MAX: usize = 1000;
const LIMIT_MAX: usize = 500;

/// Our reasons for what is in a list of theirs: none for what is told of a message here, and not of an address.
fn reasons_of(kind: &str) -> Result<&'static [&'static str], Error> {
    match kind {
        "bounces" => Ok(&["bounce"]),
        "spam_reports" => Ok(&["complaint"]),
        "unsubscribes" => Ok(&["unsubscribe", "manual"]),
        "blocks" | "invalid_emails" => Ok(&[]),
        _ => Err(Refusal::not_found().into()),
    }
}

/// A list, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Path(kind): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let reasons = reasons_of(&kind)?;
    let (mut limit, mut email) = (LIMIT_MAX, None);
    let mut search = Search { reasons, ..Search::default() };
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => limit = number(&name, &value)?.min(LIMIT_MAX),
            "offset" if value == "0" => {}
            "offset" => {
                let detail = "must be 0: go on with end_time";
                return Err(fault("offset", FaultCode::InvalidParameter, detail).into());
            }
            "email" => email = Some(value.to_lowercase()),
            "start_time" => search.since = Some(seconds(&name, &value)?),
            "end_time" => search.until = Some(seconds(&name, &value)?),
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    if reasons.is_empty() {
        return Ok(ok(&json!([])));
    }
    search.limit = if email.is_some() { usize::MAX } else { limit };
    search.begins = email.clone().map(|email| (email, "email"));
    let found = search.run(&inner, &caller).await?;
    if found.entries.len() < limit && found.next.is_some() {
        let detail = "goes back too far: GET /v1/suppressions/export has the whole list";
        return Err(fault("end_time", FaultCode::TooFar, detail).into());
    }
    let is_wanted = |entry: &&Value| email.as_ref().is_none_or(|email| entry["email"] == **email);
    Ok(ok(&found.entries.iter().filter(is_wanted).take(limit).map(entry_of).collect()))
}

fn seconds(name: &str, value: &str) -> Result<Timestamp, Vec<Fault>> {
    let at = value.parse().ok().and_then(from_unix);
    at.ok_or_else(|| fault(name, FaultCode::InvalidTime, "must be an instant in seconds since 1970"))
}

/// What is there of one address: none or one.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Path((kind, email)): Path<(String, String)>,
) -> Result<Response, Error> {
    let reasons = reasons_of(&kind)?;
    let found = suppressed::find(&inner, &caller, &email).await?;
    let found = found.iter().filter(|entry| reasons.contains(&text(entry, "reason")));
    Ok(ok(&found.map(entry_of).collect()))
}

/// Takes one address off a list.
pub async fn remove(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Path((kind, email)): Path<(String, String)>,
) -> Result<Response, Error> {
    match suppressed::remove(&inner, &caller, &email, reasons_of(&kind)?).await? {
        0 => Err(Refusal::not_found().into()),
        _ => Ok(no_content()),
    }
}

/// Takes some addresses off a list.
pub async fn remove_many(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Path(kind): Path<String>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let reasons = reasons_of(&kind)?;
    let (value, _) = inner.read(body).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::of(value, "", &mut faults);
    if fields.bool("delete_all") == Some(true) {
        fields.fault("delete_all", FaultCode::Conflict, "all at once are not deleted: name emails");
    }
    let emails = fields.strings("emails", MANY_MAX).unwrap_or_default();
    fields.finish();
    if !faults.is_empty() {
        return Err(faults.into());
    }
    for email in &emails {
        suppressed::remove(&inner, &caller, email, reasons).await?;
    }
    Ok(no_content())
}

/// Nothing goes to these addresses any more.
pub async fn unsubscribe(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::of(value, "", &mut faults);
    let emails = fields.strings("recipient_emails", MANY_MAX);
    if emails.as_ref().is_none_or(Vec::is_empty) {
        fields.fault("recipient_emails", FaultCode::Required, "must have at least one address");
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(faults.into());
    }
    let entries: Vec<_> =
        emails.unwrap_or_default().into_iter().map(|email| Entry::new(email, "unsubscribe")).collect();
    suppressed::add(&inner, &caller, &entries, |at| format!("recipient_emails[{at}]"), sent).await?;
    let emails: Vec<_> = entries.into_iter().map(|entry| entry.email).collect();
    Ok(answer(StatusCode::CREATED, &json!({"recipient_emails": emails})))
}

/// Whether an address is unsubscribed from all mail.
pub async fn unsubscribed(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<SendGrid>,
    Path(email): Path<String>,
) -> Result<Response, Error> {
    let found = suppressed::find(&inner, &caller, &email).await?;
    let is_there = found.iter().any(|entry| ["unsubscribe", "manual"].contains(&text(entry, "reason")));
    Ok(ok(&if is_there { json!({"recipient_email": email}) } else { json!({}) }))
}

pub async fn resubscribe(
    inner: State<Arc<Inner>>,
    by: By<SendGrid>,
    Path(email): Path<String>,
) -> Result<Response, Error> {
    remove(inner, by, Path(("unsubscribes".to_owned(), email))).await
}

fn no_content() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// An entry in SendGrid's words.
fn entry_of(entry: &Value) -> Value {
    let created = parse_rfc3339(text(entry, "created_at")).map(Timestamp::unix_timestamp);
    let reply = &entry["evidence"]["reply"];
    json!({"created": created, "email": entry["email"], "reason": text(reply, "text"), "status": text(reply, "enhanced")})
}
