//! What is asked to be sent, valid by construction: whoever holds a draft holds a message that can be composed.
//!
//! Every part has one parser, here, which says what is wrong with it ([`Flaw`](super::fault::Flaw)); a door reads its own
//! dialect, calls these parsers and adds the place. No rule is repeated in a door, and composing finds no fault.

mod attachment;
mod body;
mod expiry;
mod header;
mod labels;
mod options;
mod raw;
mod recipients;

pub use attachment::{Attachment, ContentId, Filename, MediaType};
pub use body::{Body, TextPart};
pub use expiry::Expiry;
pub use header::{HeaderField, Subject};
pub use labels::{Metadata, Tag};
pub use options::{Demand, Options, Priority, TlsDemand};
pub use raw::{RawDraft, RawParts, wire_fault};
pub use recipients::{Recipient, Recipients};

use super::address::NamedAddress;

/// A message to be composed. Its parts were parsed one by one, and fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    parts: DraftParts,
}

/// The parsed parts of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftParts {
    /// The author (RFC 5322 §3.6.2).
    pub from: NamedAddress,
    pub recipients: Recipients,
    pub reply_to: Vec<NamedAddress>,
    pub subject: Subject,
    pub body: Body,
    pub attachments: Vec<Attachment>,
    pub headers: Vec<HeaderField>,
    pub options: Options,
}

impl Draft {
    /// Puts parsed parts together: whatever types allow is sound.
    pub const fn new(parts: DraftParts) -> Self {
        Self { parts }
    }

    pub const fn from(&self) -> &NamedAddress {
        &self.parts.from
    }

    pub const fn recipients(&self) -> &Recipients {
        &self.parts.recipients
    }

    pub fn reply_to(&self) -> &[NamedAddress] {
        &self.parts.reply_to
    }

    pub const fn subject(&self) -> &Subject {
        &self.parts.subject
    }

    pub const fn body(&self) -> &Body {
        &self.parts.body
    }

    pub fn attachments(&self) -> &[Attachment] {
        &self.parts.attachments
    }

    pub fn headers(&self) -> &[HeaderField] {
        &self.parts.headers
    }

    pub const fn options(&self) -> &Options {
        &self.parts.options
    }

    /// Bytes of its texts and files, before any encoding.
    pub fn weight(&self) -> usize {
        self.parts.body.weight() + self.parts.attachments.iter().map(|file| file.content.len()).sum::<usize>()
    }

    /// Which part weighs most: what to make smaller when the composed message is too large.
    pub fn heaviest(&self) -> Place {
        let files = self.parts.attachments.iter().enumerate();
        let heaviest = files.max_by_key(|(_, file)| file.content.len()).map(|(at, file)| (file.content.len(), at));
        match (heaviest, &self.parts.body) {
            (Some((size, at)), body) if size >= body.weight() => Place::Attachment(at),
            (_, Body::Html { .. }) => Place::Html,
            (_, Body::Text(_)) => Place::Text,
        }
    }
}

/// A part of a draft, for faults that are found when parts are seen together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Text,
    Html,
    /// By its position from 0.
    Attachment(usize),
    IpPool,
    /// The message of a raw submission.
    Raw,
}

#[cfg(test)]
mod tests;
