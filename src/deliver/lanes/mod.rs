//! Lanes: one per next hop and source address, so that a slow destination delays no other. A lane bounds
//! connections and rates, learns from replies how much its next hop bears, keeps idle sessions, and pauses a next hop
//! that does not answer; [`Capacity`](crate::handover::Capacity) bounds how many deliveries are in hand.
//!
//! The TLS policy is part of a session's identity and not of the lane's: a next hop's limit holds over all of them.

mod control;
mod lane;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use control::Control;
pub use control::{Pauses, ProcessShare, Signal};
pub use lane::{Follower, Grant, Lane, LaneKey, Offer, SessionFacts, Slot, Standing};

use crate::domain::lane::LaneState;
use crate::domain::shard::Shard;
use crate::domain::target::SYSTEM_SOURCE;
use crate::routing::{PolicySnapshot, RoutePlan};
use crate::shaping::NextHop;
use crate::smtp::client::connection::Sockets;

/// A lane's part of the memory for messages: one slow destination cannot hold it all.
const MEMORY_SHARE: usize = 4;
/// Time without use after which a lane is forgotten.
const FORGET: Duration = Duration::from_mins(10);
/// Maximum number of lanes in one report.
const TOLD_MAX: usize = 500;

/// All lanes of the process.
pub struct Lanes {
    state: Mutex<State>,
    pauses: Pauses,
    /// KiB of messages that all lanes may hold at once.
    kib: usize,
    memory: Arc<Semaphore>,
    sockets: Arc<Sockets>,
}

struct State {
    by_key: HashMap<LaneKey, Arc<Lane>>,
    share: ProcessShare,
    plan: Arc<PolicySnapshot>,
    is_draining: bool,
    /// Grows with every change of share or plan.
    version: u64,
}

/// The memory for one message, of its lane and of all.
pub type Memory = Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>;

impl Lanes {
    /// All lanes together hold at most `kib` KiB of messages, and so many connections.
    pub fn new(plan: Arc<PolicySnapshot>, pauses: Pauses, (kib, connections): (usize, usize)) -> Self {
        let state = State { by_key: HashMap::new(), share: ProcessShare::ALONE, plan, is_draining: false, version: 0 };
        let (memory, sockets) = (Arc::new(Semaphore::new(kib)), Sockets::new(connections));
        Self { state: Mutex::new(state), pauses, kib, memory, sockets }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of a route from a source, under the rules in force.
    pub fn lane(&self, plan: &Arc<PolicySnapshot>, routed: &RoutePlan, domain: &str, source: &str) -> Arc<Lane> {
        // A domain with limits of its own is a next hop of its own.
        let group = if plan.shaping.has_own_limits(domain) { domain } else { &routed.group };
        let key = LaneKey { group: group.to_owned(), source: source.to_owned() };
        let mut state = self.state();
        if !Arc::ptr_eq(&state.plan, plan) {
            state.plan = Arc::clone(plan);
            state.version += 1;
        }
        let (version, share) = (state.version, state.share);
        let hop = NextHop { domain, group: &key.group, provider: routed.provider.as_deref() };
        if let Some(lane) = state.by_key.get(&key) {
            let lane = Arc::clone(lane);
            drop(state);
            if !lane.is_of(version) {
                lane.adopt(plan.shaping.limits(hop), share, version);
            }
            return lane;
        }
        let mut hasher = DefaultHasher::new();
        // Not the source: every process must divide the lane alike.
        key.group.hash(&mut hasher);
        let is_trusted = routed.resolution.is_none();
        let limits = plan.shaping.limits(hop);
        let control = Control::new(limits, share, self.pauses, hasher.finish(), is_trusted, Instant::now());
        let lane = Arc::new(Lane::new(
            key.clone(),
            routed.provider.clone(),
            control,
            version,
            (Arc::clone(&self.sockets), self.kib / MEMORY_SHARE),
        ));
        if state.is_draining {
            lane.drain();
        }
        state.by_key.insert(key, Arc::clone(&lane));
        lane
    }

    /// Until when no lane of that next hop takes anything, from whichever address; `None` while one does.
    pub fn all_paused_until(&self, plan: &PolicySnapshot, group: &str) -> Option<Instant> {
        let names = plan.shaping.sources().map(|(name, _)| name).chain([SYSTEM_SOURCE]);
        let lanes: Vec<_> = {
            let state = self.state();
            let key = |source: &str| LaneKey { group: group.to_owned(), source: source.to_owned() };
            names.filter_map(|name| state.by_key.get(&key(name)).map(Arc::clone)).collect()
        };
        lanes.iter().map(|lane| lane.paused_until()).min().flatten()
    }

    /// Begins nothing any more: what waits for a slot is released, and others may take it.
    pub fn drain(&self) {
        let lanes: Vec<_> = {
            let mut state = self.state();
            state.is_draining = true;
            state.by_key.values().map(Arc::clone).collect()
        };
        for lane in lanes {
            lane.drain();
        }
    }

    /// What waits in rows for the budget of its lane, as far as that has come back.
    pub fn take_affordable(&self) -> Vec<(Shard, Uuid)> {
        self.all().iter().flat_map(|lane| lane.take_affordable()).collect()
    }

    /// Takes over this process's part of all limits. `true`: it is another than before.
    pub fn share(&self, share: ProcessShare) -> bool {
        let (lanes, plan, version) = {
            let mut state = self.state();
            if state.share == share {
                return false;
            }
            state.share = share;
            state.version += 1;
            let lanes: Vec<_> = state.by_key.values().map(Arc::clone).collect();
            (lanes, Arc::clone(&state.plan), state.version)
        };
        for lane in lanes {
            let hop = NextHop { domain: &lane.key.group, group: &lane.key.group, provider: lane.provider.as_deref() };
            lane.adopt(plan.shaping.limits(hop), share, version);
        }
        true
    }

    /// Waits for the memory that a message of `size` bytes takes in its lane.
    pub async fn memory(&self, lane: &Lane, size: usize) -> Memory {
        let share = (self.kib / MEMORY_SHARE).max(1);
        let kib = u32::try_from((size / 1024 + 1).min(share)).unwrap_or(u32::MAX);
        let of_lane = Arc::clone(&lane.memory).acquire_many_owned(kib).await.ok()?;
        let of_all = Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()?;
        Some((of_lane, of_all))
    }

    /// That memory, if it is there now and half of all would be left: for what is read ahead of its turn.
    pub fn spare_memory(&self, lane: &Lane, size: usize) -> Memory {
        let kib = u32::try_from(size / 1024 + 1).ok()?;
        if self.memory.available_permits() < self.kib / 2 + kib as usize {
            return None;
        }
        let of_lane = Arc::clone(&lane.memory_ahead).try_acquire_many_owned(kib).ok()?;
        let of_all = Arc::clone(&self.memory).try_acquire_many_owned(kib).ok()?;
        Some((of_lane, of_all))
    }

    fn all(&self) -> Vec<Arc<Lane>> {
        self.state().by_key.values().map(Arc::clone).collect()
    }

    /// Closes sessions that have been idle for too long (all, when `all`), lets go of what has waited past its last instant, and
    /// forgets lanes that are not used.
    pub async fn sweep(&self, all: bool) {
        let lanes = self.all();
        for lane in &lanes {
            lane.expire();
        }
        let closing = lanes.iter().flat_map(|lane| {
            lane.take_stale(all).into_iter().map(|session| async move {
                session.quit().await;
            })
        });
        join_all(closing).await;
        drop(lanes);
        // One that somebody is about to use is not forgotten.
        let is_kept = |lane: &Arc<Lane>| Arc::strong_count(lane) > 1 || !lane.is_forgettable(FORGET);
        self.state().by_key.retain(|_, lane| is_kept(lane));
    }

    /// Waits until a connection is wanted and none is left.
    pub async fn wanted(&self) {
        self.sockets.wanted.notified().await;
    }

    /// How the lanes stand that are not simply open.
    pub fn snapshot(&self) -> Vec<LaneState> {
        self.all().into_iter().filter_map(|lane| lane.snapshot()).take(TOLD_MAX).collect()
    }
}
