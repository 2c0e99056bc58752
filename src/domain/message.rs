//! A message: what the client asked to send, ready to be stored.

use std::sync::Arc;

use serde::Serialize;

use super::access::Mode;
use super::address::Address;
use super::clock::Timestamp;
use super::draft::{Demand, Metadata, Priority, Tag};
use super::id::{MessageId, ProjectId, RecipientId};
use super::recipient::{Counts, RecipientKind, RecipientStatus};
use super::reverse_path::ReversePath;
use super::shard::Shard;

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
    pub recipients: Vec<NewRecipient>,
    pub raw: Arc<Vec<u8>>,
}

/// The `Message-ID` that a message has without one of the caller's own, without angle brackets.
pub fn made_message_id(id: MessageId, domain: &str) -> String {
    format!("{}@{domain}", id.uuid().simple())
}

/// Messages of one request, stored together or not at all; all in one shard.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    /// At least one.
    pub messages: Vec<NewMessage>,
    pub key: Option<Idempotency>,
}

impl NewSubmission {
    /// Where its messages lie.
    pub fn shard(&self) -> Shard {
        self.messages.first().map_or(Shard::of_low_bits(0), |message| message.id.shard())
    }
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
    /// Where the key lies, which need not be where its messages do.
    pub fn shard(&self) -> Shard {
        Shard::of_key(self.project.uuid(), &self.key)
    }
}

/// The one-word state of a message, derived from its recipients by [`MessageStatus::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    Queued,
    Sending,
    Delivered,
    PartiallyDelivered,
    Failed,
    Cancelled,
}

impl MessageStatus {
    /// The first line that holds: all delivered → `delivered`; some delivered → `partially_delivered`;
    /// one being sent → `sending`; one waiting → `queued`; all cancelled → `cancelled`; else `failed`.
    pub const fn of(counts: &Counts) -> Self {
        if counts.delivered == counts.total() {
            Self::Delivered
        } else if counts.delivered > 0 {
            Self::PartiallyDelivered
        } else if counts.sending > 0 {
            Self::Sending
        } else if counts.queued + counts.deferred > 0 {
            Self::Queued
        } else if counts.cancelled == counts.total() {
            Self::Cancelled
        } else {
            Self::Failed
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "queued" => Self::Queued,
            "sending" => Self::Sending,
            "delivered" => Self::Delivered,
            "partially_delivered" => Self::PartiallyDelivered,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
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
