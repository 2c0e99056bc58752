//! Files that travel with a message, and what names them.

use std::sync::Arc;

use super::{wire_fault, with_crlf};
use crate::domain::address::{is_atext, unbracketed};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::words::words;

const FILENAME_MAX: usize = 255;
const CONTENT_ID_MAX: usize = 128;
const MEDIA_TYPE_MAX: usize = 255;

words! {
    /// How a file is to be shown (RFC 2183 §2).
    pub enum Disposition {
        Attachment = "attachment",
        Inline = "inline",
    }
}

/// A file that was uploaded before.
#[derive(Debug, Clone)]
pub struct FoundUpload {
    pub filename: Filename,
    pub content_type: MediaType,
    pub content: Arc<Vec<u8>>,
}

/// A file that travels with a message. One of type `message/…` is a message that may go on the wire as it is: such parts
/// have no transfer encoding (RFC 2046 §5.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    filename: Filename,
    content_type: MediaType,
    /// Shared by the messages that carry the same file.
    content: Arc<Vec<u8>>,
    content_id: Option<ContentId>,
    disposition: Disposition,
}

impl Attachment {
    /// Without a disposition a file with a content id is inline, and one without is an attachment.
    pub fn new(
        filename: Filename,
        content_type: MediaType,
        content: impl Into<Arc<Vec<u8>>>,
        content_id: Option<ContentId>,
        disposition: Option<Disposition>,
    ) -> Result<Self, Flaw> {
        let content = content.into();
        let content = if content_type.is_message() { Arc::new(message_content(&content)?) } else { content };
        let by_id = if content_id.is_some() { Disposition::Inline } else { Disposition::Attachment };
        Ok(Self { filename, content_type, content, content_id, disposition: disposition.unwrap_or(by_id) })
    }

    pub const fn filename(&self) -> &Filename {
        &self.filename
    }

    pub const fn content_type(&self) -> &MediaType {
        &self.content_type
    }

    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// What `cid:` in the HTML refers to (RFC 2392).
    pub const fn content_id(&self) -> Option<&ContentId> {
        self.content_id.as_ref()
    }

    pub const fn disposition(&self) -> Disposition {
        self.disposition
    }
}

/// The lines of a message, ended by CRLF.
fn message_content(content: &[u8]) -> Result<Vec<u8>, Flaw> {
    let content = with_crlf(content);
    match wire_fault(&content) {
        None => Ok(content),
        Some(fault) => {
            let detail = format!(
                "has {fault}: a part of type message/… has no transfer encoding (RFC 2046 §5.2.1); \
                 send it as application/octet-stream"
            );
            Err(Flaw::new(FaultCode::InvalidMessage, detail))
        }
    }
}

/// Another way to read the message, beside text and HTML: text of a type of its own, such as
/// `text/calendar; method=REQUEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    media_type: String,
    content: String,
}

impl Alternative {
    /// The charset is UTF-8, whatever the type says; a calendar's method (RFC 6047 §2.4) is read from it where the type
    /// names none.
    pub fn new(content_type: &MediaType, content: String) -> Result<Self, Flaw> {
        let essence = content_type.essence();
        let refused = |detail: &str| Err(Flaw::new(FaultCode::InvalidContentType, detail));
        if !essence.starts_with("text/") {
            return refused(
                "an alternative is text, such as text/calendar; method=REQUEST; other files are attachments",
            );
        }
        if ["text/plain", "text/html"].contains(&&*essence) {
            return refused("give text/plain in text and text/html in html");
        }
        let mut media_type = content_type.as_str().to_owned();
        if !content_type.has_parameter("charset") {
            media_type.push_str("; charset=utf-8");
        } else if !content_type.parameter("charset").is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8")) {
            return refused("the charset is utf-8");
        }
        if essence == "text/calendar" && !content_type.has_parameter("method") {
            let method = content.lines().find_map(|line| line.strip_prefix("METHOD:")).map(str::trim);
            if let Some(method) = method.filter(|method| is_token(method)) {
                media_type.push_str("; method=");
                media_type.push_str(method);
            }
        }
        Ok(Self { media_type, content })
    }

    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    pub fn content(&self) -> &str {
        &self.content
    }

    pub fn is_calendar(&self) -> bool {
        self.media_type.to_ascii_lowercase().starts_with("text/calendar")
    }
}

/// The name of a file: 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filename(String);

impl Filename {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        if text.is_empty() || text.len() > FILENAME_MAX {
            let detail = format!("must have 1 to {FILENAME_MAX} bytes");
            return Err(Flaw::new(FaultCode::InvalidFilename, detail));
        }
        super::header::without_controls(&text)?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a part, without angle brackets: 1 to 128 octets of RFC 5322's `atext`, with `.` and `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentId(String);

impl ContentId {
    /// Also parses what stands in the field (`<id>`) and in a link (`cid:id`).
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let inner = unbracketed(text);
        let inner = inner.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("cid:")).map_or(inner, |_| &inner[4..]);
        let is_sound = |b: u8| is_atext(b) || matches!(b, b'.' | b'@');
        if (1..=CONTENT_ID_MAX).contains(&inner.len()) && inner.bytes().all(is_sound) {
            return Ok(Self(inner.to_owned()));
        }
        let detail = match inner.chars().find(|c| !u8::try_from(*c).is_ok_and(is_sound)) {
            Some(' ') => "must not hold a space".to_owned(),
            Some(c) => format!("must not hold '{}'", c.escape_debug()),
            None => format!("must have 1 to {CONTENT_ID_MAX} bytes"),
        };
        Err(Flaw::new(FaultCode::InvalidContentId, detail))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A media type with its parameters (RFC 2045 §5.1): `type/subtype; name=value`, one part, in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let refused = |detail: &str| Err(Flaw::new(FaultCode::InvalidContentType, detail));
        let text = text.trim();
        if text.len() > MEDIA_TYPE_MAX {
            return refused("is longer than 255 bytes");
        }
        if !is_media_type(text) {
            return refused(
                "is not a media type such as image/png or text/csv; charset=utf-8 (RFC 2045): a type, a slash, a subtype, and \
                 parameters with a value each",
            );
        }
        let parsed = Self(text.to_owned());
        let essence = parsed.essence();
        if essence.starts_with("multipart/") {
            return refused("a file is one part: a multipart has parts of its own");
        }
        if ["message/partial", "message/external-body"].contains(&&*essence) {
            return refused("is only a part of a message, or a pointer to one; send the message whole");
        }
        Ok(parsed)
    }

    /// What a file of that name most likely is; bytes of which nothing is known if its ending is not known.
    pub fn of_filename(filename: &Filename) -> Self {
        match mime_guess::from_path(filename.as_str()).first_raw() {
            // A message may have to be refused, and nobody said that it is one.
            Some(known) if !known.starts_with("message/") && !known.starts_with("multipart/") => Self(known.to_owned()),
            _ => Self::octet_stream(),
        }
    }

    /// Type and subtype in lower case.
    pub fn essence(&self) -> String {
        self.0.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Whether it is a message, or a report, in a message.
    pub fn is_message(&self) -> bool {
        self.essence().starts_with("message/")
    }

    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    /// The value of a parameter, without quotes.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut rest = self.0.split_once(';')?.1;
        loop {
            let behind = parameter(rest)?;
            let (key, value) = rest[..rest.len() - behind.len()].split_once('=')?;
            if key.trim().eq_ignore_ascii_case(name) {
                return Some(value.trim().trim_matches('"'));
            }
            rest = behind.trim_start_matches(' ').strip_prefix(';')?;
        }
    }

    /// Bytes of which nothing is known.
    pub fn octet_stream() -> Self {
        Self("application/octet-stream".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_media_type(text: &str) -> bool {
    let (essence, mut rest) = text.split_once(';').map_or((text, None), |(essence, rest)| (essence, Some(rest)));
    let Some((kind, subtype)) = essence.trim_end_matches(' ').split_once('/') else { return false };
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    while let Some(text) = rest {
        let Some(behind) = parameter(text) else { return false };
        let behind = behind.trim_start_matches(' ');
        rest = match behind.strip_prefix(';') {
            Some(more) => Some(more),
            None if behind.is_empty() => None,
            None => return false,
        };
    }
    true
}

/// What stands behind the first `name=value` of `text`.
fn parameter(text: &str) -> Option<&str> {
    let (name, value) = text.trim_start_matches(' ').split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ' ']).unwrap_or(value.len());
        return is_token(&value[..end]).then(|| &value[end..]);
    };
    let end = quoted.find(|c: char| c == '"' || c == '\\' || !(c == ' ' || c.is_ascii_graphic()))?;
    quoted[end..].strip_prefix('"')
}

/// RFC 2045 §5.1 `token`, in letters that every parser takes.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_whole_or_refused() {
        for text in [
            "image/png",
            "text/plain; charset=utf-8",
            "text/csv;header=present ; a=\"b; c\"",
            "a/b+c",
            "message/rfc822",
        ] {
            assert!(MediaType::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "text",
            "text/",
            "/plain",
            "text/plain;",
            "text/plain; charset",
            "text/plain; =x",
            "text/plain; a=\"b",
            "text/plain; a=b c",
            "text/plain; a=b\r\nX: y",
            "multipart/mixed",
            "message/partial",
            "téxt/plain",
        ] {
            assert!(MediaType::parse(text).is_err(), "{text:?}");
        }
    }
}
