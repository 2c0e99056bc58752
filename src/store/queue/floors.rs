//! Where probes begin. A snapshot that somebody holds (a dump, a report) keeps what was settled since in the indexes, and a
//! probe for the oldest row would pass all of it again each time. So a probe begins where the last one found the first row
//! that lives; the whole range is looked through now and then, for whatever came in behind.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::clock::Timestamp;
use crate::domain::shard::{SHARDS, Shard};

/// How often the whole range is looked through.
const WHOLE_EVERY: Duration = Duration::from_mins(1);

/// The floors of the probes for deliveries that one connection makes.
#[derive(Debug, Default)]
pub struct DeliveryFloors {
    /// By `due_at`: what waits for its time.
    pub due: Floors,
    /// By `due_at`: what is ready.
    pub ready: Floors,
    /// By `lease_until`.
    pub leased: Floors,
    /// By `expires_at`: what has no lease.
    pub expiring: Floors,
}

/// The floor of one kind of probe, by shard.
#[derive(Debug)]
pub struct Floors {
    by_shard: [Timestamp; SHARDS.len()],
    whole_at: Option<Instant>,
}

impl Default for Floors {
    fn default() -> Self {
        Self { by_shard: [Timestamp::UNIX_EPOCH; SHARDS.len()], whole_at: None }
    }
}

impl Floors {
    /// The floors of the next probe, in the order of [`SHARDS`]; those of a look through the whole range when it is time.
    pub fn for_probe(&mut self) -> Vec<Timestamp> {
        if self.whole_at.is_none_or(|at| at.elapsed() >= WHOLE_EVERY) {
            *self = Self { whole_at: Some(Instant::now()), ..Self::default() };
        }
        self.by_shard.to_vec()
    }

    /// The floor of one shard.
    pub fn of(&self, shard: Shard) -> Timestamp {
        self.by_shard[index(shard)]
    }

    /// Takes over what a probe found: the first instant at which a row lives, in the shards that have one. `latest`: rows
    /// that are not visible yet may lie behind it.
    pub fn learn(&mut self, found: &[(Shard, Timestamp)], latest: Timestamp) {
        self.by_shard = [latest; SHARDS.len()];
        for (shard, first) in found {
            self.by_shard[index(*shard)] = latest.min(*first);
        }
    }

    /// Rows of a shard were made to lie as far back as `at`.
    pub fn lower(&mut self, shard: Shard, at: Timestamp) {
        let floor = &mut self.by_shard[index(shard)];
        *floor = (*floor).min(at);
    }
}

fn index(shard: Shard) -> usize {
    usize::from(shard.index())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_begins_where_the_last_one_found_a_row_and_looks_through_all_now_and_then() {
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let (one, two) = (Shard::of_low_bits(1), Shard::of_low_bits(2));
        let mut floors = Floors::default();
        assert!(floors.for_probe().iter().all(|floor| *floor == Timestamp::UNIX_EPOCH));
        floors.learn(&[(one, at(50)), (two, at(500))], at(100));
        let next = floors.for_probe();
        assert_eq!((next[1], next[2], next[3]), (at(50), at(100), at(100)));
        floors.lower(two, at(20));
        assert_eq!(floors.of(two), at(20));
        tokio::time::advance(WHOLE_EVERY).await;
        assert!(floors.for_probe().iter().all(|floor| *floor == Timestamp::UNIX_EPOCH));
        assert_eq!(floors.for_probe().len(), SHARDS.len());
    }
}
