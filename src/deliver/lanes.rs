//! Lanes: one per next hop, so that a slow destination holds up nobody else. A lane bounds how many
//! deliveries are in hand and how many sessions are open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Deliveries in hand for each session that a lane may open: enough that no session waits for a claim.
const DEPTH: usize = 2;

/// A lane's part of the memory for messages: one slow destination cannot hold it all.
const MEMORY_SHARE: usize = 4;

/// All lanes of the process.
pub struct Lanes {
    by_name: Mutex<HashMap<String, Lane>>,
    sessions: usize,
    /// KiB of messages that all lanes may hold at once.
    kib: usize,
    memory: Arc<Semaphore>,
}

struct Lane {
    in_hand: usize,
    sessions: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// The right to a session and to the memory for one message.
pub struct Turn {
    _session: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

impl Lanes {
    /// Each lane may have `sessions` sessions; all of them together `kib` KiB of messages.
    pub fn new(sessions: usize, kib: usize) -> Self {
        Self { by_name: Mutex::default(), sessions, kib, memory: Arc::new(Semaphore::new(kib)) }
    }

    /// Deliveries of one lane that one claim may take.
    pub const fn per_claim(&self) -> usize {
        self.sessions * DEPTH
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a claimed delivery.
    pub fn enter(&self, name: &str) {
        let mut lanes = self.map();
        let lane = lanes.entry(name.to_owned()).or_insert_with(|| Lane {
            in_hand: 0,
            sessions: Arc::new(Semaphore::new(self.sessions)),
            memory: Arc::new(Semaphore::new((self.kib / MEMORY_SHARE).max(1))),
        });
        lane.in_hand += 1;
    }

    /// Notes its end; an empty lane is forgotten.
    pub fn leave(&self, name: &str) {
        let mut lanes = self.map();
        if let Some(lane) = lanes.get_mut(name) {
            lane.in_hand = lane.in_hand.saturating_sub(1);
            if lane.in_hand == 0 {
                lanes.remove(name);
            }
        }
    }

    /// Lanes for which nothing may be claimed.
    pub fn full(&self) -> Vec<String> {
        let bound = self.sessions * DEPTH;
        self.map().iter().filter(|(_, lane)| lane.in_hand >= bound).map(|(name, _)| name.clone()).collect()
    }

    /// Waits for a session of the lane and for the memory that a message of `size` bytes takes.
    pub async fn turn(&self, name: &str, size: usize) -> Option<Turn> {
        let (sessions, memory) = {
            let lanes = self.map();
            let lane = lanes.get(name)?;
            (Arc::clone(&lane.sessions), Arc::clone(&lane.memory))
        };
        let share = (self.kib / MEMORY_SHARE).max(1);
        let kib = u32::try_from((size / 1024 + 1).min(share)).unwrap_or(u32::MAX);
        Some(Turn {
            _session: sessions.acquire_owned().await.ok()?,
            _share: memory.acquire_many_owned(kib).await.ok()?,
            _memory: Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_full_at_its_depth_and_forgotten_when_empty() {
        let lanes = Lanes::new(1, 1024);
        for _ in 0..DEPTH {
            assert!(lanes.full().is_empty());
            lanes.enter("a");
        }
        lanes.enter("b");
        assert_eq!(lanes.full(), ["a"]);
        for _ in 0..DEPTH {
            lanes.leave("a");
        }
        assert!(lanes.full().is_empty());
        assert_eq!(lanes.map().len(), 1);
    }
}
