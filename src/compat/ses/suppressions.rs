//! `/v2/email/suppression/addresses`

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::Error;
use super::signature::Signed;
use crate::compat::inner::{Call, Inner, Refusal};
use crate::compat::query::{Ours, number};
use crate::compat::service::{fault, list as list_of, ok, text};
use crate::compat::suppressed::{self, Entry};
use crate::domain::clock::parse_rfc3339;
use crate::domain::fault::FaultCode;
use crate::request::fields::Fields;

/// Our reasons, and the words for them there: who wants no mail is as good as who complained of it.
const REASONS: [&str; 4] = ["bounce", "complaint", "unsubscribe", "manual"];
const PAGE_MAX: usize = 500;
/// Where a wrong place to go on is.
pub(super) const NEXT_TOKEN: &str = "/NextToken";

fn reason_of(entry: &Value) -> &'static str {
    if text(entry, "reason") == "bounce" { "BOUNCE" } else { "COMPLAINT" }
}

/// Adds an address.
pub async fn put(State(inner): State<Arc<Inner>>, signed: Signed) -> Result<Response, Error> {
    let Signed { caller, value, sent } = signed;
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
    added.map_err(|(refusal, places)| Error::of(refusal, places))?;
    Ok(ok(&json!({})))
}

/// One address.
pub async fn get(
    State(inner): State<Arc<Inner>>,
    Path(email): Path<String>,
    signed: Signed,
) -> Result<Response, Error> {
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
    match suppressed::remove(&inner, &signed.caller, &email, &REASONS).await? {
        0 => Err(Refusal::not_found().into()),
        _ => Ok(ok(&json!({}))),
    }
}

/// A page, newest first.
pub async fn list(
    State(inner): State<Arc<Inner>>,
    Query(pairs): Query<Vec<(String, String)>>,
    signed: Signed,
) -> Result<Response, Error> {
    let (mut limit, mut reasons, mut since, mut until, mut last) = (100, Vec::new(), None, None, None);
    for (name, value) in pairs {
        let instant = || {
            let at = parse_rfc3339(&value);
            at.ok_or_else(|| fault(&name, FaultCode::InvalidTime, "must be an instant (RFC 3339)"))
        };
        match (name.as_str(), value.as_str()) {
            ("PageSize", _) => limit = number(&name, &value)?.clamp(1, PAGE_MAX),
            ("Reason", "BOUNCE" | "COMPLAINT") => reasons.push(value),
            ("Reason", _) => {
                return Err(fault(&name, FaultCode::InvalidReason, "must be BOUNCE or COMPLAINT").into());
            }
            ("StartDate", _) => since = Some(instant()?),
            ("EndDate", _) => until = Some(instant()?),
            ("NextToken", _) => last = Some(value),
            _ => return Err(fault(&name, FaultCode::UnknownParameter, "is not a parameter here").into()),
        }
    }
    let (mut entries, mut is_end) = (Vec::new(), false);
    while entries.len() < limit && !is_end {
        let mut query = Ours::new("/v1/suppressions");
        query.put("limit", &limit.to_string());
        query.put("scope", "project");
        if let Some(last) = &last {
            query.put("cursor", last);
        }
        if let Some(since) = since {
            query.put("since", &crate::domain::clock::rfc3339(since));
        }
        let page = inner.call(&signed.caller, Call::get(query.path())).await;
        let page = page.map_err(|refusal| match refusal.faults.first() {
            Some(found) if found.pointer.ends_with("cursor") => {
                Error::from(fault("NextToken", FaultCode::InvalidParameter, "is none that a page was answered with"))
            }
            _ => refusal.into(),
        })?;
        let page = page.json();
        is_end = page["next_cursor"].is_null();
        for entry in list_of(&page, "data") {
            if entries.len() == limit {
                is_end = false;
                break;
            }
            last = Some(text(entry, "id").to_owned());
            let is_in_time =
                until.is_none_or(|until| parse_rfc3339(text(entry, "created_at")).is_some_and(|at| at <= until));
            if is_in_time && (reasons.is_empty() || reasons.iter().any(|reason| reason == reason_of(entry))) {
                entries.push(summary(entry));
            }
        }
    }
    let mut told = json!({"SuppressedDestinationSummaries": entries});
    if let Some(last) = last.filter(|_| !is_end) {
        told["NextToken"] = last.into();
    }
    Ok(ok(&told))
}

fn summary(entry: &Value) -> Value {
    let at = parse_rfc3339(text(entry, "created_at")).map(time::OffsetDateTime::unix_timestamp);
    json!({"EmailAddress": entry["email"], "Reason": reason_of(entry), "LastUpdateTime": at})
}
