//! `/suppressions`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::read::{Page, page_of};
use super::{Error, answer, id_of, uuid_of};
use crate::api::body::UnreadBody;
use crate::compat::inner::{Call, Caller, Inner, Refusal};
use crate::compat::places::Places;

const MANY_MAX: usize = 100;

/// Adds one address.
pub async fn add(State(inner): State<Arc<Inner>>, caller: Caller, body: UnreadBody) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let map = object(value)?;
    let call = Call::new(Method::POST, "/v1/suppressions".to_owned()).body(map, sent);
    let added = inner.call(&caller, call).await?.json();
    Ok(answer(StatusCode::CREATED, &json!({"object": "suppression", "id": uuid_of(text(&added, "id"))})))
}

/// Adds up to a hundred.
pub async fn add_many(State(inner): State<Arc<Inner>>, caller: Caller, body: UnreadBody) -> Result<Response, Error> {
    let (value, sent) = inner.read(body).await?;
    let emails = list_in(object(value)?, "emails")?;
    let mut places = Places::default();
    for at in 0..emails.len() {
        places.put(format!("/suppressions/{at}/email"), format!("emails[{at}]"));
    }
    let entries: Vec<_> = emails.iter().map(|email| json!({"email": email})).collect();
    let map = Map::from_iter([("suppressions".to_owned(), entries.into())]);
    let call = Call::new(Method::POST, "/v1/suppressions".to_owned()).body(map, sent);
    inner.call(&caller, call).await.map_err(|refusal| Error::of(refusal, &places))?;
    let mut added = Vec::with_capacity(emails.len());
    for email in &emails {
        if let Some(found) = find(&inner, &caller, email).await?.first() {
            added.push(json!({"object": "suppression", "id": uuid_of(text(found, "id"))}));
        }
    }
    Ok(answer(StatusCode::OK, &json!({"data": added})))
}

/// Takes up to a hundred off the list, by address or by id.
pub async fn remove_many(State(inner): State<Arc<Inner>>, caller: Caller, body: UnreadBody) -> Result<Response, Error> {
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
    Ok(answer(StatusCode::OK, &json!({"data": removed})))
}

/// The list, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let (page, others) = Page::of(pairs)?;
    let mut query = page.query("sup")?;
    for (name, value) in others {
        match (name.as_str(), value.as_str()) {
            ("origin", "bounce" | "complaint" | "manual") => query.push_str(&format!("&reason={value}")),
            ("origin", _) => return Err(wrong("`origin` must be bounce, complaint or manual")),
            _ => return Err(wrong(&format!("`{name}` is not a parameter here"))),
        }
    }
    let listed = inner.call(&caller, Call::get(format!("/v1/suppressions?{query}"))).await?.json();
    let entries = listed["data"].as_array().into_iter().flatten().map(|found| Value::Object(entry(found)));
    Ok(page_of(&listed, &entries.collect::<Vec<_>>()))
}

/// One entry, by its id or its address.
pub async fn get(State(inner): State<Arc<Inner>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Error> {
    let ids = ids_of(&inner, &caller, &id).await?;
    let id = ids.first().ok_or_else(Refusal::not_found)?;
    let found = inner.call(&caller, Call::get(format!("/v1/suppressions/{id}"))).await?.json();
    let mut entry = entry(&found);
    entry.insert("object".to_owned(), "suppression".into());
    Ok(answer(StatusCode::OK, &entry.into()))
}

/// Takes an entry off the list, by its id, or all of an address.
pub async fn remove(
    State(inner): State<Arc<Inner>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let ids = ids_of(&inner, &caller, &id).await?;
    let first = ids.first().ok_or_else(Refusal::not_found)?;
    for id in &ids {
        inner.call(&caller, Call::new(Method::DELETE, format!("/v1/suppressions/{id}"))).await?;
    }
    Ok(answer(StatusCode::OK, &json!({"object": "suppression", "id": uuid_of(first), "deleted": true})))
}

/// The ids of entries that are named by an id, or by an address.
async fn ids_of(inner: &Inner, caller: &Caller, named: &str) -> Result<Vec<String>, Error> {
    if !named.contains('@') {
        return Ok(vec![id_of("sup", named)?]);
    }
    let found = find(inner, caller, named).await?;
    Ok(found.iter().map(|found| text(found, "id").to_owned()).collect())
}

/// The entries of an address for all mail.
async fn find(inner: &Inner, caller: &Caller, email: &str) -> Result<Vec<Value>, Error> {
    let map = Map::from_iter([("addresses".to_owned(), json!([email]))]);
    let call = Call::new(Method::POST, "/v1/suppressions/check".to_owned()).body(map, inner.unsent());
    let checked = inner.call(caller, call).await?.json();
    let entries = checked["data"][0]["suppressions"].as_array().into_iter().flatten();
    Ok(entries.filter(|entry| entry["scope"] == "project").cloned().collect())
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
        _ => Err(wrong("the body must be an object")),
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
        _ => Err(wrong(&format!("`{name}` must be a list of 1 to {MANY_MAX} texts, and nothing else given"))),
    }
}

fn wrong(message: &str) -> Error {
    Error::new(422, "validation_error", message)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}
