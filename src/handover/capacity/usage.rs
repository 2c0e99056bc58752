//! What one lane, or one project, has in hand, left waiting and finished.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::shard::Shard;

/// The window in which finished deliveries are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Time after which a lane that finished nothing must prove itself again, and one that did nothing is forgotten.
const MEMORY: Duration = Duration::from_mins(1);
/// What a lane may have that has finished nothing of late (Postfix: `initial_destination_concurrency` 5).
pub const UNPROVEN: usize = 5;

/// Shards, a bit each.
pub type ShardBits = u64;

pub const fn bit(shard: Shard) -> ShardBits {
    1 << shard.index()
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Usage {
    pub in_hand: usize,
    /// Shards that hold rows which found no room.
    pub waiting: ShardBits,
    /// The same of what a person waits for.
    pub urgent: ShardBits,
    /// What the lane's connections can work at, where that is known.
    pub base: Option<usize>,
    throughput: Throughput,
}

/// What was finished within the second that runs and the one before.
#[derive(Debug, Default, Clone, Copy)]
struct Throughput {
    began: Option<Instant>,
    done: usize,
    before: usize,
}

impl Usage {
    pub fn one() -> Self {
        Self { in_hand: 1, ..Self::default() }
    }

    /// One left: finished, or put off.
    pub fn leave(&mut self, was_finished: bool, now: Instant) {
        self.in_hand = self.in_hand.saturating_sub(1);
        if !was_finished {
            return;
        }
        let Throughput { began, done, .. } = self.throughput;
        match began {
            Some(began) if now - began < WINDOW => {}
            began => {
                let is_next = began.is_some_and(|began| now - began < WINDOW * 2);
                self.throughput = Throughput { began: Some(now), done: 0, before: if is_next { done } else { 0 } };
            }
        }
        self.throughput.done += 1;
    }

    /// Notes a shard that holds a row which found no room.
    pub const fn wait(&mut self, shard: Shard, is_urgent: bool) {
        let bits = if is_urgent { &mut self.urgent } else { &mut self.waiting };
        *bits |= bit(shard);
    }

    /// Forgets it.
    pub const fn wait_no_more(&mut self, shard: Shard, is_urgent: bool) {
        let bits = if is_urgent { &mut self.urgent } else { &mut self.waiting };
        *bits &= !bit(shard);
    }

    /// Shards with rows before which nothing fresh of that kind may go.
    pub const fn before(&self, is_urgent: bool) -> ShardBits {
        if is_urgent { self.urgent } else { self.urgent | self.waiting }
    }

    /// Whether something was finished of late.
    pub fn is_proven(&self, now: Instant) -> bool {
        self.throughput.began.is_some_and(|began| now - began < MEMORY)
    }

    /// How many can be worked at: `base` and what a second has shown, once the lane has shown anything, and `unproven`
    /// before. What hangs, and what waits behind it, would hold permits that others could use.
    pub fn useful(&self, base: usize, unproven: usize, now: Instant) -> usize {
        let base = self.base.unwrap_or(base);
        let per_second = match self.throughput.began {
            Some(began) if now - began < WINDOW * 2 => self.throughput.done.max(self.throughput.before),
            _ => 0,
        };
        if self.is_proven(now) { base + per_second } else { unproven.min(base) }
    }

    pub fn is_forgotten(&self, now: Instant) -> bool {
        self.in_hand == 0 && self.waiting | self.urgent == 0 && !self.is_proven(now)
    }
}
