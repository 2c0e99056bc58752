//! `/message-streams/{stream}/suppressions`: one list for all streams.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::read::instant;
use super::{Error, Postmark};
use crate::api::body::UnreadBody;
use crate::compat::inner::Inner;
use crate::compat::service::{By, fault, ok, text};
use crate::compat::suppressed::{self, Entry, Search};
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

const MANY_MAX: usize = 50;

/// The list, newest first.
pub async fn dump(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(_): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let (mut search, mut email, mut wanted_origin) = (Search { limit: usize::MAX, ..Search::default() }, None, None);
    for (name, value) in pairs {
        match (name.to_ascii_lowercase().as_str(), value.as_str()) {
            ("suppressionreason", "HardBounce") => search.reasons = &["bounce"],
            ("suppressionreason", "SpamComplaint") => search.reasons = &["complaint"],
            ("suppressionreason", "ManualSuppression") => search.reasons = &["manual", "unsubscribe"],
            ("emailaddress", _) => email = Some(value.to_lowercase()),
            // One page has them all, whatever an SDK says of pages.
            ("count" | "offset" | "messagestream", _) => {}
            ("origin", "Recipient" | "Customer" | "Admin") => wanted_origin = Some(value),
            ("fromdate", _) => search.since = Some(instant(&name, &value, false)?),
            ("todate", _) => search.until = Some(instant(&name, &value, true)?),
            ("suppressionreason" | "origin", _) => {
                let detail = "must be one of the words that Postmark has";
                return Err(fault(&name, FaultCode::InvalidParameter, detail).into());
            }
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    search.begins = email.clone().map(|email| (email, "EmailAddress"));
    let found = search.run(&inner, &caller).await?;
    if found.next.is_some() {
        let detail =
            "must be later: there are more than one answer has. GET /v1/suppressions/export has the whole list";
        return Err(fault("fromdate", FaultCode::TooFar, detail).into());
    }
    let entries = found.entries.iter().filter(|entry| email.as_ref().is_none_or(|email| entry["email"] == **email));
    let entries = entries.filter_map(|entry| {
        let (reason, origin) = match text(entry, "reason") {
            "bounce" => ("HardBounce", "Recipient"),
            "complaint" => ("SpamComplaint", "Recipient"),
            "unsubscribe" => ("ManualSuppression", "Recipient"),
            _ => ("ManualSuppression", "Customer"),
        };
        wanted_origin.as_ref().is_none_or(|wanted| wanted == origin).then(|| {
            json!({"EmailAddress": entry["email"], "SuppressionReason": reason, "Origin": origin,
                "CreatedAt": entry["created_at"]})
        })
    });
    Ok(ok(&json!({"Suppressions": entries.collect::<Vec<_>>()})))
}

/// Adds up to fifty; each is told of.
pub async fn add(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(_): Path<String>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, _) = inner.read(body).await?;
    let mut told = Vec::new();
    for email in addresses(value)? {
        let entry = [Entry::new(email.clone(), "manual")];
        told.push(match suppressed::add(&inner, &caller, &entry, |_| String::new(), inner.unsent()).await {
            Ok(()) => status(&email, "Suppressed", None),
            Err((refusal, places)) if refusal.kind == "validation" => {
                status(&email, "Failed", Some(&refusal.told(&places)))
            }
            Err((refusal, places)) => return Err(Error::of(refusal, places)),
        });
    }
    Ok(ok(&json!({"Suppressions": told})))
}

/// Takes up to fifty off the list. As with Postmark, who complained stays on it.
pub async fn remove(
    State(inner): State<Arc<Inner>>,
    By(caller, _): By<Postmark>,
    Path(_): Path<String>,
    body: UnreadBody,
) -> Result<Response, Error> {
    let (value, _) = inner.read(body).await?;
    let mut told = Vec::new();
    for email in addresses(value)? {
        suppressed::remove(&inner, &caller, &email, &["bounce", "manual", "unsubscribe"]).await?;
        let left = suppressed::find(&inner, &caller, &email).await?;
        told.push(if left.is_empty() {
            status(&email, "Deleted", None)
        } else {
            status(&email, "Failed", Some("complained of spam, and stays suppressed"))
        });
    }
    Ok(ok(&json!({"Suppressions": told})))
}

fn status(email: &str, status: &str, message: Option<&str>) -> Value {
    json!({"EmailAddress": email, "Status": status, "Message": message})
}

/// The addresses of a body `{Suppressions: [{EmailAddress}]}`.
fn addresses(value: Value) -> Result<Vec<String>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut fields = Fields::of(value, "", &mut faults);
    let items = fields.list("Suppressions").unwrap_or_default();
    if items.is_empty() || items.len() > MANY_MAX {
        fields.fault("Suppressions", FaultCode::TooMany, format!("must have from 1 to {MANY_MAX} entries"));
    }
    let mut emails = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let mut entry = Fields::of(item, format!("/Suppressions/{at}"), fields.faults);
        emails.extend(entry.required("EmailAddress"));
        entry.finish();
    }
    fields.finish();
    if faults.is_empty() { Ok(emails) } else { Err(faults) }
}
