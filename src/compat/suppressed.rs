//! The list of suppressed addresses, by address: services have no ids for its entries.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::inner::{Call, Caller, Inner, Refusal, Sent};
use super::places::Places;
use super::service::{list, text};

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
