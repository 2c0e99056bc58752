//! Blocks of messages, by which lists find what is old: made and read behind what is accepted, in a small part of the time, so that what is accepted does
//! not wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::clock::{Clock, Rng};
use crate::domain::id::ProjectId;
use crate::shutdown::Shutdown;
use crate::store::mail::blocks::{BLOCK, Begun};
use crate::store::{Store, StoreError};

/// How often it is looked for new messages where there were none.
const EVERY: Duration = Duration::from_secs(5);
/// It rests so many times as long as it worked.
const REST: u32 = 16;
const REST_MAX: Duration = Duration::from_secs(30);
/// Blocks that are read at once.
const READ: usize = 16;

/// What ticks.
pub struct Blocks {
    pub store: Store,
    pub rng: Arc<dyn Rng>,
}

impl Blocks {
    pub async fn run(self, shutdown: Shutdown) {
        let first = ProjectId::from_uuid(Uuid::nil());
        let (mut after, mut found) = (first, false);
        loop {
            let began = Instant::now();
            let is_done = match self.step(after).await {
                Ok((begun, read)) => {
                    found |= begun.blocks > 0 || read == READ;
                    after = begun.next.unwrap_or(first);
                    // All projects were looked at.
                    begun.next.is_none() && !std::mem::take(&mut found)
                }
                Err(error) => {
                    tracing::warn!(%error, "blocks of messages are made at the next tick");
                    true
                }
            };
            let rest = (began.elapsed() * REST).min(REST_MAX);
            let rest = if is_done { rest.max(EVERY) } else { rest };
            if !shutdown.pause(self.rng.jitter(rest, 0.2)).await {
                return;
            }
        }
    }

    /// Makes the next blocks of projects from behind `after` on, and reads some that are due; how many.
    async fn step(&self, after: ProjectId) -> Result<(Begun, usize), StoreError> {
        let now = self.store.clock().now();
        let begun = self.store.begin_blocks(after, BLOCK, now).await?;
        Ok((begun, self.store.fill_blocks(READ, now).await?))
    }
}
