//! Events: facts in the past tense, written in the commit that made them true.
//!
//! *Accept* (the API took the duty, 202), *accepted* (the next hop took it, 250) and *delivered* (the
//! public word for that) are three senses; events speak of the last.

use super::recipient::RecipientStatus;
use super::words::words;

words! {
    /// What happened: to a recipient, or to an endpoint of webhooks.
    pub enum EventType {
        Queued = "message.queued",
        Deferred = "message.deferred",
        Delivered = "message.delivered",
        Bounced = "message.bounced",
        Expired = "message.expired",
        Cancelled = "message.cancelled",
        Suppressed = "message.suppressed",
        /// A report came that it could not be delivered after all. It was, and stays, delivered to the server that took it.
        BouncedLater = "message.bounced_later",
        /// The recipient called it spam.
        Complained = "message.complained",
        /// Nothing that an endpoint was told for a while was answered well.
        EndpointStalled = "webhook.stalled",
        EndpointDisabled = "webhook.disabled",
        /// Told by request, and in no log.
        EndpointTest = "webhook.test",
    }
}

impl EventType {
    /// Whether it is about an endpoint of webhooks, and no message.
    pub const fn is_of_endpoint(self) -> bool {
        matches!(self, Self::EndpointStalled | Self::EndpointDisabled | Self::EndpointTest)
    }

    /// The first event of a recipient that is born so.
    pub const fn of_birth(status: RecipientStatus) -> Self {
        match status {
            RecipientStatus::Suppressed => Self::Suppressed,
            _ => Self::Queued,
        }
    }
}
