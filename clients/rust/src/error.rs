//! What can go wrong, as types.

use std::fmt;

use serde::Deserialize;

/// Why a call gave no answer of use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service refused, and says why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// Nobody answered, or the connection broke. What was asked for may have been done.
    #[error("no answer: {0}")]
    Connection(String),
    /// The answer is none of this service: something stands between.
    #[error("an answer that cannot be read, with status {status}: {text}")]
    Unreadable { status: u16, text: String },
    /// The request could not be made.
    #[error("{0}")]
    Request(String),
}

/// An error of the service (RFC 9457).
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// `/requests/` and the id under which the service logged the request; empty for one message of a batch.
    #[serde(default)]
    pub instance: String,
    /// Every fault of the request, with [`ProblemKind::Validation`].
    #[serde(default)]
    pub errors: Vec<Fault>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.title, self.detail)?;
        self.errors.iter().try_for_each(|fault| write!(f, "; {} {}", fault.pointer, fault.detail))
    }
}

impl std::error::Error for Problem {}

/// A fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// Where: a JSON pointer into the body, `?` and the name of a parameter, or the name of a header.
    pub pointer: String,
    /// A stable word.
    pub code: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

macro_rules! kinds {
    ($($kind:ident $path:literal),* $(,)?) => {
        /// The kind of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[non_exhaustive]
        pub enum ProblemKind {
            $(#[serde(rename = $path)] $kind,)*
            /// One that this version does not know.
            #[serde(other)]
            Unknown,
        }
    };
}

kinds! {
    Malformed "/problems/malformed",
    Unauthorized "/problems/unauthorized",
    MissingScope "/problems/missing-scope",
    ForeignDomain "/problems/foreign-domain",
    UnverifiedDomain "/problems/unverified-domain",
    TestOnly "/problems/test-only",
    OperatorOnly "/problems/operator-only",
    AddressNotAllowed "/problems/address-not-allowed",
    ProjectSuspended "/problems/project-suspended",
    NotFound "/problems/not-found",
    BodyNotKept "/problems/body-not-kept",
    MethodNotAllowed "/problems/method-not-allowed",
    Timeout "/problems/timeout",
    TooLarge "/problems/too-large",
    UriTooLong "/problems/uri-too-long",
    HeadTooLarge "/problems/head-too-large",
    UnsupportedMediaType "/problems/unsupported-media-type",
    Validation "/problems/validation",
    IdempotencyKeyReused "/problems/idempotency-key-reused",
    Unsettled "/problems/unsettled",
    NoSpamFilter "/problems/no-spam-filter",
    Backlog "/problems/backlog",
    TooManyAtOnce "/problems/too-many-at-once",
    RateLimited "/problems/rate-limited",
    QuotaExceeded "/problems/quota-exceeded",
    Busy "/problems/busy",
    StoreUnavailable "/problems/store-unavailable",
    Internal "/problems/internal",
}
