//! `GET /emails`, `GET /emails/{id}`, `PATCH /emails/{id}`, `POST /emails/{id}/cancel`

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Error, Resend};
use crate::api::body::UnreadBody;
use crate::compat::ids::{id_of, uuid_of};
use crate::compat::inner::{Call, Caller, Inner, Refusal};
use crate::compat::mail::{Letter, of_kind, whole};
use crate::compat::places::Places;
use crate::compat::query::{Ours, number};
use crate::compat::service::{By, fault, list as list_of, ok, text};
use crate::domain::fault::FaultCode;

/// How far back it is looked for what is newer than an entry: our lists go from new to old.
const LOOKS_MAX: usize = 20;

/// Which part of a list.
#[derive(Debug, Default)]
pub struct Page {
    limit: Option<usize>,
    after: Option<String>,
    before: Option<String>,
}

/// A part of a list, newest first, and whether there is more of it in that direction.
pub struct Part {
    pub entries: Vec<Value>,
    pub has_more: bool,
}

impl Page {
    /// Out of the parameters of a query, with those that are left.
    pub fn of(pairs: Vec<(String, String)>) -> Result<(Self, Vec<(String, String)>), Error> {
        let (mut page, mut others) = (Self::default(), Vec::new());
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => page.limit = Some(number(&name, &value)?),
                "after" => page.after = Some(value),
                "before" => page.before = Some(value),
                _ => others.push((name, value)),
            }
        }
        if !(1..=100).contains(&page.limit.unwrap_or(1)) {
            return Err(fault("limit", FaultCode::InvalidParameter, "must be from 1 to 100").into());
        }
        if page.after.is_some() && page.before.is_some() {
            return Err(fault("before", FaultCode::Conflict, "must not be given together with after").into());
        }
        Ok((page, others))
    }

    /// That part of a list of ours, whose ids have this prefix.
    pub async fn ask(&self, inner: &Inner, caller: &Caller, query: Ours, prefix: &str) -> Result<Part, Error> {
        let limit = self.limit.unwrap_or(20);
        let Some(before) = &self.before else {
            let mut query = query;
            query.put("limit", &limit.to_string());
            if let Some(after) = &self.after {
                query.put_of("cursor", &id_of(prefix, after)?, "after");
            }
            let listed = query.ask(inner, caller).await?;
            let has_more = !listed["next_cursor"].is_null();
            return Ok(Part { entries: list_of(&listed, "data").to_vec(), has_more });
        };
        let before = id_of(prefix, before)?;
        let (mut window, mut passed, mut cursor) = (VecDeque::new(), 0, None::<String>);
        for _ in 0..LOOKS_MAX {
            let mut look = query.clone();
            look.put("limit", "500");
            if let Some(cursor) = &cursor {
                look.put("cursor", cursor);
            }
            let listed = look.ask(inner, caller).await?;
            for entry in list_of(&listed, "data") {
                if text(entry, "id") == before {
                    let has_more = passed > window.len();
                    return Ok(Part { entries: window.into(), has_more });
                }
                passed += 1;
                window.push_back(entry.clone());
                if window.len() > limit {
                    window.pop_front();
                }
            }
            match listed["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Err(Refusal::not_found().into()),
            }
        }
        Err(fault("before", FaultCode::TooFar, "lies too far back: go on with after").into())
    }
}

/// One email, with its words, as long as they are kept.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let message = inner.call(&caller, Call::get(format!("/v1/messages/{id}"))).await?.json();
    let mut email = summary(&message);
    email.insert("object".to_owned(), "email".into());
    let letter = Letter::of(&inner, &caller, &id).await?;
    email.insert("html".to_owned(), letter.html.into());
    email.insert("text".to_owned(), letter.text.into());
    email.insert("reply_to".to_owned(), json!(letter.reply_to));
    let tags = message["metadata"].as_object().into_iter().flatten();
    let tags = tags.map(|(name, value)| json!({"name": name, "value": value}));
    email.insert("tags".to_owned(), tags.collect());
    Ok(ok(&email.into()))
}

/// The project's emails, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let (page, others) = Page::of(pairs)?;
    if let Some((name, _)) = others.first() {
        return Err(fault(name, FaultCode::UnknownParameter, "is not a parameter here").into());
    }
    let part = page.ask(&inner, &caller, Ours::new("/v1/messages"), "msg").await?;
    let mut emails = Vec::with_capacity(part.entries.len());
    for message in &part.entries {
        emails.push(Value::Object(summary(&whole(&inner, &caller, message).await?)));
    }
    Ok(page_of(part.has_more, &emails))
}

/// A page in Resend's form.
pub fn page_of(has_more: bool, entries: &[Value]) -> Response {
    ok(&json!({"object": "list", "has_more": has_more, "data": entries}))
}

/// Another time for what is scheduled.
pub async fn reschedule(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Path(id): Path<String>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let (value, sent) = inner.read(body).await?;
    let mut places = Places::default();
    places.put("/send_at", "scheduled_at");
    let at = value["scheduled_at"].as_str().filter(|_| value.as_object().is_some_and(|map| map.len() == 1));
    let Some(at) = at else {
        return Err(fault("scheduled_at", FaultCode::Required, "must be given, and nothing else").into());
    };
    let map = Map::from_iter([("send_at".to_owned(), at.into())]);
    let call = Call::new(Method::PATCH, format!("/v1/messages/{id}")).body(map, sent);
    let edited = inner.call(&caller, call).await.map_err(|refusal| Error::of(refusal, places))?.json();
    done(&id, &edited, "edited")
}

/// Cancels what is scheduled, or waits for its next try.
pub async fn cancel(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Resend>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = id_of("msg", &id)?;
    let call = Call::new(Method::POST, format!("/v1/messages/{id}/cancel"));
    let cancelled = inner.call(&caller, call).await?.json();
    done(&id, &cancelled, "cancelled")
}

/// What became of a wish: it came too late unless something was done.
fn done(id: &str, recalled: &Value, word: &str) -> Result<Response, Error> {
    let recipients = list_of(recalled, "recipients");
    if !recipients.is_empty() && recipients.iter().all(|recipient| recipient["result"] != word) {
        return Err(fault("", FaultCode::Conflict, "too late: the email was sent, or is being sent").into());
    }
    Ok(ok(&json!({"object": "email", "id": uuid_of(id)})))
}

/// What a list shows of an email.
fn summary(message: &Value) -> Map<String, Value> {
    let recipients = list_of(message, "recipients");
    let of = |kind: &str| of_kind(message, kind);
    let or_none = |list: Vec<&Value>| if list.is_empty() { Value::Null } else { json!(list) };
    let entries = [
        ("id", uuid_of(text(message, "id")).into()),
        ("message_id", format!("<{}>", text(message, "message_id").trim_matches(['<', '>'])).into()),
        ("to", json!(of("to"))),
        ("cc", or_none(of("cc"))),
        ("bcc", or_none(of("bcc"))),
        ("reply_to", Value::Null),
        ("from", message["from"].clone()),
        ("subject", message["subject"].clone()),
        ("created_at", message["created_at"].clone()),
        ("scheduled_at", message["send_at"].clone()),
        ("last_event", last_event(message, recipients).into()),
    ];
    entries.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// The event that says most of an email; of several recipients the one that went worst.
fn last_event(message: &Value, recipients: &[Value]) -> &'static str {
    if message["status"] == "scheduled" {
        return "scheduled";
    }
    let happened = |name: &str| recipients.iter().any(|recipient| recipient[name].is_string());
    for (at, event) in [("complained_at", "complained"), ("clicked_at", "clicked"), ("opened_at", "opened")] {
        if happened(at) {
            return event;
        }
    }
    let has = |status: &str| recipients.iter().any(|recipient| recipient["status"] == status);
    for (status, event) in [
        ("bounced", "bounced"),
        ("expired", "failed"),
        ("suppressed", "suppressed"),
        ("cancelled", "canceled"),
        ("deferred", "delivery_delayed"),
        ("sending", "sent"),
        ("queued", "queued"),
        ("delivered", "delivered"),
    ] {
        if has(status) {
            return event;
        }
    }
    "queued"
}
