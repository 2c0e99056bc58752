//! What is asked of a message's way, beside its content.

use serde::Serialize;

use super::{Expiry, Metadata, PoolName, Stream, Tag};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::script::Script;

/// What a message asks for beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    pub tags: Vec<Tag>,
    pub metadata: Metadata,
    pub priority: Priority,
    pub expires_at: Option<Expiry>,
    pub demand: Demand,
    /// Alias or id of the template that it was made from.
    pub template: Option<String>,
    /// What the receiver that the sandbox plays does with it.
    pub script: Option<Script>,
    /// The kind of mail that it is: its recipient may want no more of that, and says so with one click (RFC 8058).
    pub stream: Option<Stream>,
    pub tracking: Tracking,
    /// The pool of the project's domains that the author's is taken from.
    pub domain_pool: Option<PoolName>,
}

impl Options {
    /// Whether the message has links that are its recipient's own.
    pub const fn wants_links(&self) -> bool {
        self.stream.is_some() || self.tracking.opens || self.tracking.clicks
    }
}

/// What a sender wants to be told of what a recipient does with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tracking {
    /// That it was opened: by an image that is loaded.
    pub opens: bool,
    /// That a link in its HTML was followed.
    pub clicks: bool,
}

/// How urgent a message is; `high` is for codes a person is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    pub fn parse(name: &str) -> Result<Self, Flaw> {
        let found = Self::ALL.into_iter().find(|priority| priority.name() == name);
        found.ok_or_else(|| one_of(FaultCode::InvalidPriority, Self::ALL.map(Self::name)))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The column's value: lower is served first.
    pub const fn rank(self) -> i16 {
        self as i16
    }

    /// The priority whose rank that is.
    pub fn of_rank(rank: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.rank() == rank)
    }
}

/// How much TLS a message asks of every next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsDemand {
    /// As much as the next hop offers, and what its domain demands.
    #[default]
    Opportunistic,
    /// A valid certificate.
    Required,
    /// That, and a next hop that promises the same for the rest of the way (RFC 8689).
    RequireTls,
}

impl TlsDemand {
    pub const ALL: [Self; 3] = [Self::Opportunistic, Self::Required, Self::RequireTls];

    pub fn parse(name: &str) -> Result<Self, Flaw> {
        let found = Self::ALL.into_iter().find(|demand| demand.name() == name);
        found.ok_or_else(|| one_of(FaultCode::InvalidTls, Self::ALL.map(Self::name)))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
            Self::RequireTls => "requiretls",
        }
    }
}

fn one_of(code: FaultCode, names: [&str; 3]) -> Flaw {
    Flaw::new(code, format!("must be one of {}", names.join(", ")))
}

/// What a message asks of its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    pub tls: TlsDemand,
    /// Name of the pool of source addresses; the route's when not given.
    pub ip_pool: Option<String>,
}
