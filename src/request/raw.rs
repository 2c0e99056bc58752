//! A message that comes composed: the bytes, and the envelope beside them.

use std::sync::Arc;

use super::base64;
use super::draft::{from, options, recipients, required, return_path};
use super::fields::Fields;
use super::send::Context;
use crate::compose::header_of;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{RawDraft, RawParts};
use crate::domain::fault::{FaultCode, Flaw};
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
    let return_path = return_path(fields, author.as_ref());
    let options = options(fields, context.limits, base);
    let (author, recipients, bytes) = (author?, recipients?, bytes?.bytes);
    let header = header_of(&bytes);
    let fault = |detail: String| Flaw::new(FaultCode::InvalidMessage, detail);
    let wrong = match (header.authors.as_slice(), header.dates) {
        ([], _) => Some(fault("the message has no From field with an address (RFC 5322 §3.6.2)".to_owned())),
        ([_, _, ..], _) => Some(fault("the message has several authors; one is understood".to_owned())),
        ([other], _) if !other.eq_ignore_ascii_case(author.address.as_str()) => {
            let detail = format!("the message is from {other}; from says {}", author.address);
            Some(Flaw::new(FaultCode::Conflict, detail))
        }
        (_, dates) if dates != 1 => {
            Some(fault(format!("the message has {dates} Date fields; it must have one (RFC 5322 §3.6.1)")))
        }
        _ if header.has_bcc => {
            Some(fault("the message has a Bcc field, which every recipient would read: leave it out".to_owned()))
        }
        _ => None,
    };
    if let Some(flaw) = wrong {
        return fields.sound("raw", Err(flaw));
    }
    let parts = RawParts {
        from: author,
        reverse_path: return_path.map(|path| ReversePath::Address(path.address().clone())),
        recipients: recipients.distinct(),
        subject: header.subject,
        message_id: header.message_id,
        bytes: Arc::new(bytes),
        options,
    };
    let read = RawDraft::new(parts, context.limits.recipients);
    fields.sound("raw", read)
}
