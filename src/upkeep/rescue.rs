//! Leases that ran out: what a dead process had in hand is due again.
//!
//! A process that lives renews what it holds, so its leases run out only while the store is away, or hangs: then nobody's
//! were renewed, and to take them back at once would send again what is being sent. So nothing is rescued until the
//! living have had time to say so, and theirs are left alone for a while more. What this process itself was given and
//! does not have in hand (the answer to a claim was lost) it takes back at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::clock::{Rng, Timestamp};
use crate::domain::shard::Shard;
use crate::queue::InHand;
use crate::store::fleet::processes::LIVE;
use crate::store::{OwnedConnection, Spared, Store, StoreError, Window};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Rows of one statement.
const BATCH: i64 = 200;
/// Time after an outage within which every process that lives gives a sign of life.
const COME_BACK: Duration = Duration::from_secs(3);
/// Time between two ticks beyond which the store was away, or this process was stopped.
const SILENCE: Duration = Duration::from_secs(12);

/// What ticks.
pub struct Rescue {
    pub store: Store,
    /// What this process delivers, and its name in the leases.
    pub in_hand: Arc<InHand>,
    pub owner: Uuid,
    /// How long a lease lasts.
    pub lease: Duration,
    /// For how long beyond its end a lease of a living process is left alone: it may be waiting for the store.
    pub grace: Duration,
    pub deliveries: Arc<Wake>,
    pub webhooks: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
    pub seen: Seen,
}

/// Since when the store has answered without a pause.
#[derive(Debug, Default)]
pub struct Seen {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Seen {
    /// Notes an answer; says whether the living have had time to come back since the last silence.
    fn answered(&mut self) -> bool {
        let now = Instant::now();
        if self.last.is_none_or(|last| now - last > SILENCE) {
            self.since = None;
        }
        self.last = Some(now);
        now - *self.since.get_or_insert(now) >= COME_BACK
    }

    const fn silent(&mut self) {
        self.last = None;
    }
}

impl Rescue {
    /// Rescues until there is nothing to rescue.
    pub async fn tick(&mut self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        let done = self.rescue(connection).await;
        if done.is_err() {
            self.seen.silent();
        }
        done
    }

    async fn rescue(&mut self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        let expired = connection.shards_with_expired_deliveries().await?;
        if !self.seen.answered() {
            return Ok(());
        }
        if !expired.is_empty() {
            let spared = self.spared().await?;
            for (shard, from) in expired {
                self.rescue_deliveries(connection, shard, from, &spared).await?;
            }
        }
        for (shard, from) in connection.shards_with_expired_jobs().await? {
            let rescued = connection.rescue_jobs(shard, Window { skip: 0, limit: BATCH, from }).await?;
            self.metrics.leases_rescued.with_label_values(&["webhooks"]).inc_by(rescued as u64);
            self.webhooks.ring(shard);
        }
        Ok(())
    }

    async fn spared(&self) -> Result<Spared, StoreError> {
        let owners = self.store.process_clocks(LIVE).await?.into_iter().map(|(process, _)| process).collect();
        let in_hand = self.in_hand.older_than(self.lease / 2).iter().map(|lease| lease.id).collect();
        Ok(Spared { owners, grace: self.grace, own: self.owner, in_hand })
    }

    /// Until a batch is short.
    async fn rescue_deliveries(
        &self,
        connection: &mut OwnedConnection,
        shard: Shard,
        from: Timestamp,
        spared: &Spared,
    ) -> Result<(), StoreError> {
        let counter = self.metrics.leases_rescued.with_label_values(&["deliveries"]);
        loop {
            let all = Window { skip: 0, limit: BATCH, from };
            let rescued = match connection.rescue_deliveries(shard, all, spared, &*self.rng).await {
                Err(error) if !error.may_be_of_one_row() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "a rescue was refused; going on row by row");
                    self.rescue_one_by_one(connection, shard, from, spared).await
                }
                Ok(rescued) => rescued,
            };
            if rescued > 0 {
                tracing::warn!(rescued, "deliveries whose lease ran out are due again");
                counter.inc_by(rescued as u64);
                self.deliveries.ring(shard);
            }
            if i64::try_from(rescued).unwrap_or(i64::MAX) < BATCH {
                return Ok(());
            }
        }
    }

    /// A row that cannot be rescued is passed over and does not keep the others.
    async fn rescue_one_by_one(
        &self,
        connection: &mut OwnedConnection,
        shard: Shard,
        from: Timestamp,
        spared: &Spared,
    ) -> usize {
        let (mut rescued, mut skip) = (0, 0);
        while skip < BATCH {
            let one = Window { skip, limit: 1, from };
            match connection.rescue_deliveries(shard, one, spared, &*self.rng).await {
                Ok(0) => break,
                Ok(count) => rescued += count,
                Err(_) => skip += 1,
            }
        }
        rescued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_rescued_until_the_living_could_say_so() {
        let mut seen = Seen::default();
        assert!(!seen.answered());
        tokio::time::advance(COME_BACK).await;
        assert!(seen.answered());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(seen.answered());
        seen.silent();
        assert!(!seen.answered(), "the store was away");
        tokio::time::advance(COME_BACK).await;
        assert!(seen.answered());
        tokio::time::advance(Duration::from_secs(40)).await;
        assert!(!seen.answered(), "nobody could tick");
    }
}
