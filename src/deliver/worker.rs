//! The worker of deliveries: what it is made of, and what it does with a lease: attempt, conclude, settle, or put off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::attempt::Ended;
use super::claims::Claims;
use super::lanes::{Lanes, Pauses};
use super::loader::Loader;
use super::settler::Settler;
use super::sources::Sources;
use super::tls_counts::TlsCounts;
use crate::classify::{DEFAULT_SCHEDULE, OUTAGE_SCHEDULE};
use crate::config::Config;
use crate::domain::clock::{Chance, Clock};
use crate::domain::delivery::{LeasedDelivery, RetryPolicy, Settlement};
use crate::domain::hold::HoldReason;
use crate::domain::id::AttemptId;
use crate::domain::lease::Lease;
use crate::domain::outcome::{AttemptReport, Outcome};
use crate::domain::shard::Shard;
use crate::handover::{Fresh, Handover};
use crate::net::own::hello_name;
use crate::net::tls::TlsConfigs;
use crate::queue::{Claiming, Work};
use crate::routing::Router;
use crate::shutdown::Shutdown;
use crate::smtp::client::deadlines::Deadlines;
use crate::store::{Link, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Wait before the store is asked again when it was away.
pub(super) const STORE_PAUSE: Duration = Duration::from_millis(500);
/// Deliveries of a shard that become ready at one look.
const RIPE: i64 = 1000;
/// How often idle sessions are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// What delivers.
pub struct Deliverer {
    pub(super) store: Store,
    pub(super) settler: Settler,
    pub(super) loader: Loader,
    pub(super) handover: Arc<Handover>,
    pub(super) router: Arc<Router>,
    pub(super) lanes: Lanes,
    pub(super) sources: Sources,
    pub(super) tls: TlsConfigs,
    pub(super) tls_counts: TlsCounts,
    pub(super) deadlines: Arc<Deadlines>,
    /// Longest time for connecting, and for the greeting, while other peers remain.
    pub(super) failover: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<dyn Chance>,
    pub(super) metrics: Arc<Metrics>,
    claims: Claims,
    uncertain: Duration,
}

/// What a deliverer is made of.
pub struct DelivererParts {
    pub store: Store,
    pub settler: Settler,
    pub loader: Loader,
    pub handover: Arc<Handover>,
    pub router: Arc<Router>,
    pub tls: TlsConfigs,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn Chance>,
    pub metrics: Arc<Metrics>,
}

impl Deliverer {
    pub fn new(config: &Config, parts: DelivererParts) -> Self {
        let delivery = &config.delivery;
        let pauses = Pauses { first: delivery.pause.0, longest: delivery.pause_max.0 };
        Self {
            lanes: Lanes::new(parts.router.traffic.plan(), pauses, delivery.bytes_in_flight.0 >> 10),
            sources: Sources::new(hello_name(&delivery.hello)),
            claims: Claims::new(Arc::clone(&parts.handover.places), Arc::clone(&parts.metrics)),
            deadlines: Arc::new(Deadlines::new(delivery)),
            failover: delivery.timeout_failover.0,
            uncertain: delivery.uncertain_delay.0,
            tls_counts: TlsCounts::default(),
            store: parts.store,
            settler: parts.settler,
            loader: parts.loader,
            handover: parts.handover,
            router: parts.router,
            tls: parts.tls,
            clock: parts.clock,
            chance: parts.chance,
            metrics: parts.metrics,
        }
    }

    /// Closes idle sessions as they grow old, and all of them when stopping.
    pub async fn sweep_sessions(self: Arc<Self>, shutdown: Shutdown) {
        while shutdown.pause(SWEEP).await {
            self.lanes.sweep(false).await;
        }
        self.lanes.sweep(true).await;
    }

    /// The waits that follow from an outcome: those of its class.
    fn retry_policy(&self, outcome: &Outcome) -> RetryPolicy {
        let schedule = match outcome {
            Outcome::Uncertain(_) => OUTAGE_SCHEDULE,
            other => other.trouble().map_or(DEFAULT_SCHEDULE, |trouble| &trouble.action.schedule),
        };
        RetryPolicy { schedule: self.router.traffic.plan().classifier.schedule(schedule), uncertain: self.uncertain }
    }

    async fn settle(
        &self,
        delivery: LeasedDelivery,
        report: AttemptReport,
        started_at: crate::domain::clock::Timestamp,
    ) {
        let finished_at = self.clock.now();
        let policy = || self.retry_policy(&report.outcome);
        let transition = delivery.conclude(&report.outcome, policy, finished_at, &*self.chance);
        tracing::debug!(message = %delivery.message, outcome = report.outcome.name(), class = report.outcome.class(), "attempted");
        let attempt = AttemptId::new(finished_at, &*self.chance);
        self.settler.settle(Settlement { attempt, delivery, transition, report, started_at, finished_at }).await;
    }

    /// Puts a delivery off without a try: until an instant, or its last one.
    async fn hold(&self, delivery: &LeasedDelivery, until: Instant, why: HoldReason) {
        self.metrics.held.with_label_values(&[why.name()]).inc();
        let due = self.clock.now() + until.saturating_duration_since(Instant::now());
        let due = due.min(delivery.expires_at);
        while let Err(error) = self.store.hold_delivery(delivery.lease, due, why).await {
            tracing::warn!(message = %delivery.message, %error, "a delivery could not be put off");
            if !error.is_away() {
                return;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }
}

impl Work for Deliverer {
    type Job = Fresh;
    const NAME: &'static str = "deliveries";
    const EMPTY_MAX: usize = 64;
    const SHARDS_MAX: usize = 64;

    fn lease(job: &Fresh) -> Lease {
        job.delivery.lease
    }

    fn room(&self) -> usize {
        self.handover.places.free()
    }

    fn close(&self) {
        self.handover.places.close();
    }

    async fn idle(&self) {
        self.handover.places.idle().await;
    }

    async fn shards_due(&self, link: &mut Link) -> Result<Vec<Shard>, StoreError> {
        let shards = link.ready_shards(RIPE).await?;
        self.handover.places.only_ready(&shards);
        Ok(shards)
    }

    async fn claim(
        &self,
        link: &mut Link,
        shards: &[Shard],
        claiming: Claiming,
    ) -> Result<(Vec<Fresh>, Vec<Shard>), StoreError> {
        self.claims.claim(link, shards, claiming).await
    }

    /// Never: places ring for what found no room.
    fn is_holding_back(&self) -> bool {
        false
    }

    async fn renew(link: &mut Link, leases: &[Lease], span: Duration) -> Result<Vec<Uuid>, StoreError> {
        link.renew_deliveries(leases, span).await
    }

    async fn perform(&self, job: Fresh) {
        let Fresh { delivery, place, carried } = job;
        let started_at = self.clock.now();
        match self.attempt(&delivery, carried).await {
            Ended::Tried(report) => self.settle(delivery, report, started_at).await,
            Ended::Held { until, why } => {
                Box::pin(self.hold(&delivery, until, why)).await;
                return place.give_up();
            }
            Ended::NotOurs => {}
        }
        drop(place);
    }
}
