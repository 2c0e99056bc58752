//! Until when a message is worth sending.

use time::Duration;

use crate::domain::clock::{Timestamp, parse_rfc3339};
use crate::domain::fault::{FaultCode, Flaw};

/// How far ahead a message may be scheduled, and may expire.
pub const FARTHEST: Duration = Duration::days(90);

/// When a message is to be sent: within 90 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendAt(Timestamp);

impl SendAt {
    /// Parses an RFC 3339 instant. One that has passed, but not by more than a day, is now: clocks differ, and requests
    /// take their time.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, Flaw> {
        let wrong = || Flaw::new(FaultCode::InvalidTime, "is not an RFC 3339 instant such as 2026-11-22T10:00:00Z");
        let at = parse_rfc3339(text).ok_or_else(wrong)?;
        // To the millisecond: the id of the message says so much of it.
        let at = at.replace_nanosecond(at.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(at);
        if at < now - Duration::days(1) {
            return Err(Flaw::new(FaultCode::InThePast, "lies more than a day in the past"));
        }
        if at - now > FARTHEST {
            return Err(Flaw::new(FaultCode::TooFar, "must lie within 90 days"));
        }
        Ok(Self(at))
    }

    pub const fn instant(self) -> Timestamp {
        self.0
    }
}

/// An instant after which a message is not tried any more: in the future, and within 90 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(Timestamp);

impl Expiry {
    /// Parses an RFC 3339 instant.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, Flaw> {
        let wrong = || Flaw::new(FaultCode::InvalidTime, "is not an RFC 3339 instant such as 2026-11-22T10:00:00Z");
        Self::at(parse_rfc3339(text).ok_or_else(wrong)?, now)
    }

    /// The instant `seconds` from `now`.
    pub fn after(seconds: i64, now: Timestamp) -> Result<Self, Flaw> {
        Self::at(now.checked_add(Duration::seconds(seconds)).unwrap_or(now), now)
    }

    /// An instant that was checked when it was asked for, and may have passed since.
    pub const fn checked_before(at: Timestamp) -> Self {
        Self(at)
    }

    fn at(at: Timestamp, now: Timestamp) -> Result<Self, Flaw> {
        if at <= now {
            return Err(Flaw::new(FaultCode::InThePast, "the message would expire before it could be sent"));
        }
        if at - now > FARTHEST {
            return Err(Flaw::new(FaultCode::TooFar, "must lie within 90 days"));
        }
        Ok(Self(at))
    }

    pub const fn instant(self) -> Timestamp {
        self.0
    }
}
