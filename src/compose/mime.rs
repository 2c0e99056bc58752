//! MIME (RFC 2045–2047, 2183, 2392, 5322) by lettre's builder, with every transfer encoding set by us: its
//! own choice would let bare LF and control bytes through in attachments that look like ASCII.

use std::time::SystemTime;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue, Headers, To};
use lettre::message::{
    Attachment as FilePart, Body, Mailbox, Mailboxes, Message, MessageBuilder, MultiPart, SinglePart,
};

use super::html::text_of_html;
use crate::domain::address::NamedAddress;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Attachment, Body as Content, ContentId, Draft, TextPart, wire_fault};

/// What the composer writes beside the draft.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// RFC 5322 `Message-ID` without angle brackets.
    pub message_id: String,
    pub date: Timestamp,
}

/// A defect of ours: a draft that exists can be written.
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

fn headers(draft: &Draft, stamp: &Stamp) -> Result<MessageBuilder, ComposeError> {
    let from = mailbox(draft.from());
    // The envelope travels apart from the message; lettre wants one all the same.
    let envelope =
        lettre::address::Envelope::new(Some(from.email.clone()), vec![from.email.clone()]).map_err(failed)?;
    let mut builder = Message::builder()
        .envelope(envelope)
        .date(SystemTime::from(stamp.date))
        .message_id(Some(format!("<{}>", stamp.message_id)))
        .from(from)
        .subject(draft.subject().as_str().to_owned());
    for (name, list) in
        [("To", draft.recipients().to()), ("Cc", draft.recipients().cc()), ("Reply-To", draft.reply_to())]
    {
        if !list.is_empty() {
            builder = builder.raw_header(address_list(name, list));
        }
    }
    for field in draft.headers() {
        let name = HeaderName::new_from_ascii(field.name().to_owned()).map_err(failed)?;
        builder = builder.raw_header(HeaderValue::new(name, field.value().to_owned()));
    }
    Ok(builder)
}

/// An address list, one mailbox a line: lettre folds only where a name is encoded, and would put a thousand
/// bare addresses into one line.
fn address_list(name: &'static str, list: &[NamedAddress]) -> HeaderValue {
    let mut lines = Vec::with_capacity(list.len());
    for named in list {
        let mut alone = Headers::new();
        alone.set(To::from(Mailboxes::from(mailbox(named))));
        let line = alone.to_string();
        lines.push(line.trim_start_matches("To:").trim().to_owned());
    }
    let encoded = lines.join(",\r\n ");
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), encoded.clone(), encoded)
}

fn mailbox(named: &NamedAddress) -> Mailbox {
    // Ours is the stricter parser where it matters, and knows more local parts (RFC 5321 §4.1.2, RFC 6531 §3.3).
    Mailbox::new(named.name.clone(), lettre::Address::new_dangerous(named.address.local(), named.address.domain()))
}

enum Structure {
    Single(SinglePart),
    Multi(MultiPart),
}

/// `mixed( alternative( text, related( html, inline… ) ), attachment… )`, each layer only when needed.
fn structure(draft: &Draft) -> Result<Structure, ComposeError> {
    let (inline, attached): (Vec<_>, Vec<_>) = draft.attachments().iter().partition(|a| a.content_id.is_some());
    let mut body = match draft.body() {
        Content::Text(text) => Structure::Single(text_part(text, ContentType::TEXT_PLAIN)?),
        Content::Html { html, text: TextPart::Absent } => html_structure(html, &inline)?,
        Content::Html { html, text: TextPart::Given(text) } => alternatives(text, html, &inline)?,
        Content::Html { html, text: TextPart::FromHtml } => alternatives(&text_of_html(html), html, &inline)?,
    };
    // Inline parts without HTML to refer to them are ordinary attachments.
    let loose = if matches!(draft.body(), Content::Text(_)) { inline } else { Vec::new() };
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

fn alternatives(text: &str, html: &str, inline: &[&Attachment]) -> Result<Structure, ComposeError> {
    let plain = MultiPart::alternative().singlepart(text_part(text, ContentType::TEXT_PLAIN)?);
    Ok(Structure::Multi(match html_structure(html, inline)? {
        Structure::Single(part) => plain.singlepart(part),
        Structure::Multi(part) => plain.multipart(part),
    }))
}

fn html_structure(html: &str, inline: &[&Attachment]) -> Result<Structure, ComposeError> {
    let part = text_part(html, ContentType::TEXT_HTML)?;
    if inline.is_empty() {
        return Ok(Structure::Single(part));
    }
    let mut related = MultiPart::related().singlepart(part);
    for file in inline {
        related = related.singlepart(file_part(file, file.content_id.as_ref())?);
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

fn file_part(file: &Attachment, content_id: Option<&ContentId>) -> Result<SinglePart, ComposeError> {
    let content_type = ContentType::parse(file.content_type.as_str()).map_err(failed)?;
    let body = Body::new_with_encoding(file.content.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| ComposeError("cannot be encoded".to_owned()))?;
    Ok(match content_id {
        Some(id) => FilePart::new_inline_with_name(id.as_str().to_owned(), file.filename.as_str().to_owned())
            .body(body, content_type),
        None => FilePart::new(file.filename.as_str().to_owned()).body(body, content_type),
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
mod tests;
