//! Events: facts in the past tense, written in the commit that made them true.
//!
//! *Accept* (the API took the duty, 202), *accepted* (the next hop took it, 250) and *delivered* (the
//! public word for that) are three senses; events speak of the last.

use super::recipient::RecipientStatus;
use super::words::words;

words! {
    /// What happened: to a recipient, to an endpoint of webhooks, or to a sending domain.
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
        /// The recipient wants no more mail of its kind.
        Unsubscribed = "message.unsubscribed",
        /// An image of it was loaded.
        Opened = "message.opened",
        /// A link of it was followed.
        Clicked = "message.clicked",
        /// Nothing that an endpoint was told for a while was answered well.
        EndpointStalled = "webhook.stalled",
        EndpointDisabled = "webhook.disabled",
        /// The records of a sending domain were seen.
        DomainVerified = "domain.verified",
        /// Something else is there now. Mail goes on.
        DomainWarning = "domain.warning",
        /// That lasted.
        DomainFailed = "domain.failed",
        /// A new key signs.
        DomainKeyRotated = "domain.key_rotated",
        /// A list names it.
        DomainListed = "domain.listed",
        /// More of the project's mail bounces, or is called spam, than receivers put up with.
        ProjectAlarm = "project.alarm",
        /// Told by request, and in no log.
        EndpointTest = "webhook.test",
    }
}

impl EventType {
    /// Whether it is about a sending domain.
    pub const fn is_of_domain(self) -> bool {
        matches!(
            self,
            Self::DomainVerified
                | Self::DomainWarning
                | Self::DomainFailed
                | Self::DomainKeyRotated
                | Self::DomainListed
        )
    }

    /// Whether it is about something of a project, and no message.
    pub const fn is_of_project(self) -> bool {
        self.is_of_domain()
            || matches!(self, Self::ProjectAlarm | Self::EndpointStalled | Self::EndpointDisabled | Self::EndpointTest)
    }

    /// The first event of a recipient that is born so.
    pub const fn of_birth(status: RecipientStatus) -> Self {
        match status {
            RecipientStatus::Suppressed => Self::Suppressed,
            _ => Self::Queued,
        }
    }
}
