//! A recipient: one address of a message, the unit of public status.

use serde::Serialize;

use super::words::words;

words! {
    /// Which header field named the recipient. A `bcc` stands in none.
    pub enum RecipientKind {
        To = "to",
        Cc = "cc",
        Bcc = "bcc",
    }
}

words! {
    /// What became of a recipient. `sending` is never stored: it is a delivery under a lease.
    /// Nor is `scheduled`: such a message waits elsewhere.
    pub enum RecipientStatus {
        Scheduled = "scheduled",
        Queued = "queued",
        Sending = "sending",
        Deferred = "deferred",
        Delivered = "delivered",
        Bounced = "bounced",
        Expired = "expired",
        Suppressed = "suppressed",
        Cancelled = "cancelled",
    }
}

impl RecipientStatus {
    /// Final: nothing that comes later overwrites it.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Queued | Self::Sending | Self::Deferred)
    }
}

/// How many recipients of a message are in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub scheduled: u32,
    pub queued: u32,
    pub sending: u32,
    pub deferred: u32,
    pub delivered: u32,
    pub bounced: u32,
    pub expired: u32,
    pub suppressed: u32,
    pub cancelled: u32,
}

impl Counts {
    pub const fn count(&mut self, status: RecipientStatus, by: u32) {
        *match status {
            RecipientStatus::Scheduled => &mut self.scheduled,
            RecipientStatus::Queued => &mut self.queued,
            RecipientStatus::Sending => &mut self.sending,
            RecipientStatus::Deferred => &mut self.deferred,
            RecipientStatus::Delivered => &mut self.delivered,
            RecipientStatus::Bounced => &mut self.bounced,
            RecipientStatus::Expired => &mut self.expired,
            RecipientStatus::Suppressed => &mut self.suppressed,
            RecipientStatus::Cancelled => &mut self.cancelled,
        } += by;
    }

    pub const fn of(&self, status: RecipientStatus) -> u32 {
        match status {
            RecipientStatus::Scheduled => self.scheduled,
            RecipientStatus::Queued => self.queued,
            RecipientStatus::Sending => self.sending,
            RecipientStatus::Deferred => self.deferred,
            RecipientStatus::Delivered => self.delivered,
            RecipientStatus::Bounced => self.bounced,
            RecipientStatus::Expired => self.expired,
            RecipientStatus::Suppressed => self.suppressed,
            RecipientStatus::Cancelled => self.cancelled,
        }
    }

    pub const fn total(&self) -> u32 {
        self.scheduled
            + self.queued
            + self.sending
            + self.deferred
            + self.delivered
            + self.bounced
            + self.expired
            + self.suppressed
            + self.cancelled
    }
}
