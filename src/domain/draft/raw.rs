//! A message that comes composed: its bytes go out as they are.

use std::sync::Arc;

use super::{Options, Recipient};
use crate::domain::address::{Address, NamedAddress};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::reverse_path::ReversePath;

/// RFC 5322 §2.1.1: octets of a line without its CRLF.
const LINE_MAX: usize = 998;

/// A composed message with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDraft {
    parts: RawParts,
}

/// The parts of a raw draft; the envelope is the truth, whatever the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawParts {
    /// The author in the header.
    pub from: NamedAddress,
    /// Who sends it in the author's place, or sent it again, in the header.
    pub senders: Vec<Address>,
    /// `None`: the author's address.
    pub reverse_path: Option<ReversePath>,
    pub recipients: Vec<Recipient>,
    /// The subject in the header, decoded; for status and search.
    pub subject: String,
    /// The `Message-ID` in the header, if there is one.
    pub message_id: Option<String>,
    /// RFC 5322 bytes.
    pub bytes: Arc<Vec<u8>>,
    pub options: Options,
}

impl RawDraft {
    /// Refuses bytes that must not go on the wire, and an envelope without a recipient or with more than `most`.
    pub fn new(parts: RawParts, most: usize) -> Result<Self, Flaw> {
        if let Some(fault) = wire_fault(&parts.bytes) {
            return Err(Flaw::new(FaultCode::InvalidMessage, format!("the message has {fault}")));
        }
        if parts.bytes.is_empty() {
            return Err(Flaw::new(FaultCode::Required, "the message has no bytes"));
        }
        match parts.recipients.len() {
            0 => Err(Flaw::new(FaultCode::Required, "the envelope must name a recipient")),
            count if count > most => {
                let detail = format!("{count} recipients; the limit is {most}");
                Err(Flaw::new(FaultCode::TooManyRecipients, detail))
            }
            _ => Ok(Self { parts }),
        }
    }

    pub const fn from(&self) -> &NamedAddress {
        &self.parts.from
    }

    pub const fn options(&self) -> &Options {
        &self.parts.options
    }

    pub const fn options_mut(&mut self) -> &mut Options {
        &mut self.parts.options
    }

    /// RFC 5322 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.parts.bytes
    }

    pub const fn parts(&self) -> &RawParts {
        &self.parts
    }

    /// Where notices go; `None`: to the sender.
    pub const fn reverse_path(&self) -> Option<&ReversePath> {
        self.parts.reverse_path.as_ref()
    }

    /// To how many mailboxes it goes.
    pub const fn recipient_count(&self) -> usize {
        self.parts.recipients.len()
    }

    pub fn into_parts(self) -> RawParts {
        self.parts
    }
}

/// The first thing in `raw` that must not go on the wire.
pub fn wire_fault(raw: &[u8]) -> Option<&'static str> {
    let mut rest = raw;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest);
        let (line, tail) = end.map_or((rest, &rest[rest.len()..]), |at| (&rest[..at], &rest[at + 1..]));
        let text = match (line.strip_suffix(b"\r"), end) {
            (Some(text), Some(_)) => text,
            (None, Some(_)) => return Some("a bare LF"),
            (_, None) => line,
        };
        match memchr::memchr2(b'\r', 0, text).map(|at| text[at]) {
            Some(0) => return Some("a NUL"),
            Some(_) => return Some("a bare CR"),
            None if text.len() > LINE_MAX => return Some("a line over 998 octets"),
            None => rest = tail,
        }
    }
    None
}

/// `text` with every line end (LF, CR, CRLF) as CRLF.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len() + text.len() / 16);
    let mut from = 0;
    for at in memchr::memchr2_iter(b'\n', b'\r', text) {
        // The LF of a CRLF was written with its CR.
        if text[at] == b'\n' && at > 0 && text[at - 1] == b'\r' {
            from = at + 1;
            continue;
        }
        lines.extend_from_slice(&text[from..at]);
        lines.extend_from_slice(b"\r\n");
        from = at + 1;
    }
    lines.extend_from_slice(&text[from..]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_go_on_the_wire_is_found() {
        assert_eq!(wire_fault(b"a\r\nb\r\n"), None);
        assert_eq!(wire_fault(b"a\nb"), Some("a bare LF"));
        assert_eq!(wire_fault(b"a\rb"), Some("a bare CR"));
        assert_eq!(wire_fault(b"a\r"), Some("a bare CR"));
        assert_eq!(wire_fault(b"a\r\r\n"), Some("a bare CR"));
        assert_eq!(wire_fault(b"\0"), Some("a NUL"));
        assert_eq!(wire_fault(&[b'x'; 998]), None);
        assert_eq!(wire_fault(&[b'x'; 999]), Some("a line over 998 octets"));
    }
}
