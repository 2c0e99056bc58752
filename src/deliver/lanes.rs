//! Lanes: one per next hop, so that a slow destination holds up nobody else. A lane bounds how many sessions are
//! open and how much memory its messages take; how many deliveries are in hand is
//! [`Places`](crate::handover::Places)' to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    users: usize,
    sessions: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// The right to a session and to the memory for one message.
pub struct Turn {
    _session: OwnedSemaphorePermit,
    _memory: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Lanes {
    /// Each lane may have `sessions` sessions; all of them together `kib` KiB of messages.
    pub fn new(sessions: usize, kib: usize) -> Self {
        Self { by_name: Mutex::default(), sessions, kib, memory: Arc::new(Semaphore::new(kib)) }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a session of the lane, and for the memory that a message of `size` bytes takes; 0 for one that
    /// is in memory already.
    pub async fn turn(&self, name: &str, size: usize) -> Option<Turn> {
        let (sessions, memory) = self.enter(name);
        let _user = User { lanes: self, name };
        let session = sessions.acquire_owned().await.ok()?;
        if size == 0 {
            return Some(Turn { _session: session, _memory: None });
        }
        let share = (self.kib / MEMORY_SHARE).max(1);
        let kib = u32::try_from((size / 1024 + 1).min(share)).unwrap_or(u32::MAX);
        let of_lane = memory.acquire_many_owned(kib).await.ok()?;
        let of_all = Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()?;
        Some(Turn { _session: session, _memory: Some((of_lane, of_all)) })
    }

    fn enter(&self, name: &str) -> (Arc<Semaphore>, Arc<Semaphore>) {
        let mut lanes = self.map();
        if let Some(lane) = lanes.get_mut(name) {
            lane.users += 1;
            return (Arc::clone(&lane.sessions), Arc::clone(&lane.memory));
        }
        let sessions = Arc::new(Semaphore::new(self.sessions));
        let memory = Arc::new(Semaphore::new((self.kib / MEMORY_SHARE).max(1)));
        let lane = Lane { users: 1, sessions: Arc::clone(&sessions), memory: Arc::clone(&memory) };
        lanes.insert(name.to_owned(), lane);
        (sessions, memory)
    }

    /// Notes that one waits no more.
    fn leave(&self, name: &str) {
        if let Some(lane) = self.map().get_mut(name) {
            lane.users = lane.users.saturating_sub(1);
        }
    }

    /// Forgets lanes that nobody waits for and that have no session; a turn that was given holds a permit.
    pub fn sweep(&self) {
        let sessions = self.sessions;
        self.map().retain(|_, lane| lane.users > 0 || lane.sessions.available_permits() < sessions);
    }
}

/// One that waits for a turn.
struct User<'a> {
    lanes: &'a Lanes,
    name: &'a str,
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.lanes.leave(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_has_its_sessions_and_is_forgotten_when_unused() {
        let lanes = Lanes::new(1, 1024);
        let first = lanes.turn("a", 0).await.unwrap();
        let mut second = Box::pin(lanes.turn("a", 10));
        assert!(futures_util::poll!(&mut second).is_pending(), "the only session is taken");
        assert!(lanes.turn("b", 0).await.is_some(), "another lane is another's");
        drop(first);
        drop(second.await.unwrap());
        lanes.sweep();
        assert!(lanes.map().is_empty());
    }
}
