//! One message, from what was said and sent to what the door takes.

use serde_json::json;

use super::options::Options;
use super::vendors;
use crate::compose::{Submitted, content_digest, header_of};
use crate::config::{Limits, LineEnds};
use crate::domain::address::Address;
use crate::domain::clock::{Rng, Timestamp, rfc3339};
use crate::domain::draft::{Recipient, wire_fault, with_crlf};
use crate::domain::recipient::RecipientKind;
use crate::domain::reverse_path::ReversePath;
use crate::request::found::Found;
use crate::request::raw::{RawEnvelope, read_submitted};
use crate::request::send::Context;
use crate::smtp::server::{Answer, Envelope, Hold};
use crate::submit::{Item, RequestKey, Submission, Wanted};

/// A message with its envelope.
pub struct Letter {
    pub envelope: Envelope,
    pub raw: Vec<u8>,
    pub line_ends: LineEnds,
}

impl Letter {
    /// What is to be sent; or the reply that says what is wrong.
    pub fn read(self, limits: &Limits, now: Timestamp, rng: &dyn Rng) -> Result<Submission, Answer> {
        let Self { envelope, mut raw, line_ends } = self;
        if line_ends == LineEnds::Mend && wire_fault(&raw).is_some() {
            raw = with_crlf(&raw);
        }
        if let Some(fault) = wire_fault(&raw) {
            let enhanced = if fault.starts_with("a bare") { "5.6.11" } else { "5.6.0" };
            return Err(Answer::new(550, enhanced, format!("the message has {fault}")));
        }
        let content = |why: String| Answer::new(550, "5.6.0", why);
        let submitted = Submitted::read(&raw).map_err(content)?;
        let mut options = Options::new(limits.tags);
        said_by_mail(&mut options, &envelope, now).map_err(content)?;
        for field in submitted.fields() {
            if let Some(asks) = vendors::asks(field.name) {
                let asked = asks.apply(options.by(field.name), field.name, &field.value());
                asked.map_err(|why| content(format!("{}: {why}", field.name)))?;
            }
        }
        let sender = Address::parse(&envelope.from).ok();
        let bytes = submitted.finished(is_for_us, (sender.as_ref(), now), || {
            let author = header_of(&raw).authors.first().and_then(|author| Address::parse(&author.address).ok());
            let domain = author.as_ref().or(sender.as_ref()).map_or("localhost", |address| address.domain());
            format!("{}@{domain}", rng.token().simple())
        });
        let header = header_of(&bytes);
        let (map, key) = options.take();
        let recipients = recipients(&envelope.to, &header.to, &header.cc);
        let key = key.map(|(key, by)| {
            let fingerprint =
                fingerprint(header.authors.first().map_or("", |author| &author.address), &recipients, &raw);
            RequestKey::parse(&key, fingerprint).map_err(|flaw| content(format!("{by}: {}", flaw.detail)))
        });
        let key = key.transpose()?;
        let reverse_path = envelope.from.is_empty().then_some(ReversePath::Null);
        let (found, raw_envelope) = (Found::default(), RawEnvelope { reverse_path, recipients });
        let context = Context { limits, now, found: &found };
        let sending = read_submitted(map, raw_envelope, (header, bytes), &context).map_err(|faults| {
            let told: Vec<_> = faults.iter().map(|fault| options.told(fault)).collect();
            content(told.join("; "))
        })?;
        let wanted = Wanted { contents: sending.contents, send_at: sending.send_at };
        Ok(Submission::of(Item { wanted: Ok(wanted), key: None }, key).certainly())
    }
}

fn is_for_us(name: &str) -> bool {
    // Who would read of whom the author did not want them to know.
    name.eq_ignore_ascii_case("bcc") || name.eq_ignore_ascii_case("resent-bcc") || vendors::asks(name).is_some()
}

/// What the parameters of MAIL ask for.
fn said_by_mail(options: &mut Options, envelope: &Envelope, now: Timestamp) -> Result<(), String> {
    let asked = &envelope.asked;
    match asked.hold {
        None => {}
        Some(Hold::For(span)) => options.by("HOLDFOR").set("send_at", rfc3339(now + span))?,
        Some(Hold::Until(at)) => options.by("HOLDUNTIL").set("send_at", rfc3339(at))?,
    }
    if let Some(seconds) = asked.by {
        options.by("BY").set("ttl_seconds", seconds)?;
    }
    if let Some(id) = &asked.envelope_id {
        options.by("ENVID").metadata("envid", json!(id))?;
    }
    if asked.require_tls {
        options.by("REQUIRETLS").set("tls", "requiretls")?;
    }
    match asked.priority {
        Some(1..) => options.by("MT-PRIORITY").set("priority", "high"),
        Some(..=-1) => options.by("MT-PRIORITY").set("priority", "low"),
        _ => Ok(()),
    }
}

/// Everybody once; who stands in the header as what, is that, and others are blind copies.
fn recipients(to: &[String], header_to: &[String], header_cc: &[String]) -> Vec<Recipient> {
    let folded = |list: &[String]| -> std::collections::HashSet<String> {
        list.iter().filter_map(|text| Address::parse(text).ok()).map(|address| address.folded()).collect()
    };
    let (in_to, in_cc) = (folded(header_to), folded(header_cc));
    let mut known = std::collections::HashSet::new();
    let addresses = to.iter().filter_map(|text| Address::parse(text).ok());
    let distinct = addresses.filter(|address| known.insert(address.folded()));
    let named = distinct.map(|address| {
        let folded = address.folded();
        let kind = match (in_to.contains(&folded), in_cc.contains(&folded)) {
            (true, _) => RecipientKind::To,
            (_, true) => RecipientKind::Cc,
            _ => RecipientKind::Bcc,
        };
        Recipient { kind, address, places: Vec::new() }
    });
    named.collect()
}

/// What is the same when a program submits a message again: a date, an id and boundaries are made anew each time.
fn fingerprint(author: &str, recipients: &[Recipient], raw: &[u8]) -> [u8; 32] {
    let mut to: Vec<_> = recipients.iter().map(|recipient| recipient.address.folded()).collect();
    to.sort();
    let mut all = content_digest(raw).to_vec();
    for text in std::iter::once(author).chain(to.iter().map(String::as_str)) {
        all.push(b'\n');
        all.extend_from_slice(text.as_bytes());
    }
    RequestKey::fingerprint_of(&all)
}
