//! What comes in through the door, and what goes back.

use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Draft, Options, Place, RawDraft};
use crate::domain::fault::Flaw;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::recipient::RecipientStatus;

use super::backlog::Full;
use super::writer::WriteError;

/// One request of any dialect: messages that are stored together, and the key that a repetition finds them by.
#[derive(Debug, Clone)]
pub struct Submission {
    first: Content,
    others: Vec<Content>,
    pub key: Option<RequestKey>,
    pub mode: Strictness,
}

/// What a message is made of.
#[derive(Debug, Clone)]
pub enum Content {
    /// To be composed.
    Draft(Box<Draft>),
    /// Composed already.
    Raw(Box<RawDraft>),
}

/// What becomes of a request with several messages when one of them cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// None is.
    #[default]
    Strict,
    /// The others are.
    Permissive,
}

/// The key of a request and the SHA-256 of its canonical body.
#[derive(Debug, Clone)]
pub struct RequestKey {
    pub key: String,
    pub fingerprint: [u8; 32],
}

impl Submission {
    /// A request with one message.
    pub const fn one(content: Content, key: Option<RequestKey>) -> Self {
        Self { first: content, others: Vec::new(), key, mode: Strictness::Strict }
    }

    /// A request with several messages; `None` without any.
    pub fn several(contents: Vec<Content>, key: Option<RequestKey>, mode: Strictness) -> Option<Self> {
        let mut contents = contents.into_iter();
        Some(Self { first: contents.next()?, others: contents.collect(), key, mode })
    }

    /// Its messages, in order.
    pub fn into_contents(self) -> impl Iterator<Item = Content> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl Content {
    /// The author in the header.
    pub fn author(&self) -> &Address {
        match self {
            Self::Draft(draft) => &draft.from().address,
            Self::Raw(raw) => &raw.from().address,
        }
    }

    pub fn options(&self) -> &Options {
        match self {
            Self::Draft(draft) => draft.options(),
            Self::Raw(raw) => raw.options(),
        }
    }
}

/// What a request made: its messages are on disk.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// In order of the request. A message that was not taken, of a permissive request, says why.
    pub messages: Vec<Result<AcceptedMessage, Refusal>>,
    /// The request was answered before: nothing new was stored.
    pub replayed: bool,
}

/// A message that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedMessage {
    pub id: MessageId,
    pub created_at: Timestamp,
    /// In order of the request, each address once.
    pub recipients: Vec<AcceptedRecipient>,
}

/// A recipient as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRecipient {
    pub id: RecipientId,
    pub address: String,
    /// JSON pointers to where the request names it, a single address being a list of one.
    pub pointers: Vec<String>,
    /// What it was born as.
    pub status: RecipientStatus,
}

/// Why a message was not taken, found before the store was touched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error("this credential may not send as {0}")]
    ForeignDomain(String),
    /// Something that only the door knows is wrong with a part of it.
    #[error("{}", .1.detail)]
    Unacceptable(Place, Flaw),
}

/// Why a request was not accepted. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Of a strict request: which of its messages, from 0, and why.
    #[error("message {0} is not acceptable: {1}")]
    Refused(usize, Refusal),
    #[error("the idempotency key was used with another request body")]
    KeyReused,
    /// Too much waits in the queue already.
    #[error("the queue is at its limit")]
    Backlog(Full),
    #[error(transparent)]
    Write(#[from] WriteError),
}
