//! Ticks that keep the house: leases that ran out, mail past its last instant, idempotency keys past their day, suppressions past their time, counters
//! and policies past their use, days' partitions, gauges. Every process may tick; each tick is harmless twice.

mod blocks;
mod cancel;
mod erase;
mod expiry;
mod partitions;
mod purge;
mod rescue;
mod timekeeper;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::{Clock, Rng};
use crate::shutdown::Shutdown;
use crate::store::fleet::snapshots::{HeldSnapshot, SNAPSHOT_LONG};
use crate::store::{OwnedConnection, Store, StoreError};
use crate::telemetry::metrics::Metrics;

pub use blocks::Blocks;
pub use cancel::Cancellation;
pub use erase::Erasing;
pub use expiry::Expiry;
pub use partitions::Partitions;
pub use purge::Purge;
pub use rescue::{Rescue, Seen};
pub use timekeeper::Timekeeper;

/// How often leases are looked through.
const RESCUE: Duration = Duration::from_secs(5);
/// Rescues between two clean-ups.
const CLEAN_EVERY: u32 = 12;
/// Rescues between two removals of what the fleet remembers: about an hour.
const PRUNE_EVERY: u32 = 720;
/// Rows of one statement.
const BATCH: i64 = 200;

/// What ticks.
pub struct Upkeep {
    pub store: Store,
    pub rescue: Rescue,
    /// How long uploads are kept that nobody names.
    pub uploads: Duration,
    /// How long reports that came back are kept.
    pub reports: Duration,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Upkeep {
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        let mut tick = 0_u32;
        loop {
            // What one part meets keeps no other from its work.
            let rescued = self.rescue.tick(&mut connection).await;
            let counted = self.count(&mut connection).await;
            let cleaned = self.clean(&mut connection, tick).await;
            let looked = self.look_for_snapshots(tick).await;
            for error in [rescued, counted, cleaned, looked].into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "upkeep goes on at its next tick");
            }
            tick = tick.wrapping_add(1);
            if !shutdown.pause(self.rng.jitter(RESCUE, 0.2)).await {
                return;
            }
        }
    }

    async fn count(&self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        let oldest = connection.oldest_due().await?;
        let oldest = i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX);
        self.metrics.queue_oldest_due_seconds.with_label_values(&["deliveries"]).set(oldest);
        Ok(())
    }

    /// A held snapshot is the queue's enemy: whoever holds one is told of, once a minute.
    async fn look_for_snapshots(&self, tick: u32) -> Result<(), StoreError> {
        let HeldSnapshot { age, holder } = self.store.oldest_snapshot().await?.unwrap_or_default();
        self.metrics.store_oldest_snapshot_seconds.set(age.as_secs_f64());
        if age > SNAPSHOT_LONG && tick.is_multiple_of(CLEAN_EVERY) {
            tracing::warn!(
                seconds = age.as_secs(),
                holder,
                "a snapshot of the database is held for long: what was settled since is not cleared away"
            );
        }
        Ok(())
    }

    async fn clean(&self, connection: &mut OwnedConnection, tick: u32) -> Result<(), StoreError> {
        if tick.is_multiple_of(CLEAN_EVERY) {
            connection.prune_idempotency_keys(BATCH).await?;
            connection.prune_suppressions(BATCH).await?;
            let now = self.store.clock().now();
            while connection.retire_uploads(now - self.uploads, BATCH).await? == BATCH.unsigned_abs() {}
            let standing = self.store.watch_projects(&*self.rng).await?;
            self.metrics.project_alarms.set(i64::try_from(standing).unwrap_or(i64::MAX));
        }
        if tick.is_multiple_of(PRUNE_EVERY) {
            let before = self.store.clock().now() - self.reports;
            while self.store.forget_reports(before, BATCH).await? == BATCH.unsigned_abs() {}
            while self.store.forget_aggregates(BATCH).await? == BATCH.unsigned_abs() {}
            self.store.prune_tls_counts().await?;
            self.store.prune_outcomes().await?;
            self.store.prune_warmups().await?;
            self.store.prune_quota_usage().await?;
            self.store.prune_sts_policies().await?;
        }
        Ok(())
    }
}
