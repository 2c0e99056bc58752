//! What comes in through the door, and what goes back.

use aws_lc_rs::digest;

use crate::domain::clock::Timestamp;
use crate::domain::draft::{Content, Place, SendAt};
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::id::{BatchId, MessageId, RecipientId};
use crate::domain::message::MessageStatus;
use crate::domain::recipient::{Counts, RecipientStatus};

use super::backlog::Full;
use super::quota::{Denied, Spent};
use super::writer::WriteError;

/// One request of any dialect: what is stored together, and the key that a repetition finds it by.
#[derive(Debug, Clone)]
pub struct Submission {
    /// At least one.
    pub items: Vec<Item>,
    /// The key of the request as a whole.
    pub key: Option<RequestKey>,
    pub mode: Strictness,
    /// The request asks for several messages at once.
    pub is_batch: bool,
    /// Whoever asks repeats by itself and without a key, as programs that submit do: what became of it is asked for until it is known.
    pub is_certain: bool,
}

/// One message that is asked for, or one for each recipient of a request that wants it so.
#[derive(Debug, Clone)]
pub struct Item {
    /// What to send; or what is wrong with it, which is told unless the item was accepted before.
    pub wanted: Result<Wanted, Vec<Fault>>,
    /// The item's own key.
    pub key: Option<RequestKey>,
}

/// Messages of one item, and when to send them.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// At least one.
    pub contents: Vec<Content>,
    /// `None`: at once.
    pub send_at: Option<SendAt>,
}

impl From<Content> for Wanted {
    fn from(content: Content) -> Self {
        Self { contents: vec![content], send_at: None }
    }
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

impl RequestKey {
    /// The key `text` of a request with this fingerprint.
    pub fn parse(text: &str, fingerprint: [u8; 32]) -> Result<Self, Flaw> {
        Ok(Self { key: parse_key(text)?, fingerprint })
    }

    /// The SHA-256 of a canonical body.
    pub fn fingerprint_of(canonical: &[u8]) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, canonical).as_ref());
        fingerprint
    }
}

/// 1 to 255 visible ASCII characters.
pub fn parse_key(key: &str) -> Result<String, Flaw> {
    if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(key.to_owned());
    }
    Err(Flaw::new(FaultCode::InvalidIdempotencyKey, "must be 1 to 255 visible ASCII characters"))
}

impl Submission {
    /// A request for one message.
    pub fn one(wanted: impl Into<Wanted>, key: Option<RequestKey>) -> Self {
        Self::of(Item { wanted: Ok(wanted.into()), key: None }, key)
    }

    /// A request with one item.
    pub fn of(item: Item, key: Option<RequestKey>) -> Self {
        Self { items: vec![item], key, mode: Strictness::Strict, is_batch: false, is_certain: false }
    }

    /// The same, of somebody who would send it again.
    #[must_use]
    pub fn certainly(self) -> Self {
        Self { is_certain: true, ..self }
    }

    /// A batch; `None` without any message.
    pub fn batch(items: Vec<Item>, key: Option<RequestKey>, mode: Strictness) -> Option<Self> {
        if items.is_empty() { None } else { Some(Self { items, key, mode, is_batch: true, is_certain: false }) }
    }
}

/// What a request made: its messages are on disk.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// In order of the request. An item that was not taken, of a permissive request, says why.
    pub items: Vec<Result<AcceptedItem, Refusal>>,
    /// The request was answered before: nothing new was stored.
    pub replayed: bool,
    /// What the messages of a batch are found by.
    pub batch: Option<BatchId>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedItem {
    /// At least one.
    pub messages: Vec<AcceptedMessage>,
    /// The item was accepted before: nothing new was stored.
    pub replayed: bool,
}

impl AcceptedItem {
    /// The state that follows from those of its recipients.
    pub fn status(&self) -> MessageStatus {
        let mut counts = Counts::default();
        for recipient in self.messages.iter().flat_map(|message| &message.recipients) {
            counts.count(recipient.status, 1);
        }
        // One of which nothing is kept any more was queued.
        if counts.total() == 0 { MessageStatus::Queued } else { MessageStatus::of(&counts) }
    }
}

/// A message that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedMessage {
    pub id: MessageId,
    pub created_at: Timestamp,
    /// When it will be sent; `None`: at once.
    pub send_at: Option<Timestamp>,
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
    /// It could not be read.
    #[error("{} faults", .0.len())]
    Faulty(Vec<Fault>),
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// Of a permissive request that was made before: why, was told then.
    #[error("it was refused when this request was made first; it was not looked at again")]
    RefusedBefore,
    #[error("this credential may not send as {0}")]
    ForeignDomain(String),
    /// Why the project may not send live mail from the domain.
    #[error("{0}")]
    UnverifiedDomain(String),
    /// Something that only the door knows is wrong with a part of it.
    #[error("{}", .1.detail)]
    Unacceptable(Place, Flaw),
}

impl From<Denied> for SubmitError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Spent(spent) => Self::QuotaSpent(spent),
            Denied::Suspended(reason) => Self::Suspended(reason),
            Denied::Unknown(reason) => Self::Write(WriteError::Away(reason)),
        }
    }
}

/// Why a request was not accepted. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Of a strict request: which of its items, from 0, and why.
    #[error("item {0} is not acceptable: {1}")]
    Refused(usize, Refusal),
    #[error("the idempotency key was used with another request body")]
    KeyReused,
    /// Too much waits in the queue already.
    #[error("the queue is at its limit")]
    Backlog(Full),
    /// A quota is used up.
    #[error("the quota {} is used up", .0.quota)]
    QuotaSpent(Spent),
    #[error("the project is suspended: {0}")]
    Suspended(String),
    /// The messages of the request are larger together than may be: their bytes, and the limit.
    #[error("{0} bytes; the limit is {1}")]
    TooLarge(usize, usize),
    #[error(transparent)]
    Write(#[from] WriteError),
}
