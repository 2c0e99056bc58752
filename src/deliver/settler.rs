//! Outcomes on their way to disk: taken in batches, and held until the store has them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::domain::clock::Rng;
use crate::domain::delivery::Settlement;
use crate::domain::outcome::OutcomeKind;
use crate::domain::recipient::RecipientStatus;
use crate::shutdown::Shutdown;
use crate::store::patience::answered;
use crate::store::queue::settle::Settled;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Outcomes in one commit.
const BATCH: usize = 256;
/// Tasks that write outcomes, each with a connection.
const TASKS: usize = 2;
/// How long a first outcome waits for others, so that one commit serves many.
const LINGER: Duration = Duration::from_millis(5);
/// Wait before outcomes are offered again to a store that was away.
const PAUSE: Duration = Duration::from_millis(200);

struct Entry {
    settlement: Settlement,
    done: oneshot::Sender<()>,
}

/// The workers' side.
#[derive(Clone)]
pub struct Settler {
    entries: mpsc::Sender<Entry>,
}

/// What the settling tasks need.
pub struct SettlerParts {
    /// Rung for webhook jobs that were written.
    pub webhooks: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Settler {
    pub fn start(store: &Store, parts: SettlerParts, shutdown: &Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        let receiver = Arc::new(Mutex::new(receiver));
        let parts = Arc::new(parts);
        for _ in 0..TASKS {
            let task =
                Task { entries: Arc::clone(&receiver), connection: store.connection(), parts: Arc::clone(&parts) };
            shutdown.spawn(task.run());
        }
        Self { entries: sender }
    }

    /// Returns once the outcome is on disk, or found to be no longer ours to write.
    pub async fn settle(&self, settlement: Settlement) {
        let (done, settled) = oneshot::channel();
        if self.entries.send(Entry { settlement, done }).await.is_ok() {
            // An error means that the service is stopping hard: the lease will run out.
            let _ = settled.await;
        }
    }
}

struct Task {
    entries: Arc<Mutex<mpsc::Receiver<Entry>>>,
    connection: OwnedConnection,
    parts: Arc<SettlerParts>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            if !self.gather(&mut batch).await {
                return;
            }
            let max = self.connection.max_shards_per_tx();
            for run in by_shard(batch, max, |entry| entry.settlement.delivery.lease.shard) {
                self.write_run(run).await;
            }
        }
    }

    /// Takes what comes within [`LINGER`] of the first, up to [`BATCH`]; `false` at the end.
    async fn gather(&self, batch: &mut Vec<Entry>) -> bool {
        let mut entries = self.entries.lock().await;
        if entries.recv_many(batch, BATCH).await == 0 {
            return false;
        }
        let end = tokio::time::Instant::now() + LINGER;
        while batch.len() < BATCH {
            match tokio::time::timeout_at(end, entries.recv_many(batch, BATCH - batch.len())).await {
                Ok(count) if count > 0 => {}
                _ => break,
            }
        }
        true
    }

    async fn write_run(&mut self, run: Vec<Entry>) {
        let (settlements, done): (Vec<_>, Vec<_>) = run.into_iter().map(|e| (e.settlement, e.done)).unzip();
        match self.write_until_taken(&settlements).await {
            Ok(()) => {}
            Err(error) if settlements.len() == 1 => give_up(&settlements[0], &error),
            // One bad row fails only itself.
            Err(error) => {
                tracing::error!(%error, "a batch of outcomes was refused; writing it row by row");
                for settlement in &settlements {
                    // What was written before the refusal is found to be settled already.
                    if let Err(error) = self.write_until_taken(std::slice::from_ref(settlement)).await {
                        give_up(settlement, &error);
                    }
                }
            }
        }
        for done in done {
            // The worker may have been stopped; its outcome is on disk all the same.
            let _ = done.send(());
        }
    }

    /// Offers outcomes until the store answers; returns only errors that a repetition cannot mend. What the
    /// store did not take in time is offered in smaller parts.
    async fn write_until_taken(&mut self, settlements: &[Settlement]) -> Result<(), StoreError> {
        let (mut rest, mut part) = (settlements, settlements.len());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(part.min(rest.len()));
            let settled = self.connection.settle_deliveries(now, &*self.parts.rng).await;
            let Some(settled) = answered(PAUSE, "outcomes to be written", settled).await else {
                part = (part / 2).max(1);
                continue;
            };
            self.count(now, &settled?);
            rest = later;
        }
        Ok(())
    }

    fn count(&self, settlements: &[Settlement], settled: &Settled) {
        let Settled { lost, webhook_jobs } = settled;
        let metrics = &self.parts.metrics;
        metrics.settle_batch.observe(settlements.len() as f64);
        metrics.leases_lost.with_label_values(&["deliveries"]).inc_by(lost.len() as u64);
        for settlement in settlements {
            let outcome = &settlement.report.outcome;
            metrics.attempts.with_label_values(&[outcome.name(), outcome.class()]).inc();
            let provider = settlement.report.provider.as_deref().unwrap_or(crate::classify::OTHER);
            metrics.attempts_by_provider.with_label_values(&[provider, outcome.name()]).inc();
            if outcome.kind() == OutcomeKind::Uncertain {
                metrics.uncertain.inc();
            }
            if lost.contains(&settlement.delivery.recipient) {
                tracing::warn!(message.id = %settlement.delivery.message, delivery.id = %settlement.delivery.recipient, "an outcome came after its lease had run out");
                continue;
            }
            if *webhook_jobs > 0 {
                self.parts.webhooks.ring(settlement.delivery.lease.shard);
            }
            let status = settlement.transition.status;
            if status.is_settled() {
                metrics.settled.with_label_values(&[status.name()]).inc();
                log_end(settlement);
            }
            let age = (settlement.finished_at - settlement.delivery.message.made_at()).as_seconds_f64();
            if status == RecipientStatus::Delivered {
                metrics.delivered_seconds.observe(age);
            }
            if settlement.delivery.lease.attempt == 1 {
                let age = (settlement.started_at - settlement.delivery.message.made_at()).as_seconds_f64();
                metrics.first_attempt_seconds.observe(age.max(0.0));
            }
        }
    }
}

/// The one line for a final outcome; never the recipient's whole address.
fn log_end(settlement: &Settlement) {
    let Settlement { delivery, report, transition, .. } = settlement;
    let reply = report.outcome.reply();
    tracing::info!(
        message.id = %delivery.message,
        delivery.id = %delivery.recipient,
        recipient.domain = report.domain.as_deref().or_else(|| delivery.domain()),
        status = transition.status.name(),
        reply.code = reply.map(|reply| reply.code),
        reply.enhanced = reply.and_then(|reply| reply.enhanced).map(tracing::field::display),
        host = report.host.as_deref(),
        attempts = delivery.lease.attempt,
        class = report.outcome.class(),
        "a delivery ended"
    );
}

fn give_up(settlement: &Settlement, error: &StoreError) {
    tracing::error!(message.id = %settlement.delivery.message, delivery.id = %settlement.delivery.recipient, %error, "an outcome was refused; its lease will run out");
}
