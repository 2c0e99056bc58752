//! What is asked to be sent, valid by construction: whoever holds a draft holds a message that can be composed.
//!
//! Every part has one parser, here, which says what is wrong with it ([`Flaw`](super::fault::Flaw)); a door reads its own
//! dialect, calls these parsers and adds the place. No rule is repeated in a door, and composing finds no fault.

mod attachment;
mod body;
mod content;
mod expiry;
mod fields;
mod header;
mod labels;
mod options;
mod raw;
mod recipients;

pub use attachment::{Alternative, Attachment, ContentId, Disposition, Filename, FoundUpload, MediaType};
pub use body::{Body, TextPart};
pub use content::Content;
pub use expiry::{Expiry, FARTHEST, SendAt};
pub use fields::{AutoReplies, Origin, Otp, OtpCode, OwnMessageId, ReturnPath};
pub use header::{HeaderField, HeaderFields, Subject};
pub use labels::{Metadata, PoolName, Stream, Tag};
pub use options::{Demand, Options, Priority, TlsDemand, Tracking};
pub use raw::{RawDraft, RawParts, wire_fault, with_crlf};
pub use recipients::{ListPlace, Recipient, Recipients};

use super::address::{Address, AddressError, NamedAddress};

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
    pub alternatives: Vec<Alternative>,
    pub attachments: Vec<Attachment>,
    pub headers: HeaderFields,
    /// `None`: one is made.
    pub message_id: Option<OwnMessageId>,
    /// `None`: the author's address.
    pub return_path: Option<ReturnPath>,
    pub otp: Option<Otp>,
    pub auto_replies: AutoReplies,
    pub options: Options,
}

impl DraftParts {
    /// The parts that every message has, and none beside.
    pub fn plain(from: NamedAddress, recipients: Recipients, subject: Subject, body: Body) -> Self {
        Self {
            from,
            recipients,
            reply_to: Vec::new(),
            subject,
            body,
            alternatives: Vec::new(),
            attachments: Vec::new(),
            headers: HeaderFields::default(),
            message_id: None,
            return_path: None,
            otp: None,
            auto_replies: AutoReplies::Allow,
            options: Options::default(),
        }
    }
}

impl Draft {
    /// Puts parsed parts together: whatever types allow is sound.
    pub const fn new(parts: DraftParts) -> Self {
        Self { parts }
    }

    pub const fn from(&self) -> &NamedAddress {
        &self.parts.from
    }

    /// The same message by the same author in another domain.
    pub fn send_from(&mut self, domain: &str) -> Result<(), AddressError> {
        let address = Address::parse(&format!("{}@{domain}", self.parts.from.address.local()))?;
        self.parts.from.address = address;
        Ok(())
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

    pub fn alternatives(&self) -> &[Alternative] {
        &self.parts.alternatives
    }

    pub fn attachments(&self) -> &[Attachment] {
        &self.parts.attachments
    }

    /// The caller's own fields.
    pub const fn headers(&self) -> &HeaderFields {
        &self.parts.headers
    }

    pub const fn message_id(&self) -> Option<&OwnMessageId> {
        self.parts.message_id.as_ref()
    }

    pub const fn return_path(&self) -> Option<&ReturnPath> {
        self.parts.return_path.as_ref()
    }

    pub const fn otp(&self) -> Option<&Otp> {
        self.parts.otp.as_ref()
    }

    pub const fn auto_replies(&self) -> AutoReplies {
        self.parts.auto_replies
    }

    pub const fn options(&self) -> &Options {
        &self.parts.options
    }

    pub const fn options_mut(&mut self) -> &mut Options {
        &mut self.parts.options
    }

    pub fn into_parts(self) -> DraftParts {
        self.parts
    }

    /// Bytes of its texts and files, before any encoding.
    pub fn weight(&self) -> usize {
        self.weights().map(|(_, weight)| weight).sum()
    }

    /// Which part weighs most: what to make smaller when the composed message is too large.
    pub fn heaviest(&self) -> Place {
        self.weights().max_by_key(|(_, weight)| *weight).map_or(Place::Text, |(place, _)| place)
    }

    fn weights(&self) -> impl Iterator<Item = (Place, usize)> {
        let body = match &self.parts.body {
            Body::Text(_) => (Place::Text, self.parts.body.weight()),
            Body::Html { .. } => (Place::Html, self.parts.body.weight()),
        };
        let alternatives = self.parts.alternatives.iter().enumerate();
        let alternatives = alternatives.map(|(at, other)| (Place::Alternative(at), other.content().len()));
        let files = self.parts.attachments.iter().enumerate();
        let files = files.map(|(at, file)| (Place::Attachment(at), file.content().len()));
        std::iter::once(body).chain(alternatives).chain(files)
    }
}

/// A part of a draft, for faults that are found when parts are seen together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Text,
    Html,
    /// By its position from 0.
    Alternative(usize),
    /// By its position from 0.
    Attachment(usize),
    IpPool,
    /// The pool of the project's own domains.
    DomainPool,
    /// The script of the sandbox.
    Sandbox,
    /// All that it goes to.
    Recipients,
    /// What asks for the link to want no more.
    Unsubscribe,
    /// What asks for links that are counted.
    Tracking,
    /// The message of a raw submission.
    Raw,
}

#[cfg(test)]
mod tests;
