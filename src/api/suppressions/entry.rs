//! A suppression as a request gives it.

use serde_json::{Map, Value};

use crate::domain::access::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::suppression::{
    Evidence, NewSuppression, SuppressionReason, SuppressionScope, TEXT_MAX, parse_subject,
};
use crate::request::fields::Fields;

/// Reads one; `at` is where it stands in the body. `None`: something is wrong with it.
pub(super) fn read(
    map: Map<String, Value>,
    at: String,
    caller: &Caller,
    now: Timestamp,
    faults: &mut Vec<Fault>,
) -> Option<NewSuppression> {
    let mut fields = Fields::new(map, at, faults);
    if !fields.has("email") {
        fields.fault("email", FaultCode::Required, "must be given");
    }
    let address = fields.string("email").and_then(|text| fields.sound("email", parse_subject(&text)));
    let reason = super::reason(&mut fields).unwrap_or(SuppressionReason::Manual);
    let scope = super::scope(&mut fields).unwrap_or(SuppressionScope::Project);
    let note = text(&mut fields, "note").unwrap_or_default();
    let evidence = text(&mut fields, "evidence");
    let expires_at = expiry(&mut fields, now);
    fields.finish();
    Some(NewSuppression {
        project: caller.project,
        mode: caller.mode,
        address: address?,
        scope,
        reason,
        class: None,
        evidence: Evidence { source: Some("api".to_owned()), text: evidence, ..Evidence::default() },
        note,
        created_at: now,
        expires_at: expires_at.or_else(|| reason.expiry(now)),
    })
}

fn text(fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let text = fields.string(name)?;
    if text.chars().count() > TEXT_MAX || text.contains('\0') {
        fields.fault(name, FaultCode::TooLong, format!("must have at most {TEXT_MAX} characters and no NUL"));
    }
    Some(text)
}

fn expiry(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let at = fields.instant("expires_at")?;
    if at <= now {
        fields.fault("expires_at", FaultCode::InThePast, "must lie in the future");
        return None;
    }
    Some(at)
}
