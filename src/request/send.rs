//! The body of a send request: one message, or one for each of its recipients, to be composed or composed already.

use serde_json::{Map, Value};

use super::draft::{self, Parts};
use super::fields::Fields;
use super::found::Found;
use super::raw;
use super::template::Filled;
use crate::config::Limits;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{
    Body, Content, Draft, DraftParts, HeaderFields, Metadata, Place, Recipients, SendAt, Subject,
};
use crate::domain::fault::{Fault, FaultCode};

/// What reading a request takes beside its JSON.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    pub limits: &'c Limits,
    pub now: Timestamp,
    pub found: &'c Found,
}

/// A send request as it was read.
#[derive(Debug)]
pub struct Sending {
    /// At least one; several for a request that says `per_recipient`.
    pub contents: Vec<Content>,
    /// `None`: at once.
    pub send_at: Option<SendAt>,
}

/// Reads a send request whose object stands at `at`; gives every fault at once.
///
/// What its template came to was taken out of it before ([`template::take`](super::template::take)).
pub fn read(
    map: Map<String, Value>,
    at: &str,
    filled: Option<&Filled>,
    context: &Context<'_>,
) -> Result<Sending, Vec<Fault>> {
    let mut faults = Vec::new();
    let map = with_first(map, filled);
    let mut fields = Fields::new(map, at, &mut faults);
    let (send_at, base) = send_at(&mut fields, context);
    let contents = if fields.has("raw") {
        raw::read(&mut fields, context, base).map(|raw| vec![Content::Raw(Box::new(raw))])
    } else {
        fields.take("raw");
        composed(&mut fields, context, base, filled)
    };
    fields.finish();
    let contents = contents.map(|mut contents| {
        for content in &mut contents {
            content.options_mut().template = filled.map(|filled| filled.label.clone());
        }
        contents
    });
    match contents {
        Some(contents) if faults.is_empty() => Ok(Sending { contents, send_at }),
        _ => Err(faults),
    }
}

/// When it is to be sent, and the instant that other times are counted from: what is said of a time is said of when it is sent.
pub(super) fn send_at(fields: &mut Fields<'_>, context: &Context<'_>) -> (Option<SendAt>, Timestamp) {
    let text = fields.string("send_at");
    let send_at = text.and_then(|text| fields.sound("send_at", SendAt::parse(&text, context.now)));
    (send_at, send_at.map_or(context.now, SendAt::instant).max(context.now))
}

/// The request with what its template came to for the first message: a subject of its own goes before.
fn with_first(mut map: Map<String, Value>, filled: Option<&Filled>) -> Map<String, Value> {
    let Some(first) = filled.and_then(|filled| filled.parts.first()) else { return map };
    let mut put = |name: &str, part: &Option<String>| {
        if let Some(part) = part
            && map.get(name).is_none_or(Value::is_null)
        {
            map.insert(name.to_owned(), Value::String(part.clone()));
        }
    };
    put("subject", &first.subject);
    put("text", &first.text);
    put("html", &first.html);
    map
}

fn composed(
    fields: &mut Fields<'_>,
    context: &Context<'_>,
    base: Timestamp,
    filled: Option<&Filled>,
) -> Option<Vec<Content>> {
    // A subject that the request has for itself is everybody's.
    let first = filled.and_then(|filled| filled.parts.first()).and_then(|first| first.subject.as_deref());
    let has_own_subject = filled.is_some() && fields.text("subject") != first;
    let of_each = per_recipient(fields, context);
    let mut parts = Parts::read(fields, context, base);
    let to = std::mem::take(&mut parts.to);
    let is_own_id = parts.message_id.is_some();
    let Some(of_each) = of_each else {
        let parts = parts.finish()?;
        draft::check_links(fields, &parts);
        return Some(vec![draft(parts)]);
    };
    if parts.recipients.as_ref().is_some_and(|all| !all.cc().is_empty() || !all.bcc().is_empty()) {
        let detail = "each recipient has a message of its own: name all of them in to";
        fields.fault("per_recipient", FaultCode::Conflict, detail);
    }
    if is_own_id {
        fields.fault("message_id", FaultCode::Conflict, "several messages cannot have one id: leave it to the service");
    }
    if of_each.len() != to.len() {
        let detail = format!("{} entries for {} addresses in to; they are laid side by side", of_each.len(), to.len());
        fields.fault("per_recipient", FaultCode::Conflict, detail);
    }
    let base = parts.finish()?;
    let weight = draft(base.clone()).weight();
    if weight.saturating_mul(of_each.len()) > context.limits.batch_bytes.0 {
        let detail = format!(
            "{} messages of {weight} bytes; together they may have {}",
            of_each.len(),
            context.limits.batch_bytes.0
        );
        fields.fault("per_recipient", FaultCode::MessageTooLarge, detail);
        return None;
    }
    let mut contents = Vec::with_capacity(to.len());
    for (index, (address, own)) in to.into_iter().zip(of_each).enumerate() {
        let mut parts = DraftParts { recipients: Recipients::only(address, index), ..base.clone() };
        let at = format!("per_recipient/{index}");
        if let Some(own) = filled.and_then(|filled| filled.parts.get(index)) {
            if let Some(subject) = own.subject.clone().filter(|_| !has_own_subject) {
                parts.subject = fields.sound_at(&format!("{at}/variables"), Subject::parse(subject))?;
            }
            parts.body = Body::new(own.text.clone(), own.html.clone()).unwrap_or(parts.body);
        }
        let metadata = parts.options.metadata.merged(own.metadata).within(context.limits.metadata.0);
        parts.options.metadata = fields.sound_at(&format!("{at}/metadata"), metadata)?;
        parts.headers = parts.headers.merged(own.headers);
        if parts.headers.len() > context.limits.headers {
            fields.fault_at(
                &format!("{at}/headers"),
                FaultCode::TooMany,
                format!("the limit is {}", context.limits.headers),
            );
        }
        draft::check_links(fields, &parts);
        contents.push(draft(parts));
    }
    Some(contents)
}

fn draft(parts: DraftParts) -> Content {
    Content::Draft(Box::new(Draft::new(parts)))
}

/// What is one recipient's own.
struct OwnParts {
    metadata: Metadata,
    headers: HeaderFields,
}

fn per_recipient(fields: &mut Fields<'_>, context: &Context<'_>) -> Option<Vec<OwnParts>> {
    if !fields.has("per_recipient") {
        fields.take("per_recipient");
        return None;
    }
    let own = draft::objects(fields, "per_recipient", context.limits.recipients, |mut own| {
        let metadata = draft::metadata(&mut own, context.limits);
        let headers = draft::headers(&mut own, context.limits);
        own.finish();
        Some(OwnParts { metadata, headers })
    });
    Some(own)
}

/// Where in a send request a part of a draft stands.
pub fn pointer(place: Place) -> String {
    match place {
        Place::Text => "/text".to_owned(),
        Place::Html => "/html".to_owned(),
        Place::Alternative(at) => format!("/alternatives/{at}"),
        Place::Attachment(at) => format!("/attachments/{at}"),
        Place::IpPool => "/ip_pool".to_owned(),
        Place::DomainPool => "/domain_pool".to_owned(),
        Place::Sandbox => "/sandbox".to_owned(),
        Place::Recipients => "/to".to_owned(),
        Place::Unsubscribe => "/unsubscribe".to_owned(),
        Place::Tracking => "/tracking".to_owned(),
        Place::Raw => "/raw".to_owned(),
    }
}
