//! What this process holds of one quota: a slice that it may use without asking anybody.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::Date;
use tokio::time::Instant;

/// For how long a refusal, or a store that is away, is believed without asking again.
const BELIEVED: Duration = Duration::from_millis(500);
/// A slice is for about so long, at the pace of the last one.
const AHEAD: f64 = 2.0;
/// A pace is not measured over less.
const PACE_LEAST: f64 = 0.25;

/// A slice, and what is known of its quota.
#[derive(Debug)]
pub struct Slice {
    state: Mutex<State>,
    /// Held by whoever asks the store for more: the others wait for the answer.
    pub leasing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    period: Date,
    limit: u64,
    /// May still be used here.
    rest: u64,
    /// Handed out to all processes, when the store was asked last; `None`: it never was.
    used: Option<u64>,
    taken: u64,
    leased_at: Instant,
    touched_at: Instant,
    refused: Option<(Instant, u64)>,
    away_at: Option<Instant>,
}

/// What is to be asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Lease {
        needed: u64,
        ahead: u64,
    },
    /// The limit was changed: what is held is given back first.
    GiveBack(u64),
    Refused,
    Away,
}

impl Slice {
    pub fn new(period: Date, limit: u64) -> Self {
        Self { state: Mutex::new(State::new(period, limit)), leasing: tokio::sync::Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses some of what is held; `false`: there is not so much, or it is of another period or limit.
    pub fn take(&self, period: Date, limit: u64, count: u64) -> bool {
        let mut state = self.state();
        let is_enough = state.period == period && state.limit == limit && state.rest >= count;
        if is_enough {
            state.rest -= count;
            state.taken += count;
            state.touched_at = Instant::now();
        }
        is_enough
    }

    /// What to do when [`take`](Self::take) failed.
    pub fn next(&self, period: Date, limit: u64, count: u64) -> Next {
        let mut state = self.state();
        if state.period != period {
            // What is left of a day that is over is nobody's.
            *state = State::new(period, limit);
        }
        if state.limit != limit {
            let rest = std::mem::take(&mut state.rest);
            *state = State { limit, ..State::new(period, limit) };
            if rest > 0 {
                return Next::GiveBack(rest);
            }
        }
        if state.away_at.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Next::Away;
        }
        let needed = count.saturating_sub(state.rest);
        if state.refused.is_some_and(|(at, least)| at.elapsed() < BELIEVED && needed >= least) {
            return Next::Refused;
        }
        let span = state.leased_at.elapsed().as_secs_f64().max(PACE_LEAST);
        let ahead = (i64::try_from(state.taken).unwrap_or(0) as f64 / span * AHEAD).floor();
        Next::Lease { needed, ahead: format!("{ahead:.0}").parse().unwrap_or(0) }
    }

    /// Takes over what the store gave; nothing is a refusal.
    pub fn learn(&self, period: Date, needed: u64, slice: u64, used: u64) {
        let mut state = self.state();
        if state.period != period {
            return;
        }
        state.used = Some(used);
        state.away_at = None;
        state.refused = (slice == 0 && needed > 0).then(|| (Instant::now(), needed));
        if slice > 0 {
            state.rest += slice;
            (state.taken, state.leased_at) = (0, Instant::now());
        }
    }

    pub fn is_away(&self) {
        self.state().away_at = Some(Instant::now());
    }

    /// What was taken was not used after all, or what was to be given back could not be.
    pub fn put_back(&self, period: Date, count: u64) {
        let mut state = self.state();
        if state.period == period {
            state.rest += count;
        }
    }

    /// Takes out what is left, to be given back: if nobody took any for `span`.
    pub fn give_up(&self, span: Duration) -> Option<(Date, u64)> {
        let mut state = self.state();
        let is_idle = state.rest > 0 && state.touched_at.elapsed() >= span;
        is_idle.then(|| {
            let rest = std::mem::take(&mut state.rest);
            state.used = state.used.map(|used| used.saturating_sub(rest));
            (state.period, rest)
        })
    }

    /// Whether it holds nothing, and nobody asked for some for `span`.
    pub fn is_idle(&self, span: Duration) -> bool {
        let state = self.state();
        state.rest == 0 && state.touched_at.elapsed() >= span && state.leased_at.elapsed() >= span
    }

    /// What is left here.
    pub fn rest(&self, period: Date) -> u64 {
        let state = self.state();
        if state.period == period { state.rest } else { 0 }
    }

    /// What is left of the whole quota, as far as this process knows.
    pub fn remaining(&self, period: Date, limit: u64) -> Option<u64> {
        let state = self.state();
        let used = state.used.filter(|_| state.period == period && state.limit == limit)?;
        Some(limit.saturating_sub(used) + state.rest)
    }
}

impl State {
    fn new(period: Date, limit: u64) -> Self {
        let now = Instant::now();
        Self {
            period,
            limit,
            rest: 0,
            used: None,
            taken: 0,
            leased_at: now,
            touched_at: now,
            refused: None,
            away_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const DAY: Date = date!(2026 - 11 - 27);

    #[tokio::test(start_paused = true)]
    async fn a_slice_is_used_up_and_asked_for_at_the_pace_of_its_use() {
        let slice = Slice::new(DAY, 1000);
        assert!(!slice.take(DAY, 1000, 1));
        assert_eq!(slice.next(DAY, 1000, 1), Next::Lease { needed: 1, ahead: 0 });
        slice.learn(DAY, 1, 9, 9);
        for _ in 0..9 {
            assert!(slice.take(DAY, 1000, 1));
        }
        assert_eq!(slice.remaining(DAY, 1000), Some(991));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(slice.next(DAY, 1000, 4), Next::Lease { needed: 4, ahead: 18 });
        slice.learn(DAY, 4, 0, 1000);
        assert_eq!((slice.next(DAY, 1000, 5), slice.next(DAY, 1000, 4)), (Next::Refused, Next::Refused));
        assert!(matches!(slice.next(DAY, 1000, 3), Next::Lease { .. }), "fewer may be there");
        tokio::time::advance(BELIEVED).await;
        assert!(matches!(slice.next(DAY, 1000, 5), Next::Lease { .. }));
        slice.is_away();
        assert_eq!(slice.next(DAY, 1000, 1), Next::Away);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_is_given_back_and_what_is_over_is_forgotten() {
        let slice = Slice::new(DAY, 100);
        slice.learn(DAY, 1, 10, 10);
        assert!(slice.take(DAY, 100, 4));
        assert_eq!(slice.give_up(Duration::from_secs(5)), None);
        assert_eq!(slice.next(DAY, 50, 1), Next::GiveBack(6), "another limit");
        slice.learn(DAY, 1, 10, 10);
        assert!(slice.take(DAY, 50, 4));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(slice.give_up(Duration::from_secs(5)), Some((DAY, 6)));
        assert_eq!(slice.remaining(DAY, 50), Some(46));
        slice.put_back(DAY, 2);
        let next = DAY.next_day().unwrap();
        assert!(!slice.take(next, 50, 1));
        assert_eq!(slice.next(next, 50, 1), Next::Lease { needed: 1, ahead: 0 });
        assert_eq!((slice.rest(next), slice.rest(DAY)), (0, 0));
    }
}
