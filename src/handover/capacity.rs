//! Capacity: how many deliveries this process may have in hand, by lane and by project, and which shards hold rows
//! that wait for one.
//!
//! No bound is a constant. A lane that finishes deliveries may have what its sessions can work at, and what it has
//! shown to finish within a second, and one that has shown nothing a few; but never more than a threshold that falls
//! with the square of what is free (dynamic thresholds, Choudhury and Hahne 1998), and a project a multiple of that.
//! What a person waits for has some places of its own, and nothing fresh before it but its like.
//! So a fast lane alone may fill a third of all permits, dead ones get little, and the more permits are taken, the smaller
//! is the share of those who hold many.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::bounded::make_room;
use crate::domain::delivery::Group;
use crate::domain::draft::Priority;
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
/// Places of a lane that only what a person waits for may have.
const URGENT: usize = 5;
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
    /// Those of them whose connections others have.
    others: HashSet<String>,
}

/// How many more deliveries each group's lane and project may have.
#[derive(Debug, Default)]
pub struct Allowances {
    pub lanes: HashMap<String, Room>,
    pub projects: HashMap<ProjectId, usize>,
}

/// How many more deliveries a lane may have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// If they are what a person waits for.
    pub urgent: usize,
    /// If not.
    pub other: usize,
}

impl Room {
    /// What is left for deliveries of that priority.
    pub const fn left(self, priority: i16) -> usize {
        if is_urgent(priority) { self.urgent } else { self.other }
    }

    /// One is taken, of whatever priority.
    pub const fn take(&mut self) {
        self.urgent = self.urgent.saturating_sub(1);
        self.other = self.other.saturating_sub(1);
    }
}

/// Whether a person waits for it.
const fn is_urgent(priority: i16) -> bool {
    priority == Priority::High.rank()
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
    pub fn reserve(self: &Arc<Self>, lane: &str, project: ProjectId, priority: i16) -> Option<Permit> {
        let (mut state, is_urgent) = (self.state(), is_urgent(priority));
        let (lane_usage, project_usage) = (usage(&state.lanes, lane), usage(&state.projects, &project));
        let is_behind = lane_usage.before(is_urgent) | project_usage.before(is_urgent) != 0;
        let has_room = state.available(lane, project, is_urgent) > 0;
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

    /// The same for one whose connections other processes have, and until [`Capacity::resume_left_to_others`] too.
    pub fn leave_to_others(&self, lane: &str, until: Instant) {
        self.suspend(lane, until);
        let mut state = self.state();
        let State { suspensions, others, .. } = &mut *state;
        others.retain(|lane| suspensions.contains_key(lane));
        others.insert(lane.to_owned());
    }

    /// The connections were shared out anew.
    pub fn resume_left_to_others(&self) {
        let others = std::mem::take(&mut self.state().others);
        for lane in others {
            self.resume(&lane);
        }
    }

    /// A lane has so many connections: that bounds what is of use in hand.
    pub fn fit(&self, lane: &str, connections: usize) {
        let mut state = self.state();
        let fitting = Some(connections.max(1) * 2).filter(|base| *base < state.base);
        if usage(&state.lanes, lane).base != fitting {
            state.lanes.entry(lane.to_owned()).or_default().base = fitting;
        }
    }

    /// Lets that next hop in as usual; rings for its rows.
    pub fn resume(&self, lane: &str) {
        let mut state = self.state();
        if state.suspensions.is_empty() || state.suspensions.remove(lane).is_none() {
            return;
        }
        let waiting = usage(&state.lanes, lane).before(false);
        drop(state);
        for shard in Shard::all().filter(|shard| waiting & bit(*shard) != 0) {
            self.wake.ring(shard);
        }
    }

    /// Notes rows of `shard` that were accepted without a lease.
    pub fn left_waiting(&self, shard: Shard, lane: &str, project: ProjectId, priority: i16) {
        let mut state = self.state();
        if !state.is_open {
            drop(state);
            self.wake.ring(shard);
            return;
        }
        let is_urgent = is_urgent(priority);
        state.wait(shard, lane, project, is_urgent);
        let has_room = state.available(lane, project, is_urgent) > 0;
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
        for Group { shard, priority, project, next_hop } in groups {
            let is_urgent = is_urgent(*priority);
            let room = Room {
                urgent: state.available(next_hop, *project, true),
                other: state.available(next_hop, *project, false),
            };
            let of_project = state.project_available(*project, PROVEN_FACTOR);
            if room.left(*priority) == 0 || of_project == 0 {
                state.wait(*shard, next_hop, *project, is_urgent);
            } else if let Some(usage) = state.lanes.get_mut(next_hop) {
                usage.wait_no_more(*shard, is_urgent);
            }
            // Several projects may share it: what one has no room for may be another's.
            let shared = allowances.lanes.entry(next_hop.clone()).or_default();
            *shared = Room { urgent: room.urgent.max(shared.urgent), other: room.other.max(shared.other) };
            allowances.projects.insert(*project, of_project);
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
                let usage = state.projects.entry(*project).or_default();
                (usage.waiting, usage.urgent) = (usage.waiting | bits, usage.urgent | bits);
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
        if of_lane.waiting != 0 && state.available(lane, project, false) >= wanted(of_lane) {
            ask |= of_lane.waiting;
        }
        if of_lane.urgent != 0 && state.available(lane, project, true) > 0 {
            ask |= of_lane.urgent;
        }
        let project_room = state.project_available(project, PROVEN_FACTOR);
        if of_project.waiting != 0 && project_room >= wanted(of_project) {
            ask |= of_project.waiting;
        }
        if of_project.urgent != 0 && project_room > 0 {
            ask |= of_project.urgent;
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
    fn available(&self, lane: &str, project: ProjectId, is_urgent: bool) -> usize {
        let is_proven = usage(&self.lanes, lane).is_proven(Instant::now());
        let factor = if is_proven || is_urgent { PROVEN_FACTOR } else { PROJECT_FACTOR };
        self.lane_available(lane, is_urgent).min(self.project_available(project, factor))
    }

    fn lane_available(&self, lane: &str, is_urgent: bool) -> usize {
        let (usage, now) = (usage(&self.lanes, lane), Instant::now());
        let own = if is_urgent { URGENT } else { 0 };
        let useful = match self.suspensions.get(lane) {
            Some(until) if now < *until => 0,
            Some(_) => 1,
            // Hosts of the operator's own are one lane, and are trusted.
            None if lane == SMARTHOST_LANE => usage.useful(self.base, self.base, now) + own,
            None => usage.useful(self.base, UNPROVEN, now) + own,
        };
        useful.min(self.threshold() + own).saturating_sub(usage.in_hand).min(self.free())
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

    fn wait(&mut self, shard: Shard, lane: &str, project: ProjectId, is_urgent: bool) {
        // Whichever has no room is what is waited for; a lane that has is not behind because of a project.
        let is_project_full = self.project_available(project, PROVEN_FACTOR) == 0;
        if self.lane_available(lane, is_urgent) == 0 || !is_project_full {
            self.lanes.entry(lane.to_owned()).or_default().wait(shard, is_urgent);
        }
        if is_project_full {
            self.projects.entry(project).or_default().wait(shard, is_urgent);
        }
    }

    /// Keeps only the marks in `kept`.
    fn forget(&mut self, kept: ShardBits) {
        let now = Instant::now();
        let keep = |usage: &mut Usage| {
            (usage.waiting, usage.urgent) = (usage.waiting & kept, usage.urgent & kept);
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
