//! Days' partitions: made before they are needed, dropped when what they hold is old and settled. A loop of
//! its own, since dropping may wait for locks and a rescue may not wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::clock::Rng;
use crate::shutdown::Shutdown;
use crate::store::schema::partitions::Retention;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// How often partitions are looked through.
const EVERY: Duration = Duration::from_mins(5);
/// How often it is said of a partition that it is kept.
const SAY_AGAIN: Duration = Duration::from_hours(24);

/// What ticks.
pub struct Partitions {
    pub store: Store,
    pub retention: Retention,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Partitions {
    pub async fn run(self, shutdown: Shutdown) {
        let mut said = HashMap::new();
        loop {
            if let Err(error) = self.make().await {
                tracing::warn!(%error, "partitions of the next days are made at the next tick");
            }
            if let Err(error) = self.retire(&mut said).await {
                tracing::warn!(%error, "old partitions are dropped at the next tick");
            }
            if !shutdown.pause(self.rng.jitter(EVERY, 0.2)).await {
                return;
            }
        }
    }

    async fn make(&self) -> Result<(), StoreError> {
        let made = self.store.ensure_partitions().await;
        self.metrics.partitions_days_ahead.set(self.store.partition_days_ahead().await?);
        made
    }

    async fn retire(&self, said: &mut HashMap<String, Instant>) -> Result<(), StoreError> {
        if self.store.clock().is_far_off() {
            // One of the two clocks is wrong, and what is dropped does not come back.
            tracing::warn!(
                "nothing is dropped while this machine's clock and the database's differ by more than an hour"
            );
            return Ok(());
        }
        let retired = self.store.retire_partitions(self.retention).await?;
        for partition in retired.dropped {
            tracing::info!(partition, "a partition past its retention was dropped");
        }
        for error in retired.failed {
            tracing::warn!(%error, "an old partition is dropped at the next tick");
        }
        let now = Instant::now();
        said.retain(|partition, at| retired.kept.contains(partition) && now - *at < SAY_AGAIN);
        for partition in retired.kept {
            said.entry(partition).or_insert_with_key(|partition| {
                tracing::info!(partition, "a partition past its retention is kept: it holds unsettled messages");
                now
            });
        }
        Ok(())
    }
}
