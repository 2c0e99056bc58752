//! The worker of deliveries: what it is made of, and what it does with a lease: attempt, conclude, settle, or put off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use super::claims::Claims;
use super::courier::Courier;
use super::holder::Holder;
use super::sandbox::Sandbox;
use super::settler::Settler;
use super::stopped::Stopped;
use super::suppressed;
use super::suspended::Suspended;
use crate::classify::{DEFAULT_SCHEDULE, OUTAGE_SCHEDULE};
use crate::config::Config;
use crate::domain::clock::{Timestamp, next_day};
use crate::domain::delivery::{Hold, LeasedDelivery, RetryPolicy, Settlement};
use crate::domain::hold::HoldReason;
use crate::domain::id::AttemptId;
use crate::domain::lease::Lease;
use crate::domain::outcome::{AttemptReport, Outcome};
use crate::domain::route::SANDBOX_LANE;
use crate::domain::shard::{SHARDS, Shard};
use crate::handover::PlacedDelivery;
use crate::queue::{Claiming, Gate, Work};
use crate::shutdown::Shutdown;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};
use crate::wake::Wake;

/// Deliveries of a shard that become ready at one look.
const RIPE: i64 = 1000;
/// Claims that give nothing, at most, in one pass.
const EMPTY_CLAIMS: usize = 8;
/// How often idle sessions are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// What delivers.
pub struct Deliverer {
    courier: Courier,
    sandbox: Sandbox,
    settler: Settler,
    holder: Holder,
    store: Store,
    wake: Arc<Wake>,
    claims: Claims,
    suspended: Arc<Suspended>,
    /// The least wait after an uncertain try.
    uncertain: Duration,
    uncertain_max: i32,
}

impl Deliverer {
    pub fn new(
        config: &Config,
        courier: Courier,
        (settler, holder): (Settler, Holder),
        store: Store,
        wake: Arc<Wake>,
    ) -> Self {
        let suspended = Arc::<Suspended>::default();
        Self {
            claims: Claims::new(
                Arc::clone(&courier.handover.capacity),
                Arc::clone(&suspended),
                Arc::clone(&courier.metrics),
            ),
            suspended,
            sandbox: Sandbox::new(store.clone(), Arc::clone(&courier.clock), &courier),
            uncertain: config.delivery.uncertain_delay.0,
            uncertain_max: i32::try_from(config.delivery.uncertain_tries).unwrap_or(i32::MAX),
            courier,
            settler,
            holder,
            store,
            wake,
        }
    }

    /// Begins what goes on beside the work: the lanes are swept, and suspended projects looked up.
    pub async fn keep_house(self: &Arc<Self>, shutdown: &Shutdown) {
        if let Err(error) = self.suspended.look(&self.store).await {
            tracing::warn!(%error, "nothing is delivered until it is known which projects are suspended");
        }
        let follow = Arc::clone(&self.suspended).follow(self.store.clone(), shutdown.clone());
        shutdown.keep("suspended projects", follow);
        shutdown.keep("the lanes", Arc::clone(self).sweep(shutdown.clone()));
    }

    /// Closes idle sessions as they grow old, and all of them when stopping; calls back what waits for a budget that has come
    /// back, or for a warm-up that has room after all.
    async fn sweep(self: Arc<Self>, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        loop {
            let is_wanted = tokio::select! {
                goes_on = shutdown.pause(SWEEP) => if goes_on { false } else { break },
                // A connection that is needed goes before those that may be.
                () = self.courier.lanes.wanted() => true,
            };
            self.courier.lanes.sweep(is_wanted).await;
            if let Err(error) = self.recall(&mut connection).await {
                tracing::debug!(%error, "what waits for a budget waits out its time");
            }
        }
        self.courier.lanes.sweep(true).await;
    }

    async fn recall(&self, connection: &mut OwnedConnection) -> Result<(), StoreError> {
        let now = self.courier.clock.now();
        let plan = self.courier.router.traffic.plan();
        for (pool, room) in self.courier.sources.take_regained(&plan.shaping, now.date()) {
            let limit = i64::try_from(room).unwrap_or(i64::MAX);
            let until = next_day(now);
            for shard in connection.recall_held((until, HoldReason::Warmup, pool.as_deref()), limit).await? {
                self.wake.ring(shard);
            }
        }
        let put_off = self.courier.lanes.take_affordable();
        for run in by_shard(put_off, connection.max_shards_per_tx(), |(shard, _)| *shard) {
            for shard in connection.recall_deliveries(&run).await? {
                self.wake.ring(shard);
            }
        }
        Ok(())
    }

    /// The waits that follow from an outcome: those of its class.
    fn retry_policy(&self, outcome: &Outcome) -> RetryPolicy {
        let schedule = match outcome {
            Outcome::Uncertain(_) => OUTAGE_SCHEDULE,
            other => other.trouble().map_or(DEFAULT_SCHEDULE, |trouble| &trouble.action.schedule),
        };
        RetryPolicy {
            schedule: self.courier.router.traffic.plan().classifier.schedule(schedule),
            uncertain: self.uncertain,
            uncertain_max: self.uncertain_max,
        }
    }

    async fn settle(&self, delivery: LeasedDelivery, report: AttemptReport, started_at: Timestamp) {
        let finished_at = self.courier.clock.now();
        let policy = || self.retry_policy(&report.outcome);
        let instant = delivery.instant(finished_at);
        let transition = delivery.conclude(&report.outcome, policy, instant, &*self.courier.rng);
        tracing::debug!(outcome = report.outcome.name(), class = report.outcome.class(), "attempted");
        let attempt = AttemptId::new_in(delivery.lease.shard, finished_at, &*self.courier.rng);
        let suppression = suppressed::of_report(&delivery, &report, finished_at);
        let settlement = Settlement { attempt, delivery, transition, report, suppression, started_at, finished_at };
        self.settler.settle(settlement).await;
    }

    /// Puts a delivery off without a try, or lets go of it: until an instant, or its last one.
    async fn hold(&self, delivery: &LeasedDelivery, until: Instant, why: Option<HoldReason>) {
        let now = self.courier.clock.now();
        let until = match why {
            // To the instant, so that all of them are found if there is room before.
            Some(HoldReason::Warmup) => next_day(now),
            _ => now + until.saturating_duration_since(Instant::now()),
        };
        self.holder.hold(Hold { lease: delivery.lease, until: until.min(delivery.expires_at), why }).await;
    }
}

impl Work for Deliverer {
    type Job = PlacedDelivery;
    const NAME: &'static str = "deliveries";
    const COALESCE: Duration = Duration::from_millis(2);
    const SHARDS_MAX: usize = 64;

    /// Some claims: what one did not look at is looked at by the next.
    fn empty_max(at_once: usize) -> usize {
        (EMPTY_CLAIMS * at_once).max(SHARDS.len())
    }

    fn lease(job: &PlacedDelivery) -> Lease {
        job.delivery.lease
    }

    fn available(&self) -> usize {
        // A machine that does not know what time it is does not know which certificates are valid either.
        let is_unsure = self.store.clock().is_far_off() || self.suspended.projects().is_none();
        if is_unsure { 0 } else { self.courier.handover.capacity.free() }
    }

    fn close(&self) {
        self.courier.handover.capacity.close();
        self.courier.lanes.drain();
    }

    async fn idle(&self) {
        self.courier.handover.capacity.idle().await;
    }

    async fn shards_due(&self, connection: &mut OwnedConnection) -> Result<Vec<Shard>, StoreError> {
        let shards = connection.ready_shards(RIPE).await?;
        self.courier.handover.capacity.only_ready(&shards);
        Ok(shards)
    }

    async fn claim(
        &self,
        connection: &mut OwnedConnection,
        shards: &[Shard],
        claiming: Claiming,
    ) -> Result<(Vec<PlacedDelivery>, Vec<Shard>), StoreError> {
        self.claims.claim(connection, shards, claiming).await
    }

    /// Never: the capacity rings for what found no room.
    fn is_holding_back(&self) -> bool {
        false
    }

    async fn renew(
        connection: &mut OwnedConnection,
        leases: &[Lease],
        span: Duration,
    ) -> Result<Vec<Uuid>, StoreError> {
        connection.renew_deliveries(leases, span).await
    }

    fn span(job: &PlacedDelivery) -> Span {
        let LeasedDelivery { lease, message, recipient, .. } = &job.delivery;
        tracing::info_span!("attempt", message.id = %message, recipient.id = %recipient, attempt = lease.attempt)
    }

    async fn perform(&self, job: PlacedDelivery, gate: Arc<Gate>) {
        let PlacedDelivery { delivery, permit, carried } = job;
        if self.suspended.contains(delivery.project) {
            // It waits in its row, and no claim looks at it.
            Box::pin(self.hold(&delivery, Instant::now(), None)).await;
            return permit.give_up();
        }
        let started_at = self.courier.clock.now();
        let ended = if delivery.next_hop == SANDBOX_LANE {
            // On the heap, as all that is large and seldom: the future of a job is moved about.
            Box::pin(self.sandbox.keep(&delivery, &gate)).await
        } else {
            self.courier.attempt(&delivery, carried, gate).await
        };
        match ended {
            Ok(report) => self.settle(delivery, report, started_at).await,
            Err(Stopped::Reported(report)) => self.settle(delivery, *report, started_at).await,
            Err(Stopped::Held { until, why }) => {
                Box::pin(self.hold(&delivery, until, Some(why))).await;
                return permit.give_up();
            }
            Err(Stopped::Released) => {
                Box::pin(self.hold(&delivery, Instant::now(), None)).await;
                return permit.give_up();
            }
            Err(Stopped::NotOurs) => {}
        }
        drop(permit);
    }
}
