//! How much waits, so that a queue that grows faster than it drains answers with back-pressure in time.
//!
//! The rows are counted now and then, never on the way in: a census takes its time, and the next one comes after a
//! hundred times that. In between, what this process left waiting is added. What others added is in the next census.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::domain::id::ProjectId;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// The shortest time between two censuses.
const INTERVAL: Duration = Duration::from_secs(10);
/// A census may take this part of the time.
const PAUSE_FACTOR: u32 = 100;

/// What waits, as far as this process knows.
#[derive(Debug)]
pub struct Backlog {
    known: Mutex<Known>,
    limit: u64,
    project_limit: u64,
}

#[derive(Debug, Default)]
struct Known {
    total: u64,
    projects: HashMap<ProjectId, u64>,
}

/// Whose backlog is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Project,
    All,
}

impl Backlog {
    pub fn new(limits: &Limits) -> Self {
        let bound = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self { known: Mutex::default(), limit: bound(limits.backlog), project_limit: bound(limits.project_backlog) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the project may add to what waits.
    pub fn check(&self, project: ProjectId) -> Result<(), Full> {
        let known = self.known();
        if known.total >= self.limit {
            return Err(Full::All);
        }
        let of_project = known.projects.get(&project).copied().unwrap_or(0);
        if of_project >= self.project_limit { Err(Full::Project) } else { Ok(()) }
    }

    /// Notes a delivery that was left waiting.
    pub fn add(&self, project: ProjectId) {
        let mut known = self.known();
        known.total += 1;
        *known.projects.entry(project).or_default() += 1;
    }

    /// Counts, until the soft token falls.
    pub async fn keep_counting(self: Arc<Self>, store: Store, shutdown: Shutdown) {
        let mut connection = store.connection();
        loop {
            let began = Instant::now();
            match connection.count_backlog().await {
                Ok(projects) => {
                    let total = projects.values().sum();
                    *self.known() = Known { total, projects };
                }
                Err(error) => tracing::warn!(%error, "the backlog was not counted; the last count stands"),
            }
            if !shutdown.pause(INTERVAL.max(began.elapsed() * PAUSE_FACTOR)).await {
                return;
            }
        }
    }
}
