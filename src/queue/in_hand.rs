//! The jobs that this process has in hand: their leases, so that they are renewed while the jobs go on, and their gates.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::lease::Lease;

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const REVOKED: u8 = 2;

/// Whether a job has begun what cannot be taken back. Until then it can be revoked at once.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    /// Asked right before the first thing that cannot be taken back. `false`: the job was revoked, and must not do it.
    pub fn begin(&self) -> bool {
        match self.0.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == BEGUN,
        }
    }

    /// Whether it was revoked.
    pub fn is_revoked(&self) -> bool {
        self.0.load(Ordering::Acquire) == REVOKED
    }

    /// Keeps the job from beginning, if it has not.
    fn revoke(&self) -> Revocation {
        match self.0.compare_exchange(WAITING, REVOKED, Ordering::AcqRel, Ordering::Acquire) {
            Err(BEGUN) => Revocation::Begun,
            _ => Revocation::Revoked,
        }
    }
}

/// What became of a wish to revoke a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It will not begin.
    Revoked,
    /// It has begun: its outcome will be known.
    Begun,
    /// This process does not have it in hand.
    NotHere,
}

/// Jobs in hand, by their ids.
#[derive(Debug, Default)]
pub struct InHand {
    jobs: Mutex<HashMap<Uuid, Job>>,
}

#[derive(Debug)]
struct Job {
    lease: Lease,
    /// When the lease was taken, or renewed last.
    since: Instant,
    /// The lease is somebody else's by now; the job goes on, and finds out when it settles.
    is_lost: bool,
    gate: Arc<Gate>,
}

impl InHand {
    fn jobs(&self) -> MutexGuard<'_, HashMap<Uuid, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job in hand. `None`: a job of that id is in hand already, whatever became of its lease, and this one must
    /// not be started.
    pub fn insert(&self, lease: Lease) -> Option<Arc<Gate>> {
        let mut jobs = self.jobs();
        if jobs.contains_key(&lease.id) {
            return None;
        }
        let gate = Arc::<Gate>::default();
        jobs.insert(lease.id, Job { lease, since: Instant::now(), is_lost: false, gate: Arc::clone(&gate) });
        Some(gate)
    }

    /// Lets go of a job that ended.
    pub fn remove(&self, lease: &Lease) {
        let mut jobs = self.jobs();
        if jobs.get(&lease.id).is_some_and(|job| job.lease.token == lease.token) {
            jobs.remove(&lease.id);
        }
    }

    /// Keeps a job from beginning, if it has not.
    pub fn revoke(&self, id: Uuid) -> Revocation {
        self.jobs().get(&id).map_or(Revocation::NotHere, |job| job.gate.revoke())
    }

    /// Leases that were claimed or renewed at least `age` ago.
    pub fn older_than(&self, age: Duration) -> Vec<Lease> {
        let is_old = |job: &&Job| !job.is_lost && job.since.elapsed() >= age;
        self.jobs().values().filter(is_old).map(|job| job.lease).collect()
    }

    /// Notes a renewal; returns how many of the leases that were asked for are no longer ours. Their jobs stay in hand.
    pub fn renewed(&self, asked: &[Lease], still_ours: &[Uuid]) -> usize {
        let mut jobs = self.jobs();
        let mut lost = 0;
        for lease in asked {
            let Some(job) = jobs.get_mut(&lease.id).filter(|job| job.lease.token == lease.token) else { continue };
            if still_ours.contains(&lease.id) {
                job.since = Instant::now();
            } else {
                job.is_lost = true;
                lost += 1;
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::shard::Shard;

    fn lease(token: u128) -> Lease {
        Lease { shard: Shard::of_low_bits(0), id: Uuid::from_u128(7), token: Uuid::from_u128(token), attempt: 1 }
    }

    #[test]
    fn a_job_is_revoked_before_it_begins_and_never_after() {
        let in_hand = InHand::default();
        let gate = in_hand.insert(lease(1)).unwrap();
        assert_eq!(in_hand.revoke(lease(1).id), Revocation::Revoked);
        assert!(gate.is_revoked() && !gate.begin(), "it must not begin");
        assert_eq!(in_hand.revoke(lease(1).id), Revocation::Revoked, "and stays so");
        in_hand.remove(&lease(1));
        assert_eq!(in_hand.revoke(lease(1).id), Revocation::NotHere);
        let gate = in_hand.insert(lease(2)).unwrap();
        assert!(gate.begin() && gate.begin(), "asked twice, it is the same beginning");
        assert_eq!(in_hand.revoke(lease(1).id), Revocation::Begun);
        assert!(gate.begin() && !gate.is_revoked());
    }

    #[test]
    fn a_job_in_hand_is_not_started_again_although_its_lease_was_lost() {
        let in_hand = InHand::default();
        let _gate = in_hand.insert(lease(1)).unwrap();
        assert!(in_hand.insert(lease(2)).is_none());
        assert_eq!(in_hand.renewed(&[lease(1)], &[]), 1, "another process has it");
        assert!(in_hand.older_than(Duration::ZERO).is_empty(), "what is lost is not renewed");
        assert!(in_hand.insert(lease(3)).is_none(), "and is still in hand");
        in_hand.remove(&lease(3));
        assert!(in_hand.insert(lease(3)).is_none(), "only its own end lets go of it");
        in_hand.remove(&lease(1));
        assert!(in_hand.insert(lease(3)).is_some());
    }
}
