//! Turns of those who list: what a list costs the store is shared out to projects, and none waits for another's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Api;
use super::answer::no_room;
use super::problem::Problem;
use crate::domain::budget::{self, Budget, Held};
use crate::domain::id::ProjectId;

/// How long somebody waits for a turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// The turns of a process.
pub struct Turns {
    budget: Arc<Budget>,
    ended: Arc<Notify>,
}

/// A turn, for as long as this lives.
pub struct Turn {
    held: Held,
    ended: Arc<Notify>,
}

impl Turns {
    /// So many at once; one project has half of them while it is alone, and less as others come.
    pub fn new(count: usize) -> Self {
        Self { budget: Budget::new(count.max(2), 1), ended: Arc::default() }
    }

    async fn take(&self, project: ProjectId) -> Result<Turn, Problem> {
        let until = Instant::now() + PATIENCE;
        loop {
            let ended = self.ended.notified();
            let mut held = self.budget.hold(Some(budget::of_project(project)));
            match held.grow_to(1) {
                Ok(()) => return Ok(Turn { held, ended: Arc::clone(&self.ended) }),
                Err(why) if timeout_at(until, ended).await.is_err() => {
                    return Err(no_room(why, "too many lists are being read"));
                }
                Err(_) => {}
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held.release();
        self.ended.notify_waiters();
    }
}

impl Api {
    /// Waits for a turn of the project to list; 429 if that is long in coming.
    pub async fn turn(&self, project: ProjectId) -> Result<Turn, Problem> {
        self.turns.take(project).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_project_waits_for_its_own_turns_and_another_for_none() {
        let (turns, project) = (Turns::new(8), |n: u128| ProjectId::from_uuid(Uuid::from_u128(n)));
        let mut taken = Vec::new();
        while let Some(turn) = turns.take(project(1)).now_or_never() {
            taken.push(turn.unwrap_or_else(|_| panic!("a turn")));
        }
        assert_eq!(taken.len(), 4);
        assert!(turns.take(project(2)).now_or_never().is_some_and(|turn| turn.is_ok()));
        assert!(turns.take(project(1)).await.is_err(), "after a while it is told so");
        let mut next = Box::pin(turns.take(project(1)));
        assert!(futures_util::poll!(&mut next).is_pending());
        taken.pop();
        assert!(next.await.is_ok());
    }
}
