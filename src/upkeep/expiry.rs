//! Mail ends at its last instant, also while nothing may be claimed for its next hop: a lane that is paused, full or dead
//! is no reason to hear of it later.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::delivery::{LeasedDelivery, RetryPolicy, Settlement};
use crate::domain::id::AttemptId;
use crate::domain::outcome::{AttemptReport, Outcome};
use crate::domain::retry::Schedule;
use crate::domain::shard::Shard;
use crate::domain::stage::Stage;
use crate::shutdown::Shutdown;
use crate::store::queue::expiry::ExpiryClaim;
use crate::store::{OwnedConnection, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// How often what is past its last instant is looked for.
const EVERY: Duration = Duration::from_secs(1);
/// Rows of one statement.
const BATCH: i64 = 200;

/// What ticks.
pub struct Expiry {
    pub store: Store,
    pub owner: Uuid,
    /// How long the lease lasts under which they are ended.
    pub lease: Duration,
    pub events: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Expiry {
    pub async fn run(self, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        while shutdown.pause(self.rng.jitter(EVERY, 0.2)).await {
            if self.store.clock().is_far_off() {
                continue;
            }
            if let Err(error) = self.tick(&mut connection).await {
                tracing::warn!(%error, "mail past its last instant ends at the next tick");
            }
        }
    }

    async fn tick(&self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        for (shard, from) in connection.shards_with_expiring_deliveries().await? {
            while self.end(connection, shard, from).await? == BATCH {}
        }
        Ok(())
    }

    /// Ends some of one shard; gives their number.
    async fn end(&self, connection: &mut OwnedConnection, shard: Shard, from: Timestamp) -> Result<i64, StoreError> {
        let claim = ExpiryClaim { owner: self.owner, token: self.rng.token(), span: self.lease, limit: BATCH };
        let ended: Vec<_> =
            connection.claim_expiring(shard, from, claim).await?.into_iter().map(|row| self.settlement(row)).collect();
        if ended.is_empty() {
            return Ok(0);
        }
        // Should this not be written, their leases run out.
        connection.settle_deliveries(&ended.iter().collect::<Vec<_>>(), &*self.rng).await?;
        for settlement in &ended {
            let status = settlement.transition.status.name();
            self.metrics.settled.with_label_values(&[status]).inc();
            let outcome = &settlement.report.outcome;
            self.metrics.attempts.with_label_values(&[outcome.name(), outcome.class()]).inc();
            let delivery = &settlement.delivery;
            tracing::info!(message.id = %delivery.message, delivery.id = %delivery.recipient, status, attempts = delivery.lease.attempt, "a delivery ended");
        }
        self.events.ring(shard);
        Ok(i64::try_from(ended.len()).unwrap_or(BATCH))
    }

    fn settlement(&self, delivery: LeasedDelivery) -> Settlement {
        let now = self.store.clock().now();
        let report = AttemptReport::without_session(Outcome::Expired, Stage::Expiry);
        // No wait follows from it.
        let policy =
            || RetryPolicy { schedule: Schedule::fallback(), uncertain: Duration::ZERO, uncertain_max: i32::MAX };
        let transition = delivery.conclude(&report.outcome, policy, now, &*self.rng);
        let attempt = AttemptId::new_in(delivery.lease.shard, now, &*self.rng);
        Settlement { attempt, delivery, transition, report, suppression: None, started_at: now, finished_at: now }
    }
}
