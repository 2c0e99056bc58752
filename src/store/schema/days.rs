//! Days whose partitions were there a moment ago: one that is past its retention may be dropped.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::Date;
use tokio::time::Instant;

/// How long a day that was there is believed to be.
const BELIEVED: Duration = Duration::from_mins(1);

/// What is believed.
#[derive(Debug, Default)]
pub struct KnownDays(Mutex<HashMap<Date, Instant>>);

impl KnownDays {
    pub fn is_known(&self, day: Date) -> bool {
        self.days().get(&day).is_some_and(|since| since.elapsed() < BELIEVED)
    }

    pub fn learn(&self, day: Date) {
        let mut days = self.days();
        days.retain(|_, since| since.elapsed() < BELIEVED);
        days.insert(day, Instant::now());
    }

    fn days(&self) -> MutexGuard<'_, HashMap<Date, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
