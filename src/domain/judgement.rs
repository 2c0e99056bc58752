//! What a refusal means for the delivery, for its lane and for its recipient's address.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::class::{Class, OwnClass};

/// Whether a refusal is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    Bounce,
    Defer,
}

/// What a refusal does to the lane that it came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneAction {
    #[default]
    Keep,
    /// Fewer sessions, and a slower return to more.
    Slow,
    /// Nothing more through it for a while.
    Pause,
}

/// What follows from a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Name of the retry schedule.
    pub schedule: Cow<'static, str>,
    pub lane: LaneAction,
    /// The next try goes out from another source address.
    pub switch_source: bool,
    /// The reply speaks of the address: nothing more should be sent there.
    pub suppress: bool,
    /// It speaks of the sender: of the address or domain that mail comes from, how much of it there is, or what is in it.
    pub of_sender: bool,
    /// When the server said how long to wait.
    pub retry_after: Option<Duration>,
}

/// A classified refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub class: Class,
    pub disposition: Disposition,
    /// The rule that said so; `None` where no reply was judged.
    pub rule: Option<Box<str>>,
    /// Percent.
    pub confidence: u8,
    pub action: Action,
}

impl Judgement {
    /// One that no rule gave.
    pub fn plain(disposition: Disposition, class: OwnClass) -> Self {
        Self { class: class.into(), disposition, rule: None, confidence: 100, action: Action::default() }
    }
}

impl Default for Action {
    fn default() -> Self {
        Self {
            schedule: Cow::Borrowed("default"),
            lane: LaneAction::Keep,
            switch_source: false,
            suppress: false,
            of_sender: false,
            retry_after: None,
        }
    }
}

/// As it stands on an attempt: `schedule=greylist lane=slow switch-source`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule={}", self.schedule)?;
        match self.lane {
            LaneAction::Keep => {}
            LaneAction::Slow => f.write_str(" lane=slow")?,
            LaneAction::Pause => f.write_str(" lane=pause")?,
        }
        if self.switch_source {
            f.write_str(" switch-source")?;
        }
        if self.suppress {
            f.write_str(" suppress")?;
        }
        match self.retry_after {
            Some(after) => write!(f, " retry-after={}s", after.as_secs()),
            None => Ok(()),
        }
    }
}
