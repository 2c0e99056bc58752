//! Files that travel with a message, and what names them.

use crate::domain::fault::{FaultCode, Flaw};

const FILENAME_MAX: usize = 255;
const CONTENT_ID_MAX: usize = 128;
const MEDIA_TYPE_MAX: usize = 255;

/// A file that travels with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub filename: Filename,
    pub content_type: MediaType,
    pub content: Vec<u8>,
    /// Inline part, referred to by `cid:` from the HTML (RFC 2392); `None`: an attachment.
    pub content_id: Option<ContentId>,
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

/// The id of an inline part, without angle brackets: 1 to 128 letters, digits or any of `._@+-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentId(String);

impl ContentId {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        let is_sound = (1..=CONTENT_ID_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b));
        let detail = || format!("must have 1 to {CONTENT_ID_MAX} letters, digits or any of ._@+-");
        if is_sound { Ok(Self(text)) } else { Err(Flaw::new(FaultCode::InvalidContentId, detail())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A media type with its parameters (RFC 2045 §5.1): `type/subtype; name=value`, one part, in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        if text.len() <= MEDIA_TYPE_MAX && is_media_type(&text) {
            return Ok(Self(text));
        }
        let detail = "is not a media type such as image/png or text/csv; charset=utf-8 (RFC 2045)";
        Err(Flaw::new(FaultCode::InvalidContentType, detail))
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
    // Messages in messages have fields and structure of their own.
    if !is_token(kind) || !is_token(subtype) || ["multipart", "message"].contains(&&*kind.to_ascii_lowercase()) {
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
        for text in ["image/png", "text/plain; charset=utf-8", "text/csv;header=present ; a=\"b; c\"", "a/b+c"] {
            assert!(MediaType::parse(text.to_owned()).is_ok(), "{text}");
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
            "message/rfc822",
            "téxt/plain",
        ] {
            assert!(MediaType::parse(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
