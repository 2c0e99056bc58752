//! The leases that this process holds, so that they can be renewed while their jobs go on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::lease::Lease;

/// Leases by job id, each with the instant of its claim or last renewal.
#[derive(Debug, Default)]
pub struct InHand {
    leases: Mutex<HashMap<Uuid, (Lease, Instant)>>,
}

impl InHand {
    fn map(&self) -> MutexGuard<'_, HashMap<Uuid, (Lease, Instant)>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn insert(&self, lease: Lease) {
        self.map().insert(lease.id, (lease, Instant::now()));
    }

    pub fn remove(&self, lease: &Lease) {
        let mut map = self.map();
        if map.get(&lease.id).is_some_and(|(held, _)| held.token == lease.token) {
            map.remove(&lease.id);
        }
    }

    /// Leases that were claimed or renewed at least `age` ago.
    pub fn older_than(&self, age: Duration) -> Vec<Lease> {
        self.map().values().filter(|(_, since)| since.elapsed() >= age).map(|(lease, _)| *lease).collect()
    }

    /// Notes a renewal. Leases that are no longer ours are forgotten: their jobs go on, and find out
    /// when they settle.
    pub fn renewed(&self, asked: &[Lease], still_ours: &[Uuid]) -> usize {
        let mut map = self.map();
        let mut lost = 0;
        for lease in asked {
            if still_ours.contains(&lease.id) {
                if let Some((_, since)) = map.get_mut(&lease.id) {
                    *since = Instant::now();
                }
            } else if map.remove(&lease.id).is_some() {
                lost += 1;
            }
        }
        lost
    }
}
