//! Suppressions: the addresses that a project sends nothing more to. Live and test mail have lists of their own, and a
//! credential works on that of its mode.

pub mod add;
pub mod check;
mod entry;
pub mod export;
pub mod get;
pub mod import;
pub mod list;
pub mod remove;
pub mod remove_many;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::SuppressionId;
use crate::domain::suppression::{Suppression, SuppressionReason, SuppressionScope, parse_subject};
use crate::request::fields::Fields;

/// Entries, or addresses, of one request.
const ENTRIES_MAX: usize = 1000;
const REASONS: &str = "bounce, manual, unsubscribe or complaint";
const SCOPES: &str = "project, tag:NAME or stream:NAME";

/// The caller's suppression named in a path. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Suppression, Problem> {
    let id = SuppressionId::parse(id).ok_or_else(Problem::not_found)?;
    api.store.find_suppression(caller.project, caller.mode, id).await?.ok_or_else(Problem::not_found)
}

/// The addresses of the field `addresses`, in lower case.
fn addresses(fields: &mut Fields<'_>) -> Vec<String> {
    if !fields.has("addresses") {
        fields.fault("addresses", FaultCode::Required, "must be given");
    }
    let at = fields.pointer("addresses");
    let mut folded = Vec::new();
    for (index, text) in (0..).zip(fields.strings("addresses", ENTRIES_MAX).unwrap_or_default()) {
        match parse_subject(&text) {
            Ok(subject) => folded.push(subject),
            Err(flaw) => fields.faults.push(flaw.at(format!("{at}/{index}"))),
        }
    }
    folded
}

fn scope(fields: &mut Fields<'_>) -> Option<SuppressionScope> {
    let text = fields.string("scope")?;
    let scope = SuppressionScope::parse(&text);
    if scope.is_none() {
        fields.fault("scope", FaultCode::InvalidScope, format!("must be {SCOPES}"));
    }
    scope
}

fn reason(fields: &mut Fields<'_>) -> Option<SuppressionReason> {
    let text = fields.string("reason")?;
    let reason = SuppressionReason::parse(&text);
    if reason.is_none() {
        fields.fault("reason", FaultCode::InvalidReason, format!("must be {REASONS}"));
    }
    reason
}

fn sound(faults: Vec<Fault>) -> Result<(), Problem> {
    if faults.is_empty() { Ok(()) } else { Err(Problem::validation(faults)) }
}
