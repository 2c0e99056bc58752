//! What the caller attaches to a message for itself: tags and metadata.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::fault::{FaultCode, Flaw};

const TAG_MAX: usize = 64;

/// A label of low cardinality: 1 to 64 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tag(String);

impl Tag {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        if text.is_empty() || text.chars().count() > TAG_MAX || text.chars().any(char::is_control) {
            let detail = format!("must have 1 to {TAG_MAX} characters, none of them a control character");
            return Err(Flaw::new(FaultCode::InvalidTag, detail));
        }
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a kind of mail, such as `newsletter`: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Stream(String);

impl Stream {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        plain_name(text, FaultCode::InvalidStream).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a pool of the project's own domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PoolName(String);

impl PoolName {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        plain_name(text, FaultCode::InvalidDomainPool).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that stands in URLs and addresses as it is.
fn plain_name(text: String, code: FaultCode) -> Result<String, Flaw> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > TAG_MAX || !text.bytes().all(is_plain) {
        return Err(Flaw::new(code, format!("must have 1 to {TAG_MAX} letters, digits, '-', '_' and '.'")));
    }
    Ok(text)
}

/// Texts by name, returned in status, events and webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// Adds a pair. Postgres cannot hold a NUL in text.
    pub fn insert(&mut self, name: String, value: String) -> Result<(), Flaw> {
        if name.contains('\0') || value.contains('\0') {
            return Err(Flaw::new(FaultCode::ControlCharacter, "must not hold a NUL"));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// These pairs, and those of `other`, which has the last word.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Fails when names and values together have more than `most` bytes.
    pub fn within(self, most: usize) -> Result<Self, Flaw> {
        let bytes: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > most {
            return Err(Flaw::new(FaultCode::TooLong, format!("{bytes} bytes; the limit is {most}")));
        }
        Ok(self)
    }
}
