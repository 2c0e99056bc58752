//! Outcomes on their way to disk: taken in batches, and held until the store has them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::gather::Gathering;
use crate::domain::clock::Rng;
use crate::domain::delivery::Settlement;
use crate::domain::id::RecipientId;
use crate::domain::outcome::OutcomeKind;
use crate::domain::recipient::RecipientStatus;
use crate::shutdown::Shutdown;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};
use crate::suppress::Suppressions;
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Outcomes in one commit.
const BATCH: usize = 256;
/// Tasks that write outcomes, each with a connection.
const TASKS: usize = 2;
/// How long a first outcome waits for others, so that one commit serves many.
const GATHERING: Gathering = Gathering { most: BATCH, linger: Duration::from_millis(5) };
/// Wait before outcomes are offered again to a store that was away.
const PAUSE: Duration = Duration::from_millis(200);

struct Entry {
    settlement: Settlement,
    /// It was offered before and no answer came: it may be written already.
    may_be_written: bool,
    done: oneshot::Sender<()>,
}

/// The workers' side.
#[derive(Clone)]
pub struct Settler {
    entries: mpsc::Sender<Entry>,
}

/// What the settling tasks need.
pub struct SettlerParts {
    /// Take what a server said of an address.
    pub suppressions: Arc<Suppressions>,
    /// Rung for events that were written.
    pub events: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Settler {
    pub fn start(store: &Store, parts: SettlerParts, shutdown: &Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        let receiver = Arc::new(Mutex::new(receiver));
        let parts = Arc::new(parts);
        for _ in 0..TASKS {
            let task = Task {
                entries: Arc::clone(&receiver),
                connection: store.connection(),
                parts: Arc::clone(&parts),
                held: Vec::new(),
                part: BATCH,
            };
            shutdown.keep_last("a settler", task.run());
        }
        Self { entries: sender }
    }

    /// Returns once the outcome is on disk, or found to be no longer ours to write.
    pub async fn settle(&self, settlement: Settlement) {
        let (done, settled) = oneshot::channel();
        if self.entries.send(Entry { settlement, may_be_written: false, done }).await.is_ok() {
            // An error means that the service is stopping hard: the lease will run out.
            let _ = settled.await;
        }
    }
}

struct Task {
    entries: Arc<Mutex<mpsc::Receiver<Entry>>>,
    connection: OwnedConnection,
    parts: Arc<SettlerParts>,
    /// Outcomes that the store did not take; offered again with those that come.
    held: Vec<Entry>,
    /// How many outcomes are offered at once: fewer after a failure, more again after a success.
    part: usize,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut batch = std::mem::take(&mut self.held);
            if !self.gather(&mut batch).await {
                return;
            }
            let max = self.connection.max_shards_per_tx();
            for run in by_shard(batch, max, |entry| entry.settlement.delivery.lease.shard) {
                self.write_run(run).await;
            }
            if !self.held.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Takes what comes with the first; `false` at the end. With outcomes in hand it
    /// takes what is there, and waits for nobody.
    async fn gather(&self, batch: &mut Vec<Entry>) -> bool {
        if !batch.is_empty() {
            // Another task may hold the queue for as long as nothing comes.
            if let Ok(mut entries) = self.entries.try_lock() {
                while batch.len() < BATCH
                    && let Ok(entry) = entries.try_recv()
                {
                    batch.push(entry);
                }
            }
            return true;
        }
        GATHERING.take(&mut *self.entries.lock().await, batch).await
    }

    /// Offers outcomes in parts. After the first part that the store does not take, the rest is held, and that part
    /// behind it: one that cannot be written for a reason nobody knows keeps no other.
    async fn write_run(&mut self, mut run: Vec<Entry>) {
        while !run.is_empty() {
            let rest = run.split_off(self.part.min(run.len()));
            let part = std::mem::replace(&mut run, rest);
            if let Some(mut untaken) = self.write_part(part).await {
                self.part = (untaken.len() / 2).max(1);
                for entry in &mut untaken {
                    entry.may_be_written = true;
                }
                self.held.extend(run.drain(..).chain(untaken));
                return;
            }
            self.part = (self.part * 2).min(BATCH);
        }
    }

    /// Writes outcomes in one commit; gives them back when the store is away. One that the store refuses fails only itself.
    async fn write_part(&mut self, part: Vec<Entry>) -> Option<Vec<Entry>> {
        let part = match self.without_written(part).await {
            Ok(part) => part,
            Err(part) => return Some(part),
        };
        if let Err(error) = self.suppress(&part).await {
            warn_away(&error);
            return Some(part);
        }
        let settlements: Vec<_> = part.iter().map(|entry| &entry.settlement).collect();
        match self.connection.settle_deliveries(&settlements, &*self.parts.rng).await {
            Ok(settled) => {
                self.count(&settlements, &settled);
                finish(part);
                None
            }
            Err(error) if error.is_away() => {
                warn_away(&error);
                Some(part)
            }
            Err(error) => {
                tracing::error!(%error, outcomes = part.len(), "outcomes were refused; writing them one by one");
                let mut untaken = Vec::new();
                for entry in part {
                    untaken.extend(self.write_one(entry).await);
                }
                (!untaken.is_empty()).then_some(untaken)
            }
        }
    }

    /// Stores what servers said of addresses, before the outcomes that say so: a crash in between leads to another try, which
    /// says it again. What the store refuses is told and not waited for; an error is a store that is away.
    async fn suppress(&self, part: &[Entry]) -> Result<(), StoreError> {
        let found: Vec<_> = part.iter().filter_map(|entry| entry.settlement.suppression.as_deref().cloned()).collect();
        if found.is_empty() {
            return Ok(());
        }
        let addresses = found.len();
        match self.parts.suppressions.add(found).await {
            Err(error) if error.is_away() => Err(error),
            Err(error) => {
                tracing::error!(%error, addresses, "addresses that servers refused could not be suppressed");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Writes one outcome that was refused among others: on a new connection, then without the words of servers, which
    /// nobody but they can answer for. What is refused even so is given up: its lease will run out.
    async fn write_one(&mut self, mut entry: Entry) -> Option<Entry> {
        for is_last in [false, true] {
            match self.connection.settle_deliveries(&[&entry.settlement], &*self.parts.rng).await {
                Ok(settled) => {
                    self.count(&[&entry.settlement], &settled);
                    finish([entry]);
                    return None;
                }
                Err(error) if error.is_away() => {
                    warn_away(&error);
                    return Some(entry);
                }
                Err(error) if is_last => give_up(&entry.settlement, &error),
                Err(error) => {
                    tracing::error!(message.id = %entry.settlement.delivery.message, %error, "an outcome is written without the server's words");
                    entry.settlement.report.forget_words();
                }
            }
        }
        finish([entry]);
        None
    }

    /// Those of `part` that are not on disk already: an answer may be lost after its commit.
    async fn without_written(&mut self, part: Vec<Entry>) -> Result<Vec<Entry>, Vec<Entry>> {
        let asked: Vec<_> = part.iter().filter(|entry| entry.may_be_written).map(|entry| &entry.settlement).collect();
        if asked.is_empty() {
            return Ok(part);
        }
        match self.connection.written_attempts(&asked).await {
            Ok(written) => {
                let is_written = |entry: &Entry| written.contains(&entry.settlement.attempt);
                let (written, part): (Vec<_>, Vec<_>) = part.into_iter().partition(is_written);
                let settlements: Vec<_> = written.iter().map(|entry| &entry.settlement).collect();
                self.count(&settlements, &HashSet::new());
                finish(written);
                Ok(part)
            }
            Err(error) => {
                warn_away(&error);
                Err(part)
            }
        }
    }

    /// `lost`: those whose lease was no longer ours.
    fn count(&self, settlements: &[&Settlement], lost: &HashSet<RecipientId>) {
        if settlements.is_empty() {
            return;
        }
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
            self.parts.events.ring(settlement.delivery.lease.shard);
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

fn finish(entries: impl IntoIterator<Item = Entry>) {
    for entry in entries {
        // The worker may have been stopped; its outcome is on disk all the same.
        let _ = entry.done.send(());
    }
}

fn warn_away(error: &StoreError) {
    tracing::warn!(%error, "the store does not take outcomes; they are held and offered again");
}

fn give_up(settlement: &Settlement, error: &StoreError) {
    tracing::error!(message.id = %settlement.delivery.message, delivery.id = %settlement.delivery.recipient, %error, "an outcome was refused; its lease will run out");
}
