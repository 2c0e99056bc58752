//! Capacity: how many deliveries this process may have in hand, by lane and by project, and which shards hold rows
//! that wait for one.
//!
//! No bound is a constant. A lane that finishes deliveries may have what its sessions can work at, and what it has
//! shown to finish within a second, and one that has shown nothing a few; but never more than a threshold that falls
//! with the square of what is free (dynamic thresholds, Choudhury and Hahne 1998), and a project a multiple of that.
//! So a fast lane alone may fill a third of all permits, dead ones get little, and the more permits are taken, the smaller
//! is the share of those who hold many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::bounded::make_room;
use crate::domain::delivery::Group;
use crate::domain::id::ProjectId;
use crate::domain::route::SMARTHOST_LANE;
use crate::domain::shard::Shard;
use crate::wake::Wake;

mod usage;

use usage::{ShardBits, UNPROVEN, Usage, bit};

/// A project's threshold, in multiples of a lane's.
const PROJECT_FACTOR: usize = 2;
/// The same for lanes that are proven: a project's dead destinations never take what its live ones need.
const PROVEN_FACTOR: usize = 3;
/// Time after its end at which a suspension that was not lifted is forgotten.
const SUSPENSION_MEMORY: Duration = Duration::from_secs(10);
/// Maximum number of suspended next hops before old ones are forgotten.
const SUSPENSIONS_MAX: usize = 10_000;
/// Waiting rows are asked for again once so much room is there (or half of what could be).
const AVAILABLE_MIN: usize = 64;

/// The capacity of the process.
#[derive(Debug)]
pub struct Capacity {
    state: Mutex<State>,
    wake: Arc<Wake>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    total: usize,
    /// What a lane's sessions can work at.
    base: usize,
    /// Whether somebody delivers in this process.
    is_open: bool,
    lanes: HashMap<String, Usage>,
    projects: HashMap<ProjectId, Usage>,
    suspensions: HashMap<String, Instant>,
}

/// How many more deliveries each group's lane and project may have.
#[derive(Debug, Default)]
pub struct Allowances {
    pub lanes: HashMap<String, usize>,
    pub projects: HashMap<ProjectId, usize>,
}

/// One delivery's permit; it is free again when this is dropped.
#[derive(Debug)]
pub struct Permit {
    capacity: Arc<Capacity>,
    lane: String,
    project: ProjectId,
    is_used: bool,
}

impl Permit {
    /// Frees it; the delivery was put off, which says nothing of how fast its lane is.
    pub fn give_up(mut self) {
        self.is_used = false;
    }
}

impl Capacity {
    /// `total` permits, closed until [`Capacity::open`], `base` of them for any lane; `wake` is rung for shards whose
    /// rows have room again.
    pub fn new(total: usize, base: usize, wake: Arc<Wake>) -> Self {
        let state = State { total, base, ..State::default() };
        Self { state: Mutex::new(state), wake, emptied: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets fresh deliveries in.
    pub fn open(&self) {
        self.state().is_open = true;
    }

    /// Lets no fresh delivery in any more.
    pub fn close(&self) {
        self.state().is_open = false;
    }

    pub fn free(&self) -> usize {
        self.state().free()
    }

    /// Waits until no permit is taken.
    pub async fn idle(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.state().is_idle() {
                return;
            }
            emptied.await;
        }
    }

    /// A permit for a delivery about to be accepted; `None` when there is no room, or older rows wait for it.
    pub fn reserve(self: &Arc<Self>, lane: &str, project: ProjectId) -> Option<Permit> {
        let mut state = self.state();
        let (lane_usage, project_usage) = (usage(&state.lanes, lane), usage(&state.projects, &project));
        let is_behind = lane_usage.waiting | project_usage.waiting != 0;
        let has_room = state.available(lane, project) > 0;
        (state.is_open && has_room && !is_behind).then(|| {
            state.enter(lane, project);
            self.permit(lane, project)
        })
    }

    /// The permit of a delivery that was claimed: its share was computed from [`Capacity::allowances`].
    pub fn take(self: &Arc<Self>, lane: &str, project: ProjectId) -> Permit {
        self.state().enter(lane, project);
        self.permit(lane, project)
    }

    fn permit(self: &Arc<Self>, lane: &str, project: ProjectId) -> Permit {
        Permit { capacity: Arc::clone(self), lane: lane.to_owned(), project, is_used: true }
    }

    /// Lets nothing in for that next hop until an instant, and from then on one at a time, until [`Capacity::resume`].
    pub fn suspend(&self, lane: &str, until: Instant) {
        let mut state = self.state();
        let now = Instant::now();
        make_room(&mut state.suspensions, SUSPENSIONS_MAX, |until| *until + SUSPENSION_MEMORY > now);
        state.suspensions.insert(lane.to_owned(), until);
    }

    /// Lets that next hop in as usual; rings for its rows.
    pub fn resume(&self, lane: &str) {
        let mut state = self.state();
        if state.suspensions.is_empty() || state.suspensions.remove(lane).is_none() {
            return;
        }
        let waiting = usage(&state.lanes, lane).waiting;
        drop(state);
        for shard in Shard::all().filter(|shard| waiting & bit(*shard) != 0) {
            self.wake.ring(shard);
        }
    }

    /// Notes rows of `shard` that were accepted without a lease.
    pub fn left_waiting(&self, shard: Shard, lane: &str, project: ProjectId) {
        let mut state = self.state();
        if !state.is_open {
            drop(state);
            self.wake.ring(shard);
            return;
        }
        state.wait(shard, lane, project);
        let has_room = state.available(lane, project) > 0;
        drop(state);
        if has_room {
            self.wake.ring(shard);
        }
    }

    /// The room of these groups; notes the shards of those that have none, and forgets them for the others. `all`:
    /// shards in which nothing else is ready.
    pub fn allowances(&self, groups: &[Group], all: &[Shard]) -> Allowances {
        let mut state = self.state();
        state.forget(!all.iter().fold(0, |bits, shard| bits | bit(*shard)));
        let mut allowances = Allowances::default();
        for group in groups {
            let lane = state.available(&group.next_hop, group.project);
            let project = state.project_available(group.project, PROVEN_FACTOR);
            if lane == 0 || project == 0 {
                state.wait(group.shard, &group.next_hop, group.project);
            } else if let Some(usage) = state.lanes.get_mut(&group.next_hop) {
                usage.waiting &= !bit(group.shard);
            }
            // Several projects may share it: what one has no room for may be another's.
            let shared = allowances.lanes.entry(group.next_hop.clone()).or_default();
            *shared = lane.max(*shared);
            allowances.projects.insert(group.project, project);
        }
        allowances
    }

    /// Projects that have no room, whatever of theirs is looked at.
    pub fn full_projects(&self) -> Vec<ProjectId> {
        let state = self.state();
        let full = state.projects.keys().filter(|project| state.project_available(**project, PROVEN_FACTOR) == 0);
        full.copied().collect()
    }

    /// Notes that these projects were passed by in these shards, whatever they have there.
    pub fn passed_by(&self, projects: &[ProjectId], shards: &[Shard]) {
        if projects.is_empty() {
            return;
        }
        let bits = shards.iter().fold(0, |bits, shard| bits | bit(*shard));
        let mut state = self.state();
        for project in projects {
            // One that has room meanwhile is asked for again.
            if state.project_available(*project, PROVEN_FACTOR) == 0 {
                state.projects.entry(*project).or_default().waiting |= bits;
            }
        }
    }

    /// Nothing is ready but in `shards`: what was noted of others is forgotten.
    pub fn only_ready(&self, shards: &[Shard]) {
        let ready = shards.iter().fold(0, |bits, shard| bits | bit(*shard));
        self.state().forget(ready);
    }

    fn leave(&self, lane: &str, project: ProjectId, was_used: bool) {
        let now = Instant::now();
        let mut state = self.state();
        state.taken = state.taken.saturating_sub(1);
        if let Some(usage) = state.lanes.get_mut(lane) {
            usage.leave(was_used, now);
        }
        if let Some(usage) = state.projects.get_mut(&project) {
            usage.leave(was_used, now);
        }
        let (of_lane, of_project) = (usage(&state.lanes, lane), usage(&state.projects, &project));
        let enough = AVAILABLE_MIN.min(state.total.div_ceil(4));
        let mut ask = 0;
        let wanted = |usage: Usage| enough.min(usage.in_hand).max(1);
        if of_lane.waiting != 0 && state.available(lane, project) >= wanted(of_lane) {
            ask |= of_lane.waiting;
        }
        if of_project.waiting != 0 && state.project_available(project, PROVEN_FACTOR) >= wanted(of_project) {
            ask |= of_project.waiting;
        }
        let (was_full, is_idle) = (state.free() == 1, state.is_idle());
        drop(state);
        if is_idle {
            self.emptied.notify_waiters();
        }
        for shard in Shard::all().filter(|shard| ask & bit(*shard) != 0) {
            self.wake.ring(shard);
        }
        if was_full {
            self.wake.nudge();
        }
    }
}

fn usage<K: Borrow<Q> + Eq + Hash, Q: Eq + Hash + ?Sized>(usages: &HashMap<K, Usage>, key: &Q) -> Usage {
    usages.get(key).copied().unwrap_or_default()
}

impl State {
    const fn is_idle(&self) -> bool {
        self.taken == 0
    }

    /// A claim may have overtaken what was handed over meanwhile, so that more is taken than there is.
    const fn free(&self) -> usize {
        self.total.saturating_sub(self.taken)
    }

    fn threshold(&self) -> usize {
        (self.free() * self.free()).div_ceil(self.total.max(1))
    }

    /// Places that one more delivery of this lane and project may have.
    fn available(&self, lane: &str, project: ProjectId) -> usize {
        let is_proven = usage(&self.lanes, lane).is_proven(Instant::now());
        let factor = if is_proven { PROVEN_FACTOR } else { PROJECT_FACTOR };
        self.lane_available(lane).min(self.project_available(project, factor))
    }

    fn lane_available(&self, lane: &str) -> usize {
        let (usage, now) = (usage(&self.lanes, lane), Instant::now());
        let useful = match self.suspensions.get(lane) {
            Some(until) if now < *until => 0,
            Some(_) => 1,
            // Hosts of the operator's own are one lane, and are trusted.
            None if lane == SMARTHOST_LANE => usage.useful(self.base, self.base, now),
            None => usage.useful(self.base, UNPROVEN, now),
        };
        useful.min(self.threshold()).saturating_sub(usage.in_hand)
    }

    fn project_available(&self, project: ProjectId, factor: usize) -> usize {
        let threshold = self.threshold() * factor;
        threshold.saturating_sub(usage(&self.projects, &project).in_hand).min(self.free())
    }

    fn enter(&mut self, lane: &str, project: ProjectId) {
        self.taken += 1;
        match self.lanes.get_mut(lane) {
            Some(usage) => usage.in_hand += 1,
            None => {
                self.lanes.insert(lane.to_owned(), Usage::one());
            }
        }
        self.projects.entry(project).or_default().in_hand += 1;
    }

    fn wait(&mut self, shard: Shard, lane: &str, project: ProjectId) {
        // Whichever has no room is what is waited for; a lane that has is not behind because of a project.
        let is_project_full = self.project_available(project, PROVEN_FACTOR) == 0;
        if self.lane_available(lane) == 0 || !is_project_full {
            self.lanes.entry(lane.to_owned()).or_default().waiting |= bit(shard);
        }
        if is_project_full {
            self.projects.entry(project).or_default().waiting |= bit(shard);
        }
    }

    /// Keeps only the marks in `kept`.
    fn forget(&mut self, kept: ShardBits) {
        let now = Instant::now();
        let keep = |usage: &mut Usage| {
            usage.waiting &= kept;
            !usage.is_forgotten(now)
        };
        self.lanes.retain(|_, usage| keep(usage));
        self.projects.retain(|_, usage| keep(usage));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.capacity.leave(&self.lane, self.project, self.is_used);
    }
}

#[cfg(test)]
mod tests;
