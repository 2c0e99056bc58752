//! Ticks that keep the house: leases that ran out, idempotency keys past their day, counters and policies past their use,
//! days' partitions, gauges. Every process may tick; each tick is harmless twice.

mod partitions;
mod timekeeper;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Rng;
use crate::domain::shard::Shard;
use crate::shutdown::Shutdown;
use crate::store::{OwnedConnection, Store, StoreError, Window};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

pub use partitions::Partitions;
pub use timekeeper::Timekeeper;

/// How often leases are looked through.
const RESCUE: Duration = Duration::from_secs(5);
/// Rescues between two clean-ups.
const CLEAN_EVERY: u32 = 12;
/// Rescues between two removals of what the fleet remembers: about an hour.
const PRUNE_EVERY: u32 = 720;
/// Rows of one statement.
const BATCH: i64 = 200;
/// Due rows are counted up to this.
const COUNT_BOUND: i64 = 10_000;

/// What ticks.
pub struct Upkeep {
    pub store: Store,
    pub deliveries: Arc<Wake>,
    pub webhooks: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Upkeep {
    pub async fn run(self, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        let mut tick = 0_u32;
        loop {
            if let Err(error) = self.tick(&mut connection, tick).await {
                tracing::warn!(%error, "upkeep goes on at its next tick");
            }
            tick = tick.wrapping_add(1);
            if !shutdown.pause(self.rng.jitter(RESCUE, 0.2)).await {
                return;
            }
        }
    }

    async fn tick(&self, connection: &mut OwnedConnection, tick: u32) -> Result<(), StoreError> {
        self.rescue_deliveries(connection).await?;
        self.rescue_webhooks(connection).await?;
        let due = connection.count_due_deliveries(COUNT_BOUND).await?;
        self.metrics.queue_due.with_label_values(&["deliveries"]).set(due.rows);
        let oldest = i64::try_from(due.oldest.as_secs()).unwrap_or(i64::MAX);
        self.metrics.queue_oldest_due_seconds.with_label_values(&["deliveries"]).set(oldest);
        if tick.is_multiple_of(CLEAN_EVERY) {
            connection.prune_idempotency_keys(BATCH).await?;
        }
        if tick.is_multiple_of(PRUNE_EVERY) {
            self.store.prune_tls_counts().await?;
            self.store.prune_source_usage().await?;
            self.store.prune_sts_policies().await?;
        }
        Ok(())
    }

    async fn rescue_deliveries(&self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        let counter = self.metrics.leases_rescued.with_label_values(&["deliveries"]);
        for shard in connection.shards_with_expired_deliveries().await? {
            let all = Window { skip: 0, limit: BATCH };
            let rescued = match connection.rescue_deliveries(shard, all, &*self.rng).await {
                Err(error) if error.is_away() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "a rescue was refused; going on row by row");
                    self.rescue_one_by_one(connection, shard).await
                }
                Ok(rescued) => rescued,
            };
            if rescued > 0 {
                tracing::warn!(rescued, "deliveries whose lease ran out are due again");
                counter.inc_by(rescued as u64);
                self.deliveries.ring(shard);
            }
        }
        Ok(())
    }

    /// A row that cannot be rescued is passed over and does not keep the others.
    async fn rescue_one_by_one(&self, connection: &mut OwnedConnection, shard: Shard) -> usize {
        let (mut rescued, mut skip) = (0, 0);
        while skip < BATCH {
            let one = Window { skip, limit: 1 };
            match connection.rescue_deliveries(shard, one, &*self.rng).await {
                Ok(0) => break,
                Ok(count) => rescued += count,
                Err(_) => skip += 1,
            }
        }
        rescued
    }

    async fn rescue_webhooks(&self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        for shard in connection.shards_with_expired_jobs().await? {
            let rescued = connection.rescue_jobs(shard, Window { skip: 0, limit: BATCH }).await?;
            self.metrics.leases_rescued.with_label_values(&["webhooks"]).inc_by(rescued as u64);
            self.webhooks.ring(shard);
        }
        Ok(())
    }
}
