//! When a project's mail fares so badly that somebody must be told: receivers judge all mail of an installation by it.

use super::clock::Timestamp;
use super::quota::{MailFate, Suspension};

/// Recipients of a day from which on a share of them says something.
const ENOUGH: u64 = 100;
/// Complaints that are none yet: somebody always presses the wrong button.
const COMPLAINTS_MIN: u64 = 3;

/// What a project has set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlarmRates {
    /// Of a day's recipients, those that bounced.
    pub bounce_percent: f64,
    /// Of a day's delivered mail, that which was called spam.
    pub complaint_percent: f64,
    /// The project is suspended until an operator has looked.
    pub pauses: bool,
}

impl AlarmRates {
    /// What receivers put up with: beyond 5 % a list is not kept, and from 0.3 % on Gmail and Yahoo turn mail away.
    pub const DEFAULT: Self = Self { bounce_percent: 5.0, complaint_percent: 0.3, pauses: false };
}

/// How a day's mail fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayCounts {
    pub accepted: u64,
    pub rejected: u64,
    pub complaints: u64,
}

/// What follows from a day's mail.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Somebody is told, for this reason.
    Alarm(String),
    /// What was told is over.
    Calm,
    /// In between: whatever was told stays.
    Unchanged,
}

impl AlarmRates {
    pub fn judge(&self, counts: DayCounts) -> Verdict {
        let ended = counts.accepted + counts.rejected;
        let percent = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
        let bounced = percent(counts.rejected, ended);
        let complained = percent(counts.complaints, counts.accepted);
        let has_enough = ended >= ENOUGH;
        if has_enough && bounced >= self.bounce_percent {
            let limit = self.bounce_percent;
            return Verdict::Alarm(format!(
                "{bounced:.1} % of {ended} recipients of the last 24 hours bounced; the limit is {limit} %"
            ));
        }
        if has_enough && counts.complaints >= COMPLAINTS_MIN && complained >= self.complaint_percent {
            let (limit, accepted) = (self.complaint_percent, counts.accepted);
            return Verdict::Alarm(format!(
                "{complained:.2} % of {accepted} recipients of the last 24 hours called it spam; the limit is {limit} %"
            ));
        }
        let is_low = bounced < self.bounce_percent / 2.0 && complained < self.complaint_percent / 2.0;
        if is_low || !has_enough { Verdict::Calm } else { Verdict::Unchanged }
    }
}

/// What stops a project on an alarm: what waits stays, and an operator decides.
pub fn suspension(reason: &str, at: Timestamp) -> Suspension {
    Suspension { at, reason: reason.to_owned(), mail: MailFate::Keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_needs_enough_mail_and_ends_well_below_its_limit() {
        let rates = AlarmRates::DEFAULT;
        let day = |accepted, rejected, complaints| DayCounts { accepted, rejected, complaints };
        for (counts, word) in [
            (day(0, 0, 0), "calm"),
            (day(0, 99, 0), "calm"),
            (day(95, 5, 0), "bounced"),
            (day(96, 4, 0), "unchanged"),
            (day(980, 20, 0), "calm"),
            (day(1000, 0, 2), "unchanged"),
            (day(10_000, 0, 2), "calm"),
            (day(1000, 0, 3), "spam"),
            (day(10_000, 0, 3), "calm"),
            (day(10_000, 0, 20), "unchanged"),
        ] {
            let found = match rates.judge(counts) {
                Verdict::Alarm(reason) => reason,
                Verdict::Calm => "calm".to_owned(),
                Verdict::Unchanged => "unchanged".to_owned(),
            };
            assert!(found.contains(word), "{counts:?}: {found}");
        }
    }
}
