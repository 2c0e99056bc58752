//! The projects that are suspended: nothing of theirs is begun. Looked up every second, so that no claim asks.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::domain::id::ProjectId;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};

/// How often they are looked up.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of them.
#[derive(Debug, Default)]
pub struct Suspended {
    /// `None`: nothing is known yet, and so nothing may be begun.
    known: RwLock<Option<Arc<HashSet<ProjectId>>>>,
}

impl Suspended {
    /// Those of now; `None` until they were looked up once.
    pub fn projects(&self) -> Option<Arc<HashSet<ProjectId>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn contains(&self, project: ProjectId) -> bool {
        self.projects().is_some_and(|known| known.contains(&project))
    }

    /// Looks them up.
    pub async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let projects: HashSet<_> = store.list_suspended().await?.into_iter().map(|(project, _)| project).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(&projects) {
            *known = Some(Arc::new(projects));
        }
        Ok(())
    }

    /// Looks them up again and again until the service stops.
    pub async fn follow(self: Arc<Self>, store: Store, shutdown: Shutdown) {
        loop {
            if let Err(error) = self.look(&store).await {
                tracing::debug!(%error, "suspended projects cannot be looked up; those known stay suspended");
            }
            if !shutdown.pause(LOOK).await {
                return;
            }
        }
    }
}
