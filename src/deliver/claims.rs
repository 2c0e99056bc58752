//! Which ready deliveries this process takes next: the groups of some shards, shared out by whose turn it is and by
//! the permits that are free.
//!
//! A look goes from project to project, and within each some next hops far, so that nobody's dead destinations stand before
//! another's mail; projects that have no room are passed by with one probe. What was not reached is looked at next.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::share::allot;
use super::suspended::Suspended;
use crate::domain::delivery::{Group, LeasedDelivery};
use crate::domain::id::ProjectId;
use crate::domain::shard::Shard;
use crate::handover::{Capacity, PlacedDelivery};
use crate::queue::Claiming;
use crate::store::queue::claims::{Claim, Reach, Stop, Walk, Walks};
use crate::store::{OwnedConnection, StoreError};
use crate::telemetry::metrics::Metrics;

/// Number of groups of one priority that a claim looks at in all its shards, about; the next claim goes on behind them.
const GROUPS: usize = 256;
/// Minimum number of groups, and of projects, that a claim looks at in each shard.
const GROUPS_MIN: usize = 16;
/// Projects of one shard that are taken to have something ready, before any look.
const PROJECTS_GUESS: usize = 4;
/// A list that takes longer is one of a store that is far away.
const FAR: Duration = Duration::from_millis(25);
/// How long such a list is good for: a round trip is saved for each claim meanwhile.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// The claims of one process.
pub struct Claims {
    capacity: Arc<Capacity>,
    suspended: Arc<Suspended>,
    metrics: Arc<Metrics>,
    /// Where the next look at a shard's groups goes on, when the last one did not reach the end everywhere.
    walks: Mutex<HashMap<Shard, Walks>>,
    /// Most projects that had something ready in one shard at the last look.
    projects: AtomicUsize,
    /// The last list of groups, where a store that is far away gave it: all of them gave what was asked of them.
    listed: Mutex<Option<Listed>>,
}

/// Who had something ready.
struct Listed {
    at: Instant,
    shards: Vec<Shard>,
    groups: Vec<Group>,
    /// Shards whose groups were all seen, but for those of projects that were passed by.
    all: Vec<Shard>,
    /// Projects without room, which were passed by.
    passed: Vec<ProjectId>,
    /// Shards whose walk is not at its end.
    unfinished: Vec<Shard>,
    is_far: bool,
}

impl Claims {
    pub fn new(capacity: Arc<Capacity>, suspended: Arc<Suspended>, metrics: Arc<Metrics>) -> Self {
        Self {
            capacity,
            suspended,
            metrics,
            walks: Mutex::default(),
            projects: AtomicUsize::new(PROJECTS_GUESS),
            listed: Mutex::default(),
        }
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
        let Listed { groups, all, passed, .. } = &listed;
        let allowances = self.capacity.allowances(groups, all);
        self.capacity.passed_by(passed, shards);
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
        let reach = self.reach(shards.len());
        let walks: Vec<_> = {
            let mut walks = self.walks();
            shards.iter().map(|shard| (*shard, walks.remove(shard).unwrap_or_default())).collect()
        };
        let suspended = self.suspended.projects().unwrap_or_default();
        let passed = self.capacity.full_projects();
        let without: Vec<_> = suspended.iter().chain(&passed).copied().collect();
        let stops = match connection.ready_groups(&walks, &without, reach).await {
            Ok(stops) => stops,
            Err(error) => {
                self.walks().extend(walks);
                return Err(error);
            }
        };
        let (all, unfinished) = self.keep_walks(walks, &stops, reach);
        let group =
            |Stop { shard, priority, project, next_hop }| Some(Group { shard, priority, project, next_hop: next_hop? });
        let groups = stops.into_iter().filter_map(group).collect();
        Ok(Listed { at, shards: shards.to_vec(), groups, all, passed, unfinished, is_far: at.elapsed() > FAR })
    }

    /// How far a look at so many shards goes: the fewer projects there are, the more next hops of each.
    fn reach(&self, shards: usize) -> Reach {
        let groups = (GROUPS / shards.max(1)).max(GROUPS_MIN);
        let projects = self.projects.load(Ordering::Relaxed).max(1);
        Reach { projects: groups, hops: (groups / projects).max(1) }
    }

    fn listed(&self) -> MutexGuard<'_, Option<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn walks(&self) -> MutexGuard<'_, HashMap<Shard, Walks>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps where walks stopped; returns the shards whose groups were all seen, and those where some were not.
    fn keep_walks(&self, walks: Vec<(Shard, Walks)>, stops: &[Stop], reach: Reach) -> (Vec<Shard>, Vec<Shard>) {
        let (mut all, mut unfinished, mut projects) = (Vec::new(), Vec::new(), 0);
        let mut kept = self.walks();
        for (shard, before) in walks {
            let mut after = Walks::default();
            for ((priority, old), new) in (0_i16..).zip(&before).zip(&mut after) {
                let here = stops.iter().filter(|stop| stop.shard == shard && stop.priority == priority);
                let met = met(here);
                projects = projects.max(met.len());
                *new = walked(old, &met, reach);
            }
            if before.iter().chain(&after).all(Walk::is_fresh) {
                all.push(shard);
            } else {
                unfinished.push(shard);
            }
            if !after.iter().all(Walk::is_fresh) {
                kept.insert(shard, after);
            }
        }
        self.projects.store(projects, Ordering::Relaxed);
        (all, unfinished)
    }
}

/// The projects that a walk met: how many next hops of each, and the last of them.
fn met<'a>(stops: impl Iterator<Item = &'a Stop>) -> BTreeMap<ProjectId, (usize, Option<&'a str>)> {
    let mut met: BTreeMap<ProjectId, (usize, Option<&str>)> = BTreeMap::new();
    for stop in stops {
        let (count, last) = met.entry(stop.project).or_default();
        if let Some(hop) = &stop.next_hop {
            *count += 1;
            *last = Some(hop);
        }
    }
    met
}

/// Where a walk goes on that went so far, and met these.
fn walked(walk: &Walk, met: &BTreeMap<ProjectId, (usize, Option<&str>)>, reach: Reach) -> Walk {
    let last = met.keys().next_back().copied().filter(|_| met.len() >= reach.projects);
    // Of those that it did not come to, it goes on where it was.
    let is_passed = |project: &ProjectId| {
        walk.behind.is_some_and(|behind| *project <= behind) || last.is_some_and(|last| *project > last)
    };
    let kept = walk.hops.iter().filter(|(project, _)| is_passed(project)).map(|(project, hop)| (*project, hop.clone()));
    let within = met.iter().filter(|(_, (count, _))| *count >= reach.hops);
    let within = within.filter_map(|(project, (_, hop))| Some((*project, hop.map(str::to_owned)?)));
    Walk { behind: last, hops: kept.chain(within).collect() }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn project(n: u128) -> ProjectId {
        ProjectId::from_uuid(Uuid::from_u128(n))
    }

    /// What a look at one shard meets that has these groups.
    fn look(groups: &[(u128, &str)], walk: &Walk, reach: Reach) -> Vec<Stop> {
        let mut projects: Vec<_> = groups.iter().map(|(of, _)| *of).collect();
        projects.sort_unstable();
        projects.dedup();
        let behind = |of: &u128| walk.behind.is_none_or(|behind| project(*of) > behind);
        let mut stops = Vec::new();
        for of in projects.into_iter().filter(behind).take(reach.projects) {
            let from = walk.hops.get(&project(of)).cloned().unwrap_or_default();
            let mut hops: Vec<_> =
                groups.iter().filter(|(o, hop)| *o == of && **hop > *from).map(|(_, hop)| Some(*hop)).collect();
            hops.sort_unstable();
            hops.truncate(reach.hops);
            if hops.is_empty() {
                hops.push(None);
            }
            stops.extend(hops.into_iter().map(|hop| Stop {
                shard: Shard::of_low_bits(0),
                priority: 1,
                project: project(of),
                next_hop: hop.map(str::to_owned),
            }));
        }
        stops
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_reach_every_group_is_met_within_as_many_looks_as_there_are_groups_and_projects(
            given in proptest::collection::btree_set((1..6_u128, "[a-d]{1,2}"), 0..40), projects in 1..4_usize, hops in 1..4_usize,
        ) {
            let groups: Vec<_> = given.iter().map(|(of, hop)| (*of, hop.as_str())).collect();
            let reach = Reach { projects, hops };
            let (mut walk, mut missing) = (Walk::default(), given.clone());
            let mut looks = 0;
            while !missing.is_empty() {
                let stops = look(&groups, &walk, reach);
                for stop in &stops {
                    if let Some(hop) = &stop.next_hop {
                        missing.remove(&(stop.project.uuid().as_u128(), hop.clone()));
                    }
                }
                walk = walked(&walk, &met(stops.iter()), reach);
                looks += 1;
                proptest::prop_assert!(looks <= 2 * (given.len() + 6) * 6, "{missing:?}");
            }
            // And what is gone is not remembered.
            for _ in 0..2 {
                walk = walked(&walk, &BTreeMap::new(), reach);
            }
            proptest::prop_assert!(walk.is_fresh());
        }
    }

    #[test]
    fn another_project_is_met_at_the_first_look_however_many_next_hops_stand_before_it() {
        let hops: Vec<_> = (0..2000).map(|n| format!("dead{n:04}")).collect();
        let mut groups: Vec<_> = hops.iter().map(|hop| (1, hop.as_str())).collect();
        groups.push((2, "well"));
        let stops = look(&groups, &Walk::default(), Reach { projects: 16, hops: 4 });
        assert!(stops.iter().any(|stop| stop.next_hop.as_deref() == Some("well")));
    }
}
