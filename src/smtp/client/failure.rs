//! Why a session or a transaction ended before its verdict.

use super::dialogue::Refusal;
use super::session_tls::TlsFault;
use crate::domain::stage::Stage;

/// Why a session ended whose server closed its side.
pub const CLOSED: &str = "the server closed the connection";

/// Why a session or a transaction ended before its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub kind: FailureKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection broke.
    Broken(String),
    /// The server said nothing, or took nothing, for too long.
    Silent(String),
    /// What came is no SMTP, or not what may be trusted.
    Nonsense(String),
    /// The TLS handshake failed.
    Tls(TlsFault),
    /// The server or our policy ended the session.
    Refused(Refusal),
}

impl Failure {
    pub fn broken(stage: Stage, why: impl std::fmt::Display) -> Self {
        Self { stage, kind: FailureKind::Broken(why.to_string()) }
    }

    pub fn why(self) -> String {
        match self.kind {
            FailureKind::Broken(why) | FailureKind::Silent(why) | FailureKind::Nonsense(why) => why,
            FailureKind::Tls(fault) => fault.why,
            FailureKind::Refused(_) => "the session ended".to_owned(),
        }
    }

    /// Whether the server closed its side, in order.
    pub fn is_end(&self) -> bool {
        matches!(&self.kind, FailureKind::Broken(why) if why == CLOSED)
    }

    /// Whether the whole message may have reached the server.
    pub const fn is_uncertain(&self) -> bool {
        matches!(self.stage, Stage::Dot)
    }
}
