//! Mail of projects that were suspended and whose mail is to be cancelled: what nobody has in hand ends, in batches.
//!
//! What is ready, or scheduled, is looked for at each tick; what waits for its next try is walked through once, and otherwise
//! ends when its time comes. What is in hand is finished by whoever has it, and ends here if it was put off.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::{Rng, Timestamp};
use crate::domain::id::ProjectId;
use crate::domain::quota::MailFate;
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::Shard;
use crate::shutdown::Shutdown;
use crate::store::mail::unsent::Unsent;
use crate::store::queue::cancel::Unclaimed;
use crate::store::queue::cancel_project::Waiting;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// How often suspended projects are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// Rows of one statement.
const BATCH: usize = 200;
/// Waiting rows of one look.
const LOOK: usize = 1000;
/// The least step of a walk by time: instants are kept to the microsecond.
const STEP: Duration = Duration::from_micros(1);

/// What ticks.
pub struct Cancellation {
    pub store: Store,
    pub events: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Cancellation {
    pub async fn run(self, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        // Projects of whose mail nothing waits any more.
        let mut walked = HashSet::new();
        while shutdown.pause(self.rng.jitter(EVERY, 0.2)).await {
            if let Err(error) = self.tick(&mut connection, &mut walked, &shutdown).await {
                tracing::warn!(%error, "mail of suspended projects is cancelled at the next tick");
            }
        }
    }

    async fn tick(
        &self,
        connection: &mut OwnedConnection,
        walked: &mut HashSet<ProjectId>,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        let suspended = self.store.list_suspended().await?;
        let cancelled: HashSet<_> =
            suspended.into_iter().filter(|(_, fate)| *fate == MailFate::Cancel).map(|(project, _)| project).collect();
        walked.retain(|project| cancelled.contains(project));
        for project in &cancelled {
            self.cancel_ready(connection, *project, shutdown).await?;
            self.cancel_scheduled(connection, *project, shutdown).await?;
        }
        let news: HashSet<_> = cancelled.difference(walked).copied().collect();
        if !news.is_empty() {
            for shard in Shard::all() {
                self.cancel_waiting(connection, shard, &news, shutdown).await?;
            }
            if !shutdown.soft.is_cancelled() {
                walked.extend(news);
            }
        }
        Ok(())
    }

    async fn cancel_ready(
        &self,
        connection: &mut OwnedConnection,
        project: ProjectId,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        for shard in connection.shards_with_ready_of(project).await? {
            loop {
                let ready = connection.ready_of(shard, project, i64::try_from(BATCH).unwrap_or(1)).await?;
                // None could be cancelled: others have them in hand.
                let is_done = self.cancel(connection, shard, &ready).await? == 0;
                if is_done || shutdown.soft.is_cancelled() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn cancel_scheduled(
        &self,
        connection: &mut OwnedConnection,
        project: ProjectId,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        while !shutdown.soft.is_cancelled() {
            let found = connection.scheduled_of(project, i64::try_from(BATCH).unwrap_or(1)).await?;
            if found.is_empty() {
                return Ok(());
            }
            for run in by_shard(found, 1, |message| message.id.shard()) {
                let ended =
                    self.store.end_scheduled(&run.iter().collect::<Vec<_>>(), &Unsent::Cancelled, &*self.rng).await?;
                self.tell(run[0].id.shard(), ended.recipients);
            }
        }
        Ok(())
    }

    async fn cancel_waiting(
        &self,
        connection: &mut OwnedConnection,
        shard: Shard,
        projects: &HashSet<ProjectId>,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        let mut from = Timestamp::UNIX_EPOCH;
        while !shutdown.soft.is_cancelled() {
            let waiting = connection.waiting_from(shard, from, i64::try_from(LOOK).unwrap_or(1)).await?;
            let theirs: Vec<_> =
                waiting.iter().filter(|row| projects.contains(&row.project)).map(|row| row.delivery).collect();
            for batch in theirs.chunks(BATCH) {
                self.cancel(connection, shard, batch).await?;
            }
            match waiting.as_slice() {
                [first, .., last] if waiting.len() == LOOK => from = next(first, last),
                _ => break,
            }
        }
        Ok(())
    }

    /// Gives the number of those that ended.
    async fn cancel(
        &self,
        connection: &mut OwnedConnection,
        shard: Shard,
        deliveries: &[Unclaimed],
    ) -> Result<u64, StoreError> {
        if deliveries.is_empty() {
            return Ok(0);
        }
        let cancelled = connection.cancel_unclaimed(shard, deliveries, &*self.rng).await?;
        let count = cancelled.len() as u64;
        self.tell(shard, count);
        Ok(count)
    }

    fn tell(&self, shard: Shard, recipients: u64) {
        self.metrics.settled.with_label_values(&[RecipientStatus::Cancelled.name()]).inc_by(recipients);
        self.events.ring(shard);
    }
}

/// Where a walk goes on. Should a whole look lie in one instant, the rest of it ends when its time comes.
fn next(first: &Waiting, last: &Waiting) -> Timestamp {
    if first.due_at == last.due_at { last.due_at + STEP } else { last.due_at }
}
