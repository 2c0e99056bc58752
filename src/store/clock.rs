//! The store's clock: the only one for what lasts. Expiry, retries, holds, leases, ids and days all go by it, so that one
//! process whose own clock is wrong neither ends mail nor sends it early.
//!
//! A process measures what time the server has, and counts on from there by the machine's monotonic clock: a jump of its
//! wall clock changes nothing. Until the first measurement it has nothing but its wall clock, and so a service measures
//! before it does anything else.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::{Store, StoreError, on_pool};
use crate::domain::clock::{Clock, Timestamp};

/// A process whose wall clock differs from the store's by more says so: in the log, in a metric, and in `/readyz`.
pub const OFFSET_TOLERATED: Duration = Duration::from_secs(5);
/// One whose wall clock differs by more claims nothing: certificates and tokens are judged by it.
pub const OFFSET_FAR: Duration = Duration::from_hours(1);

/// The store's time, as this process knows it.
pub struct StoreClock {
    machine: Arc<dyn Clock>,
    measured: RwLock<Option<Measured>>,
    /// Microseconds by which a test has moved time; 0 otherwise.
    moved: AtomicI64,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    server: Timestamp,
    at: Instant,
    /// What the machine's wall clock was ahead of the server's, then.
    offset: time::Duration,
}

impl StoreClock {
    /// `machine`: the wall clock of this process.
    pub fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, measured: RwLock::new(None), moved: AtomicI64::new(0) }
    }

    fn measured(&self) -> Option<Measured> {
        *self.measured.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how much the machine's wall clock was ahead of the store's (below 0: behind) when it was measured last.
    pub fn offset(&self) -> time::Duration {
        self.measured().map_or(time::Duration::ZERO, |measured| measured.offset)
    }

    /// Whether the machine's wall clock is so wrong that nothing should be claimed here.
    pub fn is_far_off(&self) -> bool {
        self.offset().unsigned_abs() > OFFSET_FAR
    }

    /// Moves time forward, for tests of what takes days: the whole process then lives so much later.
    pub fn advance(&self, by: Duration) {
        self.moved.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::AcqRel);
    }

    /// Takes over what the server's clock said between `asked` and now.
    fn learn(&self, server: Timestamp, asked: Instant) {
        let now = Instant::now();
        // The answer was made half way between.
        let server = server + (now - asked) / 2;
        let measured = Measured { server, at: now, offset: self.machine.now() - server };
        *self.measured.write().unwrap_or_else(PoisonError::into_inner) = Some(measured);
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        let now = match self.measured() {
            Some(Measured { server, at, .. }) => server + at.elapsed(),
            None => self.machine.now(),
        };
        let now = now + time::Duration::microseconds(self.moved.load(Ordering::Acquire));
        // Postgres keeps microseconds; what is held in memory must equal what is read back.
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }
}

impl std::fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreClock").field("measured", &self.measured()).finish_non_exhaustive()
    }
}

impl Store {
    /// Asks the server what time it is; everything in this process goes by that from now on. Also learns which era of
    /// the event log is written now, should somebody have begun a new one.
    pub async fn measure_clock(&self) -> Result<(), StoreError> {
        let row = on_pool!(self, "clock.measure", conn, async {
            // Not counting the wait for a connection.
            let asked = Instant::now();
            let query = sqlx::query!(r#"SELECT clock_timestamp() AS "now!", (SELECT max(era) FROM log_eras) AS era"#);
            let row = query.fetch_one(conn).await?;
            Ok::<_, sqlx::Error>((row.now, row.era, asked))
        })?;
        let (server, era, asked) = row;
        self.clock.learn(server.to_offset(time::UtcOffset::UTC), asked);
        if let Some(era) = era {
            self.era.store(era, Ordering::Release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    struct Stopped(Timestamp);

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_wall_clock_is_nobodys_time_once_the_server_was_asked() {
        let wrong = datetime!(2027-01-05 10:00 UTC);
        let right = datetime!(2026-11-26 10:00 UTC);
        let clock = StoreClock::new(Arc::new(Stopped(wrong)));
        assert_eq!(clock.now(), wrong, "there is nothing better yet");
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(20)).await;
        clock.learn(right, asked);
        assert_eq!(clock.now(), right + Duration::from_millis(10));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), right + Duration::from_millis(3010), "whatever the wall clock does");
        assert!(clock.is_far_off());
        clock.advance(Duration::from_hours(72));
        assert_eq!(clock.now(), right + Duration::from_millis(3010) + Duration::from_hours(72));
    }

    #[test]
    fn a_little_off_is_not_far_off() {
        let now = Timestamp::UNIX_EPOCH;
        let clock = StoreClock::new(Arc::new(Stopped(now + Duration::from_mins(59))));
        clock.learn(now, Instant::now());
        assert!(!clock.is_far_off());
        assert!(clock.offset() > time::Duration::minutes(58));
    }
}
