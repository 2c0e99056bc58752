//! The processes that deliver from one store: each says that it lives, divides the limits of next hops by how many do,
//! and tells the others how its lanes stand.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::courier::Courier;
use super::lanes::{Lanes, ProcessShare};
use super::outcome_counts::OutcomeCounts;
use super::sources::Sources;
use super::tls_counts::TlsCounts;
use crate::domain::clock::Clock;
use crate::handover::Handover;
use crate::routing::Router;
use crate::shutdown::Shutdown;
use crate::store::fleet::processes::{LIVE, Members};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Interval between two signs of life of a process.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Maximum time that a new process waits until all others count it: one that gave no sign of life meanwhile is dead.
const JOIN: Duration = Duration::from_millis(1500);
const JOIN_LOOK: Duration = Duration::from_millis(100);
/// Beats between two reports of lanes and counters.
const REPORT_EVERY: u32 = 2;

/// This process among the others.
pub struct Fleet {
    process: Uuid,
    store: Store,
    lanes: Arc<Lanes>,
    sources: Arc<Sources>,
    tls_counts: Arc<TlsCounts>,
    outcomes: Arc<OutcomeCounts>,
    router: Arc<Router>,
    handover: Arc<Handover>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Fleet {
    /// Speaks for what `courier` carries.
    pub fn new(courier: &Courier, store: Store) -> Self {
        Self {
            process: courier.handover.owner,
            store,
            lanes: Arc::clone(&courier.lanes),
            sources: Arc::clone(&courier.sources),
            tls_counts: Arc::clone(&courier.tls_counts),
            outcomes: Arc::clone(&courier.outcomes),
            router: Arc::clone(&courier.router),
            handover: Arc::clone(&courier.handover),
            clock: Arc::clone(&courier.clock),
            metrics: Arc::clone(&courier.metrics),
        }
    }

    /// Enters the list. `true`: no other process is on it, or it cannot be read, and there is none to wait for.
    pub async fn enter(&self) -> bool {
        match self.store.heartbeat(self.process, LIVE).await {
            Ok(members) => {
                self.adopt(&members);
                members.live.len() <= 1
            }
            Err(error) => {
                tracing::warn!(%error, "the list of delivering processes cannot be read");
                true
            }
        }
    }

    /// Waits until every other live process has seen this one on the list: from then on they keep to their parts.
    pub async fn wait_for_others(&self) {
        let began = Instant::now();
        while began.elapsed() < JOIN {
            match self.store.is_known_to_others(self.process, LIVE).await {
                Ok(false) => tokio::time::sleep(JOIN_LOOK).await,
                _ => return,
            }
        }
    }

    /// Beats until the service stops, and then leaves the list.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut heartbeat = 0_u32;
        let mut had_lanes = false;
        while shutdown.pause(HEARTBEAT).await {
            match self.store.heartbeat(self.process, LIVE).await {
                Ok(members) => self.adopt(&members),
                // The others count on us until we have been silent for long: so do we on them.
                Err(error) => tracing::debug!(%error, "no sign of life could be given"),
            }
            heartbeat = heartbeat.wrapping_add(1);
            if heartbeat.is_multiple_of(REPORT_EVERY)
                && let Err(error) = self.report(&mut had_lanes).await
            {
                tracing::debug!(%error, "lanes and counters could not be told");
            }
        }
        // What is in hand still counts against the limits.
        let idle = self.handover.capacity.idle();
        tokio::pin!(idle);
        while tokio::time::timeout(HEARTBEAT, &mut idle).await.is_err() {
            let _ = self.store.heartbeat(self.process, LIVE).await;
        }
        let _ = self.report(&mut had_lanes).await;
        let _ = self.store.leave_fleet(self.process).await;
    }

    fn adopt(&self, members: &Members) {
        let rank = members.live.iter().position(|id| *id == self.process).unwrap_or(0);
        let share = ProcessShare { rank, of: members.live.len().max(1) };
        self.metrics.fleet.set(i64::try_from(share.of).unwrap_or(i64::MAX));
        if self.lanes.share(share) {
            self.handover.capacity.resume_left_to_others();
        }
    }

    /// Lanes that are not simply open, what was sent from where, and TLS sessions. `had_lanes`: some lane was told of last
    /// time, so that its end is news too.
    async fn report(&self, had_lanes: &mut bool) -> Result<(), StoreError> {
        let Self { store, lanes, sources, tls_counts, outcomes, clock, metrics, .. } = self;
        let states = lanes.snapshot();
        metrics.lanes.reset();
        for state in &states {
            metrics.lanes.with_label_values(&[state.phase.name()]).inc();
        }
        if *had_lanes || !states.is_empty() {
            store.put_lane_states(self.process, &states).await?;
            *had_lanes = !states.is_empty();
        }
        let today = clock.now().date();
        let plan = self.router.traffic.plan();
        let processes = u64::try_from(metrics.fleet.get()).unwrap_or(1);
        sources.report(store, &plan.shaping, (today, processes)).await?;
        let counted = outcomes.take();
        store.add_outcomes(&counted).await.inspect_err(|_| outcomes.put_back(counted))?;
        let counts = tls_counts.take();
        if counts.is_empty() {
            return Ok(());
        }
        store.add_tls_counts(&counts).await.inspect_err(|_| tls_counts.put_back(counts))
    }
}
