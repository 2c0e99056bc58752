//! Addresses that fail to say who they are: each failure is answered later than the one before. Nobody is locked out, whoever shares
//! an address with whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::net::network;

/// After so long without a failure an address is like any other.
const FORGOTTEN: Duration = Duration::from_mins(10);
/// Longest wait, as a multiple of the first.
const LONGEST: u32 = 16;
/// Addresses that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 10_000;

/// Failures by address.
pub struct Failures {
    first: Duration,
    /// Failures that are answered at once.
    free: u32,
    known: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Failures {
    /// `first` is the wait after the first failure beyond `free` ones; it doubles with each further one.
    pub fn new(first: Duration, free: u32) -> Self {
        Self { first, free, known: Mutex::default() }
    }

    /// Counts one; gives the number of it, and the wait before it is answered.
    pub fn failed(&self, address: IpAddr) -> (u32, Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, (_, last)| last.elapsed() < FORGOTTEN);
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        let (count, last) = known.entry(network(address)).or_insert_with(|| (0, Instant::now()));
        *count = if last.elapsed() < FORGOTTEN { count.saturating_add(1) } else { 1 };
        *last = Instant::now();
        let wait = match count.checked_sub(self.free + 1) {
            Some(further) => self.first * 2_u32.saturating_pow(further).min(LONGEST),
            None => Duration::ZERO,
        };
        (*count, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failure_is_answered_later_until_it_is_forgotten() {
        let failures = Failures::new(Duration::from_secs(1), 0);
        let failed = |address: &str| failures.failed(address.parse().unwrap()).1.as_secs();
        let waits: Vec<_> = (0..7).map(|_| failed("192.0.2.1")).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(failed("192.0.2.2"), 1, "another");
        assert_eq!((failed("2001:db8::1"), failed("2001:db8::2")), (1, 2), "one network");
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(failed("192.0.2.1"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn some_are_answered_at_once() {
        let failures = Failures::new(Duration::from_millis(200), 3);
        let waits: Vec<_> = (0..6).map(|_| failures.failed(IpAddr::from([192, 0, 2, 1])).1.as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 200, 400, 800]);
    }
}
