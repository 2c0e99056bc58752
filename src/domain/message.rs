//! A message: what the client asked to send, ready to be stored.

use std::sync::Arc;

use serde::Serialize;

use super::access::Mode;
use super::address::Address;
use super::clock::Timestamp;
use super::draft::{Demand, Metadata, Priority, Tag};
use super::id::{MessageId, ProjectId, RecipientId};
use super::recipient::{Counts, RecipientKind};

/// A recipient about to be stored.
#[derive(Debug, Clone)]
pub struct NewRecipient {
    pub id: RecipientId,
    pub kind: RecipientKind,
    pub address: Address,
    /// The lane that its delivery waits for.
    pub next_hop: String,
}

/// A message about to be stored: whatever is wrong with a request was found before this exists.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub id: MessageId,
    pub project: ProjectId,
    pub mode: Mode,
    pub sender: Address,
    pub author: String,
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
    pub idempotency: Option<Idempotency>,
    /// The body of the 202, kept with the idempotency key.
    pub answer: String,
}

/// The key under which a repeated request finds the first one's answer.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 of the canonical request body.
    pub fingerprint: [u8; 32],
    pub expires_at: Timestamp,
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
