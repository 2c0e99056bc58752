//! What a lane may bear now: a window of sessions that grows with success and shrinks with trouble, a breaker for a
//! next hop that is dead or refuses everybody, rates, and a budget of retries. Pure: time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::hold::HoldReason;
use crate::domain::lane::LanePhase;
use crate::shaping::{Limits, Rate};

/// Sessions of a lane that has shown nothing yet (Postfix: `initial_destination_concurrency` 5).
const WINDOW_INITIAL: f64 = 5.0;
/// Failures in a row, without an answer between, that open the breaker.
const FAILURES: u32 = 5;
/// Time for which a lane that was told to slow down does not grow.
const SLOW: Duration = Duration::from_secs(10);
/// The pause after a reply that asks for one.
const PAUSE_BY_REPLY: Duration = Duration::from_mins(1);
/// Period of a rate whose whole allowance may be used at once.
const BURST: Duration = Duration::from_secs(1);
/// Retries that a destination may have before it has answered anything.
const BUDGET_INITIAL: f64 = 20.0;
const BUDGET_MAX: f64 = 100.0;
/// What a first try earns.
const BUDGET_PER_FIRST: f64 = 0.3;
/// What a retry earns that was taken, beside its own: a server that takes them is well again.
const BUDGET_PER_SUCCESS: f64 = 3.0;
/// Retries that come back by themselves, in a second.
const BUDGET_PER_SECOND: f64 = 0.2;
/// Time that a retry without budget waits for its token, behind the retry before it; and the maximum of that time.
const BUDGET_WAIT: Duration = Duration::from_secs(5);
const BUDGET_WAIT_MAX: Duration = Duration::from_mins(2);
/// Maximum time after which others try again while a probe is under way.
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// First and longest pause.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    pub first: Duration,
    pub longest: Duration,
}

/// This process among those that deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessShare {
    pub rank: usize,
    pub of: usize,
}

impl ProcessShare {
    pub const ALONE: Self = Self { rank: 0, of: 1 };

    /// This process's part of `total`; the remainder goes to processes in turn, from lane to lane another one first.
    pub const fn part(self, total: usize, lane: u64) -> usize {
        let of = if self.of == 0 { 1 } else { self.of };
        // Below `of`, whatever was cut off.
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize is one")]
        let turn = (lane % of as u64) as usize;
        let rank = (self.rank + turn) % of;
        total / of + if rank < total % of { 1 } else { 0 }
    }
}

/// Tokens that come back with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: Self::most(rate), at: now }
    }

    fn most(rate: Rate) -> f64 {
        (rate.per_second() * BURST.as_secs_f64()).max(1.0)
    }

    /// When a token is there, for processes that share the rate.
    fn ready_at(&mut self, now: Instant, share: ProcessShare) -> Instant {
        let per_second = self.rate.per_second() / share.of.max(1) as f64;
        let most = (Self::most(self.rate) / share.of.max(1) as f64).max(1.0);
        self.tokens = (self.tokens + per_second * (now - self.at).as_secs_f64()).min(most);
        self.at = now;
        if self.tokens >= 1.0 { now } else { now + Duration::from_secs_f64((1.0 - self.tokens) / per_second) }
    }

    const fn take(&mut self) {
        self.tokens -= 1.0;
    }
}

/// Whether the next hop answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Breaker {
    /// So many failures in a row.
    Closed(u32),
    /// Nothing goes out before that instant.
    Open { until: Instant, pause: Duration },
    /// One goes out to see.
    Probing { pause: Duration },
}

/// Whether one may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Go,
    /// A session must come free.
    Full,
    /// A rate allows it from then on.
    At(Instant),
    /// Not for a while: do not wait in memory.
    Hold {
        until: Instant,
        why: HoldReason,
    },
}

/// How a try ended, as far as the lane is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The server took a message.
    Accepted,
    /// The server refused the message for good; that concerns the message alone.
    Refused,
    /// It answered; what it said concerns the message alone.
    Answered,
    /// It wants less.
    Slow,
    /// It wants nothing for a while.
    Pause,
    /// It could not be spoken to.
    Failed,
}

/// The state of a lane.
#[derive(Debug)]
pub struct Control {
    limits: Limits,
    share: ProcessShare,
    pauses: Pauses,
    /// Spreads the remainder of divided limits over processes.
    salt: u64,
    window: f64,
    /// Below it the window doubles, above it grows by one a round.
    threshold: f64,
    in_use: usize,
    breaker: Breaker,
    slow_until: Option<Instant>,
    messages: Option<Bucket>,
    connections: Option<Bucket>,
    /// A host of the operator's own: its retries need no budget.
    is_trusted: bool,
    budget: (f64, Instant),
    /// Until when those who wait for a token are spread.
    budget_until: Option<Instant>,
}

/// Maximum time that a delivery waits in memory.
const PATIENCE: Duration = Duration::from_secs(10);

impl Control {
    /// `is_trusted`: a host of the operator's own, which needs no careful start.
    pub fn new(limits: Limits, share: ProcessShare, pauses: Pauses, salt: u64, is_trusted: bool, now: Instant) -> Self {
        let most = limits.connections as f64;
        Self {
            window: if is_trusted { most } else { WINDOW_INITIAL.min(most) },
            threshold: most,
            limits,
            share,
            pauses,
            salt,
            in_use: 0,
            breaker: Breaker::Closed(0),
            slow_until: None,
            messages: limits.message_rate.map(|rate| Bucket::new(rate, now)),
            connections: limits.connection_rate.map(|rate| Bucket::new(rate, now)),
            is_trusted,
            budget: (BUDGET_INITIAL, now),
            budget_until: None,
        }
    }

    /// Takes over new rules, or another share of them.
    pub fn adopt(&mut self, limits: Limits, share: ProcessShare, now: Instant) {
        let renew = |bucket: &mut Option<Bucket>, rate: Option<Rate>| match (&mut *bucket, rate) {
            (Some(held), Some(rate)) => held.rate = rate,
            (_, rate) => *bucket = rate.map(|rate| Bucket::new(rate, now)),
        };
        renew(&mut self.messages, limits.message_rate);
        renew(&mut self.connections, limits.connection_rate);
        let most = limits.connections as f64;
        // A lane at its bound follows the bound.
        if self.window >= self.limits.connections as f64 {
            self.window = most;
        }
        self.window = self.window.min(most);
        self.threshold = self.threshold.max(most / 2.0);
        (self.limits, self.share) = (limits, share);
    }

    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Connections that this process may have open, idle ones included.
    pub const fn connections_max(&self) -> usize {
        self.share.part(self.limits.connections, self.salt)
    }

    /// Sessions that may be in use at once now.
    fn window(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to the limit of connections"
        )]
        let window = self.window.max(1.0) as usize;
        let part = self.share.part(window, self.salt);
        part.max(1).min(self.connections_max())
    }

    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Whether one more may go out. [`Admission::Go`] has taken a slot.
    pub fn admit(&mut self, draws: bool, now: Instant) -> Admission {
        match self.breaker {
            Breaker::Open { until, .. } if now < until => return Admission::Hold { until, why: HoldReason::Paused },
            Breaker::Probing { pause } if self.in_use > 0 => {
                return Admission::Hold { until: now + pause.min(PROBE_WAIT), why: HoldReason::Paused };
            }
            _ => {}
        }
        if self.connections_max() == 0 {
            return Admission::Hold { until: now + PATIENCE, why: HoldReason::Shared };
        }
        if draws && !self.has_budget(now) {
            // Those who wait for a token are spread over the time in which as many come back.
            let next = self.budget_until.map_or(now, |until| until.max(now)) + BUDGET_WAIT;
            let until = next.min(now + BUDGET_WAIT_MAX);
            self.budget_until = Some(until);
            return Admission::Hold { until, why: HoldReason::Budget };
        }
        if self.in_use >= self.window() {
            return Admission::Full;
        }
        let share = self.share;
        if let Some(at) = self.messages.as_mut().map(|bucket| bucket.ready_at(now, share)).filter(|at| *at > now) {
            return later(at, now);
        }
        self.take(draws, now);
        self.in_use += 1;
        if let Breaker::Open { pause, .. } = self.breaker {
            self.breaker = Breaker::Probing { pause };
        }
        Admission::Go
    }

    /// Whether one more may follow on the session of one that is in use.
    pub fn admit_behind(&mut self, draws: bool, now: Instant) -> bool {
        let share = self.share;
        let may = matches!(self.breaker, Breaker::Closed(_))
            && self.in_use <= self.window()
            && (!draws || self.has_budget(now))
            && self.messages.as_mut().is_none_or(|bucket| bucket.ready_at(now, share) <= now);
        if may {
            self.take(draws, now);
        }
        may
    }

    fn take(&mut self, draws: bool, now: Instant) {
        if let Some(bucket) = &mut self.messages {
            bucket.take();
        }
        self.refill(now);
        let (tokens, _) = &mut self.budget;
        *tokens = if draws { *tokens - 1.0 } else { (*tokens + BUDGET_PER_FIRST).min(BUDGET_MAX) };
    }

    fn refill(&mut self, now: Instant) {
        let (tokens, at) = &mut self.budget;
        *tokens = (*tokens + BUDGET_PER_SECOND * (now - *at).as_secs_f64()).min(BUDGET_MAX);
        *at = now;
    }

    fn has_budget(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.is_trusted || self.budget.0 >= 1.0
    }

    /// Retries that could go out now.
    pub fn affordable(&mut self, now: Instant) -> usize {
        self.refill(now);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the budget's maximum")]
        let tokens = self.budget.0.max(0.0) as usize;
        if matches!(self.breaker, Breaker::Closed(_)) { tokens } else { 0 }
    }

    /// When a new connection may be made; it is counted if that is now.
    pub fn connect_at(&mut self, now: Instant) -> Instant {
        let share = self.share;
        let Some(bucket) = &mut self.connections else { return now };
        let at = bucket.ready_at(now, share);
        if at <= now {
            bucket.take();
        }
        at
    }

    /// Returns a slot.
    pub const fn release(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// Learns from a try. `true`: what waits in memory should be put off.
    pub fn learn(&mut self, signal: Signal, draws: bool, now: Instant) -> bool {
        match signal {
            Signal::Accepted | Signal::Refused | Signal::Answered => {
                let is_back = matches!(self.breaker, Breaker::Probing { .. });
                if is_back {
                    // Slowly, not all at once.
                    self.window = 1.0;
                    self.threshold = (self.limits.connections as f64 / 2.0).max(1.0);
                    self.slow_until = None;
                }
                // What was said before a pause began does not end it.
                if !matches!(self.breaker, Breaker::Open { .. }) {
                    self.breaker = Breaker::Closed(0);
                }
                if signal == Signal::Accepted && !is_back {
                    self.grow(now);
                }
                if draws && signal != Signal::Answered {
                    // A retry that settled its delivery costs nothing, and shows that others need not wait.
                    self.budget.0 = (self.budget.0 + 1.0 + BUDGET_PER_SUCCESS).min(BUDGET_MAX);
                    self.budget_until = None;
                }
                false
            }
            Signal::Slow => {
                self.shrink(now);
                false
            }
            Signal::Pause => {
                self.shrink(now);
                self.open(PAUSE_BY_REPLY, now)
            }
            Signal::Failed => match self.breaker {
                Breaker::Closed(failures) if failures + 1 < FAILURES => {
                    self.breaker = Breaker::Closed(failures + 1);
                    self.shrink(now);
                    false
                }
                _ => self.open(Duration::ZERO, now),
            },
        }
    }

    fn grow(&mut self, now: Instant) {
        if self.slow_until.is_some_and(|until| now < until) {
            return;
        }
        let step = if self.window < self.threshold { 1.0 } else { 1.0 / self.window.max(1.0) };
        self.window = (self.window + step).min(self.limits.connections as f64);
    }

    fn shrink(&mut self, now: Instant) {
        // One shrinking for what the window held when trouble came.
        if self.slow_until.is_none_or(|until| now >= until - SLOW / 2) {
            self.window = (self.window / 2.0).max(1.0);
            self.threshold = self.window;
        }
        self.slow_until = Some(now + SLOW);
    }

    fn open(&mut self, least: Duration, now: Instant) -> bool {
        let pause = match self.breaker {
            // Others that were under way fail too: that is the same failure.
            Breaker::Open { until, .. } if now < until => return false,
            // By half: a server that comes and goes is met again soon, and a dead one costs a few probes more.
            Breaker::Open { pause, .. } | Breaker::Probing { pause } => pause.mul_f64(1.5),
            Breaker::Closed(_) => self.pauses.first,
        };
        let pause = pause.max(least).min(self.pauses.longest.max(least));
        self.breaker = Breaker::Open { until: now + pause, pause };
        self.window = 1.0;
        true
    }

    /// Until when the breaker is open.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        match self.breaker {
            Breaker::Open { until, .. } if now < until => Some(until),
            _ => None,
        }
    }

    /// Whether the breaker has nothing to remember.
    pub const fn is_closed(&self) -> bool {
        matches!(self.breaker, Breaker::Closed(_))
    }

    /// What it lets through, for people.
    pub fn phase(&self, now: Instant) -> LanePhase {
        match self.breaker {
            Breaker::Open { until, .. } if now < until => LanePhase::Paused,
            Breaker::Open { .. } | Breaker::Probing { .. } => LanePhase::Probing,
            Breaker::Closed(_) if self.connections_max() == 0 => LanePhase::Shared,
            Breaker::Closed(_) if self.slow_until.is_some_and(|until| now < until) => LanePhase::Slowed,
            Breaker::Closed(_) => LanePhase::Open,
        }
    }

    /// Sessions that may be in use at once now, for people.
    pub fn window_now(&self) -> usize {
        self.window()
    }
}

fn later(at: Instant, now: Instant) -> Admission {
    if at - now > PATIENCE { Admission::Hold { until: at, why: HoldReason::Rate } } else { Admission::At(at) }
}

#[cfg(test)]
mod tests;
