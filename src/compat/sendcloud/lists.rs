//! `bounce`, `unsubscribe`, `spamreported`: one list of the project, by reason.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::parameters::{Asked, days, part, written};
use super::{Error, told};
use crate::compat::inner::{Inner, Refusal};
use crate::compat::service::{fault, text};
use crate::compat::suppressed::{self, Entry, Search};
use crate::domain::clock::parse_rfc3339;
use crate::domain::fault::FaultCode;

/// Our reasons for what is in a list of theirs, and what its time is called.
fn list_of(name: &str) -> Result<(&'static [&'static str], &'static str), Error> {
    match name {
        "bounce" => Ok((&["bounce"], "bounceTime")),
        "spamreported" => Ok((&["complaint"], "reportTime")),
        "unsubscribe" => Ok((&["unsubscribe", "manual"], "unsubscribeTime")),
        _ => Err(Refusal::not_found().into()),
    }
}

/// A part of a list: of some days, or of one address.
pub async fn list(State(inner): State<Arc<Inner>>, Path(name): Path<String>, asked: Asked) -> Result<Response, Error> {
    let (reasons, time) = list_of(&name)?;
    let Asked { caller, mut form, .. } = asked;
    let (since, until) = days(&mut form, inner.api.clock.now());
    let (email, (start, limit)) = (form.text("email").map(|email| email.to_lowercase()), part(&mut form));
    form.finish()?;
    let search = if let Some(email) = email.clone() {
        Search { reasons, begins: Some((email, "email")), limit: usize::MAX, ..Search::default() }
    } else {
        Search { reasons, since, until, limit: start + limit, ..Search::default() }
    };
    let found = search.run(&inner, &caller).await?;
    if found.entries.len() < start + limit && found.next.is_some() && email.is_none() {
        return Err(too_far());
    }
    let entries = found.entries.iter().filter(|entry| email.as_ref().is_none_or(|email| entry["email"] == **email));
    let rows: Vec<_> = entries.skip(start).take(limit).map(|entry| row(entry, time)).collect();
    Ok(told(&json!({"count": rows.len(), "dataList": rows})))
}

/// How many there are of some days.
pub async fn count(State(inner): State<Arc<Inner>>, Path(name): Path<String>, asked: Asked) -> Result<Response, Error> {
    let (reasons, _) = list_of(&name)?;
    let Asked { caller, mut form, .. } = asked;
    let (since, until) = days(&mut form, inner.api.clock.now());
    form.finish()?;
    let found = Search { reasons, since, until, limit: usize::MAX, ..Search::default() }.run(&inner, &caller).await?;
    if found.next.is_some() {
        return Err(too_far());
    }
    Ok(told(&json!({"count": found.entries.len()})))
}

fn too_far() -> Error {
    let detail = "goes back too far: GET /v1/suppressions/export has the whole list";
    fault("startDate", FaultCode::TooFar, detail).into()
}

/// Adds an address to those that want no mail; to the other lists nothing is added there.
pub async fn add(State(inner): State<Arc<Inner>>, Path(name): Path<String>, asked: Asked) -> Result<Response, Error> {
    if name != "unsubscribe" {
        return Err(Refusal::not_found().into());
    }
    let Asked { caller, mut form, user } = asked;
    let email = form.text("email");
    if email.is_none() {
        form.fault("email", FaultCode::Required, "must be given");
    }
    form.finish()?;
    let email = email.unwrap_or_default();
    let entry = [Entry::new(email.clone(), "unsubscribe")];
    suppressed::add(&inner, &caller, &entry, |_| "email".to_owned(), inner.unsent()).await?;
    let domain = email.rsplit('@').next().map(str::to_owned);
    let at = written(inner.api.clock.now());
    let data = json!({"email": email, "domain": domain, "labelId": 0, "apiUser": user, "unsubscribeTime": at});
    Ok(told(&json!({"data": data})))
}

/// Takes one address off a list.
pub async fn delete(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, Error> {
    let (reasons, _) = list_of(&name)?;
    let Asked { caller, mut form, .. } = asked;
    for name in ["days", "startDate", "endDate"] {
        form.refuse(name, "all of some days are not removed at once: name an email");
    }
    let email = form.text("email");
    if email.is_none() {
        form.fault("email", FaultCode::Required, "must be given");
    }
    form.finish()?;
    let removed = suppressed::remove(&inner, &caller, &email.unwrap_or_default(), reasons).await?;
    Ok(told(&json!({"count": removed})))
}

fn row(entry: &Value, time: &str) -> Value {
    let email = text(entry, "email");
    let reply = text(&entry["evidence"]["reply"], "text");
    let reason = if reply.is_empty() { text(&entry["evidence"], "text") } else { reply };
    let mut row = json!({"email": email, "domain": email.rsplit('@').next(), "reason": reason});
    row[time] = parse_rfc3339(text(entry, "created_at")).map(written).into();
    row
}
