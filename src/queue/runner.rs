//! The loop of one queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{Gate, InHand};
use crate::domain::clock::Rng;
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::shutdown::Shutdown;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Handed-over jobs that are started at once.
const INTAKE: usize = 64;
/// A claim that takes longer is one of a store that is far away: more are claimed at once.
const FAR: Duration = Duration::from_millis(25);
/// Jobs of one claim of a store that is far away.
const BATCH_FAR: usize = 1000;
/// Wait after a store error.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// A claim about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Claiming {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    pub limit: usize,
}

/// A queue: how its rows are claimed and renewed, and how a job is performed.
pub trait Work: Send + Sync + 'static {
    type Job: Send + 'static;
    /// The queue's name in logs and metrics.
    const NAME: &'static str;
    /// After a job ends while others wait for its place, others that end too are waited for this long.
    const COALESCE: Duration;
    /// Shards that gave nothing, asked in one pass before the next signal is waited for, where one claim looks at so many.
    fn empty_max(at_once: usize) -> usize;

    fn lease(job: &Self::Job) -> Lease;

    /// How many jobs may be claimed now. A job holds its place until it is dropped.
    fn available(&self) -> usize;

    /// Takes nothing that was not claimed any more.
    fn close(&self) {}

    /// Waits until no place is taken.
    fn idle(&self) -> impl Future<Output = ()> + Send;

    /// The shards that have something due.
    fn shards_due(
        &self,
        connection: &mut OwnedConnection,
    ) -> impl Future<Output = Result<Vec<Shard>, StoreError>> + Send;

    /// How many shards one claim looks at, as far as one transaction may: fairness holds within a claim.
    const SHARDS_MAX: usize;

    /// Claims due jobs of these shards, leaving out lanes that are full. Also says which may have more.
    fn claim(
        &self,
        connection: &mut OwnedConnection,
        shards: &[Shard],
        claiming: Claiming,
    ) -> impl Future<Output = Result<(Vec<Self::Job>, Vec<Shard>), StoreError>> + Send;

    /// Whether due rows may have been left out of a claim without anybody ringing for them later.
    fn is_holding_back(&self) -> bool;

    /// Puts off the expiry of leases; returns the ids that are still ours.
    fn renew(
        connection: &mut OwnedConnection,
        leases: &[Lease],
        span: Duration,
    ) -> impl Future<Output = Result<Vec<Uuid>, StoreError>> + Send;

    /// What names a job in the logs, while it is performed.
    fn span(job: &Self::Job) -> Span;

    /// Performs a job and settles it. It asks the gate right before what cannot be taken back.
    fn perform(&self, job: Self::Job, gate: Arc<Gate>) -> impl Future<Output = ()> + Send;
}

/// How a queue works.
#[derive(Debug, Clone, Copy)]
pub struct QueueSettings {
    /// How long a lease lasts unless it is renewed.
    pub lease: Duration,
    /// How often the store is asked although nothing was signalled.
    pub poll: Duration,
    /// Jobs of one claim, where the store is near.
    pub batch: usize,
}

/// A queue about to be run.
pub struct Runner<W: Work> {
    pub work: Arc<W>,
    pub store: Store,
    pub wake: Arc<Wake>,
    /// Jobs that come with a lease, from where they were made.
    pub fresh: Option<mpsc::UnboundedReceiver<W::Job>>,
    pub settings: QueueSettings,
    /// What is performed now.
    pub in_hand: Arc<InHand>,
    /// Names this process in the leases.
    pub owner: Uuid,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

/// A queue being run.
struct Running<W: Work> {
    runner: Runner<W>,
    starter: Starter<W>,
}

/// Starts jobs, and holds their leases while they go on.
struct Starter<W: Work> {
    work: Arc<W>,
    in_hand: Arc<InHand>,
    metrics: Arc<Metrics>,
}

impl<W: Work> Clone for Starter<W> {
    fn clone(&self) -> Self {
        let Self { work, in_hand, metrics } = self;
        Self { work: Arc::clone(work), in_hand: Arc::clone(in_hand), metrics: Arc::clone(metrics) }
    }
}

impl<W: Work> Runner<W> {
    /// Starts the loop and the renewal of its leases. After the soft token nothing is claimed; what is
    /// in hand goes on until it is done or the hard token falls.
    pub fn start(mut self, shutdown: &Shutdown) {
        let (work, in_hand) = (Arc::clone(&self.work), Arc::clone(&self.in_hand));
        let starter = Starter { work, in_hand, metrics: Arc::clone(&self.metrics) };
        shutdown.keep(
            "the renewal of leases",
            starter.clone().renew_while_held(self.store.connection(), self.settings.lease, shutdown.clone()),
        );
        if let Some(fresh) = self.fresh.take() {
            shutdown.keep("the intake", starter.clone().take_in(fresh, shutdown.clone()));
        }
        shutdown.keep("a queue", Running { runner: self, starter }.run(shutdown.clone()));
    }
}

impl<W: Work> Running<W> {
    async fn run(self, shutdown: Shutdown) {
        let Runner { rng, settings, wake, work, .. } = &self.runner;
        let mut connection = self.runner.store.claiming_connection();
        // Shards that may have more due than could be taken.
        let mut pending: VecDeque<Shard> = VecDeque::new();
        let mut batch = Batch { least: settings.batch, now: settings.batch };
        let mut next_poll = Instant::now();
        loop {
            let polled = if Instant::now() >= next_poll {
                next_poll = Instant::now() + rng.jitter(settings.poll, 0.2);
                work.shards_due(&mut connection).await
            } else {
                Ok(Vec::new())
            };
            let claimed = match polled {
                Ok(shards) => {
                    for shard in shards {
                        if !pending.contains(&shard) {
                            pending.push_back(shard);
                        }
                    }
                    // Fresh work goes before shards that a full lane keeps pending.
                    for shard in wake.take() {
                        pending.retain(|waiting| *waiting != shard);
                        pending.push_front(shard);
                    }
                    self.claim_pending(&mut connection, &mut pending, &mut batch, &shutdown).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = claimed {
                tracing::warn!(queue = W::NAME, %error, "the queue cannot be read");
                if !shutdown.pause(STORE_PAUSE).await {
                    break;
                }
                next_poll = Instant::now();
                continue;
            }
            tokio::select! {
                () = shutdown.soft.cancelled() => break,
                () = wake.rung() => {
                    if !pending.is_empty() {
                        tokio::time::sleep(W::COALESCE).await;
                    }
                }
                () = tokio::time::sleep_until(next_poll) => {}
            }
        }
    }

    /// Claims from pending shards while there is room, in turn. A shard stays pending while it may
    /// have more: its claim came back full, or rows were left out.
    async fn claim_pending(
        &self,
        connection: &mut OwnedConnection,
        pending: &mut VecDeque<Shard>,
        batch: &mut Batch,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        let Runner { work, rng, settings, owner, .. } = &self.runner;
        let mut empty = 0;
        let at_once = W::SHARDS_MAX.min(connection.max_shards_per_tx());
        let empty_max = W::empty_max(at_once);
        while !pending.is_empty() {
            let limit = work.available().min(batch.now);
            if limit == 0 || empty >= empty_max || shutdown.soft.is_cancelled() {
                return Ok(());
            }
            let shards: Vec<Shard> = pending.drain(..at_once.min(pending.len())).collect();
            let claiming = Claiming { owner: *owner, token: rng.token(), span: settings.lease, limit };
            let began = Instant::now();
            let (jobs, more) = match work.claim(connection, &shards, claiming).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    pending.extend(shards);
                    return Err(error);
                }
            };
            pending.extend(if work.is_holding_back() { shards.clone() } else { more });
            batch.learn(jobs.len(), began.elapsed());
            empty = if jobs.is_empty() { empty + shards.len() } else { 0 };
            for job in jobs {
                self.starter.start(job, shutdown);
            }
        }
        Ok(())
    }
}

/// How much is claimed at once: what a round trip costs is paid for each claim, however near or far the store is.
struct Batch {
    least: usize,
    now: usize,
}

impl Batch {
    /// Learns from a claim.
    fn learn(&mut self, claimed: usize, took: Duration) {
        if claimed >= self.now && took > FAR {
            self.now = (self.now * 2).min(BATCH_FAR.max(self.least));
        } else if claimed < self.now / 4 || took < FAR / 2 {
            self.now = (self.now / 2).max(self.least);
        }
    }
}

impl<W: Work> Starter<W> {
    fn start(&self, job: W::Job, shutdown: &Shutdown) {
        let lease = W::lease(&job);
        let Some(gate) = self.in_hand.insert(lease) else {
            tracing::warn!(queue = W::NAME, job.id = %lease.id, "a job that is in hand was claimed again; it is not started twice");
            return;
        };
        let gauge = self.metrics.in_hand.with_label_values(&[W::NAME]);
        gauge.inc();
        let (work, in_hand) = (Arc::clone(&self.work), Arc::clone(&self.in_hand));
        let end = OnDrop(Some(move || {
            in_hand.remove(&lease);
            gauge.dec();
        }));
        // On the heap at once: a large future would be moved from hand to hand.
        let span = W::span(&job);
        let performed = async move {
            work.perform(job, gate).await;
            drop(end);
        };
        shutdown.spawn(Box::pin(performed.instrument(span)));
    }

    /// Waits until this process is stopping and has nothing in hand.
    async fn done(&self, shutdown: &Shutdown) {
        shutdown.soft.cancelled().await;
        self.work.close();
        self.work.idle().await;
    }

    /// Starts what is handed over, until stopping and nothing more can come.
    async fn take_in(self, mut fresh: mpsc::UnboundedReceiver<W::Job>, shutdown: Shutdown) {
        let mut jobs = Vec::with_capacity(INTAKE);
        loop {
            tokio::select! {
                () = self.done(&shutdown) => {
                    // What was handed over meanwhile holds leases: it says itself what becomes of it.
                    fresh.close();
                    while let Ok(job) = fresh.try_recv() {
                        self.start(job, &shutdown);
                    }
                    return;
                }
                count = fresh.recv_many(&mut jobs, INTAKE) => {
                    if count == 0 {
                        return;
                    }
                    for job in jobs.drain(..) {
                        self.start(job, &shutdown);
                    }
                }
            }
        }
    }

    /// Renews every third of a lease what has been held that long, until stopping and nothing is held.
    async fn renew_while_held(self, mut connection: OwnedConnection, span: Duration, shutdown: Shutdown) {
        let third = span / 3;
        loop {
            tokio::select! {
                () = self.done(&shutdown) => return,
                () = tokio::time::sleep(third / 2) => {}
            }
            let leases = self.in_hand.older_than(third);
            for run in by_shard(leases, connection.max_shards_per_tx(), |lease| lease.shard) {
                match W::renew(&mut connection, &run, span).await {
                    Ok(still_ours) => {
                        let lost = self.in_hand.renewed(&run, &still_ours);
                        self.metrics.leases_lost.with_label_values(&[W::NAME]).inc_by(lost as u64);
                    }
                    Err(error) => tracing::warn!(queue = W::NAME, %error, "leases could not be renewed"),
                }
            }
        }
    }
}

/// Runs once when dropped: a job that panics is no longer in hand either.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_grows_with_the_way_to_the_store_and_shrinks_again() {
        let mut batch = Batch { least: 100, now: 100 };
        batch.learn(100, FAR / 4);
        assert_eq!(batch.now, 100, "near");
        for _ in 0..9 {
            batch.learn(batch.now, FAR * 4);
        }
        assert_eq!(batch.now, BATCH_FAR);
        batch.learn(10, FAR * 4);
        assert_eq!(batch.now, BATCH_FAR / 2, "there is not as much");
        for _ in 0..9 {
            batch.learn(batch.now, FAR / 4);
        }
        assert_eq!(batch.now, 100);
    }
}
