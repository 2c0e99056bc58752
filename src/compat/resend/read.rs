//! `GET /emails`, `GET /emails/{id}`, `PATCH /emails/{id}`, `POST /emails/{id}/cancel`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Error, Resend};
use crate::api::body::UnreadBody;
use crate::compat::ids::{id_of, uuid_of};
use crate::compat::inner::{Call, Inner};
use crate::compat::mail::{Letter, of_kind};
use crate::compat::places::Places;
use crate::compat::service::{By, fault, list as list_of, ok, text};
use crate::domain::fault::FaultCode;

/// Which part of a list.
#[derive(Debug, Default)]
pub struct Page {
    limit: Option<u16>,
    after: Option<String>,
}

impl Page {
    /// Out of the parameters of a query, with those that are left.
    pub fn of(pairs: Vec<(String, String)>) -> Result<(Self, Vec<(String, String)>), Error> {
        let (mut page, mut others) = (Self::default(), Vec::new());
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => page.limit = Some(value.parse().unwrap_or_default()),
                "after" => page.after = Some(value),
                "before" => {
                    return Err(
                        fault("before", FaultCode::InvalidParameter, "is not understood: go on with `after`").into()
                    );
                }
                _ => others.push((name, value)),
            }
        }
        Ok((page, others))
    }

    /// The query of our own list.
    pub fn query(&self, prefix: &str) -> Result<String, Error> {
        let limit = self.limit.unwrap_or(20);
        if !(1..=100).contains(&limit) {
            return Err(fault("limit", FaultCode::InvalidParameter, "must be from 1 to 100").into());
        }
        let cursor = self.after.as_deref().map(|after| id_of(prefix, after)).transpose()?;
        Ok(format!("limit={limit}{}", cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"))))
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
    let listed = inner.call(&caller, Call::get(format!("/v1/messages?{}", page.query("msg")?))).await?.json();
    let emails = listed["data"].as_array().into_iter().flatten().map(|message| Value::Object(summary(message)));
    Ok(page_of(&listed, &emails.collect::<Vec<_>>()))
}

/// A page in Resend's form.
pub fn page_of(listed: &Value, entries: &[Value]) -> Response {
    let has_more = !listed["next_cursor"].is_null();
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
