//! A recipient: one address of a message, the unit of public status.

use serde::Serialize;

/// Which header field named the recipient. A `bcc` stands in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    To,
    Cc,
    Bcc,
}

impl RecipientKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::To => "to",
            Self::Cc => "cc",
            Self::Bcc => "bcc",
        }
    }
}

/// What became of a recipient. `Sending` is never stored: it is a delivery under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientStatus {
    Queued,
    Sending,
    Deferred,
    Delivered,
    Bounced,
    Expired,
    Suppressed,
    Cancelled,
}

impl RecipientStatus {
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sending,
        Self::Deferred,
        Self::Delivered,
        Self::Bounced,
        Self::Expired,
        Self::Suppressed,
        Self::Cancelled,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Deferred => "deferred",
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Final: nothing that comes later overwrites it.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Queued | Self::Sending | Self::Deferred)
    }
}

/// How many recipients of a message are in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
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

    pub const fn total(&self) -> u32 {
        self.queued
            + self.sending
            + self.deferred
            + self.delivered
            + self.bounced
            + self.expired
            + self.suppressed
            + self.cancelled
    }
}
