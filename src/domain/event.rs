//! Events: facts in the past tense, written in the commit that made them true.
//!
//! *Accept* (the API took the duty, 202), *accepted* (the next hop took it, 250) and *delivered* (the
//! public word for that) are three senses; events speak of the last.

use super::recipient::RecipientStatus;
use super::words::words;

words! {
    /// What happened to a recipient.
    pub enum EventType {
        Queued = "message.queued",
        Deferred = "message.deferred",
        Delivered = "message.delivered",
        Bounced = "message.bounced",
        Expired = "message.expired",
        Cancelled = "message.cancelled",
        Suppressed = "message.suppressed",
    }
}

impl EventType {
    /// The first event of a recipient that is born so.
    pub const fn of_birth(status: RecipientStatus) -> Self {
        match status {
            RecipientStatus::Suppressed => Self::Suppressed,
            _ => Self::Queued,
        }
    }
}
