//! The machine's clock and chance: the only room that asks for them.

use time::OffsetDateTime;

use crate::domain::clock::{Chance, Clock, Timestamp};

/// The machine's clock, to the microsecond.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let now = OffsetDateTime::now_utc();
        // Postgres keeps microseconds; what we hold in memory must equal what we read back.
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }
}

/// The cryptographic generator of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for chance")]
    fn fill(&self, bytes: &mut [u8]) {
        // aws-lc aborts the process when the machine has no entropy; the error never comes.
        let _ = aws_lc_rs::rand::fill(bytes);
    }
}
