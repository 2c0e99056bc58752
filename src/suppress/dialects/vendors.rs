//! What an entry means in the words of the service that it comes from.

use time::format_description::well_known::Rfc2822;

use super::judged::{Told, judge};
use super::read::Record;
use super::{Context, Left, Listed};
use crate::domain::address::Address;
use crate::domain::clock::{Timestamp, parse_rfc3339};
use crate::domain::fault::Flaw;
use crate::domain::suppression::{Evidence, ListFormat, SuppressionReason, SuppressionScope, TEXT_MAX, parse_subject};

/// What an entry of ours may name; the last ones are not taken over.
pub const OURS: [&str; 19] = [
    "email",
    "reason",
    "scope",
    "class",
    "expiresat",
    "createdat",
    "note",
    "evidencesource",
    "evidencecode",
    "evidenceenhanced",
    "evidencetext",
    "evidencehost",
    "evidencemessageid",
    "evidencerule",
    "evidence",
    "id",
    "mode",
    "updatedat",
    "emailaddress",
];

type Meant = (SuppressionReason, Option<Evidence>, Option<String>);

pub fn listed(record: &Record, context: &Context<'_>) -> Result<Vec<Listed>, Left> {
    let text = record.text(&["email", "emailaddress", "address", "recipient"]);
    let text = text.ok_or_else(|| Left::Refused("it names no address".to_owned()))?.trim();
    let is_ours = matches!(context.format, ListFormat::Csv | ListFormat::Ndjson);
    // What other services list as addresses may be none; all of a domain is meant in our own form alone.
    let address =
        if is_ours { parse_subject(text) } else { Address::parse(text).map(|it| it.folded()).map_err(Flaw::from) };
    let address = address.map_err(|flaw| Left::Refused(format!("the address {}", flaw.detail)))?;
    if is_ours {
        return ours(record, context, address).map(|entry| vec![entry]);
    }
    let (reason, evidence, class) = match context.format {
        ListFormat::Sendgrid => sendgrid(record, context)?,
        ListFormat::Mailgun => mailgun(record, context)?,
        ListFormat::Postmark => postmark(record)?,
        ListFormat::Ses => by_word(record.text(&["reason"]), context)?,
        _ => by_word(record.text(&["origin", "reason"]), context)?,
    };
    let instant = record.text(&["createdat", "created", "lastupdatetime"]).and_then(instant_of);
    let created_at = instant.map_or(context.now, |at| at.min(context.now));
    let evidence = Evidence { source: Some("import".to_owned()), ..evidence.unwrap_or_default() };
    let entry = Listed {
        address,
        scope: SuppressionScope::Project,
        reason,
        class,
        evidence,
        note: format!("imported from {}", context.format),
        created_at,
        expires_at: reason.expiry(created_at),
    };
    if context.format != ListFormat::Mailgun || reason != SuppressionReason::Unsubscribe {
        return Ok(vec![entry]);
    }
    scopes_of_tags(record)
        .into_iter()
        .map(|scope| Ok(Listed { scope: scope.map_err(Left::Refused)?, ..entry.clone() }))
        .collect()
}

/// A list of `SendGrid`: of bounces and blocks, which have the same fields, of invalid addresses, spam reports, or
/// unsubscribes.
fn sendgrid(record: &Record, context: &Context<'_>) -> Result<Meant, Left> {
    let told = Told { code: None, status: record.text(&["status"]), text: record.text(&["reason"]) };
    if told.text.is_some() || told.status.is_some() {
        return bounce(&told, context);
    }
    let reason = if record.has("ip") { SuppressionReason::Complaint } else { SuppressionReason::Unsubscribe };
    Ok((context.reason.unwrap_or(reason), None, None))
}

/// A list of Mailgun: of bounces, unsubscribes (with tags), or complaints.
fn mailgun(record: &Record, context: &Context<'_>) -> Result<Meant, Left> {
    let told = Told { code: record.text(&["code"]), status: None, text: record.text(&["error"]) };
    if told.code.is_some() || told.text.is_some() {
        return bounce(&told, context);
    }
    let reason = if record.has("tags") || record.has("tag") {
        SuppressionReason::Unsubscribe
    } else {
        SuppressionReason::Complaint
    };
    Ok((context.reason.unwrap_or(reason), None, None))
}

fn bounce(told: &Told<'_>, context: &Context<'_>) -> Result<Meant, Left> {
    let verdict = judge(told, context.classifier)?;
    let evidence = Evidence {
        code: verdict.code,
        enhanced: verdict.enhanced,
        text: told.text.map(cleaned),
        ..Evidence::default()
    };
    Ok((SuppressionReason::Bounce, Some(evidence), verdict.class))
}

fn postmark(record: &Record) -> Result<Meant, Left> {
    let reason = match record.text(&["suppressionreason"]) {
        Some("HardBounce") => SuppressionReason::Bounce,
        Some("SpamComplaint") => SuppressionReason::Complaint,
        Some("ManualSuppression") if record.text(&["origin"]) == Some("Recipient") => SuppressionReason::Unsubscribe,
        Some("ManualSuppression") => SuppressionReason::Manual,
        other => return Err(no_reason(other)),
    };
    Ok((reason, None, None))
}

/// The reason by a word: ours, or that of a service.
fn by_word(word: Option<&str>, context: &Context<'_>) -> Result<Meant, Left> {
    reason_of(word, context).map(|reason| (reason, None, None))
}

fn reason_of(word: Option<&str>, context: &Context<'_>) -> Result<SuppressionReason, Left> {
    let Some(word) = word else { return Ok(context.reason.unwrap_or(SuppressionReason::Manual)) };
    match &*word.trim().to_ascii_lowercase() {
        "soft_bounce" | "softbounce" | "soft bounce" | "block" | "blocked" => {
            Err(Left::Skipped(format!("'{word}' does not speak of the address")))
        }
        "hardbounce" | "hard_bounce" | "hard bounce" => Ok(SuppressionReason::Bounce),
        "spamcomplaint" | "spam" | "spam_complaint" => Ok(SuppressionReason::Complaint),
        "unsubscribed" => Ok(SuppressionReason::Unsubscribe),
        word => SuppressionReason::parse(word).ok_or_else(|| no_reason(Some(word))),
    }
}

fn no_reason(word: Option<&str>) -> Left {
    Left::Refused(match word {
        Some(word) => format!("'{}' is no reason that is known", cleaned(word)),
        None => "it gives no reason".to_owned(),
    })
}

/// An entry of our own list.
fn ours(record: &Record, context: &Context<'_>, address: String) -> Result<Listed, Left> {
    let instant = |name: &str| match record.text(&[name]) {
        None => Ok(None),
        Some(text) => {
            instant_of(text).map(Some).ok_or_else(|| Left::Refused(format!("'{}' is no instant", cleaned(text))))
        }
    };
    let text = |name: &str| record.text(&[name]).map(cleaned);
    let reason = reason_of(record.text(&["reason"]), context)?;
    let scope = match record.text(&["scope"]) {
        None => SuppressionScope::Project,
        Some(text) => SuppressionScope::parse(text)
            .ok_or_else(|| Left::Refused(format!("'{}' is none of project, tag:…, stream:…", cleaned(text))))?,
    };
    let created_at = instant("createdat")?.map_or(context.now, |at| at.min(context.now));
    // A list that has the column says when it ends; one that has not leaves it to the reason.
    let expires_at = if record.has("expiresat") { instant("expiresat")? } else { reason.expiry(created_at) };
    Ok(Listed {
        address,
        scope,
        reason,
        class: text("class"),
        evidence: Evidence {
            source: text("evidencesource").or_else(|| Some("import".to_owned())),
            code: record.text(&["evidencecode"]).and_then(|code| code.parse().ok()),
            enhanced: text("evidenceenhanced"),
            text: text("evidencetext"),
            host: text("evidencehost"),
            message_id: text("evidencemessageid"),
            rule: text("evidencerule"),
        },
        note: text("note").unwrap_or_default(),
        created_at,
        expires_at,
    })
}

/// Mailgun's tags: `*` is all mail, and so is none.
fn scopes_of_tags(record: &Record) -> Vec<Result<SuppressionScope, String>> {
    let values = record.values("tags").iter().chain(record.values("tag"));
    let tags: Vec<_> = values.flat_map(|tags| tags.split(',')).map(str::trim).filter(|tag| !tag.is_empty()).collect();
    if tags.is_empty() || tags.contains(&"*") {
        return vec![Ok(SuppressionScope::Project)];
    }
    let scope = |tag: &str| {
        SuppressionScope::parse(&format!("tag:{tag}")).ok_or_else(|| format!("'{}' is no tag", cleaned(tag)))
    };
    tags.into_iter().map(scope).collect()
}

/// RFC 3339, RFC 5322, or seconds since 1970.
fn instant_of(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(at) = parse_rfc3339(text).or_else(|| parse_rfc3339(&format!("{}Z", text.replacen(' ', "T", 1)))) {
        return Some(at);
    }
    let seconds = text.split_once('.').map_or(text, |(whole, _)| whole);
    if let Ok(seconds) = seconds.parse() {
        return Timestamp::from_unix_timestamp(seconds).ok();
    }
    let zoned = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |front| format!("{front}+0000"));
    Timestamp::parse(&zoned, &Rfc2822).ok()?.checked_to_offset(time::UtcOffset::UTC)
}

/// A text that can be stored.
fn cleaned(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control() || *c == '\n').take(TEXT_MAX).collect()
}
