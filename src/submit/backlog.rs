//! How much waits, so that a queue that grows faster than it drains answers with back-pressure in time.
//!
//! The rows are counted shard by shard, now and then and never on the way in: a count takes its time, and the next one
//! comes after a multiple of that. No count reads more rows than the limits allow for, whatever waits. In between, what
//! this process left waiting is added to its shard until that is counted again, so that nothing sticks. What others added
//! is in the next count. What waits for a later time is no backlog.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::domain::id::ProjectId;
use crate::domain::shard::{SHARDS, Shard};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::queue::deliveries::ShardCount;
use crate::telemetry::metrics::Metrics;

/// The shortest time in which all shards are counted.
const ROUND: Duration = Duration::from_secs(10);
/// Counts may take this part of the time.
const PAUSE_FACTOR: u32 = 20;
/// A count older than this is not believed: the store does not answer, or is overwhelmed.
const BELIEVED: Duration = Duration::from_mins(15);

/// What waits, as far as this process knows.
#[derive(Debug)]
pub struct Backlog {
    known: Mutex<Known>,
    limit: u64,
    project_limit: u64,
}

#[derive(Debug, Default)]
struct Known {
    shards: HashMap<Shard, ShardBacklog>,
    /// How often something was added, by shard.
    additions: HashMap<Shard, u64>,
    total: u64,
    projects: HashMap<ProjectId, u64>,
}

/// What waits in one shard.
#[derive(Debug)]
struct ShardBacklog {
    counted_at: Instant,
    projects: HashMap<ProjectId, u64>,
    ready: u64,
}

/// Whose backlog is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Project,
    All,
}

impl Known {
    fn shard(&mut self, shard: Shard) -> &mut ShardBacklog {
        let nothing = || ShardBacklog { counted_at: Instant::now(), projects: HashMap::new(), ready: 0 };
        self.shards.entry(shard).or_insert_with(nothing)
    }

    fn add(&mut self, shard: Shard, project: ProjectId, rows: u64) {
        *self.shard(shard).projects.entry(project).or_default() += rows;
        *self.projects.entry(project).or_default() += rows;
        self.total += rows;
    }

    /// Forgets what is known of a shard.
    fn forget(&mut self, shard: Shard) {
        let Some(forgotten) = self.shards.remove(&shard) else { return };
        for (project, rows) in forgotten.projects {
            self.total = self.total.saturating_sub(rows);
            if let Some(known) = self.projects.get_mut(&project) {
                *known = known.saturating_sub(rows);
                if *known == 0 {
                    self.projects.remove(&project);
                }
            }
        }
    }

    fn ready(&self) -> u64 {
        self.shards.values().map(|shard| shard.ready).sum()
    }
}

impl Backlog {
    pub fn new(limits: &Limits) -> Self {
        let bound = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self { known: Mutex::default(), limit: bound(limits.backlog), project_limit: bound(limits.project_backlog) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the project may add to what waits.
    pub fn check(&self, project: ProjectId) -> Result<(), Full> {
        let known = self.known();
        if known.total >= self.limit {
            return Err(Full::All);
        }
        let of_project = known.projects.get(&project).copied().unwrap_or(0);
        if of_project >= self.project_limit { Err(Full::Project) } else { Ok(()) }
    }

    /// Notes a delivery that was left waiting.
    pub fn add(&self, shard: Shard, project: ProjectId) {
        let mut known = self.known();
        known.add(shard, project, 1);
        *known.additions.entry(shard).or_default() += 1;
    }

    fn additions(&self, shard: Shard) -> u64 {
        self.known().additions.get(&shard).copied().unwrap_or(0)
    }

    /// Takes over a count that was begun when there were so many `additions`. One during which more came says neither what
    /// was there before nor what is there now: the last one stands, unless it is old.
    fn learn(&self, shard: Shard, counted: &[ShardCount], additions: u64) {
        let is_blurred = self.additions(shard) != additions;
        let mut known = self.known();
        if is_blurred && known.shards.get(&shard).is_none_or(|last| last.counted_at.elapsed() < BELIEVED / 3) {
            return;
        }
        known.forget(shard);
        for count in counted {
            known.add(shard, count.project, count.rows);
        }
        let of_shard = known.shard(shard);
        of_shard.ready = counted.iter().map(|count| count.ready).sum();
        of_shard.counted_at = Instant::now();
    }

    fn forget_if_old(&self, shard: Shard) {
        let mut known = self.known();
        if known.shards.get(&shard).is_some_and(|of_shard| of_shard.counted_at.elapsed() > BELIEVED) {
            known.forget(shard);
        }
    }

    /// Rows of one shard beyond which it makes no difference how many there are: twice its share of the limit.
    fn bound(&self) -> i64 {
        i64::try_from(self.limit / (SHARDS.len() as u64 / 2) + 1).unwrap_or(i64::MAX)
    }

    /// Counts one shard after the other, until the soft token falls.
    pub async fn keep_counting(self: Arc<Self>, store: Store, metrics: Arc<Metrics>, shutdown: Shutdown) {
        let mut connection = store.connection();
        let gauge = metrics.queue_due.with_label_values(&["deliveries"]);
        let each = ROUND / u32::try_from(SHARDS.len()).unwrap_or(1);
        // The first round follows the start at once.
        let mut pause = Duration::from_millis(1);
        loop {
            for shard in Shard::all() {
                let (began, additions) = (Instant::now(), self.additions(shard));
                match connection.count_shard(shard, self.bound()).await {
                    Ok(counted) => self.learn(shard, &counted, additions),
                    Err(error) => {
                        tracing::warn!(shard = shard.index(), %error, "a shard's backlog was not counted; its last count stands for a while");
                        self.forget_if_old(shard);
                    }
                }
                gauge.set(i64::try_from(self.known().ready()).unwrap_or(i64::MAX));
                if !shutdown.pause(pause.max(began.elapsed() * PAUSE_FACTOR)).await {
                    return;
                }
            }
            pause = each;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_count_replaces_what_was_added_and_nothing_sticks() {
        let limits = Limits { backlog: 10, project_backlog: 6, ..Limits::default() };
        let backlog = Backlog::new(&limits);
        let (one, two) = (ProjectId::from_uuid(Uuid::from_u128(1)), ProjectId::from_uuid(Uuid::from_u128(2)));
        let (here, there) = (Shard::of_low_bits(1), Shard::of_low_bits(2));
        let count = |project, rows| ShardCount { project, rows, ready: rows };
        for _ in 0..6 {
            backlog.add(here, one);
        }
        assert_eq!((backlog.check(one), backlog.check(two)), (Err(Full::Project), Ok(())));
        backlog.learn(there, &[count(two, 4)], 0);
        assert_eq!(backlog.check(two), Err(Full::All));
        // Others took them meanwhile.
        backlog.learn(here, &[], 5);
        assert_eq!(backlog.check(one), Err(Full::All), "one more came while it was counted");
        backlog.learn(here, &[], 6);
        assert_eq!((backlog.check(one), backlog.check(two)), (Ok(()), Ok(())));
        let known = |backlog: &Backlog| {
            let known = backlog.known();
            (known.total, known.ready(), known.projects.len())
        };
        assert_eq!(known(&backlog), (4, 4, 1));
        // A store that answers no more is no reason to refuse for ever.
        backlog.learn(there, &[count(two, 10)], 0);
        tokio::time::advance(BELIEVED / 2).await;
        backlog.forget_if_old(there);
        assert_eq!(backlog.check(one), Err(Full::All));
        tokio::time::advance(BELIEVED).await;
        backlog.forget_if_old(there);
        assert_eq!(backlog.check(one), Ok(()));
        assert_eq!(known(&backlog), (0, 0, 0));
    }
}
