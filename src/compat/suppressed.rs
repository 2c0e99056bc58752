//! The list of suppressed addresses, by address: services have no ids for its entries.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::inner::{Call, Caller, Inner, Refusal, Sent};
use super::places::Places;
use super::query::Ours;
use super::service::{list, text};
use crate::domain::clock::{Timestamp, parse_rfc3339, rfc3339};

/// As many as one page of our own list has, and how many of them are looked at.
const PAGE_MAX: usize = 500;
const LOOKS_MAX: usize = 40;

/// The entries of an address for all mail.
pub async fn find(inner: &Inner, caller: &Caller, email: &str) -> Result<Vec<Value>, Refusal> {
    let map = Map::from_iter([("addresses".to_owned(), json!([email]))]);
    let call = Call::new(Method::POST, "/v1/suppressions/check".to_owned()).body(map, inner.unsent());
    let checked = inner.call(caller, call).await?.json();
    let entries = list(&checked["data"][0], "suppressions").iter();
    Ok(entries.filter(|entry| entry["scope"] == "project").cloned().collect())
}

/// An address that is to be suppressed.
#[derive(Debug, Clone)]
pub struct Entry {
    pub email: String,
    pub reason: &'static str,
    /// Why, in words of whoever says so.
    pub evidence: Option<String>,
    pub note: Option<String>,
}

impl Entry {
    pub const fn new(email: String, reason: &'static str) -> Self {
        Self { email, reason, evidence: None, note: None }
    }
}

/// Adds addresses; their places are `names`.
pub async fn add(
    inner: &Inner,
    caller: &Caller,
    entries: &[Entry],
    names: impl Fn(usize) -> String,
    sent: Sent,
) -> Result<(), (Refusal, Places)> {
    let mut places = Places::default();
    for at in 0..entries.len() {
        places.put(format!("/suppressions/{at}/email"), names(at));
    }
    let of_ours = |entry: &Entry| json!({"email": entry.email, "reason": entry.reason, "evidence": entry.evidence, "note": entry.note});
    let entries: Vec<_> = entries.iter().map(of_ours).collect();
    let map = Map::from_iter([("suppressions".to_owned(), entries.into())]);
    let call = Call::new(Method::POST, "/v1/suppressions".to_owned()).body(map, sent);
    inner.call(caller, call).await.map(|_| ()).map_err(|refusal| (refusal, places))
}

/// Takes an address off the list, as far as it is there for one of these reasons; gives how many entries went.
pub async fn remove(inner: &Inner, caller: &Caller, email: &str, reasons: &[&str]) -> Result<usize, Refusal> {
    let mut removed = 0;
    for entry in find(inner, caller, email).await? {
        if reasons.contains(&text(&entry, "reason")) {
            let path = format!("/v1/suppressions/{}", text(&entry, "id"));
            inner.call(caller, Call::new(Method::DELETE, path)).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What is looked for on the list of all mail, newest first.
#[derive(Debug, Default)]
pub struct Search<'s> {
    /// Our reasons; none: any.
    pub reasons: &'s [&'s str],
    /// How the address begins, and what that is called.
    pub begins: Option<(String, &'s str)>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Behind that entry, and what that is called.
    pub behind: Option<(String, &'s str)>,
    pub limit: usize,
}

/// Entries that were found.
pub struct Found {
    pub entries: Vec<Value>,
    /// Behind which to go on; `None`: there is nothing more.
    pub next: Option<String>,
    /// The last that was looked at.
    pub last: Option<String>,
}

impl Search<'_> {
    /// Looks, and no farther than some thousands: `next` then says where to go on, though there may be room for more.
    pub async fn run(self, inner: &Inner, caller: &Caller) -> Result<Found, (Refusal, Places)> {
        let (mut entries, mut behind) = (Vec::new(), self.behind.clone());
        for _ in 0..LOOKS_MAX {
            let mut query = Ours::new("/v1/suppressions");
            query.put("limit", &PAGE_MAX.to_string());
            query.put("scope", "project");
            if let [reason] = self.reasons {
                query.put("reason", reason);
            }
            if let Some((begins, theirs)) = &self.begins {
                query.put_of("q", begins, theirs);
            }
            if let Some(since) = self.since {
                query.put("since", &rfc3339(since));
            }
            if let Some((behind, theirs)) = &behind {
                query.put_of("cursor", behind, theirs);
            }
            let page = query.ask(inner, caller).await?;
            for entry in list(&page, "data") {
                let last = behind.take().map(|(last, _)| last);
                if entries.len() == self.limit {
                    return Ok(Found { entries, next: last.clone(), last });
                }
                behind = Some((text(entry, "id").to_owned(), "cursor"));
                let is_in_time = self
                    .until
                    .is_none_or(|until| parse_rfc3339(text(entry, "created_at")).is_some_and(|at| at <= until));
                if is_in_time && (self.reasons.is_empty() || self.reasons.contains(&text(entry, "reason"))) {
                    entries.push(entry.clone());
                }
            }
            if page["next_cursor"].is_null() {
                return Ok(Found { entries, next: None, last: behind.map(|(last, _)| last) });
            }
        }
        let last = behind.map(|(last, _)| last);
        Ok(Found { entries, next: last.clone(), last })
    }
}
