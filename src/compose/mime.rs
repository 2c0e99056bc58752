//! MIME (RFC 2045–2047, 2183, 2392, 5322) by lettre's builder, with every transfer encoding set by us: its
//! own choice would let bare LF and control bytes through in attachments that look like ASCII.

use std::time::SystemTime;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue, Headers, To};
use lettre::message::{
    Attachment as FilePart, Body, Mailbox, Mailboxes, Message, MessageBuilder, MultiPart, SinglePart,
};

use crate::domain::address::NamedAddress;
use crate::domain::clock::Timestamp;
use crate::domain::message::{Attachment, Draft};

/// RFC 5322 §2.1.1: octets of a line without its CRLF.
const LINE_MAX: usize = 998;

/// What the composer writes beside the draft.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// RFC 5322 `Message-ID` without angle brackets.
    pub message_id: String,
    pub date: Timestamp,
}

/// A draft that cannot be written as RFC 5322.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ComposeError(String);

fn failed(error: impl std::fmt::Display) -> ComposeError {
    ComposeError(error.to_string())
}

/// Writes the message. The result has CRLF line ends, no NUL and no line over 998 octets.
pub fn compose(draft: &Draft, stamp: &Stamp) -> Result<Vec<u8>, ComposeError> {
    let builder = headers(draft, stamp)?;
    let message = match structure(draft)? {
        Structure::Single(part) => builder.singlepart(part),
        Structure::Multi(part) => builder.multipart(part),
    }
    .map_err(failed)?;
    let raw = message.formatted();
    match wire_fault(&raw) {
        None => Ok(raw),
        Some(fault) => Err(ComposeError(format!("the composed message would have {fault}"))),
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

fn headers(draft: &Draft, stamp: &Stamp) -> Result<MessageBuilder, ComposeError> {
    let from = mailbox(&draft.from)?;
    // The envelope travels apart from the message; lettre wants one all the same.
    let envelope =
        lettre::address::Envelope::new(Some(from.email.clone()), vec![from.email.clone()]).map_err(failed)?;
    let mut builder = Message::builder()
        .envelope(envelope)
        .date(SystemTime::from(stamp.date))
        .message_id(Some(format!("<{}>", stamp.message_id)))
        .from(from)
        .subject(draft.subject.clone());
    for (name, list) in [("To", &draft.to), ("Cc", &draft.cc), ("Reply-To", &draft.reply_to)] {
        if !list.is_empty() {
            builder = builder.raw_header(address_list(name, list)?);
        }
    }
    for (name, value) in &draft.headers {
        let name = HeaderName::new_from_ascii(name.clone()).map_err(failed)?;
        builder = builder.raw_header(HeaderValue::new(name, value.clone()));
    }
    Ok(builder)
}

/// An address list, one mailbox a line: lettre folds only where a name is encoded, and would put a thousand
/// bare addresses into one line.
fn address_list(name: &'static str, list: &[NamedAddress]) -> Result<HeaderValue, ComposeError> {
    let mut lines = Vec::with_capacity(list.len());
    for named in list {
        let mut alone = Headers::new();
        alone.set(To::from(Mailboxes::from(mailbox(named)?)));
        let line = alone.to_string();
        lines.push(line.trim_start_matches("To:").trim().to_owned());
    }
    let encoded = lines.join(",\r\n ");
    let name = HeaderName::new_from_ascii(name.to_owned()).map_err(failed)?;
    Ok(HeaderValue::dangerous_new_pre_encoded(name, encoded.clone(), encoded))
}

fn mailbox(named: &NamedAddress) -> Result<Mailbox, ComposeError> {
    let address = lettre::Address::new(named.address.local(), named.address.domain())
        .map_err(|error| ComposeError(format!("'{}' cannot be written into a header: {error}", named.address)))?;
    Ok(Mailbox::new(named.name.clone(), address))
}

enum Structure {
    Single(SinglePart),
    Multi(MultiPart),
}

/// `mixed( alternative( text, related( html, inline… ) ), attachment… )`, each layer only when needed.
fn structure(draft: &Draft) -> Result<Structure, ComposeError> {
    let (inline, attached): (Vec<_>, Vec<_>) = draft.attachments.iter().partition(|a| a.content_id.is_some());
    let mut body = match (&draft.text, &draft.html) {
        (Some(text), None) => Structure::Single(text_part(text, ContentType::TEXT_PLAIN)?),
        (None, Some(html)) => html_structure(html, &inline)?,
        (Some(text), Some(html)) => {
            let plain = MultiPart::alternative().singlepart(text_part(text, ContentType::TEXT_PLAIN)?);
            Structure::Multi(match html_structure(html, &inline)? {
                Structure::Single(part) => plain.singlepart(part),
                Structure::Multi(part) => plain.multipart(part),
            })
        }
        (None, None) => return Err(ComposeError("has neither text nor html".to_owned())),
    };
    // Inline parts without HTML to refer to them are ordinary attachments.
    let loose = if draft.html.is_none() { inline } else { Vec::new() };
    let mut files = loose.into_iter().chain(attached).peekable();
    if files.peek().is_some() {
        let mixed = MultiPart::mixed().build();
        let mut mixed = match body {
            Structure::Single(part) => mixed.singlepart(part),
            Structure::Multi(part) => mixed.multipart(part),
        };
        for file in files {
            mixed = mixed.singlepart(file_part(file, None)?);
        }
        body = Structure::Multi(mixed);
    }
    Ok(body)
}

fn html_structure(html: &str, inline: &[&Attachment]) -> Result<Structure, ComposeError> {
    let part = text_part(html, ContentType::TEXT_HTML)?;
    if inline.is_empty() {
        return Ok(Structure::Single(part));
    }
    let mut related = MultiPart::related().singlepart(part);
    for file in inline {
        related = related.singlepart(file_part(file, file.content_id.as_deref())?);
    }
    Ok(Structure::Multi(related))
}

/// A text part: as it is when nothing on the way could want to change it, else quoted-printable, or base64
/// when it is mostly not ASCII.
fn text_part(text: &str, content_type: ContentType) -> Result<SinglePart, ComposeError> {
    let text = with_crlf(text);
    let foreign = if text.is_ascii() { 0 } else { text.bytes().filter(|byte| !byte.is_ascii()).count() };
    let body = if foreign == 0 && is_plain(text.as_bytes()) {
        Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        let encoding = if foreign * 3 > text.len() {
            ContentTransferEncoding::Base64
        } else {
            ContentTransferEncoding::QuotedPrintable
        };
        Body::new_with_encoding(text, encoding).map_err(|_| ComposeError("cannot be encoded".to_owned()))?
    };
    Ok(SinglePart::builder().header(content_type).body(body))
}

fn file_part(file: &Attachment, content_id: Option<&str>) -> Result<SinglePart, ComposeError> {
    let content_type = ContentType::parse(&file.content_type).map_err(failed)?;
    let body = Body::new_with_encoding(file.content.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| ComposeError("cannot be encoded".to_owned()))?;
    Ok(match content_id {
        Some(id) => FilePart::new_inline_with_name(id.to_owned(), file.filename.clone()).body(body, content_type),
        None => FilePart::new(file.filename.clone()).body(body, content_type),
    })
}

/// Octets of a line that every relay passes on (RFC 5322 §2.1.1, less what a quote mark takes).
const PLAIN_LINE_MAX: usize = 76;

/// Whether ASCII text with CRLF line ends travels unchanged as 7bit: it ends with a line end, its lines are
/// short, none begins with `From ` (mbox), a dot or ends in white space, and it has no control characters.
fn is_plain(text: &[u8]) -> bool {
    let Some(text) = text.strip_suffix(b"\r\n") else { return false };
    let mut from = 0;
    memchr::memchr_iter(b'\n', text).chain(std::iter::once(text.len())).all(|end| {
        let line = &text[from.min(end)..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        from = end + 1;
        line.len() <= PLAIN_LINE_MAX
            && !line.starts_with(b"From ")
            && !line.starts_with(b".")
            && !line.ends_with(b" ")
            && line.iter().all(|byte| (b' '..0x7f).contains(byte))
    })
}

/// `text` with every line end (LF, CR, CRLF) as CRLF.
fn with_crlf(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + text.len() / 16);
    let mut from = 0;
    for at in memchr::memchr2_iter(b'\n', b'\r', text.as_bytes()) {
        // The LF of a CRLF was written with its CR.
        if text.as_bytes()[at] == b'\n' && at > 0 && text.as_bytes()[at - 1] == b'\r' {
            from = at + 1;
            continue;
        }
        lines.push_str(&text[from..at]);
        lines.push_str("\r\n");
        from = at + 1;
    }
    lines.push_str(&text[from..]);
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mail_parser::{MessageParser, MimeHeaders};
    use time::macros::datetime;

    use super::*;
    use crate::domain::message::Priority;

    fn draft() -> Draft {
        Draft {
            from: NamedAddress::parse("Zoë <zoe@example.org>").unwrap(),
            to: vec![NamedAddress::parse("a@example.net").unwrap()],
            cc: vec![],
            bcc: vec![NamedAddress::parse("secret@example.net").unwrap()],
            reply_to: vec![NamedAddress::parse("\"Lee, Ann\" <r@example.org>").unwrap()],
            subject: "Grüße & more".into(),
            text: Some("line one\nline two\r\n.\rend".into()),
            html: None,
            attachments: vec![],
            headers: vec![("X-Campaign".into(), "ä value".into())],
            tags: vec![],
            metadata: BTreeMap::new(),
            priority: Priority::Normal,
            expires_at: None,
            demand: crate::domain::message::Demand::default(),
        }
    }

    fn write(draft: &Draft) -> Vec<u8> {
        let stamp = Stamp { message_id: "id-1@example.org".into(), date: datetime!(2026-11-22 10:00:00.5 UTC) };
        compose(draft, &stamp).unwrap()
    }

    #[test]
    fn headers_say_what_the_draft_says_and_bcc_stays_out() {
        let raw = write(&draft());
        let message = MessageParser::default().parse(&raw).unwrap();
        assert_eq!(message.subject(), Some("Grüße & more"));
        assert_eq!(message.message_id(), Some("id-1@example.org"));
        assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Zoë"));
        assert_eq!(message.reply_to().unwrap().first().unwrap().name(), Some("Lee, Ann"));
        assert_eq!(message.date().unwrap().to_rfc3339(), "2026-11-22T10:00:00Z");
        let text = String::from_utf8_lossy(&raw);
        assert!(text.contains("X-Campaign: =?utf-8?b?w6Q=?= value\r\n"), "{text}");
        assert!(!text.contains("secret@"));
        assert_eq!(message.body_text(0).unwrap(), "line one\r\nline two\r\n.\r\nend\r\n");
    }

    #[test]
    fn plain_text_travels_as_it_is_and_what_could_be_changed_is_encoded() {
        let encoding = |text: &str| {
            let mut draft = draft();
            draft.text = Some(text.into());
            let raw = String::from_utf8(write(&draft)).unwrap();
            raw.split_once("Content-Transfer-Encoding: ").unwrap().1.split_once("\r\n").unwrap().0.to_owned()
        };
        assert_eq!(encoding("Hello,\n\nyour code is 123456.\n"), "7bit");
        for risky in [
            "no line end",
            "From here\n",
            ".dot\n",
            "white space \n",
            "tab\there\n",
            "Grüße an alle\n",
            &format!("{}\n", "x".repeat(77)),
        ] {
            assert_eq!(encoding(risky), "quoted-printable", "{risky:?}");
        }
        assert_eq!(encoding("中文邮件\n"), "base64");
    }

    #[test]
    fn the_same_draft_and_stamp_give_a_parseable_message_with_all_layers() {
        let mut draft = draft();
        draft.html = Some("<p>hi <img src=\"cid:logo\"></p>".into());
        draft.attachments = vec![
            Attachment {
                filename: "logo.png".into(),
                content_type: "image/png".into(),
                content: vec![1, 2, 3],
                content_id: Some("logo".into()),
            },
            Attachment {
                filename: "naïve \"name\".txt".into(),
                content_type: "text/plain".into(),
                content: b"l1\nl2\r\x00".to_vec(),
                content_id: None,
            },
        ];
        let raw = write(&draft);
        let message = MessageParser::default().parse(&raw).unwrap();
        assert!(message.body_html(0).unwrap().contains("cid:logo"));
        let files: Vec<_> = message.attachments().collect();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].content_id(), Some("logo"));
        assert_eq!(files[1].contents(), b"l1\nl2\r\x00");
        assert_eq!(files[1].attachment_name(), Some("naïve \"name\".txt"));
    }

    #[test]
    fn a_thousand_recipients_fit_with_and_without_names() {
        let mut draft = draft();
        draft.to = (0..1000).map(|n| NamedAddress::parse(&format!("r{n}@example.net")).unwrap()).collect();
        let long = "Ünïcödé Nàme ".repeat(20);
        draft.cc =
            (0..1000).map(|n| NamedAddress::from_parts(Some(&long), &format!("c{n}@example.net")).unwrap()).collect();
        let raw = write(&draft);
        let message = MessageParser::default().parse(&raw).unwrap();
        let addresses =
            |list: &mail_parser::Address<'_>| list.iter().map(|a| a.address().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(addresses(message.to().unwrap()).len(), 1000);
        assert_eq!(addresses(message.cc().unwrap())[999], "c999@example.net");
        assert_eq!(message.cc().unwrap().first().unwrap().name().unwrap(), long.trim());
    }

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

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(5000))]
        #[test]
        fn any_text_arrives_as_written(text in "(\\PC|[\\r\\n\\t .=-]|\\x00){0,400}", subject in "\\PC{0,200}") {
            let mut draft = draft();
            draft.text = Some(text.clone());
            draft.subject = subject;
            let raw = write(&draft);
            proptest::prop_assert_eq!(wire_fault(&raw), None);
            let message = MessageParser::default().parse(&raw).unwrap();
            let body = message.body_text(0).unwrap_or_default();
            let sent = with_crlf(&text);
            proptest::prop_assert_eq!(body.trim_end_matches("\r\n"), sent.trim_end_matches("\r\n"));
        }
    }
}
