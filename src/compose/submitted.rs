//! A message as a program hands it in: what is for us is taken out of its header, what every message must have is put in
//! (RFC 6409 §8), and the rest stays as it came, octet by octet.

use aws_lc_rs::digest::{Context, SHA256};
use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue, MessageParser};

use super::dkim::Fields;
use super::raw_header::{Excessive, measure};
use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::nesting::bounded;

/// A header field as it stands.
#[derive(Debug, Clone, Copy)]
pub struct SubmittedField<'m> {
    pub name: &'m str,
    whole: &'m [u8],
}

impl SubmittedField<'_> {
    /// The value without folds, its encoded words (RFC 2047) decoded.
    pub fn value(&self) -> String {
        let value = &self.whole[self.name.len()..];
        let value = value.trim_ascii_start().strip_prefix(b":").unwrap_or(value);
        match MessageStream::new(value).parse_unstructured() {
            HeaderValue::Text(text) => text.trim().to_owned(),
            _ => String::new(),
        }
    }
}

/// A message, taken apart into fields and body.
#[derive(Debug)]
pub struct Submitted<'m> {
    fields: Vec<SubmittedField<'m>>,
    /// With the empty line before it.
    body: &'m [u8],
}

impl<'m> Submitted<'m> {
    /// Reads lines that end in CRLF; the error says which line is no header field.
    pub fn read(raw: &'m [u8]) -> Result<Self, String> {
        measure(raw).map_err(|Excessive| "the header has more than 1000 fields, or 256 KiB".to_owned())?;
        let mut fields = Vec::new();
        let (mut lines, mut octets) = (1, 0);
        for whole in Fields::of(raw) {
            let name = memchr::memchr(b':', whole).map(|colon| whole[..colon].trim_ascii_end());
            let name = name.filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic));
            let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) else {
                return Err(format!("line {lines} is no header field (RFC 5322, section 2.2)"));
            };
            fields.push(SubmittedField { name, whole });
            lines += memchr::memchr_iter(b'\n', whole).count();
            octets += whole.len();
        }
        Ok(Self { fields, body: &raw[octets..] })
    }

    pub fn fields(&self) -> &[SubmittedField<'m>] {
        &self.fields
    }

    /// The message without the fields that are for us, and with what it lacks: an author, if whoever sends it has one, a date, an id,
    /// and the version of MIME.
    pub fn finished(
        &self,
        is_for_us: impl Fn(&str) -> bool,
        (from, now): (Option<&Address>, Timestamp),
        message_id: impl FnOnce() -> String,
    ) -> Vec<u8> {
        let mut made = Vec::with_capacity(self.body.len() + 4096);
        let lacks = |name: &str| !self.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        let mut add = |name: &str, value: &str| made.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        if let Some(address) = from.filter(|_| lacks("From")) {
            add("From", &format!("<{address}>"));
        }
        if lacks("Date") {
            let date = now.replace_nanosecond(0).unwrap_or(now).format(&time::format_description::well_known::Rfc2822);
            add("Date", &date.unwrap_or_default());
        }
        if lacks("Message-ID") {
            add("Message-ID", &format!("<{}>", message_id()));
        }
        if lacks("MIME-Version") {
            add("MIME-Version", "1.0");
        }
        for field in self.fields.iter().filter(|field| !is_for_us(field.name)) {
            made.extend_from_slice(field.whole);
            if !field.whole.ends_with(b"\r\n") {
                made.extend_from_slice(b"\r\n");
            }
        }
        // A message that is a header alone (RFC 5322 §3.5) still ends it.
        made.extend_from_slice(if self.body.is_empty() { b"\r\n" } else { self.body });
        made
    }
}

/// What of a message is the same when a program makes it again: subject and parts, without dates, ids and boundaries.
pub fn content_digest(raw: &[u8]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    // What is not read to its end is compared to its end.
    let whole = Some(bounded(raw)).filter(|read| read.len() == raw.len());
    match whole.and_then(|whole| MessageParser::default().parse(whole)) {
        None => add(raw),
        Some(message) => {
            add(message.subject().unwrap_or_default().as_bytes());
            for part in &message.parts {
                let octets = |from: u32, to: u32| raw.get(from as usize..to as usize).unwrap_or_default();
                for field in part.headers().iter().filter(|field| field.name.is_mime_header()) {
                    add(field.name.as_str().to_ascii_lowercase().as_bytes());
                    match &field.value {
                        // All that it says but for the boundary.
                        HeaderValue::ContentType(kind) => {
                            add(format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).as_bytes());
                            let attributes = kind.attributes().into_iter().flatten();
                            for attribute in attributes.filter(|attribute| attribute.name != "boundary") {
                                add(attribute.name.as_bytes());
                                add(attribute.value.as_bytes());
                            }
                        }
                        _ => add(octets(field.offset_start, field.offset_end)),
                    }
                }
                if !part.is_multipart() {
                    add(octets(part.raw_body_offset(), part.raw_end_offset()));
                }
            }
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    digest
}

/// The instant of a date as mail writes it (RFC 5322 §3.3).
pub fn mail_date(text: &str) -> Option<Timestamp> {
    Timestamp::from_unix_timestamp(DateTime::parse_rfc822(text).filter(DateTime::is_valid)?.to_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn finished(raw: &str) -> String {
        let made = Submitted::read(raw.as_bytes()).unwrap().finished(
            |name| name.eq_ignore_ascii_case("bcc"),
            (Some(&Address::parse("a@example.org").unwrap()), datetime!(2026-11-28 5:00 UTC)),
            || "1@example.org".to_owned(),
        );
        String::from_utf8(made).unwrap()
    }

    #[test]
    fn what_is_lacking_is_added_and_the_rest_stays() {
        let whole =
            "From: b@c\r\ndate: x\r\nMESSAGE-ID : <a@b>\r\nMime-version: 1.0\r\nSubject:  a\r\n\tb \r\n\r\n.\r\n\r\n";
        assert_eq!(finished(whole), whole);
        let added = "Date: Sat, 28 Nov 2026 05:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n";
        assert_eq!(finished("From: a@b\r\nBcc: c@d,\r\n e@f\r\n\r\nx"), format!("{added}From: a@b\r\n\r\nx"));
        assert_eq!(finished("From: a@b\r\n"), format!("{added}From: a@b\r\n\r\n"));
        assert_eq!(finished("From: a@b"), format!("{added}From: a@b\r\n\r\n"));
        assert_eq!(finished("\r\nx"), format!("From: <a@example.org>\r\n{added}\r\nx"));
    }

    #[test]
    fn what_is_no_field_is_named() {
        for (raw, line) in [("hello\r\n\r\n", 1), ("A: b\r\n c\r\nFrom x\r\n\r\n", 3), (" a: b\r\n", 1), (": b\r\n", 1)]
        {
            let why = Submitted::read(raw.as_bytes()).unwrap_err();
            assert!(why.starts_with(&format!("line {line} ")), "{raw:?}: {why}");
        }
    }

    #[test]
    fn values_are_read_without_folds_and_decoded() {
        let raw = "X-A: {\"a\":\r\n \"b c\"}\r\nX-B: =?utf-8?q?caf=C3=A9?=\r\nX-C:\r\nX-D : e\r\n\r\n";
        let message = Submitted::read(raw.as_bytes()).unwrap();
        let values: Vec<_> = message.fields().iter().map(SubmittedField::value).collect();
        assert_eq!(values, [r#"{"a": "b c"}"#, "café", "", "e"]);
    }

    #[test]
    fn a_message_that_is_made_again_has_the_same_digest() {
        let message = |boundary: &str, id: &str, text: &str| {
            format!(
                "Message-ID: <{id}>\r\nSubject: s\r\nContent-Type: multipart/alternative; boundary={boundary}\r\n\r\n\
                 --{boundary}\r\n\r\n{text}\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\n<p>\r\n--{boundary}--\r\n"
            )
        };
        let digest = |text: String| content_digest(text.as_bytes());
        assert_eq!(digest(message("a", "1@x", "t")), digest(message("b", "2@x", "t")));
        assert_ne!(digest(message("a", "1@x", "t")), digest(message("a", "1@x", "u")));
        let one = |fields: &str, body: &str| digest(format!("Subject: s\r\nContent-Type: {fields}\r\n\r\n{body}"));
        assert_ne!(one("text/calendar; method=REQUEST", "x"), one("text/calendar; method=CANCEL", "x"));
        let base64 = |body: &str| one("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", body);
        assert_ne!(base64("/w=="), base64("/g=="), "octets that no text has");
        let many = |last: &str| {
            let parts = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(250);
            one("multipart/mixed; boundary=b", &format!("{parts}--b\r\n\r\n{last}\r\n--b--\r\n"))
        };
        assert_ne!(many("a"), many("b"), "behind what is looked at");
    }

    #[test]
    fn dates_of_mail_are_read() {
        assert_eq!(mail_date("Fri, 14 Oct 2011 23:10:10 -0000"), Some(datetime!(2011-10-14 23:10:10 UTC)));
        assert_eq!(mail_date("Fri, 25 Oct 2024 12:00:00 +0800"), Some(datetime!(2024-10-25 4:00 UTC)));
        assert_eq!(mail_date("tomorrow"), None);
    }
}
