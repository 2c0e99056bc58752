//! The machine's clock and randomness: the only room that asks for them.

use std::cell::RefCell;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::store::StoreClock;

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

/// Bytes drawn from the generator at once.
const POOL: usize = 1024;

thread_local! {
    /// Random bytes that nobody was given yet, and how many of them are left.
    static DRAWN: RefCell<([u8; POOL], usize)> = const { RefCell::new(([0; POOL], 0)) };
}

/// The cryptographic generator of the machine, asked for many bytes at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        DRAWN.with_borrow_mut(|(pool, left)| {
            for part in bytes.chunks_mut(POOL) {
                if *left < part.len() {
                    draw(pool);
                    *left = POOL;
                }
                let given = &mut pool[*left - part.len()..*left];
                part.copy_from_slice(given);
                // What was given is nobody else's to know.
                given.fill(0);
                *left -= part.len();
            }
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for rng")]
fn draw(bytes: &mut [u8]) {
    // aws-lc aborts the process when the machine has no entropy; the error never comes.
    let _ = aws_lc_rs::rand::fill(bytes);
}

/// The clock of a store of this process, to be measured.
pub fn store_clock() -> Arc<StoreClock> {
    Arc::new(StoreClock::new(Arc::new(SystemClock)))
}
