//! Time and randomness as parameters. The ambient ones are banned by `.clippy.toml`; only
//! [`crate::ambient`] asks the machine.

use std::sync::Mutex;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;

/// An instant in UTC.
pub type Timestamp = OffsetDateTime;

/// What time it is.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The instant so many seconds after the Unix epoch, if there is one that can be written.
pub fn from_unix(seconds: i64) -> Option<Timestamp> {
    OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|at| (0..=9999).contains(&at.year()))
}

/// The instant at which the next day begins, in UTC.
pub fn next_day(now: Timestamp) -> Timestamp {
    let tomorrow = now.date().next_day().unwrap_or_else(|| now.date());
    tomorrow.midnight().assume_utc()
}

/// A source of random bytes.
pub trait Rng: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);

    /// What names a lease, and can be nobody else's.
    fn token(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        Uuid::from_bytes(bytes)
    }

    /// A factor that spreads `delay` evenly over ±`ratio` of itself.
    fn jitter(&self, delay: Duration, ratio: f64) -> Duration {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        let unit = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
        delay.mul_f64(1.0 + ratio * (2.0 * unit - 1.0))
    }
}

/// A repeatable generator (`SplitMix64`) for tests and models; never for secrets.
#[derive(Debug)]
pub struct SeededRng(Mutex<u64>);

impl SeededRng {
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

const RFC3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// RFC 3339 in UTC with microseconds: the one form in which an instant leaves us.
pub fn rfc3339(at: Timestamp) -> String {
    at.to_offset(time::UtcOffset::UTC).format(RFC3339).unwrap_or_default()
}

/// The instant that an RFC 3339 text names; any offset is accepted.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let at = Timestamp::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    at.checked_to_offset(time::UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_in_utc_with_microseconds() {
        let at = parse_rfc3339("2026-11-22T10:00:00.5+08:00").unwrap();
        assert_eq!(rfc3339(at), "2026-11-22T02:00:00.500000Z");
        assert_eq!(parse_rfc3339("2026-11-22 10:00"), None);
        assert_eq!(parse_rfc3339("9999-12-31T23:59:59-23:59"), None);
    }

    #[test]
    fn jitter_stays_within_its_ratio() {
        let rng = SeededRng::new(3);
        let spread: Vec<_> = (0..100).map(|_| rng.jitter(Duration::from_secs(100), 0.1)).collect();
        assert!(spread.iter().all(|d| (90..=110).contains(&d.as_secs())));
        assert!(spread.iter().max() > spread.iter().min());
    }
}
