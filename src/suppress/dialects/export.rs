//! A list as it is written: ours with all that is known, others' with what they have a place for.

use serde_json::{Value, json};

use super::cell::guarded;
use crate::domain::clock::rfc3339;
use crate::domain::suppression::{Evidence, ListFormat, Suppression, SuppressionReason, SuppressionScope};

/// The columns of our CSV.
const COLUMNS: [&str; 15] = [
    "id",
    "email",
    "reason",
    "scope",
    "class",
    "created_at",
    "expires_at",
    "note",
    "evidence_source",
    "evidence_code",
    "evidence_enhanced",
    "evidence_text",
    "evidence_host",
    "evidence_message_id",
    "evidence_rule",
];

/// A list that is being written, part by part.
#[derive(Debug)]
pub struct Export {
    format: ListFormat,
    is_empty: bool,
}

impl Export {
    pub const fn new(format: ListFormat) -> Self {
        Self { format, is_empty: true }
    }

    pub const fn content_type(&self) -> &'static str {
        match self.format {
            ListFormat::Csv => "text/csv; charset=utf-8",
            ListFormat::Ndjson => "application/x-ndjson",
            _ => "application/json",
        }
    }

    /// What stands before all entries.
    pub fn head(&self) -> String {
        match self.format {
            ListFormat::Csv => row(&COLUMNS),
            ListFormat::Ndjson => String::new(),
            ListFormat::Sendgrid => "[".to_owned(),
            ListFormat::Mailgun => r#"{"items":["#.to_owned(),
            ListFormat::Postmark => r#"{"Suppressions":["#.to_owned(),
            ListFormat::Ses => r#"{"SuppressedDestinationSummaries":["#.to_owned(),
            ListFormat::Resend => r#"{"object":"list","has_more":false,"data":["#.to_owned(),
        }
    }

    /// What stands behind all entries.
    pub const fn tail(&self) -> &'static str {
        match self.format {
            ListFormat::Csv | ListFormat::Ndjson => "",
            ListFormat::Sendgrid => "]\n",
            _ => "]}\n",
        }
    }

    /// Some entries.
    pub fn part(&mut self, entries: &[Suppression]) -> String {
        let (format, mut text) = (self.format, String::new());
        for entry in entries.iter().filter(|entry| has_place_for(entry, format)) {
            match format {
                ListFormat::Csv => text.push_str(&csv(entry)),
                ListFormat::Ndjson => {
                    text.push_str(&ndjson(entry).to_string());
                    text.push('\n');
                }
                format => {
                    if !std::mem::replace(&mut self.is_empty, false) {
                        text.push_str(",\n");
                    }
                    text.push_str(&foreign(entry, format).to_string());
                }
            }
        }
        text
    }
}

/// Other services have suppressions of all mail only; Mailgun has those of a tag.
fn has_place_for(entry: &Suppression, format: ListFormat) -> bool {
    match (format, &entry.scope) {
        (ListFormat::Csv | ListFormat::Ndjson, _) | (_, SuppressionScope::Project) => true,
        (ListFormat::Mailgun, SuppressionScope::Tag(_)) => entry.reason == SuppressionReason::Unsubscribe,
        _ => false,
    }
}

fn row(cells: &[&str]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing into memory does not fail.
    let _ = writer.write_record(cells);
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn csv(entry: &Suppression) -> String {
    let evidence = &entry.evidence;
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        entry.id.to_string(),
        entry.address.clone(),
        entry.reason.to_string(),
        entry.scope.to_string(),
        or_empty(&entry.class),
        rfc3339(entry.created_at),
        entry.expires_at.map(rfc3339).unwrap_or_default(),
        entry.note.clone(),
        or_empty(&evidence.source),
        evidence.code.map(|code| code.to_string()).unwrap_or_default(),
        or_empty(&evidence.enhanced),
        or_empty(&evidence.text),
        or_empty(&evidence.host),
        or_empty(&evidence.message_id),
        or_empty(&evidence.rule),
    ];
    let guarded: Vec<_> = cells.iter().map(|cell| guarded(cell)).collect();
    row(&guarded.iter().map(|cell| &**cell).collect::<Vec<_>>())
}

fn ndjson(entry: &Suppression) -> Value {
    json!({
        "id": entry.id,
        "email": entry.address,
        "reason": entry.reason,
        "scope": entry.scope,
        "class": entry.class,
        "created_at": rfc3339(entry.created_at),
        "expires_at": entry.expires_at.map(rfc3339),
        "note": entry.note,
        "evidence": entry.evidence,
    })
}

fn foreign(entry: &Suppression, format: ListFormat) -> Value {
    use SuppressionReason as R;
    let Suppression { address, reason, created_at, .. } = entry;
    let at = rfc3339(*created_at);
    match format {
        ListFormat::Sendgrid => {
            let created = created_at.unix_timestamp();
            match reason {
                R::Bounce => json!({"created": created, "email": address, "reason": said(&entry.evidence),
                    "status": entry.evidence.enhanced.as_deref().unwrap_or("5.1.1")}),
                R::Complaint => json!({"created": created, "email": address, "ip": ""}),
                R::Unsubscribe | R::Manual => json!({"created": created, "email": address}),
            }
        }
        ListFormat::Mailgun => {
            let written = created_at.format(&time::format_description::well_known::Rfc2822).unwrap_or_default();
            match (reason, &entry.scope) {
                (R::Bounce, _) => json!({"address": address,
                    "code": entry.evidence.code.map_or_else(|| "550".to_owned(), |code| code.to_string()),
                    "error": said(&entry.evidence), "created_at": written}),
                (R::Complaint, _) => json!({"address": address, "created_at": written}),
                (_, SuppressionScope::Tag(tag)) => json!({"address": address, "tags": [tag], "created_at": written}),
                _ => json!({"address": address, "tags": ["*"], "created_at": written}),
            }
        }
        ListFormat::Postmark => {
            let (word, origin) = match reason {
                R::Bounce => ("HardBounce", "Recipient"),
                R::Complaint => ("SpamComplaint", "Recipient"),
                R::Unsubscribe => ("ManualSuppression", "Recipient"),
                R::Manual => ("ManualSuppression", "Customer"),
            };
            json!({"EmailAddress": address, "SuppressionReason": word, "Origin": origin, "CreatedAt": at})
        }
        ListFormat::Ses => {
            let word = if *reason == R::Bounce { "BOUNCE" } else { "COMPLAINT" };
            json!({"EmailAddress": address, "Reason": word, "LastUpdateTime": at})
        }
        _ => {
            let origin = if *reason == R::Unsubscribe { R::Manual } else { *reason };
            json!({"object": "suppression", "id": entry.id, "email": address, "origin": origin,
                "source_id": entry.evidence.message_id, "created_at": at})
        }
    }
}

/// The reply in one line.
fn said(evidence: &Evidence) -> String {
    let code = evidence.code.map(|code| code.to_string());
    let parts = [code.as_deref(), evidence.enhanced.as_deref(), evidence.text.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
