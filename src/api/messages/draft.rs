//! The body of a send request: parsed once, with every fault at once.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use time::Duration;

use crate::api::fields::{Fields, wrong_type};
use crate::config::Limits;
use crate::domain::address::NamedAddress;
use crate::domain::clock::{Timestamp, parse_rfc3339};
use crate::domain::fault::Fault;
use crate::domain::message::{Attachment, Demand, Draft, Priority, TlsDemand};

/// Base64 with or without padding, as clients send it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of a subject (RFC 5322 folds it; no client shows more).
const SUBJECT_MAX: usize = 998;
const TAG_MAX: usize = 64;
const REPLY_TO_MAX: usize = 50;
const FILENAME_MAX: usize = 255;
const CONTENT_ID_MAX: usize = 128;
const HEADER_NAME_MAX: usize = 76;
const HEADER_VALUE_MAX: usize = 998;
const EXPIRY_MAX: Duration = Duration::days(90);

/// Header fields that a field of the request, or the service itself, writes.
const RESERVED: [&str; 18] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "received",
    "return-path",
    "dkim-signature",
    "authentication-results",
    "delivered-to",
    "errors-to",
    "x-original-to",
    "apparently-to",
];
const RESERVED_PREFIXES: [&str; 4] = ["content-", "arc-", "resent-", "x-mailwright-"];

/// The draft, or every fault of the body.
pub fn parse(map: Map<String, Value>, limits: &Limits, now: Timestamp) -> Result<Draft, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut fields = Fields::new(map, "", &mut faults);
    let from = from(&mut fields);
    let to = addresses(&mut fields, "to", limits.recipients);
    let cc = addresses(&mut fields, "cc", limits.recipients);
    let bcc = addresses(&mut fields, "bcc", limits.recipients);
    let reply_to = addresses(&mut fields, "reply_to", REPLY_TO_MAX);
    check_recipients(&mut fields, to.len() + cc.len() + bcc.len(), limits);
    let subject = subject(&mut fields);
    let (text, html) = bodies(&mut fields);
    let attachments = attachments(&mut fields, limits);
    let headers = headers(&mut fields, limits);
    let tags = tags(&mut fields, limits);
    let metadata = metadata(&mut fields, limits);
    let priority = priority(&mut fields);
    let expires_at = expiry(&mut fields, now);
    let demand = demand(&mut fields);
    fields.finish();
    match from {
        Some(from) if faults.is_empty() => Ok(Draft {
            from,
            to,
            cc,
            bcc,
            reply_to,
            subject,
            text,
            html,
            attachments,
            headers,
            tags,
            metadata,
            priority,
            expires_at,
            demand,
        }),
        _ => Err(faults),
    }
}

fn from(fields: &mut Fields<'_>) -> Option<NamedAddress> {
    let Some(value) = fields.take("from") else {
        fields.fault("from", "required", "must be given");
        return None;
    };
    let pointer = fields.pointer("from");
    address(value, pointer, fields.faults)
}

/// One address or a list of at most `limit`; what is in a longer list is not looked at.
fn addresses(fields: &mut Fields<'_>, name: &str, limit: usize) -> Vec<NamedAddress> {
    let pointer = fields.pointer(name);
    match fields.take(name) {
        None => Vec::new(),
        Some(Value::Array(items)) if items.len() > limit => {
            fields.fault(name, "too_many_recipients", format!("{} addresses; the limit is {limit}", items.len()));
            Vec::new()
        }
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| address(item, format!("{pointer}/{index}"), fields.faults))
            .collect(),
        Some(one) => address(one, pointer, fields.faults).into_iter().collect(),
    }
}

/// `"a@b.c"`, `"Name <a@b.c>"` or `{"email", "name"}`.
fn address(value: Value, pointer: String, faults: &mut Vec<Fault>) -> Option<NamedAddress> {
    let parsed = match value {
        Value::String(text) => NamedAddress::parse(&text),
        Value::Object(map) => {
            let mut fields = Fields::new(map, pointer.clone(), faults);
            let name = fields.string("name");
            let email = fields.string("email");
            if email.is_none() {
                fields.fault("email", "required", "must be given");
            }
            fields.finish();
            NamedAddress::from_parts(name.as_deref(), &email?)
        }
        other => {
            faults.push(wrong_type(pointer, "an address", &other));
            return None;
        }
    };
    match parsed {
        Ok(address) => Some(address),
        Err(error) => {
            faults.push(Fault::new(pointer, "invalid_address", error.to_string()));
            None
        }
    }
}

fn check_recipients(fields: &mut Fields<'_>, count: usize, limits: &Limits) {
    let is_faulty = fields.faults.iter().any(|f| ["/to", "/cc", "/bcc"].iter().any(|list| f.pointer.starts_with(list)));
    if count == 0 && !is_faulty {
        fields.fault("to", "required", "at least one of to, cc and bcc must name a recipient");
    }
    if count > limits.recipients {
        let detail = format!("{count} recipients; the limit is {}", limits.recipients);
        fields.fault("to", "too_many_recipients", detail);
    }
}

fn subject(fields: &mut Fields<'_>) -> String {
    let is_given = fields.has("subject");
    let subject = fields.string("subject");
    match subject {
        None if !is_given => fields.fault("subject", "required", "must be given; it may be empty"),
        Some(ref text) if text.chars().count() > SUBJECT_MAX => {
            fields.fault("subject", "too_long", format!("must have at most {SUBJECT_MAX} characters"));
        }
        Some(ref text) => check_header_text(fields, "subject", text),
        None => {}
    }
    subject.unwrap_or_default()
}

/// What goes into a header must not be able to end it.
fn check_header_text(fields: &mut Fields<'_>, name: &str, text: &str) {
    if text.chars().any(char::is_control) {
        fields.fault(name, "control_character", "must not hold a line break, a NUL or another control character");
    }
}

fn bodies(fields: &mut Fields<'_>) -> (Option<String>, Option<String>) {
    let is_given = fields.has("text") || fields.has("html");
    let (text, html) = (fields.string("text"), fields.string("html"));
    if !is_given || (html.is_none() && text.is_none() && fields.faults.is_empty()) {
        fields.fault("text", "required", "one of text and html must be given");
    }
    (text, html)
}

fn attachments(fields: &mut Fields<'_>, limits: &Limits) -> Vec<Attachment> {
    let Some(items) = fields.list("attachments") else { return Vec::new() };
    if items.len() > limits.attachments {
        fields.fault("attachments", "too_many", format!("{}; the limit is {}", items.len(), limits.attachments));
        return Vec::new();
    }
    let at = fields.pointer("attachments");
    items
        .into_iter()
        .enumerate()
        .filter_map(|(index, item)| match item {
            Value::Object(map) => attachment(Fields::new(map, format!("{at}/{index}"), fields.faults)),
            other => {
                fields.faults.push(wrong_type(format!("{at}/{index}"), "an object", &other));
                None
            }
        })
        .collect()
}

fn attachment(mut fields: Fields<'_>) -> Option<Attachment> {
    let before = fields.faults.len();
    let filename = fields.string("filename");
    match &filename {
        None => fields.fault("filename", "required", "must be given"),
        Some(name) if name.is_empty() || name.len() > FILENAME_MAX => {
            fields.fault("filename", "invalid_filename", format!("must have 1 to {FILENAME_MAX} bytes"));
        }
        Some(name) => check_header_text(&mut fields, "filename", &name.clone()),
    }
    let content = match fields.string("content") {
        None => {
            fields.fault("content", "required", "must be given, in base64");
            None
        }
        Some(text) => BASE64.decode(text.trim()).ok().or_else(|| {
            fields.fault("content", "invalid_base64", "is not base64");
            None
        }),
    };
    let content_type = fields.string("content_type").unwrap_or_else(|| "application/octet-stream".to_owned());
    if !is_media_type(&content_type) {
        fields.fault("content_type", "invalid_content_type", "is not a media type such as image/png (RFC 2045)");
    }
    let mut content_id = fields.string("content_id");
    if content_id.as_ref().is_some_and(|id| !is_content_id(id)) {
        fields.fault(
            "content_id",
            "invalid_content_id",
            format!("must have 1 to {CONTENT_ID_MAX} letters, digits or any of ._@+-"),
        );
    }
    match fields.string("disposition").as_deref() {
        None | Some("inline") => {}
        Some("attachment") => content_id = None,
        Some(_) => fields.fault("disposition", "invalid_disposition", "must be attachment or inline"),
    }
    let is_sound = fields.faults.len() == before;
    fields.finish();
    is_sound.then_some(())?;
    Some(Attachment { filename: filename?, content_type, content: content?, content_id })
}

/// `type/subtype` of RFC 2045 tokens, with parameters in visible ASCII.
fn is_media_type(text: &str) -> bool {
    let token =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let kinds = essence.trim().split_once('/');
    text.len() <= 255
        && kinds.is_some_and(|(kind, subtype)| {
            token(kind) && token(subtype) && !["multipart", "message"].contains(&&*kind.to_ascii_lowercase())
        })
        && parameters.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

fn is_content_id(text: &str) -> bool {
    (1..=CONTENT_ID_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b))
}

fn headers(fields: &mut Fields<'_>, limits: &Limits) -> Vec<(String, String)> {
    let Some(map) = fields.object("headers") else { return Vec::new() };
    if map.len() > limits.headers {
        fields.fault("headers", "too_many", format!("{}; the limit is {}", map.len(), limits.headers));
        return Vec::new();
    }
    let at = fields.pointer("headers");
    let names: Vec<String> = map.keys().cloned().collect();
    let mut inner = Fields::new(map, at, fields.faults);
    let mut headers = Vec::new();
    for name in names {
        let Some(value) = inner.string(&name) else { continue };
        let lower = name.to_ascii_lowercase();
        if !is_field_name(&name) {
            let detail =
                format!("a header name has 1 to {HEADER_NAME_MAX} visible ASCII characters and no colon (RFC 5322)");
            inner.fault(&name, "invalid_header", detail);
        } else if RESERVED.contains(&&*lower) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            inner.fault(
                &name,
                "reserved_header",
                format!("'{name}' is written by the service, or by a field of the request"),
            );
        } else if value.len() > HEADER_VALUE_MAX {
            inner.fault(&name, "too_long", format!("must have at most {HEADER_VALUE_MAX} bytes"));
        } else {
            check_header_text(&mut inner, &name, &value);
            headers.push((name, value));
        }
    }
    inner.finish();
    headers
}

/// RFC 5322 §2.2 `ftext`.
fn is_field_name(name: &str) -> bool {
    (1..=HEADER_NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

fn tags(fields: &mut Fields<'_>, limits: &Limits) -> Vec<String> {
    let Some(tags) = fields.strings("tags", limits.tags) else { return Vec::new() };
    for (index, tag) in tags.iter().enumerate() {
        if tag.is_empty() || tag.chars().count() > TAG_MAX || tag.chars().any(char::is_control) {
            let pointer = format!("/tags/{index}");
            let detail = format!("must have 1 to {TAG_MAX} characters, none of them a control character");
            fields.faults.push(Fault::new(pointer, "invalid_tag", detail));
        }
    }
    tags
}

fn metadata(fields: &mut Fields<'_>, limits: &Limits) -> BTreeMap<String, String> {
    let Some(map) = fields.object("metadata") else { return BTreeMap::new() };
    let at = fields.pointer("metadata");
    let names: Vec<String> = map.keys().cloned().collect();
    let mut inner = Fields::new(map, at, fields.faults);
    let mut metadata = BTreeMap::new();
    let mut bytes = 0;
    for name in names {
        let Some(value) = inner.string(&name) else { continue };
        bytes += name.len() + value.len();
        // Postgres cannot hold a NUL in text.
        if name.contains('\0') || value.contains('\0') {
            inner.fault(&name, "control_character", "must not hold a NUL");
        }
        metadata.insert(name, value);
    }
    inner.finish();
    if bytes > limits.metadata.0 {
        fields.fault("metadata", "too_long", format!("{bytes} bytes; the limit is {}", limits.metadata.0));
    }
    metadata
}

fn priority(fields: &mut Fields<'_>) -> Priority {
    let Some(name) = fields.string("priority") else { return Priority::default() };
    Priority::parse(&name).unwrap_or_else(|| {
        fields.fault("priority", "invalid_priority", format!("must be one of {}", Priority::NAMES.join(", ")));
        Priority::default()
    })
}

fn demand(fields: &mut Fields<'_>) -> Demand {
    let tls = match fields.string("tls") {
        None => TlsDemand::default(),
        Some(name) => TlsDemand::parse(&name).unwrap_or_else(|| {
            fields.fault("tls", "invalid_tls", format!("must be one of {}", TlsDemand::NAMES.join(", ")));
            TlsDemand::default()
        }),
    };
    Demand { tls, ip_pool: fields.string("ip_pool") }
}

fn expiry(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let at = fields.string("expires_at");
    let ttl = fields.integer("ttl_seconds");
    if at.is_some() && ttl.is_some() {
        fields.fault("ttl_seconds", "conflict", "give expires_at or ttl_seconds, not both");
    }
    let (name, expires_at) = match (at, ttl) {
        (Some(text), _) => {
            if let Some(at) = parse_rfc3339(&text) {
                ("expires_at", at)
            } else {
                fields.fault("expires_at", "invalid_time", "is not an RFC 3339 instant such as 2026-11-22T10:00:00Z");
                return None;
            }
        }
        (None, Some(seconds)) => ("ttl_seconds", now.checked_add(Duration::seconds(seconds)).unwrap_or(now)),
        (None, None) => return None,
    };
    if expires_at <= now {
        fields.fault(name, "in_the_past", "the message would expire before it could be sent");
    } else if expires_at - now > EXPIRY_MAX {
        fields.fault(name, "too_far", "must lie within 90 days");
    }
    Some(expires_at)
}
