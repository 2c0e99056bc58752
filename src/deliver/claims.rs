//! Which ready deliveries this process takes next: the groups of some shards, shared out by whose turn it is and by
//! the permits that are free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::share::allot;
use super::suspended::Suspended;
use crate::domain::delivery::{Group, LeasedDelivery};
use crate::domain::shard::Shard;
use crate::handover::{Capacity, PlacedDelivery};
use crate::queue::Claiming;
use crate::store::queue::claims::{Claim, Cursor, Cursors};
use crate::store::{OwnedConnection, StoreError};
use crate::telemetry::metrics::Metrics;

/// Number of groups of one priority that a claim looks at in all its shards; the next claim goes on behind them.
const GROUPS: usize = 256;
/// Minimum number of groups that a claim looks at in each shard.
const GROUPS_MIN: usize = 8;
/// A list that takes longer is one of a store that is far away.
const FAR: Duration = Duration::from_millis(25);
/// How long such a list is good for: a round trip is saved for each claim meanwhile.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// The claims of one process.
pub struct Claims {
    capacity: Arc<Capacity>,
    suspended: Arc<Suspended>,
    metrics: Arc<Metrics>,
    /// Where the next look at a shard's groups begins, when it did not reach the end.
    cursors: Mutex<HashMap<Shard, Cursors>>,
    /// The last list of groups, where a store that is far away gave it: all of them gave what was asked of them.
    listed: Mutex<Option<Listed>>,
}

/// Who had something ready.
struct Listed {
    at: Instant,
    shards: Vec<Shard>,
    groups: Vec<Group>,
    /// Shards whose groups were all seen.
    all: Vec<Shard>,
    /// Shards whose walk is not at its end.
    unfinished: Vec<Shard>,
    is_far: bool,
}

impl Claims {
    pub fn new(capacity: Arc<Capacity>, suspended: Arc<Suspended>, metrics: Arc<Metrics>) -> Self {
        Self { capacity, suspended, metrics, cursors: Mutex::default(), listed: Mutex::default() }
    }

    /// Claims what is ready in these shards, as far as it has permits. Also says which shards may have more.
    pub async fn claim(
        &self,
        connection: &mut OwnedConnection,
        shards: &[Shard],
        claiming: Claiming,
    ) -> Result<(Vec<PlacedDelivery>, Vec<Shard>), StoreError> {
        let last = self.listed().take();
        let listed = match last {
            Some(listed) if listed.shards == shards && listed.at.elapsed() < LISTED_FOR => listed,
            _ => self.list(connection, shards).await?,
        };
        let Listed { groups, all, .. } = &listed;
        let allowances = self.capacity.allowances(groups, all);
        let shares = allot(groups, allowances, claiming.limit);
        let is_spent = shares.iter().sum::<usize>() >= claiming.limit;
        let wanted: Vec<_> = groups.iter().zip(shares).filter(|(_, share)| *share > 0).collect();
        if wanted.is_empty() {
            return Ok((Vec::new(), listed.unfinished));
        }
        let Claiming { owner, token, span, .. } = claiming;
        let claimed = connection.claim_deliveries(&Claim { owner, token, span, shares: &wanted }).await?;
        self.metrics.claim_batch.observe(claimed.len() as f64);
        // A group that gave its whole share may have more; so may any when the claim was spent, and a shard whose
        // walk did not begin at the beginning.
        let given = |group: &Group| claimed.iter().filter(|delivery| delivery.is_of(group)).count();
        let may_have_more = |shard: &Shard| {
            is_spent
                || !all.contains(shard)
                || wanted.iter().any(|(group, share)| group.shard == *shard && given(group) >= *share)
        };
        let is_good_for_another = listed.is_far && wanted.iter().all(|(group, share)| given(group) >= *share);
        let with_groups = |shard: &Shard| groups.iter().any(|group| group.shard == *shard);
        let more = shards.iter().copied().filter(|shard| with_groups(shard) && may_have_more(shard)).collect();
        if is_good_for_another {
            *self.listed() = Some(listed);
        }
        let with_permit = |delivery: LeasedDelivery| {
            let permit = self.capacity.take(&delivery.next_hop, delivery.project);
            PlacedDelivery { delivery, permit, carried: None }
        };
        Ok((claimed.into_iter().map(with_permit).collect(), more))
    }

    /// The groups of these shards, from where their walks stopped.
    async fn list(&self, connection: &mut OwnedConnection, shards: &[Shard]) -> Result<Listed, StoreError> {
        let at = Instant::now();
        let per_shard = (GROUPS / shards.len().max(1)).max(GROUPS_MIN);
        let walks: Vec<_> = {
            let mut cursors = self.cursors();
            shards.iter().map(|shard| (*shard, cursors.remove(shard).unwrap_or_default())).collect()
        };
        let suspended = self.suspended.projects().unwrap_or_default();
        let passed: Vec<_> = suspended.iter().copied().collect();
        let limit = i64::try_from(per_shard).unwrap_or(i64::MAX);
        let mut groups = connection.ready_groups(&walks, &passed, limit).await?;
        let (all, unfinished) = self.keep_cursors(&walks, &groups, per_shard);
        // Of each suspended project the walk met one, and passed the others by.
        groups.retain(|group| !suspended.contains(&group.project));
        Ok(Listed { at, shards: shards.to_vec(), groups, all, unfinished, is_far: at.elapsed() > FAR })
    }

    fn listed(&self) -> MutexGuard<'_, Option<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<Shard, Cursors>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps where walks stopped; returns the shards whose groups were all seen, and those whose walk is not at its end.
    fn keep_cursors(&self, walks: &[(Shard, Cursors)], groups: &[Group], limit: usize) -> (Vec<Shard>, Vec<Shard>) {
        let (mut all, mut unfinished) = (Vec::new(), Vec::new());
        let mut kept = self.cursors();
        for (shard, behind) in walks {
            match cursors_behind(groups.iter().filter(|group| group.shard == *shard), limit) {
                Some(cursors) => {
                    kept.insert(*shard, cursors);
                    unfinished.push(*shard);
                }
                None if behind.iter().all(Option::is_none) => all.push(*shard),
                None => {}
            }
        }
        (all, unfinished)
    }
}

/// Where the walk over a shard's groups goes on; `None` when it reached the end in every priority.
fn cursors_behind<'a>(groups: impl Iterator<Item = &'a Group>, limit: usize) -> Option<Cursors> {
    let mut cursors = [const { None }; 3];
    let mut counts = [0; 3];
    for group in groups {
        let Some(rank) = usize::try_from(group.priority).ok().filter(|rank| *rank < cursors.len()) else { continue };
        counts[rank] += 1;
        if counts[rank] == limit {
            cursors[rank] = Some(Cursor { project: group.project, next_hop: group.next_hop.clone() });
        }
    }
    cursors.iter().any(Option::is_some).then_some(cursors)
}
