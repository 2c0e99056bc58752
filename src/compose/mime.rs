//! The message as a whole: its header, and its parts (RFC 2045, 2046, 2183, 2387, 2392, 5322).

use std::borrow::Cow;

use time::format_description::well_known::Rfc2822;

use super::header::Header;
use super::html::text_of_html;
use super::links::Links;
use super::tracking::tracked;
use super::transfer::{Encoded, of_bytes, of_message, of_text};
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Alternative, Attachment, Body, Disposition, Draft, TextPart, wire_fault};

/// What the composer writes beside the draft.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// RFC 5322 `Message-ID` without angle brackets.
    pub message_id: String,
    pub date: Timestamp,
    /// Letters and digits that nobody else has: what lies between parts.
    pub boundary: String,
    /// Links of ours; `None`: it has none.
    pub links: Option<Links>,
}

/// A defect of ours: a draft that exists can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ComposeError(String);

/// Writes the message. The result has CRLF line ends, the last one included, no NUL and no line over 998 octets.
pub fn compose(draft: &Draft, stamp: &Stamp) -> Result<Vec<u8>, ComposeError> {
    let mut header = Header::default();
    write_header(&mut header, draft, stamp)?;
    let mut raw = header.into_bytes();
    let mut boundaries = Boundaries { stamp: &stamp.boundary, made: 0 };
    structure(draft, stamp.links.as_ref()).write(&mut raw, &mut boundaries);
    if !raw.ends_with(b"\r\n") {
        raw.extend_from_slice(b"\r\n");
    }
    match wire_fault(&raw) {
        None => Ok(raw),
        Some(fault) => Err(ComposeError(format!("the composed message would have {fault}"))),
    }
}

fn write_header(header: &mut Header, draft: &Draft, stamp: &Stamp) -> Result<(), ComposeError> {
    header.addresses("From", std::slice::from_ref(draft.from()));
    // RFC 5322 asks for no destination field, and readers and filters do.
    header.addresses("To", draft.recipients().to());
    for (name, list) in [("Cc", draft.recipients().cc()), ("Reply-To", draft.reply_to())] {
        if !list.is_empty() {
            header.addresses(name, list);
        }
    }
    header.text("Subject", draft.subject().as_str());
    let date = stamp.date.replace_nanosecond(0).unwrap_or(stamp.date).format(&Rfc2822);
    header.line("Date", &date.map_err(|error| ComposeError(error.to_string()))?);
    header.line("Message-ID", &format!("<{}>", stamp.message_id));
    if let Some(otp) = draft.otp() {
        header.text("OTP-Token", &otp.field());
    }
    // The caller's own word goes before ours.
    for (name, value) in draft.auto_replies().fields() {
        if draft.headers().get(name).is_none() {
            header.line(name, value);
        }
    }
    for field in draft.headers().iter() {
        header.text(field.name(), field.value());
    }
    if let Some(link) = stamp.links.as_ref().and_then(Links::unsubscribe) {
        // RFC 8058 §3.1: one https URI, and both fields signed.
        header.line("List-Unsubscribe", &format!("<{link}>"));
        header.line("List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
    }
    header.line("MIME-Version", "1.0");
    Ok(())
}

/// A part with all that is in it.
enum Part {
    Leaf { header: Header, body: Encoded },
    Multi { kind: &'static str, parts: Vec<Self> },
}

/// Names of what lies between the parts of a multipart, each used once.
struct Boundaries<'s> {
    stamp: &'s str,
    made: u32,
}

impl Boundaries<'_> {
    /// No encoding of ours writes `=_`.
    fn next(&mut self) -> String {
        self.made += 1;
        format!("=_{}_{}", self.made, self.stamp)
    }
}

impl Part {
    fn multi(kind: &'static str, mut parts: Vec<Self>) -> Self {
        match parts.len() {
            1 => parts.remove(0),
            _ => Self::Multi { kind, parts },
        }
    }

    /// Whether something in it has bytes beyond ASCII: what holds it must say so (RFC 2045 §6.4).
    fn is_eight_bit(&self) -> bool {
        match self {
            Self::Leaf { body, .. } => body.name == "8bit",
            Self::Multi { parts, .. } => parts.iter().any(Self::is_eight_bit),
        }
    }

    /// Writes the fields of the part, an empty line, and its body.
    fn write(self, out: &mut Vec<u8>, boundaries: &mut Boundaries<'_>) {
        let is_eight_bit = self.is_eight_bit();
        match self {
            Self::Leaf { mut header, body } => {
                header.line("Content-Transfer-Encoding", body.name);
                out.extend_from_slice(&header.into_bytes());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&body.bytes);
            }
            Self::Multi { kind, parts } => {
                let boundary = boundaries.next();
                let mut header = Header::default();
                header.line("Content-Type", &format!("{kind};\r\n boundary=\"{boundary}\""));
                if is_eight_bit {
                    header.line("Content-Transfer-Encoding", "8bit");
                }
                out.extend_from_slice(&header.into_bytes());
                for part in parts {
                    out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
                    part.write(out, boundaries);
                }
                out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            }
        }
    }
}

/// `mixed( alternative( text, others…, related( html, inline… ), invitation ), attachment… )`, each layer only when
/// needed.
fn structure(draft: &Draft, links: Option<&Links>) -> Part {
    let is_html = matches!(draft.body(), Body::Html { .. });
    // What the HTML refers to lies beside it; without HTML there is nothing that could refer.
    let (related, attached): (Vec<_>, Vec<_>) = draft
        .attachments()
        .iter()
        .partition(|file| is_html && file.disposition() == Disposition::Inline && file.content_id().is_some());
    let mut parts = vec![readable(draft, &related, links)];
    parts.extend(attached.into_iter().map(file_part));
    Part::multi("multipart/mixed", parts)
}

/// The ways to read the message, in the order of preference (RFC 2046 §5.1.4). Some readers show the last one that they
/// know and some only the very last: HTML stands behind what few understand, and an invitation last of all, where Outlook
/// looks for it.
fn readable(draft: &Draft, related: &[&Attachment], links: Option<&Links>) -> Part {
    let (last, others): (Vec<_>, Vec<_>) = draft.alternatives().iter().partition(|other| other.is_calendar());
    let mut parts = Vec::new();
    match draft.body() {
        Body::Text(text) => parts.push(text_part("text/plain", text)),
        Body::Html { html, text } => {
            match text {
                TextPart::Absent => {}
                TextPart::Given(text) => parts.push(text_part("text/plain", text)),
                TextPart::FromHtml => parts.push(text_part("text/plain", &text_of_html(html))),
            }
            parts.extend(others.iter().map(|other| alternative_part(other)));
            let html = links.map_or(Cow::Borrowed(html.as_str()), |links| Cow::Owned(tracked(html, links)));
            let mut page = vec![text_part("text/html", &html)];
            page.extend(related.iter().map(|file| file_part(file)));
            parts.push(Part::multi("multipart/related; type=\"text/html\"", page));
        }
    }
    if matches!(draft.body(), Body::Text(_)) {
        parts.extend(others.iter().map(|other| alternative_part(other)));
    }
    parts.extend(last.iter().map(|other| alternative_part(other)));
    Part::multi("multipart/alternative", parts)
}

fn text_part(kind: &str, text: &str) -> Part {
    let mut header = Header::default();
    header.line("Content-Type", &format!("{kind}; charset=utf-8"));
    Part::Leaf { header, body: of_text(text) }
}

fn alternative_part(other: &Alternative) -> Part {
    let mut header = Header::default();
    header.file_type(other.media_type(), None);
    Part::Leaf { header, body: of_text(other.content()) }
}

fn file_part(file: &Attachment) -> Part {
    let (media_type, filename) = (file.content_type(), file.filename().as_str());
    let mut header = Header::default();
    header.file_type(media_type.as_str(), Some(filename).filter(|_| !media_type.has_parameter("name")));
    header.disposition(file.disposition().name(), filename);
    if let Some(id) = file.content_id() {
        header.line("Content-ID", &format!("<{}>", id.as_str()));
    }
    let bytes = file.content().to_vec();
    let body = if media_type.is_message() { of_message(bytes) } else { of_bytes(bytes) };
    Part::Leaf { header, body }
}

#[cfg(test)]
mod tests;
