//! The fields of a message to be composed: every value is given to its parser in [`domain::draft`], and every fault put at
//! its pointer. It has no rule of its own.
//!
//! [`domain::draft`]: crate::domain::draft

use std::sync::Arc;

use serde_json::Value;

use super::base64;
use super::fields::{Fields, wrong_type};
use super::found::Found;
use super::send::Context;
use crate::config::Limits;
use crate::domain::address::NamedAddress;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{
    Alternative, Attachment, AutoReplies, Body, ContentId, Demand, Disposition, DraftParts, Expiry, Filename,
    HeaderField, HeaderFields, MediaType, Metadata, Options, Origin, Otp, OtpCode, OwnMessageId, PoolName, Priority,
    Recipients, ReturnPath, Stream, Subject, Tag, TlsDemand, Tracking,
};
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::script::Script;

const REPLY_TO_MAX: usize = 50;
const ALTERNATIVES_MAX: usize = 10;

/// The parts of one draft, as far as they could be read: what is missing has its fault.
pub(super) struct Parts {
    pub from: Option<NamedAddress>,
    pub to: Vec<NamedAddress>,
    pub recipients: Option<Recipients>,
    pub reply_to: Vec<NamedAddress>,
    pub subject: Option<Subject>,
    pub body: Option<Body>,
    pub alternatives: Vec<Alternative>,
    pub attachments: Vec<Attachment>,
    pub headers: HeaderFields,
    pub message_id: Option<OwnMessageId>,
    pub return_path: Option<ReturnPath>,
    pub otp: Option<Otp>,
    pub auto_replies: AutoReplies,
    pub options: Options,
}

impl Parts {
    /// Reads the fields of a draft; a template may have given subject and body.
    pub fn read(fields: &mut Fields<'_>, context: &Context<'_>, base: Timestamp) -> Self {
        let limits = context.limits;
        let from = from(fields);
        let (to, recipients) = recipients(fields, limits);
        let reply_to = addresses(fields, "reply_to", REPLY_TO_MAX);
        let subject = required(fields, "subject", "must be given; it may be empty", Subject::parse);
        let body = body(fields);
        let alternatives = objects(fields, "alternatives", ALTERNATIVES_MAX, alternative);
        let attachments =
            objects(fields, "attachments", limits.attachments, |fields| attachment(fields, context.found));
        let headers = headers(fields, limits);
        let message_id = optional(fields, "message_id", |text| OwnMessageId::parse(&text));
        let return_path = return_path(fields, from.as_ref());
        let otp = otp(fields);
        let auto_replies = optional(fields, "auto_replies", |word| {
            let wrong = || Flaw::new(FaultCode::InvalidAutoReplies, "must be allow or suppress");
            AutoReplies::parse(&word).ok_or_else(wrong)
        })
        .unwrap_or(AutoReplies::Allow);
        let options = options(fields, limits, base);
        if options.domain_pool.is_some() && return_path.is_some() {
            let detail = "it would lie in another domain than the author's: leave out return_path or domain_pool";
            fields.fault("return_path", FaultCode::Conflict, detail);
        }
        Self {
            from,
            to,
            recipients,
            reply_to,
            subject,
            body,
            alternatives,
            attachments,
            headers,
            message_id,
            return_path,
            otp,
            auto_replies,
            options,
        }
    }

    /// Puts the parts together; `None`: one of them is missing, which has its fault.
    pub fn finish(self) -> Option<DraftParts> {
        Some(DraftParts {
            from: self.from?,
            recipients: self.recipients?,
            reply_to: self.reply_to,
            subject: self.subject?,
            body: self.body?,
            alternatives: self.alternatives,
            attachments: self.attachments,
            headers: self.headers,
            message_id: self.message_id,
            return_path: self.return_path,
            otp: self.otp,
            auto_replies: self.auto_replies,
            options: self.options,
        })
    }
}

pub(super) fn return_path(fields: &mut Fields<'_>, from: Option<&NamedAddress>) -> Option<ReturnPath> {
    match from {
        Some(from) => optional(fields, "return_path", |text| ReturnPath::parse(&text, &from.address)),
        // Which domain it must be in is not known; whether it is text at all is.
        None => fields.string("return_path").and(None),
    }
}

/// A text that must be there, parsed.
pub(super) fn required<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    absent: &str,
    parse: impl FnOnce(String) -> Result<T, Flaw>,
) -> Option<T> {
    if !fields.has(name) {
        fields.fault(name, FaultCode::Required, absent);
    }
    let text = fields.string(name)?;
    fields.sound(name, parse(text))
}

/// A text, parsed if it is there.
pub(super) fn optional<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    parse: impl FnOnce(String) -> Result<T, Flaw>,
) -> Option<T> {
    let text = fields.string(name)?;
    fields.sound(name, parse(text))
}

pub(super) fn from(fields: &mut Fields<'_>) -> Option<NamedAddress> {
    let Some(value) = fields.take("from") else {
        fields.fault("from", FaultCode::Required, "must be given");
        return None;
    };
    let pointer = fields.pointer("from");
    address(value, pointer, fields.faults)
}

/// The addresses of `to`, and all recipients.
pub(super) fn recipients(fields: &mut Fields<'_>, limits: &Limits) -> (Vec<NamedAddress>, Option<Recipients>) {
    let before = fields.faults.len();
    let [to, cc, bcc] = ["to", "cc", "bcc"].map(|name| addresses(fields, name, limits.recipients));
    let recipients = Recipients::new(to.clone(), cc, bcc, limits.recipients);
    let recipients = match recipients {
        // An address that was faulty is why nobody is there.
        Err(flaw) if flaw.code == FaultCode::Required && fields.faults.len() > before => None,
        recipients => fields.sound("to", recipients),
    };
    (to, recipients)
}

/// One address or a list of at most `limit`; what is in a longer list is not looked at.
fn addresses(fields: &mut Fields<'_>, name: &'static str, limit: usize) -> Vec<NamedAddress> {
    let pointer = fields.pointer(name);
    match fields.take(name) {
        None => Vec::new(),
        Some(Value::Array(items)) if items.len() > limit => {
            let detail = format!("{} addresses; the limit is {limit}", items.len());
            fields.fault(name, FaultCode::TooManyRecipients, detail);
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
                fields.fault("email", FaultCode::Required, "must be given");
            }
            fields.finish();
            NamedAddress::from_parts(name.as_deref(), &email?)
        }
        other => {
            faults.push(wrong_type(pointer, "an address", &other));
            return None;
        }
    };
    parsed.map_err(|error| faults.push(Flaw::from(error).at(pointer))).ok()
}

fn body(fields: &mut Fields<'_>) -> Option<Body> {
    let is_given = fields.has("text") || fields.has("html");
    let (text, html) = (fields.string("text"), fields.string("html"));
    if !is_given {
        fields.fault("text", FaultCode::Required, "one of text and html must be given");
    }
    Body::new(text, html)
}

/// A list of at most `limit` objects, each read by `read`.
pub(super) fn objects<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    limit: usize,
    read: impl Fn(Fields<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(items) = fields.list(name) else { return Vec::new() };
    if items.len() > limit {
        fields.fault(name, FaultCode::TooMany, format!("{}; the limit is {limit}", items.len()));
        return Vec::new();
    }
    let at = fields.pointer(name);
    items
        .into_iter()
        .enumerate()
        .filter_map(|(index, item)| match item {
            Value::Object(map) => read(Fields::new(map, format!("{at}/{index}"), fields.faults)),
            other => {
                fields.faults.push(wrong_type(format!("{at}/{index}"), "an object", &other));
                None
            }
        })
        .collect()
}

fn attachment(mut fields: Fields<'_>, found: &Found) -> Option<Attachment> {
    let is_upload = fields.has("upload_id");
    let upload = optional(&mut fields, "upload_id", |text| found.upload(&text));
    let filename = match &upload {
        Some(upload) if !fields.has("filename") => Some(upload.filename.clone()),
        None if is_upload => optional(&mut fields, "filename", Filename::parse),
        _ => required(&mut fields, "filename", "must be given", Filename::parse),
    };
    let content = match (upload, is_upload) {
        (upload, true) => {
            if fields.take("content").is_some() {
                fields.fault("content", FaultCode::Conflict, "give content or upload_id, not both");
            }
            upload.map(|upload| (upload.content, Some(upload.content_type)))
        }
        (_, false) => {
            required(&mut fields, "content", "must be given, in base64; or upload_id", |text| base64::decode(&text))
                // What a `data:` URI says of itself.
                .map(|decoded| {
                    (Arc::new(decoded.bytes), decoded.media_type.and_then(|said| MediaType::parse(&said).ok()))
                })
        }
    };
    let is_typed = fields.has("content_type");
    let content_type = optional(&mut fields, "content_type", |text| MediaType::parse(&text));
    let content_id = optional(&mut fields, "content_id", |text| ContentId::parse(&text));
    let disposition = optional(&mut fields, "disposition", |word| {
        let wrong = || Flaw::new(FaultCode::InvalidDisposition, "must be attachment or inline");
        Disposition::parse(&word).ok_or_else(wrong)
    });
    let is_mistyped = is_typed && content_type.is_none();
    let attachment = match (filename, content) {
        (Some(filename), Some((bytes, known_type))) if !is_mistyped => {
            // What it says of itself, or what the name says.
            let content_type = content_type.or(known_type).unwrap_or_else(|| MediaType::of_filename(&filename));
            let attachment = Attachment::new(filename, content_type, bytes, content_id, disposition);
            fields.sound("content", attachment)
        }
        _ => None,
    };
    fields.finish();
    attachment
}

fn alternative(mut fields: Fields<'_>) -> Option<Alternative> {
    let media_type = required(&mut fields, "content_type", "must be given", |text| MediaType::parse(&text));
    let content = required(&mut fields, "content", "must be given", Ok);
    let alternative = match (media_type, content) {
        (Some(media_type), Some(content)) => fields.sound("content_type", Alternative::new(&media_type, content)),
        _ => None,
    };
    fields.finish();
    alternative
}

fn otp(fields: &mut Fields<'_>) -> Option<Otp> {
    let map = fields.object("otp")?;
    let mut inner = Fields::new(map, fields.pointer("otp"), fields.faults);
    let code = required(&mut inner, "code", "must be given", OtpCode::parse);
    let origin = required(&mut inner, "origin", "must be given", |text| Origin::parse(&text));
    inner.finish();
    Some(Otp::new(code?, origin?))
}

pub(super) fn headers(fields: &mut Fields<'_>, limits: &Limits) -> HeaderFields {
    let mut headers = HeaderFields::default();
    let Some(map) = fields.object("headers") else { return headers };
    if map.len() > limits.headers {
        fields.fault("headers", FaultCode::TooMany, format!("{}; the limit is {}", map.len(), limits.headers));
        return headers;
    }
    let mut inner = Fields::new(map, fields.pointer("headers"), fields.faults);
    for name in inner.names() {
        if let Some(value) = inner.entry(&name) {
            let inserted = HeaderField::parse(name.clone(), value).and_then(|field| headers.insert(field));
            inner.sound(&name, inserted);
        }
    }
    inner.finish();
    headers
}

pub(super) fn options(fields: &mut Fields<'_>, limits: &Limits, base: Timestamp) -> Options {
    Options {
        tags: tags(fields, limits),
        metadata: metadata(fields, limits),
        priority: optional(fields, "priority", |name| Priority::parse(&name)).unwrap_or_default(),
        expires_at: expiry(fields, base),
        demand: Demand {
            tls: optional(fields, "tls", |name| TlsDemand::parse(&name)).unwrap_or_default(),
            ip_pool: fields.string("ip_pool"),
        },
        template: None,
        script: script(fields),
        stream: stream(fields),
        tracking: tracking(fields),
        domain_pool: optional(fields, "domain_pool", PoolName::parse),
    }
}

fn stream(fields: &mut Fields<'_>) -> Option<Stream> {
    let map = fields.object("unsubscribe")?;
    let mut inner = Fields::new(map, fields.pointer("unsubscribe"), fields.faults);
    let stream = required(&mut inner, "stream", "must be given: what the recipient may want no more of", Stream::parse);
    inner.finish();
    stream
}

fn tracking(fields: &mut Fields<'_>) -> Tracking {
    let Some(map) = fields.object("tracking") else { return Tracking::default() };
    let mut inner = Fields::new(map, fields.pointer("tracking"), fields.faults);
    let [opens, clicks] = ["opens", "clicks"].map(|name| inner.bool(name).unwrap_or_default());
    inner.finish();
    Tracking { opens, clicks }
}

/// Faults of a message with links of its recipient's own: it has one recipient, and no such field besides.
pub(super) fn check_links(fields: &mut Fields<'_>, parts: &DraftParts) {
    if !parts.options.wants_links() {
        return;
    }
    let at = if parts.options.stream.is_some() { "unsubscribe" } else { "tracking" };
    let count = parts.recipients.distinct().len();
    if count > 1 {
        let detail =
            format!("its links are one recipient's own, and it has {count}: say per_recipient, or send it to one");
        fields.fault(at, FaultCode::Conflict, detail);
    }
    for name in ["List-Unsubscribe", "List-Unsubscribe-Post"] {
        if parts.options.stream.is_some() && parts.headers.get(name).is_some() {
            fields.fault_at(
                &format!("headers/{name}"),
                FaultCode::Conflict,
                "unsubscribe writes it: leave out one of them",
            );
        }
    }
}

fn script(fields: &mut Fields<'_>) -> Option<Script> {
    let map = fields.object("sandbox")?;
    let mut inner = Fields::new(map, fields.pointer("sandbox"), fields.faults);
    let script = required(&mut inner, "script", "must be given", |text| Script::parse(&text));
    inner.finish();
    script
}

fn tags(fields: &mut Fields<'_>, limits: &Limits) -> Vec<Tag> {
    fields.parsed_strings("tags", limits.tags, Tag::parse).unwrap_or_default()
}

pub(super) fn metadata(fields: &mut Fields<'_>, limits: &Limits) -> Metadata {
    let Some(map) = fields.object("metadata") else { return Metadata::default() };
    let mut inner = Fields::new(map, fields.pointer("metadata"), fields.faults);
    let mut metadata = Metadata::default();
    for name in inner.names() {
        if let Some(value) = inner.entry(&name) {
            inner.sound(&name, metadata.insert(name.clone(), value));
        }
    }
    inner.finish();
    fields.sound("metadata", metadata.within(limits.metadata.0)).unwrap_or_default()
}

fn expiry(fields: &mut Fields<'_>, now: Timestamp) -> Option<Expiry> {
    let at = fields.string("expires_at");
    let ttl = fields.integer("ttl_seconds");
    if at.is_some() && ttl.is_some() {
        fields.fault("ttl_seconds", FaultCode::Conflict, "give expires_at or ttl_seconds, not both");
    }
    match (at, ttl) {
        (Some(text), _) => fields.sound("expires_at", Expiry::parse(&text, now)),
        (None, Some(seconds)) => fields.sound("ttl_seconds", Expiry::after(seconds, now)),
        (None, None) => None,
    }
}
