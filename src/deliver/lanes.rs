//! Lanes: one per next hop, so that a slow destination holds up nobody else. A lane bounds how many
//! deliveries are in hand and how many sessions are open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Deliveries in hand for each session that a lane may open: enough that no session waits for a claim.
const DEPTH: usize = 4;

/// All lanes of the process.
pub struct Lanes {
    lanes: Mutex<HashMap<String, Lane>>,
    sessions: usize,
}

struct Lane {
    in_hand: usize,
    sessions: Arc<Semaphore>,
}

impl Lanes {
    /// Each lane may have `sessions` sessions.
    pub fn new(sessions: usize) -> Self {
        Self { lanes: Mutex::default(), sessions }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a claimed delivery.
    pub fn enter(&self, name: &str) {
        let mut lanes = self.map();
        let lane = lanes
            .entry(name.to_owned())
            .or_insert_with(|| Lane { in_hand: 0, sessions: Arc::new(Semaphore::new(self.sessions)) });
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

    /// Waits for the right to a session of the lane.
    pub async fn session(&self, name: &str) -> Option<OwnedSemaphorePermit> {
        let sessions = self.map().get(name).map(|lane| Arc::clone(&lane.sessions))?;
        sessions.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_full_at_its_depth_and_forgotten_when_empty() {
        let lanes = Lanes::new(1);
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
