//! Places: how many deliveries this process has in hand, by lane and by project, and which shards hold rows
//! that wait for one.
//!
//! No bound is a constant. A lane may have what its sessions can work at, and what it has shown to finish within a
//! second; but never more than a threshold that falls with the square of what is free (dynamic thresholds,
//! Choudhury and Hahne 1998), and a project twice that. So a fast lane alone may fill a third of all places, slow
//! ones get little, and the more places are taken, the smaller is the share of those who hold many.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::delivery::Group;
use crate::domain::id::ProjectId;
use crate::domain::shard::Shard;
use crate::wake::Wake;

/// A project's threshold, in multiples of a lane's.
const PROJECT_FACTOR: usize = 2;
/// Waiting rows are asked for again once so much room is there (or half of what could be).
const ROOM_MIN: usize = 64;

/// All places of the process.
#[derive(Debug)]
pub struct Places {
    state: Mutex<State>,
    wake: Arc<Wake>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    total: usize,
    /// What a lane may have that has shown nothing yet.
    base: usize,
    /// Whether somebody delivers in this process.
    is_open: bool,
    lanes: HashMap<String, Usage>,
    projects: HashMap<ProjectId, Usage>,
    curbs: HashMap<String, Instant>,
}

/// What one lane, or one project, has in hand, left waiting and finished.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    in_hand: usize,
    /// Shards that hold rows which found no room.
    waiting: ShardBits,
    pace: Pace,
}

/// What was finished within the second that runs and the one before.
#[derive(Debug, Default, Clone, Copy)]
struct Pace {
    began: Option<Instant>,
    done: usize,
    before: usize,
}

/// The window in which finished deliveries are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// A lane that did nothing for so long is forgotten.
const MEMORY: Duration = Duration::from_secs(10);
/// Next hops that may be curbed before old ones are forgotten.
const CURBS_MAX: usize = 10_000;

impl Pace {
    fn finish(&mut self, now: Instant) {
        match self.began {
            Some(began) if now - began < WINDOW => {}
            began => {
                let is_next = began.is_some_and(|began| now - began < WINDOW * 2);
                *self = Self { began: Some(now), done: 0, before: if is_next { self.done } else { 0 } };
            }
        }
        self.done += 1;
    }

    fn per_window(self) -> usize {
        self.done.max(self.before)
    }
}

type ShardBits = u64;

const fn bit(shard: Shard) -> ShardBits {
    1 << shard.index()
}

impl Usage {
    fn is_forgotten(self, now: Instant) -> bool {
        self.in_hand == 0 && self.waiting == 0 && self.pace.began.is_none_or(|began| now - began > MEMORY)
    }
}

/// How many more deliveries each group's lane and project may have.
#[derive(Debug, Default)]
pub struct Rooms {
    pub lanes: HashMap<String, usize>,
    pub projects: HashMap<ProjectId, usize>,
}

/// One delivery's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    lane: String,
    project: ProjectId,
}

impl Places {
    /// `total` places, closed until [`Places::open`], `base` of them for any lane; `wake` is rung for shards whose
    /// rows have room again.
    pub fn new(total: usize, base: usize, wake: Arc<Wake>) -> Self {
        let state = State { free: total, total, base, ..State::default() };
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
        self.state().free
    }

    /// Waits until no place is taken.
    pub async fn idle(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.state().is_idle() {
                return;
            }
            emptied.await;
        }
    }

    /// A place for a delivery about to be accepted; `None` when there is no room, or older rows wait for it.
    pub fn reserve(self: &Arc<Self>, lane: &str, project: ProjectId) -> Option<Place> {
        let mut state = self.state();
        let (lane_usage, project_usage) = (usage(&state.lanes, lane), usage(&state.projects, &project));
        let is_behind = lane_usage.waiting | project_usage.waiting != 0;
        let has_room = state.lane_room(lane) > 0 && state.project_room(project) > 0;
        (state.is_open && has_room && !is_behind).then(|| {
            state.enter(lane, project);
            self.place(lane, project)
        })
    }

    /// The place of a delivery that was claimed: its share was reckoned from [`Places::rooms`].
    pub fn take(self: &Arc<Self>, lane: &str, project: ProjectId) -> Place {
        self.state().enter(lane, project);
        self.place(lane, project)
    }

    fn place(self: &Arc<Self>, lane: &str, project: ProjectId) -> Place {
        Place { places: Arc::clone(self), lane: lane.to_owned(), project }
    }

    /// Lets nothing in for that next hop until an instant, and from then on one at a time, until [`Places::uncurb`].
    pub fn curb(&self, lane: &str, until: Instant) {
        let mut state = self.state();
        let now = Instant::now();
        if state.curbs.len() >= CURBS_MAX {
            state.curbs.retain(|_, until| *until + MEMORY > now);
        }
        state.curbs.insert(lane.to_owned(), until);
    }

    /// Lets that next hop in as usual; rings for its rows.
    pub fn uncurb(&self, lane: &str) {
        let mut state = self.state();
        if state.curbs.is_empty() || state.curbs.remove(lane).is_none() {
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
        let has_room = state.lane_room(lane) > 0 && state.project_room(project) > 0;
        drop(state);
        if has_room {
            self.wake.ring(shard);
        }
    }

    /// The room of these groups; notes the shards of those that have none, and forgets them for the others. `all`:
    /// shards in which nothing else is ready.
    pub fn rooms(&self, groups: &[Group], all: &[Shard]) -> Rooms {
        let mut state = self.state();
        state.forget(!all.iter().fold(0, |bits, shard| bits | bit(*shard)));
        let mut rooms = Rooms::default();
        for group in groups {
            let lane = state.lane_room(&group.next_hop);
            let project = state.project_room(group.project);
            if lane == 0 || project == 0 {
                state.wait(group.shard, &group.next_hop, group.project);
            } else if let Some(usage) = state.lanes.get_mut(&group.next_hop) {
                usage.waiting &= !bit(group.shard);
            }
            rooms.lanes.insert(group.next_hop.clone(), lane);
            rooms.projects.insert(group.project, project);
        }
        rooms
    }

    /// Nothing is ready but in `shards`: what was noted of others is forgotten.
    pub fn only_ready(&self, shards: &[Shard]) {
        let ready = shards.iter().fold(0, |bits, shard| bits | bit(*shard));
        self.state().forget(ready);
    }

    fn leave(&self, lane: &str, project: ProjectId) {
        let mut state = self.state();
        state.free += 1;
        if let Some(usage) = state.lanes.get_mut(lane) {
            usage.in_hand = usage.in_hand.saturating_sub(1);
            usage.pace.finish(Instant::now());
        }
        if let Some(usage) = state.projects.get_mut(&project) {
            usage.in_hand = usage.in_hand.saturating_sub(1);
        }
        let (of_lane, of_project) = (usage(&state.lanes, lane), usage(&state.projects, &project));
        let enough = ROOM_MIN.min(state.total.div_ceil(4));
        let mut ask = 0;
        let wanted = |usage: Usage| enough.min(usage.in_hand).max(1);
        if of_lane.waiting != 0 && state.lane_room(lane) >= wanted(of_lane) {
            ask |= of_lane.waiting;
        }
        if of_project.waiting != 0 && state.project_room(project) >= wanted(of_project) {
            ask |= of_project.waiting;
        }
        let (was_full, is_idle) = (state.free == 1, state.is_idle());
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
        self.free == self.total
    }

    fn threshold(&self) -> usize {
        (self.free * self.free).div_ceil(self.total.max(1))
    }

    fn lane_room(&self, lane: &str) -> usize {
        let usage = usage(&self.lanes, lane);
        let useful = match self.curbs.get(lane) {
            Some(until) if Instant::now() < *until => 0,
            Some(_) => 1,
            None => self.base + usage.pace.per_window(),
        };
        useful.min(self.threshold()).saturating_sub(usage.in_hand)
    }

    fn project_room(&self, project: ProjectId) -> usize {
        let threshold = self.threshold() * PROJECT_FACTOR;
        threshold.saturating_sub(usage(&self.projects, &project).in_hand).min(self.free)
    }

    fn enter(&mut self, lane: &str, project: ProjectId) {
        self.free = self.free.saturating_sub(1);
        match self.lanes.get_mut(lane) {
            Some(usage) => usage.in_hand += 1,
            None => {
                self.lanes.insert(lane.to_owned(), Usage { in_hand: 1, ..Usage::default() });
            }
        }
        self.projects.entry(project).or_default().in_hand += 1;
    }

    fn wait(&mut self, shard: Shard, lane: &str, project: ProjectId) {
        // Whichever has no room is what is waited for; a lane that has is not behind because of a project.
        if self.lane_room(lane) == 0 || self.project_room(project) > 0 {
            self.lanes.entry(lane.to_owned()).or_default().waiting |= bit(shard);
        }
        if self.project_room(project) == 0 {
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

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(&self.lane, self.project);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const S: Shard = Shard::of_low_bits(7);

    fn project(n: u128) -> ProjectId {
        ProjectId::from_uuid(Uuid::from_u128(n))
    }

    fn places(total: usize) -> (Arc<Places>, Arc<Wake>) {
        let wake = Arc::<Wake>::default();
        let places = Arc::new(Places::new(total, 20, Arc::clone(&wake)));
        places.open();
        (places, wake)
    }

    fn fill(places: &Arc<Places>, lane: &str, of: u128) -> Vec<Place> {
        std::iter::from_fn(|| places.reserve(lane, project(of))).collect()
    }

    #[test]
    fn two_hundred_stuck_lanes_leave_room_for_the_next() {
        let (places, _) = places(4096);
        let held: Vec<_> = (0..200).map(|n| fill(&places, &format!("stuck{n}"), n)).collect();
        assert_eq!(held[0].len(), 20, "what its sessions can work at");
        assert!(held.iter().all(|held| !held.is_empty()));
        assert!(fill(&places, "healthy", 1000).len() >= 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_curbed_lane_takes_nothing_then_one_and_then_as_usual() {
        let (places, wake) = places(4096);
        places.curb("dead", Instant::now() + Duration::from_secs(1));
        assert!(places.reserve("dead", project(1)).is_none());
        places.left_waiting(S, "dead", project(1));
        assert!(wake.take().is_empty(), "nobody need look");
        assert!(places.reserve("other", project(1)).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        let rooms =
            places.rooms(&[Group { shard: S, priority: 1, project: project(1), next_hop: "dead".into() }], &[S]);
        assert_eq!(rooms.lanes["dead"], 1, "a probe");
        places.left_waiting(S, "dead", project(1));
        wake.take();
        let probe = places.take("dead", project(1));
        places.left_waiting(S, "dead", project(1));
        places.uncurb("dead");
        assert_eq!(wake.take(), [S], "its rows are looked for");
        drop(probe);
    }

    #[test]
    fn a_lane_that_finishes_much_may_have_much_but_never_all() {
        let (places, _) = places(1000);
        for _ in 0..5000 {
            drop(places.reserve("fast", project(1)));
        }
        let held = fill(&places, "fast", 1);
        assert!((370..=390).contains(&held.len()), "{}", held.len());
        assert_eq!(fill(&places, "other", 2).len(), 20);
    }

    #[test]
    fn a_project_with_many_lanes_leaves_half() {
        let (places, _) = places(1000);
        let held: Vec<_> = (0..500).flat_map(|n| fill(&places, &format!("d{n}"), 1)).collect();
        assert!((490..=510).contains(&held.len()), "{}", held.len());
        assert_eq!(fill(&places, "other", 2).len(), 20);
    }

    #[test]
    fn fresh_deliveries_do_not_overtake_rows_that_wait() {
        let (places, wake) = places(10);
        let mut held = fill(&places, "a", 1);
        places.left_waiting(S, "a", project(1));
        assert!(wake.take().is_empty(), "there is no room yet");
        held.truncate(1);
        assert_eq!(wake.take(), [S], "room came");
        assert!(places.reserve("a", project(1)).is_none(), "the row goes first");
        let group = Group { shard: S, priority: 1, project: project(1), next_hop: "a".into() };
        assert!(places.rooms(&[group], &[S]).lanes["a"] > 0);
        assert!(places.reserve("a", project(1)).is_some());
    }

    #[test]
    fn marks_that_no_row_stands_for_any_more_are_forgotten() {
        let (places, _) = places(10);
        let held = fill(&places, "a", 1);
        places.left_waiting(S, "a", project(1));
        drop(held);
        assert!(places.reserve("a", project(1)).is_none());
        places.only_ready(&[]);
        assert!(places.reserve("a", project(1)).is_some());
    }

    #[test]
    fn closed_places_take_nothing_fresh() {
        let (places, wake) = places(10);
        places.close();
        assert!(places.reserve("a", project(1)).is_none());
        places.left_waiting(S, "a", project(1));
        assert_eq!(wake.take(), [S]);
    }
}
