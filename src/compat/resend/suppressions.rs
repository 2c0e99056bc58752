//! `/suppressions`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::read::{Page, page_of};
use super::{Error, Resend};
use crate::api::body::UnreadBody;
use crate::compat::ids::{id_of, uuid_of};
use crate::compat::inner::{Call, Caller, Inner, Refusal};
use crate::compat::query::Ours;
use crate::compat::service::{By, answer, fault, ok, text};
use crate::compat::suppressed::{self, Entry, find};
use crate::domain::fault::FaultCode;

const MANY_MAX: usize = 100;

/// Adds one address.
pub async fn add(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let map = object(value)?;
    let call = Call::new(Method::POST, "/v1/suppressions".to_owned()).body(map, sent);
    let added = inner.call(&caller, call).await?.json();
    Ok(answer(StatusCode::CREATED, &json!({"object": "suppression", "id": uuid_of(text(&added, "id"))})))
}

/// Adds up to a hundred.
pub async fn add_many(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let emails = list_in(object(value)?, "emails")?;
    let entries: Vec<_> = emails.iter().map(|email| Entry::new(email.clone(), "manual")).collect();
    suppressed::add(&inner, &caller, &entries, |at| format!("emails[{at}]"), sent).await?;
    let mut added = Vec::with_capacity(emails.len());
    for email in &emails {
        if let Some(found) = find(&inner, &caller, email).await?.first() {
            added.push(json!({"object": "suppression", "id": uuid_of(text(found, "id"))}));
        }
    }
    Ok(ok(&json!({"data": added})))
}

/// Takes up to a hundred off the list, by address or by id.
pub async fn remove_many(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, _) = inner.read(body).await?;
    let map = object(value)?;
    let name = if map.contains_key("ids") { "ids" } else { "emails" };
    let mut removed = Vec::new();
    for named in list_in(map, name)? {
        let ids = ids_of(&inner, &caller, &named).await?;
        for id in &ids {
            inner.call(&caller, Call::new(Method::DELETE, format!("/v1/suppressions/{id}"))).await?;
            removed.push(json!({"object": "suppression", "id": uuid_of(id), "deleted": true}));
        }
    }
    Ok(ok(&json!({"data": removed})))
}

/// The list, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let (page, others) = Page::of(pairs)?;
    let mut query = Ours::new("/v1/suppressions");
    for (name, value) in others {
        match (name.as_str(), value.as_str()) {
            ("origin", "bounce" | "complaint" | "manual") => query.put("reason", &value),
            ("origin", _) => {
                let detail = "must be bounce, complaint or manual";
                return Err(fault("origin", FaultCode::InvalidParameter, detail).into());
            }
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    let part = page.ask(&inner, &caller, query, "sup").await?;
    let entries: Vec<_> = part.entries.iter().map(|found| Value::Object(entry(found))).collect();
    Ok(page_of(part.has_more, &entries))
}

/// One entry, by its id or its address.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let ids = ids_of(&inner, &caller, &id).await?;
    let id = ids.first().ok_or_else(Refusal::not_found)?;
    let found = inner.call(&caller, Call::get(format!("/v1/suppressions/{id}"))).await?.json();
    let mut entry = entry(&found);
    entry.insert("object".to_owned(), "suppression".into());
    Ok(ok(&entry.into()))
}

/// Takes an entry off the list, by its id, or all of an address.
pub async fn remove(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let ids = ids_of(&inner, &caller, &id).await?;
    let first = ids.first().ok_or_else(Refusal::not_found)?;
    for id in &ids {
        inner.call(&caller, Call::new(Method::DELETE, format!("/v1/suppressions/{id}"))).await?;
    }
    Ok(ok(&json!({"object": "suppression", "id": uuid_of(first), "deleted": true})))
}

/// The ids of entries that are named by an id, or by an address.
async fn ids_of(inner: &Inner, caller: &Caller, named: &str) -> Result<Vec<String>, Error> {
    if !named.contains('@') {
        return Ok(vec![id_of("sup", named)?]);
    }
    let found = find(inner, caller, named).await?;
    Ok(found.iter().map(|found| text(found, "id").to_owned()).collect())
}

/// An entry in Resend's words.
fn entry(found: &Value) -> Map<String, Value> {
    let origin = match text(found, "reason") {
        "bounce" => "bounce",
        "complaint" => "complaint",
        _ => "manual",
    };
    let source = found["evidence"]["message_id"].as_str().map(uuid_of);
    let entries = [
        ("id", uuid_of(text(found, "id")).into()),
        ("email", found["email"].clone()),
        ("origin", origin.into()),
        ("source_id", json!(source)),
        ("created_at", found["created_at"].clone()),
    ];
    entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn object(value: Value) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(fault("", FaultCode::WrongType, "the body must be an object").into()),
    }
}

/// The one field of a body: a list of at most a hundred texts.
fn list_in(mut map: Map<String, Value>, name: &str) -> Result<Vec<String>, Error> {
    let items = map.remove(name);
    let texts = items
        .as_ref()
        .and_then(Value::as_array)
        .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    match texts {
        Some(texts) if map.is_empty() && (1..=MANY_MAX).contains(&texts.len()) => Ok(texts),
        _ => {
            let detail = format!("must be a list of 1 to {MANY_MAX} texts, and nothing else given");
            Err(fault(name, FaultCode::WrongType, detail).into())
        }
    }
}
