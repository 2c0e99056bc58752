//! A message: what the client asked to send, ready to be stored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::Mode;
use super::address::Address;
use super::clock::Timestamp;
use super::draft::{Demand, Metadata, Priority, Stream, Tag};
use super::id::{BatchId, MessageId, ProjectId, RecipientId};
use super::recipient::{Counts, RecipientKind, RecipientStatus};
use super::reverse_path::ReversePath;
use super::shard::Shard;
use super::suppression::Suppressed;
use super::words::words;

/// A recipient about to be stored.
#[derive(Debug, Clone)]
pub struct NewRecipient {
    pub id: RecipientId,
    pub kind: RecipientKind,
    pub address: Address,
    /// The lane that its delivery waits for.
    pub next_hop: String,
    /// Where reports of failure go; `None`: to the message's sender.
    pub return_path: Option<ReversePath>,
    /// Where the request names it, as JSON pointers with commas between; `None`: at the place that it has among the
    /// recipients of its kind.
    pub places: Option<String>,
    /// As what it is born: a delivery is owed to one that is `queued`, and none to one that is settled already.
    pub status: RecipientStatus,
    /// Why it is born `suppressed`.
    pub suppressed: Option<Suppressed>,
}

/// A message about to be stored: whatever is wrong with a request was found before this exists.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub id: MessageId,
    pub project: ProjectId,
    pub mode: Mode,
    /// The author's mailbox, and where reports of failure go unless a recipient has a path of its own.
    pub sender: Address,
    /// The author as shown to people.
    pub author: String,
    /// The caller's own `Message-ID`; `None`: ours, see [`made_message_id`].
    pub message_id: Option<String>,
    pub subject: String,
    pub tags: Vec<Tag>,
    pub metadata: Metadata,
    pub priority: Priority,
    pub created_at: Timestamp,
    /// As the client asked; a delivery always has a last instant, see `give_up_at`.
    pub expires_at: Option<Timestamp>,
    /// The instant after which nothing is tried any more.
    pub give_up_at: Timestamp,
    pub demand: Demand,
    /// The caller's own key, by which the message is found again.
    pub idempotency_key: Option<String>,
    pub batch: Option<BatchId>,
    /// The instant for which it was scheduled.
    pub send_at: Option<Timestamp>,
    /// Alias or id of the template that it was made from.
    pub template: Option<String>,
    /// By what it was sent: see [`Caller::credential`](super::access::Caller::credential).
    pub credential: Option<String>,
    /// The kind of mail that it is, if its recipients may want no more of that.
    pub stream: Option<Stream>,
    /// What the receiver that the sandbox plays does with it.
    pub script: Option<String>,
    pub recipients: Vec<NewRecipient>,
    pub raw: Arc<Vec<u8>>,
}

/// The `Message-ID` that a message has without one of the caller's own, without angle brackets.
pub fn made_message_id(id: MessageId, domain: &str) -> String {
    format!("{}@{domain}", id.uuid().simple())
}

/// What one request makes, in one transaction; all in one shard.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    pub shard: Shard,
    /// In order of the request. One that was refused makes nothing, and has its place.
    pub items: Vec<NewItem>,
    /// The key of the request as a whole.
    pub key: Option<Idempotency>,
    /// All of its items are stored, or none.
    pub is_strict: bool,
}

/// What one item of a request makes.
#[derive(Debug, Clone, Default)]
pub struct NewItem {
    pub messages: Vec<NewMessage>,
    /// To be sent later.
    pub scheduled: Vec<NewScheduled>,
    pub key: Option<Idempotency>,
    /// Its one message was scheduled, and exists once it is taken from the schedule, if that still says what was read: its
    /// version then.
    pub from_schedule: Option<i32>,
}

impl NewItem {
    /// The ids of what it makes, in order.
    pub fn ids(&self) -> impl Iterator<Item = MessageId> {
        let messages = self.messages.iter().map(|message| message.id);
        messages.chain(self.scheduled.iter().map(|scheduled| scheduled.id))
    }
}

impl NewSubmission {
    pub fn messages(&self) -> impl Iterator<Item = &NewMessage> {
        self.items.iter().flat_map(|item| &item.messages)
    }
}

/// A message to be sent later, about to be stored as what was asked for.
#[derive(Debug, Clone)]
pub struct NewScheduled {
    /// Minted for the instant at which it is sent: the message that it becomes lies in that day.
    pub id: MessageId,
    pub project: ProjectId,
    pub mode: Mode,
    pub send_at: Timestamp,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// The request for this message alone, as JSON in gzip.
    pub request: Vec<u8>,
    pub summary: ScheduledSummary,
    pub tags: Vec<Tag>,
    pub idempotency_key: Option<String>,
    pub batch: Option<BatchId>,
    pub template: Option<String>,
}

/// What status and lists show of a message that waits for its time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduledSummary {
    pub author: String,
    pub subject: String,
    /// The caller's own.
    pub message_id: Option<String>,
    /// By what it was asked for.
    pub credential: Option<String>,
    pub priority: i16,
    pub size: i32,
    pub metadata: serde_json::Value,
    pub recipients: Vec<ScheduledRecipient>,
}

/// A recipient of a message that waits for its time; its id stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduledRecipient {
    pub id: RecipientId,
    pub email: String,
    pub kind: String,
    pub places: Option<String>,
}

/// The key under which a repeated request finds what the first one made.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub project: ProjectId,
    pub key: String,
    /// SHA-256 of the canonical request body.
    pub fingerprint: [u8; 32],
    pub expires_at: Timestamp,
}

impl Idempotency {
    /// The key as it is stored: live and test mail have keys of their own.
    pub fn stored(mode: Mode, key: &str) -> String {
        format!("{}:{key}", mode.name())
    }

    /// The key as the caller gave it.
    pub fn callers(&self) -> String {
        self.key.split_once(':').map_or_else(|| self.key.clone(), |(_, key)| key.to_owned())
    }

    /// Where the key lies, which need not be where its messages do.
    pub fn shard(&self) -> Shard {
        Shard::of_key(self.project.uuid(), &self.key)
    }
}

words! {
    /// The one-word state of a message, derived from its recipients by [`MessageStatus::of`].
    pub enum MessageStatus {
        Scheduled = "scheduled",
        Queued = "queued",
        Sending = "sending",
        Delivered = "delivered",
        PartiallyDelivered = "partially_delivered",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl MessageStatus {
    /// The first line that holds: all delivered → `delivered`; some delivered → `partially_delivered`;
    /// one being sent → `sending`; one waiting → `queued`; one waiting for its time → `scheduled`; all cancelled → `cancelled`; else `failed`.
    pub const fn of(counts: &Counts) -> Self {
        if counts.delivered == counts.total() {
            Self::Delivered
        } else if counts.delivered > 0 {
            Self::PartiallyDelivered
        } else if counts.sending > 0 {
            Self::Sending
        } else if counts.queued + counts.deferred > 0 {
            Self::Queued
        } else if counts.scheduled > 0 {
            Self::Scheduled
        } else if counts.cancelled == counts.total() {
            Self::Cancelled
        } else {
            Self::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(set: impl FnOnce(&mut Counts)) -> Counts {
        let mut counts = Counts::default();
        set(&mut counts);
        counts
    }

    #[test]
    fn the_status_of_a_message_follows_from_its_recipients() {
        use MessageStatus as S;
        for (expected, counts) in [
            (S::Delivered, counts(|c| c.delivered = 2)),
            (S::PartiallyDelivered, counts(|c| (c.delivered, c.deferred) = (1, 1))),
            (S::PartiallyDelivered, counts(|c| (c.delivered, c.bounced) = (1, 1))),
            (S::Sending, counts(|c| (c.sending, c.bounced) = (1, 1))),
            (S::Queued, counts(|c| (c.deferred, c.expired) = (1, 1))),
            (S::Cancelled, counts(|c| c.cancelled = 3)),
            (S::Failed, counts(|c| (c.cancelled, c.bounced) = (1, 1))),
            (S::Failed, counts(|c| (c.suppressed, c.expired) = (1, 1))),
        ] {
            assert_eq!(MessageStatus::of(&counts), expected, "{counts:?}");
        }
    }
}
