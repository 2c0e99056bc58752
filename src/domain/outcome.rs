//! The outcome of an attempt: a closed set. What is not understood is deferred.

use super::reply::Reply;

/// How one try of a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop took responsibility: 2yz to the final dot.
    Accepted(Reply),
    /// Not now: a 4yz, or trouble on the way before the body was handed over.
    Deferred(Trouble),
    /// Never: a 5yz, or a reason of our own that no retry can change.
    Rejected(Trouble),
    /// The body was sent and no reply to the final dot came: it may have been taken.
    Uncertain(Trouble),
    /// Its last instant passed before a try was made.
    Expired,
}

/// Why an attempt did not end in acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the server said, when it said anything.
    pub reply: Option<Reply>,
    /// A stable word: `mailbox`, `greylisted`, `connection`, `tls`, `dns`, …
    pub class: &'static str,
    /// In words, for a person.
    pub detail: String,
}

impl Trouble {
    pub fn new(class: &'static str, detail: impl Into<String>) -> Self {
        Self { reply: None, class, detail: detail.into() }
    }

    pub fn from_reply(class: &'static str, reply: Reply) -> Self {
        Self { class, detail: reply.to_string(), reply: Some(reply) }
    }
}

impl Outcome {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Deferred(_) => "deferred",
            Self::Rejected(_) => "rejected",
            Self::Uncertain(_) => "uncertain",
            Self::Expired => "expired",
        }
    }

    pub const fn class(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => t.class,
            Self::Expired => "expired",
        }
    }

    pub const fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) => Some(reply),
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => t.reply.as_ref(),
            Self::Expired => None,
        }
    }

    /// The reply's text, or the trouble in words.
    pub fn text(&self) -> &str {
        match self {
            Self::Accepted(reply) => &reply.text,
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => {
                t.reply.as_ref().map_or(&t.detail, |reply| &reply.text)
            }
            Self::Expired => "expired before it could be delivered",
        }
    }
}

/// One try of a delivery as it will be recorded.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    pub outcome: Outcome,
    /// The stage in which it ended: `connect`, `greeting`, `rcpt`, `dot`, …
    pub stage: Option<&'static str>,
    pub host: Option<String>,
    pub ip: Option<String>,
    pub source_ip: Option<String>,
    /// Protocol version and verdict, or `none`.
    pub tls: Option<String>,
    /// The dialogue, without credentials and without the body.
    pub transcript: String,
}

impl AttemptReport {
    /// A try that ended before any server was spoken to.
    pub fn without_session(outcome: Outcome, stage: &'static str) -> Self {
        Self {
            outcome,
            stage: Some(stage),
            host: None,
            ip: None,
            source_ip: None,
            tls: None,
            transcript: String::new(),
        }
    }
}
