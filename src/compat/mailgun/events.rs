//! `GET /v3/{domain}/events`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::links::Here;
use super::send::{check_domain, time};
use super::{Error, Mailgun};
use crate::compat::inner::{Call, Caller, Inner};
use crate::compat::mail::{events_of, of_kind, whole};
use crate::compat::query::{Ours, number};
use crate::compat::service::{By, fault, list as list_of, ok, text};
use crate::domain::clock::{Timestamp, parse_rfc3339, rfc3339};
use crate::domain::fault::{Fault, FaultCode};
use crate::webhook::forms::mailgun::{EVENTS, event_data, name_of};

const LIMIT_MAX: usize = 300;
/// Messages that are looked at at once, and how often, until there is something for a page.
const MESSAGES_MAX: usize = 100;
const LOOKS_MAX: usize = 100;

/// What is asked for.
#[derive(Debug, Default)]
struct Filter {
    /// Ours; empty: all that have a name there.
    types: Vec<&'static str>,
    severity: Option<String>,
    recipient: Option<String>,
    message_id: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    is_ascending: bool,
    limit: usize,
}

/// Where a page begins.
#[derive(Debug)]
enum Page {
    /// Behind so many events of one message.
    Events(usize),
    /// At that place of the project's log.
    Log(String),
    /// Behind that message, and so many events of the next one, from new to old.
    Messages(Option<String>, usize),
}

/// The first page.
pub async fn list(
    inner: State<Arc<Inner>>,
    by: By<Mailgun>,
    Path(domain): Path<String>,
    here: Here,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    told(inner, by, (domain, None), here, query).await
}

/// A page that a link led to.
pub async fn page(
    inner: State<Arc<Inner>>,
    by: By<Mailgun>,
    Path((domain, page)): Path<(String, String)>,
    here: Here,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    told(inner, by, (domain, Some(page)), here.above(), query).await
}

async fn told(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    (domain, named): (String, Option<String>),
    here: Here,
    Query(mut pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    let mut token = named;
    pairs.retain(|(name, value)| {
        if name == "page" {
            token.get_or_insert_with(|| value.clone());
        }
        name != "page"
    });
    let filter = Filter::read(&pairs)?;
    let page = Page::read(token.as_deref(), &filter)?;
    let found = match &page {
        Page::Events(from) => of_message(&inner, &caller, &filter, *from).await?,
        Page::Log(cursor) => of_log(&inner, &caller, &filter, cursor).await?,
        Page::Messages(behind, skipped) => newest(&inner, &caller, &filter, (behind.clone(), *skipped)).await?,
    };
    let link = |page: &Page| {
        let token = page.token();
        let mut query = vec![("page".to_owned(), token.clone())];
        query.extend(pairs.iter().cloned());
        here.link(&format!("/{token}"), &query)
    };
    let first = page.first();
    let previous = match &page {
        Page::Events(from) => Page::Events(from.saturating_sub(filter.limit)),
        _ => page.first(),
    };
    let paging = json!({"next": link(&found.next), "previous": link(&previous), "first": link(&first), "last": link(&found.next)});
    Ok(ok(&json!({"items": found.items, "paging": paging})))
}

impl Filter {
    fn read(pairs: &[(String, String)]) -> Result<Self, Vec<Fault>> {
        let mut filter = Self { limit: 100, ..Self::default() };
        let instant = |name: &str, value: &str| {
            time(value)
                .ok_or_else(|| fault(name, FaultCode::InvalidTime, "must be a date as in mail, or seconds since 1970"))
        };
        for (name, value) in pairs {
            match name.as_str() {
                "event" => filter.types = types(value)?,
                "severity" if ["permanent", "temporary"].contains(&value.as_str()) => {
                    filter.severity = Some(value.clone());
                }
                "severity" => {
                    return Err(fault(name, FaultCode::InvalidParameter, "must be permanent or temporary"));
                }
                "recipient" | "to" => filter.recipient = Some(value.to_lowercase()),
                "message-id" => filter.message_id = Some(value.trim_matches(['<', '>']).to_owned()),
                "begin" => filter.since = Some(instant(name, value)?),
                "end" => filter.until = Some(instant(name, value)?),
                "ascending" => match value.to_ascii_lowercase().as_str() {
                    "yes" | "true" => filter.is_ascending = true,
                    "no" | "false" => filter.is_ascending = false,
                    _ => return Err(fault(name, FaultCode::InvalidParameter, "must be yes or no")),
                },
                "limit" => filter.limit = number(name, value)?,
                _ => return Err(fault(name, FaultCode::UnknownParameter, "is not a parameter here")),
            }
        }
        if filter.limit == 0 || filter.limit > LIMIT_MAX {
            let detail = format!("must be from 1 to {LIMIT_MAX}");
            return Err(fault("limit", FaultCode::InvalidParameter, detail));
        }
        Ok(filter)
    }

    fn wants(&self, event: &Value) -> bool {
        let at = parse_rfc3339(text(event, "occurred_at"));
        let is_in_time = at
            .is_none_or(|at| self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until));
        let kind = text(event, "type");
        let is_temporary = kind == "message.deferred";
        name_of(kind).is_some()
            && (self.types.is_empty() || self.types.contains(&kind))
            && self
                .severity
                .as_ref()
                .is_none_or(|severity| name_of(kind) == Some("failed") && (severity == "temporary") == is_temporary)
            && self.recipient.as_ref().is_none_or(|email| text(event, "email").eq_ignore_ascii_case(email))
            && is_in_time
    }
}

/// Our types of `delivered`, or of `failed OR rejected`.
fn types(value: &str) -> Result<Vec<&'static str>, Vec<Fault>> {
    let mut types = Vec::new();
    for word in value.split(" OR ") {
        let known = EVENTS.iter().find(|(name, _)| *name == word.trim());
        let Some((_, ours)) = known else {
            let names = EVENTS.map(|(name, _)| name).join(", ");
            return Err(fault("event", FaultCode::UnknownEvent, format!("must be one of {names}")));
        };
        types.extend_from_slice(ours);
    }
    Ok(types)
}

impl Page {
    fn read(token: Option<&str>, filter: &Filter) -> Result<Self, Vec<Fault>> {
        let wrong = || fault("page", FaultCode::InvalidParameter, "is none that a link led to");
        let Some(token) = token else {
            return Ok(match (&filter.message_id, filter.is_ascending) {
                (Some(_), _) => Self::Events(0),
                (None, true) => Self::Log(String::new()),
                (None, false) => Self::Messages(None, 0),
            });
        };
        let (kind, rest) = token.split_at_checked(1).ok_or_else(wrong)?;
        let decoded = || String::from_utf8(URL_SAFE_NO_PAD.decode(rest).ok()?).ok();
        match kind {
            "e" => rest.parse().map(Self::Events).map_err(|_| wrong()),
            "l" => decoded().map(Self::Log).ok_or_else(wrong),
            "m" => {
                let text = decoded().ok_or_else(wrong)?;
                let (id, skipped) = text.split_once(' ').ok_or_else(wrong)?;
                let behind = Some(id.to_owned()).filter(|id| !id.is_empty());
                Ok(Self::Messages(behind, skipped.parse().map_err(|_| wrong())?))
            }
            _ => Err(wrong()),
        }
    }

    fn token(&self) -> String {
        match self {
            Self::Events(from) => format!("e{from}"),
            Self::Log(cursor) => format!("l{}", URL_SAFE_NO_PAD.encode(cursor)),
            Self::Messages(id, skipped) => {
                format!("m{}", URL_SAFE_NO_PAD.encode(format!("{} {skipped}", id.as_deref().unwrap_or_default())))
            }
        }
    }

    fn first(&self) -> Self {
        match self {
            Self::Events(_) => Self::Events(0),
            Self::Log(_) => Self::Log(String::new()),
            Self::Messages(..) => Self::Messages(None, 0),
        }
    }
}

/// Events in Mailgun's words, and where to go on.
struct Found {
    items: Vec<Value>,
    next: Page,
}

/// Those of the messages that have an id.
async fn of_message(inner: &Inner, caller: &Caller, filter: &Filter, from: usize) -> Result<Found, Error> {
    let mut query = Ours::new("/v1/messages");
    query.put("message_id", filter.message_id.as_deref().unwrap_or_default());
    let listed = query.ask(inner, caller).await?;
    let mut items = Vec::new();
    for message in list_of(&listed, "data") {
        let events = events_of(inner, caller, text(message, "id")).await?;
        items.extend(events.iter().filter(|event| filter.wants(event)).map(|event| item(event, message)));
    }
    items.sort_by(|one, other| {
        one["timestamp"].as_f64().unwrap_or_default().total_cmp(&other["timestamp"].as_f64().unwrap_or_default())
    });
    if !filter.is_ascending {
        items.reverse();
    }
    let items: Vec<_> = items.into_iter().skip(from).take(filter.limit).collect();
    let next = Page::Events(from + items.len());
    Ok(Found { items, next })
}

/// Those of the project, oldest first.
async fn of_log(inner: &Inner, caller: &Caller, filter: &Filter, cursor: &str) -> Result<Found, Error> {
    let all: Vec<_> = EVENTS.iter().flat_map(|(_, ours)| ours.iter().copied()).collect();
    let (mut items, mut messages, mut cursor) = (Vec::new(), BTreeMap::new(), cursor.to_owned());
    // Until there is something, or the log is at its end: who sees nothing does not go on.
    for _ in 0..LOOKS_MAX {
        let mut query = Ours::new("/v1/events");
        query.put("limit", &filter.limit.to_string());
        if cursor.is_empty() {
            if let Some(since) = filter.since {
                query.put("since", &rfc3339(since));
            }
        } else {
            query.put("after", &cursor);
        }
        for kind in if filter.types.is_empty() { &all } else { &filter.types } {
            query.put("type", kind);
        }
        let page = query.ask(inner, caller).await?;
        let events = list_of(&page, "data");
        for event in events.iter().map(flat).filter(|event| filter.wants(event)) {
            let id = text(&event, "message_id").to_owned();
            if !messages.contains_key(&id) {
                // What is erased still has events; what they say of it is what there is.
                let found = inner.call(caller, Call::get(format!("/v1/messages/{id}"))).await;
                messages.insert(id.clone(), found.map_or_else(|_| event.clone(), |found| found.json()));
            }
            items.push(item(&event, &messages[&id]));
        }
        text(&page, "next_cursor").clone_into(&mut cursor);
        if !items.is_empty() || events.is_empty() {
            break;
        }
    }
    Ok(Found { items, next: Page::Log(cursor) })
}

/// Those of the newest messages, newest first.
async fn newest(
    inner: &Inner,
    caller: &Caller,
    filter: &Filter,
    (mut last, mut skipped): (Option<String>, usize),
) -> Result<Found, Error> {
    let mut items = Vec::new();
    for _ in 0..LOOKS_MAX {
        let mut query = Ours::new("/v1/messages");
        query.put("limit", &filter.limit.min(MESSAGES_MAX).to_string());
        // What was accepted earlier may have events later, and not the other way about.
        if let Some(until) = filter.until {
            query.put("until", &rfc3339(until));
        }
        if let Some(recipient) = &filter.recipient {
            query.put_of("to", recipient, "recipient");
        }
        if let Some(last) = &last {
            query.put("cursor", last);
        }
        let listed = query.ask(inner, caller).await?;
        for message in list_of(&listed, "data") {
            let mut events = events_of(inner, caller, text(message, "id")).await?;
            events.retain(|event| filter.wants(event));
            let message = &whole(inner, caller, message).await?;
            let left = filter.limit - items.len();
            let of_page = events.iter().rev().skip(skipped).take(left);
            items.extend(of_page.map(|event| item(event, message)));
            if events.len() > skipped + left {
                return Ok(Found { items, next: Page::Messages(last, skipped + left) });
            }
            skipped = 0;
            last = Some(text(message, "id").to_owned());
        }
        match listed["next_cursor"].as_str() {
            // Where a look ended may lie behind the last that it found.
            Some(next) => last = Some(next.to_owned()),
            None => break,
        }
        if !items.is_empty() {
            break;
        }
    }
    Ok(Found { items, next: Page::Messages(last, skipped) })
}

/// An event of the project's log in the form of a message's.
fn flat(event: &Value) -> Value {
    let mut flat = event["data"].clone();
    flat["type"] = event["type"].clone();
    flat["id"] = event["id"].clone();
    flat["occurred_at"] = event["timestamp"].clone();
    flat
}

/// An event in Mailgun's words.
fn item(event: &Value, message: &Value) -> Value {
    let to: Vec<_> = of_kind(message, "to").into_iter().filter_map(Value::as_str).collect();
    let headers = json!({"message-id": message["message_id"], "from": message["from"], "to": to.join(", "),
        "subject": message["subject"]});
    event_data(event, &headers, message)
}
