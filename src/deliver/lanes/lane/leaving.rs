//! Who leaves a lane without a slot: when the service stops, at the last instant, or to wait in its row for the budget.

use tokio::time::Instant;
use uuid::Uuid;

use super::{Grant, Lane};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;

/// Deliveries that wait for the budget and are remembered; others wait out their time.
const PUT_OFF_MAX: usize = 1000;
impl Lane {
    /// Begins nothing any more; releases those who wait.
    pub fn drain(&self) {
        let waiting = {
            let mut state = self.state();
            state.is_draining = true;
            state.waiting.take_all(|_| true)
        };
        for one in waiting {
            let _ = one.grant.send(Grant::Released);
        }
    }

    /// Lets go of those whose last instant passed while they waited. Whose envelope has left waits no more.
    pub fn expire(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if state.waiting.iter().all(|one| one.expires > now) {
            return;
        }
        let expired = state.waiting.take_all(|one| one.expires <= now);
        drop(state);
        for one in expired {
            let _ = one.grant.send(Grant::Expired);
        }
    }

    /// Notes what waits in its row for the budget of retries.
    pub fn put_off(&self, lease: &Lease) {
        let mut state = self.state();
        if state.put_off.len() >= PUT_OFF_MAX {
            state.put_off.pop_front();
        }
        state.put_off.push_back((lease.shard, lease.id));
    }

    /// What need not wait any more, as far as tokens have come back.
    pub fn take_affordable(&self) -> Vec<(Shard, Uuid)> {
        let mut state = self.state();
        if state.put_off.is_empty() {
            return Vec::new();
        }
        let affordable = state.control.affordable(Instant::now()).min(state.put_off.len());
        state.put_off.drain(..affordable).collect()
    }
}
