//! A message that comes composed: the bytes, and the envelope beside them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::base64;
use super::draft::{from, options, recipients, required, return_path};
use super::fields::Fields;
use super::send::{Context, Sending, send_at};
use crate::compose::{RawHeader, header_of};
use crate::domain::address::{Address, NamedAddress};
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Content, Options, RawDraft, RawParts, Recipient};
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::reverse_path::ReversePath;

/// Fields that a composed message has in itself.
const IN_THE_MESSAGE: [&str; 15] = [
    "subject",
    "text",
    "html",
    "template",
    "attachments",
    "alternatives",
    "headers",
    "reply_to",
    "message_id",
    "otp",
    "auto_replies",
    "per_recipient",
    "unsubscribe",
    "tracking",
    "domain_pool",
];

/// Reads the fields of a composed message. `from` is whose mail it is, and must be its author.
pub fn read(fields: &mut Fields<'_>, context: &Context<'_>, base: Timestamp) -> Option<RawDraft> {
    for name in IN_THE_MESSAGE {
        if fields.take(name).is_some() {
            fields.fault(name, FaultCode::Conflict, format!("the message in raw has its own; leave out {name} or raw"));
        }
    }
    let author = from(fields);
    let (_, recipients) = recipients(fields, context.limits);
    let bytes = required(fields, "raw", "must be given, in base64", |text| base64::decode(&text));
    let is_null = fields.text("return_path") == Some("");
    let reverse_path = if is_null {
        fields.take("return_path");
        Some(ReversePath::Null)
    } else {
        return_path(fields, author.as_ref()).map(|path| ReversePath::Address(path.address().clone()))
    };
    let options = options(fields, context.limits, base);
    let (author, recipients, bytes) = (author?, recipients?, bytes?.bytes);
    let header = header_of(&bytes);
    if let Some(flaw) = flaw_of(&header, Some(&author)) {
        return fields.sound("raw", Err(flaw));
    }
    let envelope = RawEnvelope { reverse_path, recipients: recipients.distinct() };
    raw_draft(fields, context, author, header, (envelope, bytes, options))
}

/// The envelope of a message that comes composed.
#[derive(Debug)]
pub struct RawEnvelope {
    /// `None`: notices go where they go by default.
    pub reverse_path: Option<ReversePath>,
    pub recipients: Vec<Recipient>,
}

/// Reads what a program submits: a message and its envelope, and options in `map`. Who its author is, it says itself.
pub fn read_submitted(
    map: Map<String, Value>,
    envelope: RawEnvelope,
    (header, bytes): (RawHeader, Vec<u8>),
    context: &Context<'_>,
) -> Result<Sending, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut fields = Fields::new(map, "", &mut faults);
    for name in IN_THE_MESSAGE {
        if fields.take(name).is_some() {
            fields.fault(
                name,
                FaultCode::Conflict,
                "is not done to a message that comes composed: POST /v1/send does it",
            );
        }
    }
    let (send_at, base) = send_at(&mut fields, context);
    let options = options(&mut fields, context.limits, base);
    let author = match (flaw_of(&header, None), header.authors.first()) {
        (None, Some(author)) => {
            // The message says the name, whether or not we can.
            let named = NamedAddress::from_parts(author.name.as_deref(), &author.address);
            let named = named.or_else(|_| NamedAddress::from_parts(None, &author.address));
            fields.sound("from", named.map_err(Flaw::from))
        }
        (flaw, _) => fields.sound("raw", flaw.map_or(Ok(None), Err)).flatten(),
    };
    let raw = author.and_then(|author| raw_draft(&mut fields, context, author, header, (envelope, bytes, options)));
    fields.finish();
    match raw {
        Some(raw) if faults.is_empty() => Ok(Sending { contents: vec![Content::Raw(Box::new(raw))], send_at }),
        _ => Err(faults),
    }
}

/// What is wrong with the header of a message by that author.
fn flaw_of(header: &RawHeader, author: Option<&NamedAddress>) -> Option<Flaw> {
    let fault = |detail: String| Some(Flaw::new(FaultCode::InvalidMessage, detail));
    if header.is_excessive {
        return fault("the header has more than 1000 fields, or 256 KiB".to_owned());
    }
    if let Some(name) = header.repeated {
        return fault(format!("the message has several {name} fields; it must have one at most (RFC 5322 §3.6)"));
    }
    if header.has_unreadable_sender {
        return fault("the message has a Sender or Resent- field without an address (RFC 5322 §3.6.2)".to_owned());
    }
    // A domain may be written in its own letters.
    let is_same = |one: &str, other: &Address| Address::parse(one).is_ok_and(|one| one.folded() == other.folded());
    match (header.authors.as_slice(), header.dates) {
        ([], _) => fault("the message has no From field with an address (RFC 5322 §3.6.2)".to_owned()),
        ([_, _, ..], _) => fault("the message has several authors; one is understood".to_owned()),
        ([other], _) if author.is_some_and(|author| !is_same(&other.address, &author.address)) => {
            let said = author.map(|author| author.address.to_string()).unwrap_or_default();
            let detail = format!("the message is from {}; from says {said}", other.address);
            Some(Flaw::new(FaultCode::Conflict, detail))
        }
        (_, dates) if dates != 1 => {
            fault(format!("the message has {dates} Date fields; it must have one (RFC 5322 §3.6.1)"))
        }
        _ if header.has_bcc => {
            fault("the message has a Bcc field, which every recipient would read: leave it out".to_owned())
        }
        _ => None,
    }
}

fn flaw_of_sender(flaw: &Flaw) -> Flaw {
    Flaw::new(
        FaultCode::InvalidMessage,
        format!("a Sender or Resent- field has an address that is none: {}", flaw.detail),
    )
}

fn raw_draft(
    fields: &mut Fields<'_>,
    context: &Context<'_>,
    author: NamedAddress,
    header: RawHeader,
    (envelope, bytes, options): (RawEnvelope, Vec<u8>, Options),
) -> Option<RawDraft> {
    let senders = header.senders.iter().map(|sender| Address::parse(sender));
    let senders = senders.collect::<Result<Vec<_>, _>>().map_err(Flaw::from);
    let senders = fields.sound("raw", senders.map_err(|flaw| flaw_of_sender(&flaw)))?;
    let parts = RawParts {
        from: author,
        senders,
        reverse_path: envelope.reverse_path,
        recipients: envelope.recipients,
        subject: header.subject,
        message_id: header.message_id,
        bytes: Arc::new(bytes),
        options,
    };
    let read = RawDraft::new(parts, context.limits.recipients);
    fields.sound("raw", read)
}
