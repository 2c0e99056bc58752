//! `POST /v2/email/outbound-bulk-emails`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Error;
use super::send::{common, data, destination, template};
use super::signature::Signed;
use crate::compat::draft::{Draft, Item, bounded, send_many};
use crate::compat::ids::uuid_of;
use crate::compat::inner::{Inner, Refusal, pass_on};
use crate::compat::service::{ok, text};
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

const ENTRIES_MAX: usize = 50;

/// Sends an email for each entry, as far as it is sound.
pub async fn send(State(inner): State<Arc<Inner>>, signed: Signed) -> Result<Response, Error> {
    let Signed { caller, value, sent, key, .. } = signed;
    let (mut all, mut faults) = (Draft::default(), Vec::new());
    let mut fields = Fields::of(value, "", &mut faults);
    common(&mut fields, &mut all);
    if !all.map.contains_key("from") {
        fields.fault("FromEmailAddress", FaultCode::Required, "must be given");
    }
    all.pairs("metadata", &mut fields, ("DefaultEmailTags", "DefaultEmailTags"), ("Name", "Value"));
    let content = fields.object("DefaultContent").unwrap_or_default();
    let mut content = Fields::new(content, "/DefaultContent", fields.faults);
    match content.take("Template") {
        Some(value) => template(value, "/DefaultContent/Template", &mut all, content.faults),
        None => content.fault("Template", FaultCode::Required, "must be given"),
    }
    content.finish();
    let entries = fields.list("BulkEmailEntries").unwrap_or_default();
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        fields.fault("BulkEmailEntries", FaultCode::TooMany, format!("must have from 1 to {ENTRIES_MAX} entries"));
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(faults.into());
    }
    bounded(&inner, &all, entries.len(), "BulkEmailEntries")?;
    let items = entries
        .into_iter()
        .enumerate()
        .map(|(at, value)| Item { name: format!("BulkEmailEntries[{at}]"), read: entry(value, &all) });
    let outcomes = send_many((&inner, &caller), items.collect(), false, sent, key).await?;
    let results = outcomes.each.into_iter().map(|outcome| match outcome {
        Ok(taken) => json!({"Status": "SUCCESS", "MessageId": uuid_of(text(&taken, "id"))}),
        Err((refusal, told)) => json!({"Status": status_of(&refusal), "Error": told}),
    });
    let mut response = ok(&json!({"BulkEmailEntryResults": results.collect::<Vec<_>>()}));
    pass_on(&outcomes.headers, &mut response);
    Ok(response)
}

/// What all emails have, and what one has for itself.
fn entry(value: Value, all: &Draft) -> Result<Draft, Vec<Fault>> {
    let (mut draft, mut faults) = (all.clone(), Vec::new());
    let mut fields = Fields::of(value, "", &mut faults);
    destination(&mut fields, &mut draft, "Destination");
    draft.pairs("metadata", &mut fields, ("ReplacementTags", "ReplacementTags"), ("Name", "Value"));
    draft.pairs("headers", &mut fields, ("ReplacementHeaders", "ReplacementHeaders"), ("Name", "Value"));
    if let Some(map) = fields.object("ReplacementEmailContent") {
        let mut content = Fields::new(map, "/ReplacementEmailContent", fields.faults);
        if let Some(map) = content.object("ReplacementTemplate") {
            let place = "/ReplacementEmailContent/ReplacementTemplate";
            let mut replaced = Fields::new(map, place, content.faults);
            if let Some(own) = data(&mut replaced, "ReplacementTemplateData") {
                let mut variables = draft.map["template"]["variables"].as_object().cloned().unwrap_or_default();
                variables.extend(own);
                draft.set(
                    "template",
                    "variables",
                    variables,
                    format!("{}.ReplacementTemplateData", place[1..].replace('/', ".")),
                );
            }
            replaced.finish();
        }
        content.finish();
    }
    fields.finish();
    if faults.is_empty() { Ok(draft) } else { Err(faults) }
}

/// Why an entry was not taken, in a word of `BulkEmailStatus`.
fn status_of(refusal: &Refusal) -> &'static str {
    match refusal.kind.as_str() {
        "validation" if refusal.faults.iter().any(|fault| fault.code == FaultCode::UnknownTemplate) => {
            "TEMPLATE_NOT_FOUND"
        }
        "validation" => "INVALID_PARAMETER",
        "foreign-domain" | "unverified-domain" => "MAIL_FROM_DOMAIN_NOT_VERIFIED",
        "project-suspended" => "ACCOUNT_SENDING_PAUSED",
        "quota-exceeded" => "ACCOUNT_DAILY_QUOTA_EXCEEDED",
        "rate-limited" => "ACCOUNT_THROTTLED",
        "busy" | "backlog" | "store-unavailable" => "TRANSIENT_FAILURE",
        _ => "FAILED",
    }
}
