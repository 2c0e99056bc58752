//! `/v2/email/suppression/addresses`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::Error;
use super::signature::Signed;
use crate::compat::inner::{Inner, Refusal};
use crate::compat::query::number;
use crate::compat::service::{fault, ok, text};
use crate::compat::suppressed::{self, Entry, Search};
use crate::domain::clock::parse_rfc3339;
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

/// Our reasons, and the words for them there: who wants no mail is as good as who complained of it.
const REASONS: [&str; 4] = ["bounce", "complaint", "unsubscribe", "manual"];
const PAGE_MAX: usize = 500;

fn reason_of(entry: &Value) -> &'static str {
    if text(entry, "reason") == "bounce" { "BOUNCE" } else { "COMPLAINT" }
}

/// Adds an address.
pub async fn put(State(inner): State<Arc<Inner>>, signed: Signed) -> Result<Response, Error> {
    let Signed { caller, value, sent, .. } = signed;
    let mut faults = Vec::new();
    let mut fields = Fields::of(value, "", &mut faults);
    let (email, reason) = (fields.required("EmailAddress"), fields.required("Reason"));
    let reason = match reason.as_deref() {
        Some("BOUNCE") => "bounce",
        Some("COMPLAINT") => "complaint",
        Some(_) => {
            fields.fault("Reason", FaultCode::InvalidReason, "must be BOUNCE or COMPLAINT");
            ""
        }
        None => "",
    };
    if fields.take("TenantName").is_some() {
        fields.fault("TenantName", FaultCode::Conflict, "cannot be given: a project has keys of its own");
    }
    fields.finish();
    let Some(email) = email.filter(|_| faults.is_empty()) else { return Err(faults.into()) };
    let added =
        suppressed::add(&inner, &caller, &[Entry::new(email, reason)], |_| "EmailAddress".to_owned(), sent).await;
    added?;
    Ok(ok(&json!({})))
}

/// A tenant's list is another project's.
fn refuse_query(signed: &Signed) -> Result<(), Vec<Fault>> {
    match signed.query.first() {
        Some((name, _)) => Err(fault(name, FaultCode::UnknownParameter, "is not a parameter here")),
        None => Ok(()),
    }
}

/// One address.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    Path(email): Path<String>,
    signed: Signed,
) -> Result<Response, Error> {
    refuse_query(&signed)?;
    let found = suppressed::find(&inner, &signed.caller, &email).await?;
    let entry = found.first().ok_or_else(Refusal::not_found)?;
    Ok(ok(&json!({"SuppressedDestination": summary(entry)})))
}

/// Takes an address off the list.
pub async fn remove(
    State(inner): State<Arc<Inner>>,
    Path(email): Path<String>,
    signed: Signed,
) -> Result<Response, Error> {
    refuse_query(&signed)?;
    match suppressed::remove(&inner, &signed.caller, &email, &REASONS).await? {
        0 => Err(Refusal::not_found().into()),
        _ => Ok(ok(&json!({}))),
    }
}

/// A page, newest first.
pub async fn list(State(inner): State<Arc<Inner>>, signed: Signed) -> Result<Response, Error> {
    let mut search = Search { limit: 100, ..Search::default() };
    let mut reasons = Vec::new();
    for (name, value) in signed.query {
        let instant = || {
            let at = parse_rfc3339(&value);
            at.ok_or_else(|| fault(&name, FaultCode::InvalidTime, "must be an instant (RFC 3339)"))
        };
        match (name.as_str(), value.as_str()) {
            ("PageSize", _) => search.limit = number(&name, &value)?.clamp(1, PAGE_MAX),
            ("Reason", "BOUNCE") => reasons.push("bounce"),
            ("Reason", "COMPLAINT") => reasons.extend(["complaint", "unsubscribe", "manual"]),
            ("Reason", _) => {
                return Err(fault(&name, FaultCode::InvalidReason, "must be BOUNCE or COMPLAINT").into());
            }
            ("StartDate", _) => search.since = Some(instant()?),
            ("EndDate", _) => search.until = Some(instant()?),
            ("NextToken", _) => search.behind = Some((value, "NextToken")),
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    search.reasons = &reasons;
    let found = search.run(&inner, &signed.caller).await?;
    let mut told = json!({"SuppressedDestinationSummaries": found.entries.iter().map(summary).collect::<Vec<_>>()});
    if let Some(next) = found.next {
        told["NextToken"] = next.into();
    }
    Ok(ok(&told))
}

fn summary(entry: &Value) -> Value {
    let at = parse_rfc3339(text(entry, "created_at")).map(time::OffsetDateTime::unix_timestamp);
    json!({"EmailAddress": entry["email"], "Reason": reason_of(entry), "LastUpdateTime": at})
}
