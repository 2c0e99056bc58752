//! `/v3/{domain}/bounces`, `/v3/{domain}/complaints`, `/v3/{domain}/unsubscribes`: one list of the project, by reason.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::links::Here;
use super::send::check_domain;
use super::{Error, Mailgun};
use crate::api::body::UnreadBody;
use crate::compat::inner::{Inner, Refusal};
use crate::compat::query::number;
use crate::compat::service::{By, fault, ok, text};
use crate::compat::suppressed::{self, Entry, Search};
use crate::domain::clock::parse_rfc3339;
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

const MANY_MAX: usize = 1000;
/// As many as one page of our own list has.
const LIMIT_MAX: usize = 500;

/// A list of theirs.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    /// Our reason for what is added to it.
    reason: &'static str,
    /// Our reasons for what is in it.
    reasons: &'static [&'static str],
    /// What is said where an address is not in it, and where it was taken out.
    absent: &'static str,
    removed: &'static str,
}

pub const TABLES: [Table; 3] = [
    Table {
        name: "bounces",
        reason: "bounce",
        reasons: &["bounce"],
        absent: "Address not found in bounces table",
        removed: "Bounced address has been removed",
    },
    Table {
        name: "complaints",
        reason: "complaint",
        reasons: &["complaint"],
        absent: "No spam complaints found for this address",
        removed: "Spam complaint has been removed",
    },
    Table {
        name: "unsubscribes",
        reason: "unsubscribe",
        reasons: &["unsubscribe", "manual"],
        absent: "Address not found in unsubscribers table",
        removed: "Unsubscribe event has been removed",
    },
];

impl Table {
    fn absent(self) -> Error {
        Refusal { detail: self.absent.to_owned(), ..Refusal::not_found() }.into()
    }
}

/// A page, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    Extension(table): Extension<Table>,
    Path(domain): Path<String>,
    here: Here,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    let (mut limit, mut term, mut behind) = (100, None, None);
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => limit = number(&name, &value)?.clamp(1, LIMIT_MAX),
            "term" => term = Some(value),
            // Where the page before ended: an id of ours, for whoever asks an opaque word.
            "address" => behind = Some(value).filter(|value| !value.is_empty()),
            "page" if value == "first" => behind = None,
            "page" if value == "next" => {}
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    let search = Search {
        reasons: table.reasons,
        begins: term.clone().map(|term| (term, "term")),
        behind: behind.map(|id| (id, "address")),
        limit,
        ..Search::default()
    };
    let found = search.run(&inner, &caller).await?;
    let entries: Vec<_> = found.entries.iter().map(|entry| entry_of(table, entry)).collect();
    let last = found.last;
    let link = |page: &str, address: Option<String>| {
        let mut query = vec![("page".to_owned(), page.to_owned()), ("limit".to_owned(), limit.to_string())];
        query.extend(address.map(|address| ("address".to_owned(), address)));
        query.extend(term.clone().map(|term| ("term".to_owned(), term)));
        here.link("", &query)
    };
    let paging = json!({"first": link("first", None), "next": link("next", last.clone()), "previous": link("first", None),
        "last": link("next", last)});
    Ok(ok(&json!({"items": entries, "paging": paging})))
}

/// One address.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    Extension(table): Extension<Table>,
    Path((domain, address)): Path<(String, String)>,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    let found = suppressed::find(&inner, &caller, &address).await?;
    let found = found.iter().find(|entry| table.reasons.contains(&text(entry, "reason")));
    found.map(|entry| ok(&entry_of(table, entry))).ok_or_else(|| table.absent())
}

/// Takes one address off.
pub async fn remove(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    Extension(table): Extension<Table>,
    Path((domain, address)): Path<(String, String)>,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    match suppressed::remove(&inner, &caller, &address, table.reasons).await? {
        0 => Err(table.absent()),
        _ => Ok(ok(&json!({"message": table.removed, "address": address}))),
    }
}

/// All at once is too much for one word.
pub async fn remove_all(_: By<Mailgun>) -> Error {
    fault("address", FaultCode::Required, "must be given: all at once are not removed").into()
}

/// Adds one, by a form or by JSON, or up to a thousand, by JSON.
pub async fn add(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Mailgun>,
    Extension(table): Extension<Table>,
    Path(domain): Path<String>,
    body: UnreadBody,
) -> Result<Response, Error> {
    check_domain(&domain)?;
    let is_json = body.header(&CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    let (given, sent) = if is_json {
        let (value, sent) = inner.read(body).await?;
        (if let Value::Array(items) = value { items } else { vec![value] }, sent)
    } else {
        let (mut form, sent) = inner.form(body).await?;
        let mut map = Map::new();
        for name in form.names() {
            map.extend(form.entry(&name).map(|text| (name, text.into())));
        }
        form.finish()?;
        (vec![map.into()], sent)
    };
    if given.is_empty() || given.len() > MANY_MAX {
        return Err(fault("address", FaultCode::TooMany, format!("must be given from once to {MANY_MAX} times")).into());
    }
    let mut faults = Vec::new();
    let is_one = given.len() == 1;
    let at = |index: usize| if is_one { String::new() } else { format!("/{index}") };
    let entries =
        given.into_iter().enumerate().filter_map(|(index, value)| entry(value, &at(index), table, &mut faults));
    let entries: Vec<_> = entries.collect();
    if !faults.is_empty() {
        return Err(faults.into());
    }
    let name = |index: usize| if is_one { "address".to_owned() } else { format!("[{index}].address") };
    suppressed::add(&inner, &caller, &entries, name, sent).await?;
    let told = match &entries[..] {
        [one] => {
            let message = format!("Address has been added to the {} table", table.name);
            json!({"message": message, "address": one.email})
        }
        many => {
            let what = if table.reason == "complaint" { "complaint addresses" } else { "addresses" };
            json!({"message": format!("{} {what} have been added to the {} table", many.len(), table.name)})
        }
    };
    Ok(ok(&told))
}

/// An entry of theirs.
fn entry(value: Value, at: &str, table: Table, faults: &mut Vec<Fault>) -> Option<Entry> {
    let mut fields = Fields::of(value, at, faults);
    let email = fields.required("address");
    let mut evidence = Vec::new();
    if table.reason == "bounce" {
        for name in ["code", "error"] {
            let given = fields.take(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            evidence.extend(given.filter(|text| !text.is_empty()));
        }
    }
    let tags = match fields.take("tags").or_else(|| fields.take("tag")) {
        Some(Value::Array(tags)) => tags,
        Some(tag) => vec![tag],
        None => Vec::new(),
    };
    if tags.iter().any(|tag| *tag != "*" && *tag != "") {
        let detail = "must be *: who wants no more of one tag is not told apart; streams are what there is";
        fields.fault("tags", FaultCode::Conflict, detail);
    }
    let note = fields.string("created_at").filter(|at| !at.is_empty()).map(|at| format!("since {at}"));
    fields.finish();
    Some(Entry {
        email: email?,
        reason: table.reason,
        evidence: Some(evidence.join(" ")).filter(|text| !text.is_empty()),
        note,
    })
}

/// An entry of ours in Mailgun's words.
fn entry_of(table: Table, found: &Value) -> Value {
    let created = parse_rfc3339(text(found, "created_at"));
    let created = created.and_then(|at| at.format(&time::format_description::well_known::Rfc2822).ok());
    let mut told = json!({"address": found["email"], "created_at": created.map(|at| at.replace("+0000", "UTC"))});
    match table.reason {
        "bounce" => {
            let (reply, evidence) = (&found["evidence"]["reply"], text(&found["evidence"], "text"));
            let (code, words) = match evidence.split_once(' ') {
                Some((code, words)) if code.parse::<u16>().is_ok() => (code, words),
                _ => ("550", evidence),
            };
            told["code"] = reply["code"].as_i64().map_or_else(|| code.to_owned(), |code| code.to_string()).into();
            told["error"] = reply["text"].as_str().unwrap_or(words).into();
        }
        "unsubscribe" => told["tags"] = json!(["*"]),
        _ => {}
    }
    told
}
