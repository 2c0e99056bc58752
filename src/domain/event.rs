//! Events: facts in the past tense, written in the commit that made them true.
//!
//! *Accept* (the API took the duty, 202), *accepted* (the next hop took it, 250) and *delivered* (the
//! public word for that) are three senses; events speak of the last.

use std::fmt;

/// What happened to a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Queued,
    Deferred,
    Delivered,
    Bounced,
    Expired,
}

impl EventType {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Deferred, Self::Delivered, Self::Bounced, Self::Expired];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "message.queued",
            Self::Deferred => "message.deferred",
            Self::Delivered => "message.delivered",
            Self::Bounced => "message.bounced",
            Self::Expired => "message.expired",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
