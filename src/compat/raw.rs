//! A message that comes whole (RFC 5322): who it says it is from and to, and what it lacks put in, as at submission (RFC 6409 §8).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::MessageParser;
use uuid::Uuid;

use super::inner::Inner;
use crate::compose::Submitted;
use crate::domain::address::Address;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::nesting::bounded;

/// How fields begin that are for the service: it would send them on.
const ASKS: [&str; 3] = ["x-mailgun-", "x-mailwright-", "x-ses-"];

/// A message, and what its header says.
#[derive(Debug)]
pub struct Whole {
    /// In base64, as `raw` of a send request is: without `Bcc`, and with a date, an id and the version of MIME.
    pub raw: String,
    /// The address of its author.
    pub from: Option<String>,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub bcc: Vec<String>,
    /// `Message-ID`, without angle brackets.
    pub message_id: String,
}

impl Whole {
    /// Reads it; line ends of other systems become those of mail.
    pub fn read(bytes: &[u8], inner: &Inner) -> Result<Self, Flaw> {
        let bytes = with_crlf(bytes);
        let wrong = |detail: String| Flaw::new(FaultCode::InvalidMessage, detail);
        let submitted = Submitted::read(&bytes).map_err(wrong)?;
        let asks = |name: &str| ASKS.iter().any(|begin| name.to_ascii_lowercase().starts_with(begin));
        if let Some(field) = submitted.fields().iter().find(|field| asks(field.name)) {
            return Err(wrong(format!("its field {} asks for what is said beside the message here", field.name)));
        }
        let parsed = MessageParser::default().parse_headers(bounded(&bytes));
        let parsed = parsed.ok_or_else(|| wrong("has no header".to_owned()))?;
        let addresses = |list: Option<&mail_parser::Address<'_>>| -> Vec<String> {
            let list = list.into_iter().flat_map(mail_parser::Address::iter);
            list.filter_map(|one| one.address.as_ref().map(ToString::to_string)).collect()
        };
        let from = addresses(parsed.from()).into_iter().next();
        let domain = from.as_deref().and_then(|from| Address::parse(from).ok()).map(|from| from.domain().to_owned());
        let made = || {
            let mut random = [0; 16];
            inner.api.rng.fill(&mut random);
            format!("{}@{}", Uuid::from_bytes(random).simple(), domain.as_deref().unwrap_or("localhost"))
        };
        let message_id = parsed.message_id().map_or_else(made, str::to_owned);
        let finished = submitted.finished(
            |name| name.eq_ignore_ascii_case("bcc"),
            (None, inner.api.clock.now()),
            || message_id.clone(),
        );
        let (to, cc, bcc) = (addresses(parsed.to()), addresses(parsed.cc()), addresses(parsed.bcc()));
        Ok(Self { raw: STANDARD.encode(finished), from, to, cc, bcc, message_id })
    }
}

/// Each line end as CRLF (RFC 5322 §2.3).
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    let mut before = 0;
    for &byte in bytes {
        match byte {
            b'\n' if before != b'\r' => out.extend_from_slice(b"\r\n"),
            _ if before == b'\r' && byte != b'\n' => out.extend_from_slice(&[b'\n', byte]),
            _ => out.push(byte),
        }
        before = byte;
    }
    if before == b'\r' {
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_all_systems_are_those_of_mail() {
        for text in ["a\nb\n\nc", "a\r\nb\r\n\r\nc", "a\rb\r\rc"] {
            assert_eq!(with_crlf(text.as_bytes()), b"a\r\nb\r\n\r\nc", "{text:?}");
        }
        assert_eq!(with_crlf(b"a\r"), b"a\r\n");
    }
}
