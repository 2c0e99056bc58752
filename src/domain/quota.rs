//! What a project and a key may use, and whether a project may send at all.
//!
//! Live and test mail are counted apart, each by the same limits. Days and months are those of UTC, by the store's clock.

use time::{Date, Duration, Month, Time};

use super::clock::Timestamp;
use super::words::words;

words! {
    /// What is limited over a span of time.
    pub enum Quota {
        MessagesPerSecond = "messages_per_second",
        /// Counted from 00:00 UTC.
        RecipientsPerDay = "recipients_per_day",
        /// Counted from the first of the month, in UTC.
        RecipientsPerMonth = "recipients_per_month",
        /// Bytes of composed messages that were accepted since the first of the month, in UTC.
        BytesPerMonth = "bytes_per_month",
    }
}

words! {
    /// Whose limit it is.
    pub enum Subject {
        Project = "project",
        Key = "key",
    }
}

words! {
    /// What becomes of the mail in the queue of a project that is suspended.
    pub enum MailFate {
        /// It waits, and goes on when the project does; what expires meanwhile has expired.
        Keep = "keep",
        /// It is cancelled.
        Cancel = "cancel",
    }
}

/// Limits of a project or a key; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageLimits {
    pub messages_per_second: Option<u32>,
    pub recipients_per_message: Option<u32>,
    pub recipients_per_day: Option<u64>,
    pub recipients_per_month: Option<u64>,
    pub bytes_per_month: Option<u64>,
}

impl UsageLimits {
    /// The limit of one quota.
    pub fn of(&self, quota: Quota) -> Option<u64> {
        match quota {
            Quota::MessagesPerSecond => self.messages_per_second.map(u64::from),
            Quota::RecipientsPerDay => self.recipients_per_day,
            Quota::RecipientsPerMonth => self.recipients_per_month,
            Quota::BytesPerMonth => self.bytes_per_month,
        }
    }
}

/// A project that may not send for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    pub at: Timestamp,
    /// What its senders are told.
    pub reason: String,
    pub mail: MailFate,
}

/// A day or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub first_day: Date,
    pub ends_at: Timestamp,
}

impl Quota {
    /// The day or month of `now` that this quota is counted over; `None`: it is not counted but paced.
    pub fn period(self, now: Timestamp) -> Option<Period> {
        let today = now.to_offset(time::UtcOffset::UTC).date();
        let (first_day, next) = match self {
            Self::MessagesPerSecond => return None,
            Self::RecipientsPerDay => (today, today + Duration::days(1)),
            Self::RecipientsPerMonth | Self::BytesPerMonth => {
                let first = today.replace_day(1).unwrap_or(today);
                let is_last = first.month() == Month::December;
                let year = if is_last { first.year() + 1 } else { first.year() };
                (first, Date::from_calendar_date(year, first.month().next(), 1).unwrap_or(first))
            }
        };
        Some(Period { first_day, ends_at: next.with_time(Time::MIDNIGHT).assume_utc() })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn days_and_months_are_those_of_utc() {
        let late = datetime!(2026-12-31 23:30 -02:00);
        let day = Quota::RecipientsPerDay.period(late).unwrap();
        assert_eq!((day.first_day, day.ends_at), (date!(2027 - 01 - 01), datetime!(2027-01-02 00:00 UTC)));
        let month = Quota::RecipientsPerMonth.period(datetime!(2026-12-31 23:30 UTC)).unwrap();
        assert_eq!((month.first_day, month.ends_at), (date!(2026 - 12 - 01), datetime!(2027-01-01 00:00 UTC)));
        let short = Quota::BytesPerMonth.period(datetime!(2028-02-29 12:00 UTC)).unwrap();
        assert_eq!((short.first_day, short.ends_at), (date!(2028 - 02 - 01), datetime!(2028-03-01 00:00 UTC)));
        assert_eq!(Quota::MessagesPerSecond.period(late), None);
    }
}
