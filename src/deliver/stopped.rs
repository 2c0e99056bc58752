//! How an attempt ends before a server was spoken to.

use tokio::time::Instant;

use crate::domain::class::OwnClass;
use crate::domain::hold::HoldReason;
use crate::domain::outcome::{AttemptReport, Outcome, Trouble};
use crate::domain::stage::Stage;
use crate::domain::suppression::Suppressed;

/// Why a step of an attempt is its last one.
#[derive(Debug)]
pub enum Stopped {
    /// With an outcome, to be recorded.
    Reported(Box<AttemptReport>),
    /// It was not begun: not before that instant.
    Held { until: Instant, why: HoldReason },
    /// The service is stopping: it was not begun, and others may take it at once.
    Released,
    /// The lease is somebody else's by now, or the job was revoked before it began.
    NotOurs,
}

impl Stopped {
    pub fn at(stage: Stage, outcome: Outcome) -> Self {
        Self::Reported(Box::new(AttemptReport::without_session(outcome, stage)))
    }

    pub fn expired() -> Self {
        Self::at(Stage::Expiry, Outcome::Expired)
    }

    pub fn suppressed(why: Suppressed) -> Self {
        Self::at(Stage::Suppression, Outcome::Suppressed(why))
    }

    pub fn message_gone() -> Self {
        let trouble = Trouble::new(OwnClass::MessageGone, "the message is no longer stored");
        Self::at(Stage::Load, Outcome::Rejected(trouble))
    }
}
