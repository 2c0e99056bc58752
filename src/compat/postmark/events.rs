//! `/bounces`, and `GET /messages/outbound/opens` and `…/clicks`: what happened to mail, out of the project's log of events.
//!
//! The log goes forward, and Postmark's lists go back: it is walked to its end to count, and from where the wanted page stands
//! once more. What is kept meanwhile is one page.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::response::Response;
use serde_json::{Map, Value, json};
use time::Duration;

use super::read::{COUNT_MAX, instant, within};
use super::{Error, Postmark};
use crate::compat::ids::id_of;
use crate::compat::inner::{Call, Caller, Inner, Refusal};
use crate::compat::query::{Ours, number};
use crate::compat::service::{By, fault, list, ok, text};
use crate::compat::suppressed;
use crate::domain::clock::{Timestamp, parse_rfc3339, rfc3339};
use crate::domain::event::EventType;
use crate::domain::fault::FaultCode;
use crate::domain::id::MessageId;
use crate::webhook::forms::postmark::{name_of, record, second_of};

const BOUNCES: &[&str] = &["message.bounced", "message.bounced_later", "message.expired", "message.complained"];
const OPENS: &[&str] = &["message.opened"];
const CLICKS: &[&str] = &["message.clicked"];

/// How many pages of the log are looked at, of `COUNT_MAX` events at most.
const LOOKS_MAX: usize = 40;
/// How much later than another an event stands in the log, at most, that happened before it: the log has the order of commits.
const LATE: Duration = Duration::minutes(10);
/// Postmark's words for what bounced; ours are some of them.
const BOUNCE_TYPES: [&str; 22] = [
    "AddressChange",
    "AutoResponder",
    "BadEmailAddress",
    "Blocked",
    "ChallengeVerification",
    "DMARCPolicy",
    "DnsError",
    "HardBounce",
    "InboundError",
    "ManuallyDeactivated",
    "OpenRelayTest",
    "SMTPApiError",
    "SoftBounce",
    "SpamComplaint",
    "SpamNotification",
    "Subscribe",
    "TemplateRenderingFailed",
    "Transient",
    "Unconfirmed",
    "Unknown",
    "Unsubscribe",
    "VirusNotification",
];

type Pairs = Query<Vec<(String, String)>>;

pub async fn bounces(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    pairs: Pairs,
) -> Result<Response, Error> {
    listed(&inner, &caller, Wanted::of(BOUNCES), pairs, "Bounces").await
}

pub async fn opens(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    pairs: Pairs,
) -> Result<Response, Error> {
    listed(&inner, &caller, Wanted::of(OPENS), pairs, "Opens").await
}

pub async fn clicks(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    pairs: Pairs,
) -> Result<Response, Error> {
    listed(&inner, &caller, Wanted::of(CLICKS), pairs, "Clicks").await
}

pub async fn opens_of(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
    pairs: Pairs,
) -> Result<Response, Error> {
    listed(&inner, &caller, Wanted::of(OPENS).by(&id)?, pairs, "Opens").await
}

pub async fn clicks_of(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
    pairs: Pairs,
) -> Result<Response, Error> {
    listed(&inner, &caller, Wanted::of(CLICKS).by(&id)?, pairs, "Clicks").await
}

pub async fn bounce(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let mut bounce = find(&inner, &caller, &id).await?;
    // What the server said is what there is of its words.
    bounce["Content"] = bounce["Details"].clone();
    Ok(ok(&bounce))
}

/// The mail that told of a bounce, which is not kept: as with Postmark's own after 30 days.
pub async fn dump(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    find(&inner, &caller, &id).await?;
    Ok(ok(&json!({"Body": ""})))
}

/// Takes a bounced address off the list of suppressed ones. As with Postmark, who complained stays on it.
pub async fn activate(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let mut bounce = find(&inner, &caller, &id).await?;
    if bounce["Inactive"] == true && bounce["CanActivate"] == false {
        let detail = "must be of a bounce that can be activated: who complained stays suppressed";
        return Err(fault("bounceid", FaultCode::Conflict, detail).into());
    }
    suppressed::remove(&inner, &caller, text(&bounce, "Email"), &["bounce"]).await?;
    (bounce["Inactive"], bounce["CanActivate"]) = (false.into(), false.into());
    Ok(ok(&json!({"Message": "OK", "Bounce": bounce})))
}

/// The bounce of that number.
async fn find(inner: &Inner, caller: &Caller, id: &str) -> Result<Value, Error> {
    let missing = || Refusal { kind: "no-bounce".to_owned(), ..Refusal::not_found() };
    let id = id.parse::<u64>().map_err(|_| missing())?;
    let second = second_of(id).ok_or_else(missing)?;
    let wanted = Wanted { since: Some(second), until: Some(second.saturating_add(LATE)), ..Wanted::of(BOUNCES) };
    let mut after = None;
    for _ in 0..LOOKS_MAX {
        let Some((records, next)) = wanted.page(inner, caller, after.as_deref()).await? else { break };
        if let Some(found) = records.into_iter().find(|record| record["ID"] == id) {
            return Ok(found);
        }
        after = Some(next);
    }
    Err(missing().into())
}

/// A page of a list, newest first.
async fn listed(
    inner: &Inner,
    caller: &Caller,
    mut wanted: Wanted,
    Query(pairs): Pairs,
    name: &str,
) -> Result<Response, Error> {
    let (mut count, mut offset) = (100, 0);
    for (name, value) in pairs {
        match (name.to_ascii_lowercase().as_str(), value.as_str()) {
            ("count", _) => count = number(&name, &value)?,
            ("offset", _) => offset = number(&name, &value)?,
            _ => wanted.put(&name, value)?,
        }
    }
    within(count, offset)?;
    // Where each page of the log begins, and how many of what is wanted stand before it.
    let (mut total, mut starts, mut after) = (0, Vec::new(), None::<String>);
    while let Some((records, next)) = wanted.page(inner, caller, after.as_deref()).await? {
        if starts.len() == LOOKS_MAX {
            let detail =
                "must be given, and later: there is more than one answer looks at. GET /v1/events/export has all";
            return Err(fault("fromdate", FaultCode::TooFar, detail).into());
        }
        starts.push((total, after.replace(next)));
        total += records.len();
    }
    let end = total.saturating_sub(offset);
    let begin = end.saturating_sub(count);
    let first = starts.partition_point(|(before, _)| *before <= begin).saturating_sub(1);
    let mut records = Vec::new();
    for (before, after) in starts.get(first..).unwrap_or_default() {
        if *before >= end {
            break;
        }
        let Some((page, _)) = wanted.page(inner, caller, after.as_deref()).await? else { break };
        let stands = (*before..).zip(page).filter(|(at, _)| (begin..end).contains(at));
        records.extend(stands.map(|(_, record)| record));
    }
    records.reverse();
    Ok(ok(&json!({"TotalCount": total, name: records})))
}

/// What is wanted of the log.
#[derive(Default)]
struct Wanted {
    types: &'static [&'static str],
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Fields of a record, and their values.
    fields: Vec<(&'static str, Value)>,
    /// What stands in the address.
    email: Option<String>,
}

impl Wanted {
    fn of(types: &'static [&'static str]) -> Self {
        Self { types, ..Self::default() }
    }

    /// Of one message.
    fn by(mut self, id: &str) -> Result<Self, Refusal> {
        let id = MessageId::parse(&id_of("msg", id)?).ok_or_else(Refusal::not_found)?;
        self.fields.push(("MessageID", id.uuid().hyphenated().to_string().into()));
        // Nothing happened to it before it was accepted, by clocks that differ by less.
        self.since = self.since.max(Some(id.made_at().saturating_sub(LATE)));
        Ok(self)
    }

    /// A parameter of a list.
    fn put(&mut self, name: &str, value: String) -> Result<(), Error> {
        let is_of_bounces = self.types == BOUNCES;
        match (name.to_ascii_lowercase().as_str(), value.as_str()) {
            ("fromdate", _) => self.since = self.since.max(Some(instant(name, &value, false)?)),
            // To the end of the second.
            ("todate", _) => self.until = Some(instant(name, &value, true)?.saturating_add(Duration::SECOND)),
            ("tag", _) => self.fields.push(("Tag", value.into())),
            ("messagestream", _) => self.fields.push(("MessageStream", value.into())),
            ("emailfilter", _) if is_of_bounces => self.email = Some(value.to_lowercase()),
            ("recipient", _) if !is_of_bounces => self.email = Some(value.to_lowercase()),
            ("messageid", _) if is_of_bounces => {
                let of_message = std::mem::take(self).by(&value);
                *self = of_message.map_err(|_| fault(name, FaultCode::InvalidParameter, "must be a message's id"))?;
            }
            ("inactive", "true" | "True" | "false" | "False") if is_of_bounces => {
                self.fields.push(("Inactive", value.eq_ignore_ascii_case("true").into()));
            }
            ("inactive", _) if is_of_bounces => {
                return Err(fault(name, FaultCode::InvalidParameter, "must be true or false").into());
            }
            ("type", word) if is_of_bounces && BOUNCE_TYPES.contains(&word) => self.fields.push(("Type", value.into())),
            ("type", _) if is_of_bounces => {
                let detail = "must be one of Postmark's types of bounces";
                return Err(fault(name, FaultCode::InvalidParameter, detail).into());
            }
            _ => return Err(fault(name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
        Ok(())
    }

    /// What of it stands on a page of the log, oldest first, and behind what to go on; `None`: there is nothing more.
    async fn page(
        &self,
        inner: &Inner,
        caller: &Caller,
        after: Option<&str>,
    ) -> Result<Option<(Vec<Value>, String)>, Error> {
        let mut query = Ours::new("/v1/events");
        query.put("limit", &COUNT_MAX.to_string());
        self.types.iter().for_each(|event_type| query.put("type", event_type));
        if let Some(since) = self.since {
            query.put("since", &rfc3339(since));
        }
        if let Some(after) = after {
            query.put("after", after);
        }
        let page = query.ask(inner, caller).await.map_err(|(refusal, places)| Error::of(refusal, places))?;
        let events = list(&page, "data");
        let at = |event: &Value| parse_rfc3339(text(event, "timestamp"));
        let is_over = |event: &Value| {
            self.until.is_some_and(|until| at(event).is_some_and(|at| at >= until.saturating_add(LATE)))
        };
        // An empty page is the end, and so is one on which all is long after what is wanted.
        if events.iter().all(is_over) {
            return Ok(None);
        }
        let is_in_time = |event: &&Value| self.until.is_none_or(|until| at(event).is_some_and(|at| at < until));
        let mut records: Vec<_> = events.iter().filter(is_in_time).filter_map(record_of).collect();
        let is_of_address = |record: &Value| {
            let address = ["Email", "Recipient"].iter().find_map(|name| record[name].as_str()).unwrap_or_default();
            self.email.as_ref().is_none_or(|part| address.to_lowercase().contains(part))
        };
        records.retain(is_of_address);
        if self.types == BOUNCES {
            tell_inactive(inner, caller, &mut records).await?;
        }
        records.retain(|record| self.fields.iter().all(|(name, value)| record[name] == *value));
        Ok(Some((records, text(&page, "next_cursor").to_owned())))
    }
}

/// What a webhook in Postmark's form says of an event, as long as its message is kept.
fn record_of(event: &Value) -> Option<Value> {
    let event_type = EventType::parse(text(event, "type"))?;
    let mut told = event["data"].clone();
    told["occurred_at"] = event["timestamp"].clone();
    told["email"].as_str()?;
    Some(record(name_of(event_type)?, event_type, &told))
}

/// Whether an address is suppressed now, of which a webhook could say only that it was. A key that does not see the list of
/// suppressed addresses is told what the webhook said.
async fn tell_inactive(inner: &Inner, caller: &Caller, records: &mut [Value]) -> Result<(), Refusal> {
    if records.is_empty() {
        return Ok(());
    }
    let addresses: Vec<_> = records.iter().map(|record| record["Email"].clone()).collect();
    let map = Map::from_iter([("addresses".to_owned(), addresses.into())]);
    let call = Call::new(Method::POST, "/v1/suppressions/check".to_owned()).body(map, inner.unsent());
    let checked = match inner.call(caller, call).await {
        Ok(checked) => checked.json(),
        Err(refusal) if refusal.kind == "missing-scope" => return Ok(()),
        Err(refusal) => return Err(refusal),
    };
    for (record, checked) in records.iter_mut().zip(list(&checked, "data")) {
        let entries = || list(checked, "suppressions").iter().filter(|entry| entry["scope"] == "project");
        let is_for = |reason: &str| entries().any(|entry| entry["reason"] == reason);
        let (is_bounced, is_complained) = (is_for("bounce"), is_for("complaint"));
        record["Inactive"] = (is_bounced || is_complained).into();
        record["CanActivate"] = (is_bounced && !is_complained).into();
    }
    Ok(())
}
