//! What stands in the header: the subject, and fields of the caller's own.

use crate::domain::fault::{FaultCode, Flaw};

/// Characters of a subject, and bytes of a field's value: RFC 5322 §2.1.1's line.
const TEXT_MAX: usize = 998;
const NAME_MAX: usize = 76;

/// Fields that a part of the draft, or the service itself, writes.
const RESERVED: [&str; 19] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "otp-token",
    "mime-version",
    "received",
    "return-path",
    "dkim-signature",
    "authentication-results",
    "delivered-to",
    "errors-to",
    "x-original-to",
    "apparently-to",
];
const RESERVED_PREFIXES: [&str; 4] = ["content-", "arc-", "resent-", "x-mailwright-"];

/// A subject: at most 998 characters without control characters; may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        if text.chars().count() > TEXT_MAX {
            return Err(Flaw::new(FaultCode::TooLong, format!("must have at most {TEXT_MAX} characters")));
        }
        without_controls(&text)?;
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A field of the caller's own, which nothing else writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    name: String,
    value: String,
}

impl HeaderField {
    pub fn parse(name: String, value: String) -> Result<Self, Flaw> {
        if !is_field_name(&name) {
            let detail = format!("a header name has 1 to {NAME_MAX} visible ASCII characters and no colon (RFC 5322)");
            return Err(Flaw::new(FaultCode::InvalidHeader, detail));
        }
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&&*lower) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            let field = match &*lower {
                "from" | "to" | "cc" | "bcc" | "subject" => Some(lower.clone()),
                "reply-to" => Some("reply_to".to_owned()),
                "message-id" => Some("message_id".to_owned()),
                "otp-token" => Some("otp".to_owned()),
                _ => None,
            };
            let detail = match field {
                Some(field) => format!("'{name}' is written by the field '{field}' of the request"),
                None => format!("'{name}' is written by the service"),
            };
            return Err(Flaw::new(FaultCode::ReservedHeader, detail));
        }
        if value.len() > TEXT_MAX {
            return Err(Flaw::new(FaultCode::TooLong, format!("must have at most {TEXT_MAX} bytes")));
        }
        without_controls(&value)?;
        Ok(Self { name, value })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Fields of the caller's own, no name twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderFields(Vec<HeaderField>);

impl HeaderFields {
    /// Adds a field. Names compare without case (RFC 5322 §1.2.2): of two, readers show either.
    pub fn insert(&mut self, field: HeaderField) -> Result<(), Flaw> {
        if let Some(known) = self.get(field.name()) {
            let detail = format!("the header is given twice, here and as '{}'", known.name());
            return Err(Flaw::new(FaultCode::InvalidHeader, detail));
        }
        self.0.push(field);
        Ok(())
    }

    /// The field with that name.
    pub fn get(&self, name: &str) -> Option<&HeaderField> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// These fields, and those of `other`, which stand for those of the same name.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.0.retain(|field| other.get(&field.name).is_none());
        self.0.extend(other.0);
        self
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderField> {
        self.0.iter()
    }
}

/// RFC 5322 §2.2 `ftext`.
fn is_field_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// What goes into a header must not be able to end it.
pub(super) fn without_controls(text: &str) -> Result<(), Flaw> {
    if text.chars().any(char::is_control) {
        let detail = "must not hold a line break, a NUL or another control character";
        return Err(Flaw::new(FaultCode::ControlCharacter, detail));
    }
    Ok(())
}
