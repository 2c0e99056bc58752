//! The batch writer: a few tasks, each with a connection of its own. One takes what waits, without
//! lingering, writes it in one transaction, and answers every caller after the COMMIT. While it commits,
//! the next batch fills: another task joins in only for as many as make a commit of their own worth its cost.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::backlog::Backlog;
use crate::domain::clock::Rng;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::lease::Lease;
use crate::domain::message::{NewMessage, NewSubmission};
use crate::domain::reverse_path::ReversePath;
use crate::handover::{Handover, Permit, PlacedDelivery};
use crate::shutdown::Shutdown;
use crate::store::mail::accept::{Birth, ItemStored, Stored};
use crate::store::{OwnedConnection, Store, StoreClock, StoreError, by_shard};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Messages that may wait for a writer; beyond it the caller is told to come back.
const WAITING: usize = 2048;

/// From so many messages on a batch does not wait for a commit that is under way.
const WORTH_A_COMMIT: usize = 8;

/// The longest that a batch fills while another commits: a slow disk must not make two waits of one.
const FILL_MAX: Duration = Duration::from_millis(5);

/// From so many recipients on a commit takes no further message.
const RECIPIENTS: usize = 1000;

/// Tasks that write what is large.
const LARGE_WRITERS: usize = 2;

/// From so many recipients or bytes on a submission is written by itself.
const LARGE_RECIPIENTS: usize = 100;
const LARGE_BYTES: usize = 4 << 20;

/// Why a message was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The store is away; nothing was acknowledged.
    #[error("the store is away: {0}")]
    Away(String),
    /// What is to sign the message cannot be read; nothing was acknowledged.
    #[error("a secret in the store cannot be read")]
    Sealed,
    /// Too much is waiting already.
    #[error("too many messages are waiting to be stored")]
    Busy,
    /// The store refused this message: a defect of ours.
    #[error("the store refused the message: {0}")]
    Failed(String),
}

impl From<&StoreError> for WriteError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Away(reason) | StoreError::Unclear(reason) => Self::Away(reason.clone()),
            StoreError::Sealed(_) => Self::Sealed,
            other => Self::Failed(other.to_string()),
        }
    }
}

struct Entry {
    submission: Waiting<NewSubmission>,
    answer: oneshot::Sender<Result<Stored, WriteError>>,
}

/// A request that no writer has taken up yet. A caller that goes away takes it along: what nobody waits for takes no
/// memory while the store is away.
struct Waiting<T>(Arc<std::sync::Mutex<Option<T>>>);

impl<T> Waiting<T> {
    /// What a writer takes up, and what takes it back.
    fn new(request: T) -> (Self, OnLeave<T>) {
        let shared = Arc::new(std::sync::Mutex::new(Some(request)));
        (Self(Arc::clone(&shared)), OnLeave(Self(shared)))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Takes back what its caller no longer waits for.
struct OnLeave<T>(Waiting<T>);

impl<T> Drop for OnLeave<T> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// A request that a writer has taken up.
struct Taken {
    submission: NewSubmission,
    answer: oneshot::Sender<Result<Stored, WriteError>>,
}

/// The callers' side.
#[derive(Clone)]
pub struct Writer {
    entries: mpsc::Sender<Entry>,
    /// What fills a commit alone has a task of its own: it takes its time, and delays nobody else's.
    large: mpsc::Sender<Entry>,
}

/// Bounds of one commit.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    count: usize,
    bytes: usize,
}

impl Bounds {
    const fn are_reached(self, batch: &Batch) -> bool {
        batch.entries.len() >= self.count || batch.bytes >= self.bytes || batch.recipients >= RECIPIENTS
    }
}

/// What goes into one commit.
#[derive(Default)]
struct Batch {
    entries: Vec<Taken>,
    bytes: usize,
    recipients: usize,
}

impl Batch {
    fn push(&mut self, Entry { submission, answer }: Entry) {
        let Some(submission) = submission.take() else { return };
        let (bytes, recipients) = size_of(&submission);
        self.bytes += bytes;
        self.recipients += recipients;
        self.entries.push(Taken { submission, answer });
    }
}

/// Bytes and recipients of what a submission writes.
fn size_of(submission: &NewSubmission) -> (usize, usize) {
    let messages = submission.messages().map(|message| (message.raw.len(), message.recipients.len()));
    let scheduled = submission.items.iter().flat_map(|item| &item.scheduled).map(|later| (later.request.len(), 1));
    messages.chain(scheduled).fold((0, 0), |(bytes, recipients), (b, r)| (bytes + b, recipients + r))
}

/// Commits under way in all tasks.
#[derive(Default)]
struct Commits {
    under_way: AtomicUsize,
    ended: Notify,
}

/// Ends the commit of a task however it ends.
struct OnEnd(Arc<Commits>);

impl Drop for OnEnd {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

/// What each writing task holds.
struct Task {
    entries: Arc<Mutex<mpsc::Receiver<Entry>>>,
    connection: OwnedConnection,
    clock: Arc<StoreClock>,
    bounds: Bounds,
    commits: Arc<Commits>,
    handover: Arc<Handover>,
    backlog: Arc<Backlog>,
    events: Arc<Wake>,
    rng: Arc<dyn Rng>,
    metrics: Arc<Metrics>,
}

/// What the writing tasks share with the rest of the service.
pub struct WriterParts {
    pub handover: Arc<Handover>,
    pub backlog: Arc<Backlog>,
    pub events: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Writer {
    /// Starts the writing tasks. They end when every [`Writer`] is gone.
    pub fn start(store: &Store, config: &crate::config::Database, parts: &WriterParts, shutdown: &Shutdown) -> Self {
        let bounds = Bounds { count: config.batch_count, bytes: config.batch_bytes.0 };
        let alone = Bounds { count: 1, bytes: 1 };
        Self {
            entries: Self::tasks(store, config.writers, bounds, parts, shutdown),
            large: Self::tasks(store, LARGE_WRITERS, alone, parts, shutdown),
        }
    }

    /// So many tasks that write what comes through one channel.
    fn tasks(
        store: &Store,
        count: usize,
        bounds: Bounds,
        parts: &WriterParts,
        shutdown: &Shutdown,
    ) -> mpsc::Sender<Entry> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        let commits = Arc::<Commits>::default();
        for _ in 0..count {
            let task = Task {
                entries: Arc::clone(&receiver),
                connection: store.connection(),
                clock: Arc::clone(store.clock()),
                bounds,
                commits: Arc::clone(&commits),
                handover: Arc::clone(&parts.handover),
                backlog: Arc::clone(&parts.backlog),
                events: Arc::clone(&parts.events),
                rng: Arc::clone(&parts.rng),
                metrics: Arc::clone(&parts.metrics),
            };
            shutdown.keep("a writer", task.run());
        }
        sender
    }

    /// Writes the messages of one request; returns after their COMMIT. Dropped before a writer took it up, nothing is
    /// stored.
    pub async fn write(&self, submission: NewSubmission) -> Result<Stored, WriteError> {
        let (bytes, recipients) = size_of(&submission);
        let is_large = recipients > LARGE_RECIPIENTS || bytes > LARGE_BYTES;
        self.write_by(submission, if is_large { &self.large } else { &self.entries }).await
    }

    /// Writes what nobody waits for, beside what somebody does.
    pub async fn write_apart(&self, submission: NewSubmission) -> Result<Stored, WriteError> {
        self.write_by(submission, &self.large).await
    }

    async fn write_by(&self, submission: NewSubmission, entries: &mpsc::Sender<Entry>) -> Result<Stored, WriteError> {
        let (answer, stored) = oneshot::channel();
        let (submission, _on_leave) = Waiting::new(submission);
        entries.try_send(Entry { submission, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::Away("the service is stopping".to_owned()),
        })?;
        stored.await.map_err(|_| WriteError::Away("the service is stopping".to_owned()))?
    }
}

impl Task {
    async fn run(mut self) {
        while let Some(batch) = self.take_waiting().await {
            let _ended = OnEnd(Arc::clone(&self.commits));
            for round in rounds(batch) {
                // A commit's messages lie in one shard; those of one time do anyway.
                for run in by_shard(round, 1, |entry| entry.submission.shard) {
                    self.write_run(run).await;
                }
            }
        }
    }

    /// Waits for one entry, then takes what waits behind it, up to the bounds. A small batch goes on filling while
    /// another task commits.
    async fn take_waiting(&self) -> Option<Vec<Taken>> {
        let mut entries = self.entries.lock().await;
        let mut batch = Batch::default();
        batch.push(entries.recv().await?);
        // Requests that are about to enter do so first: no time is waited, and batches of one are rare.
        tokio::task::yield_now().await;
        let end = Instant::now() + FILL_MAX;
        while !self.bounds.are_reached(&batch) {
            if let Ok(entry) = entries.try_recv() {
                batch.push(entry);
                continue;
            }
            let ended = self.commits.ended.notified();
            if batch.entries.len() >= WORTH_A_COMMIT || self.commits.under_way.load(Ordering::Acquire) == 0 {
                break;
            }
            tokio::select! {
                entry = entries.recv() => match entry {
                    Some(entry) => batch.push(entry),
                    None => break,
                },
                () = ended => {}
                () = tokio::time::sleep_until(end) => break,
            }
        }
        self.commits.under_way.fetch_add(1, Ordering::AcqRel);
        Some(batch.entries)
    }

    /// Writes one transaction's worth and answers everyone in it.
    async fn write_run(&mut self, mut run: Vec<Taken>) {
        // A caller that went away was never told anything: its message need not exist.
        run.retain(|entry| !entry.answer.is_closed());
        if run.is_empty() {
            return;
        }
        let (batch, answers): (Vec<_>, Vec<_>) = run.into_iter().map(|e| (e.submission, e.answer)).unzip();
        let messages = batch.iter().map(|submission| submission.messages().count()).sum::<usize>();
        self.metrics.accept_batch.observe(messages as f64);
        match self.write_together(&batch).await {
            Ok(stored) => {
                for (answer, stored) in answers.into_iter().zip(stored) {
                    // The caller may be gone; the message is stored all the same.
                    let _ = answer.send(Ok(stored));
                }
            }
            Err(error) if !error.may_be_of_one_row() || batch.len() == 1 => {
                tracing::warn!(%error, messages, "messages were not stored");
                for answer in answers {
                    let _ = answer.send(Err(WriteError::from(&error)));
                }
            }
            // One bad row fails only itself.
            Err(error) => {
                tracing::error!(%error, "a batch was refused; writing it request by request");
                for (submission, answer) in batch.iter().zip(answers) {
                    let result = self.write_together(std::slice::from_ref(submission)).await;
                    let result = result
                        .map_err(|error| WriteError::from(&error))
                        .and_then(|mut stored| stored.pop().ok_or_else(|| WriteError::Failed("no answer".to_owned())));
                    let _ = answer.send(result);
                }
            }
        }
    }

    /// One commit: deliveries that find a place are born leased, and handed over once they are on disk.
    async fn write_together(&mut self, batch: &[NewSubmission]) -> Result<Vec<Stored>, StoreError> {
        let token = self.rng.token();
        let mut permits: HashMap<Uuid, Permit> = HashMap::new();
        // Nothing is born to a process that may claim nothing.
        let messages = batch.iter().flat_map(NewSubmission::messages);
        for message in messages.filter(|_| !self.clock.is_far_off()) {
            for recipient in message.recipients.iter().filter(|recipient| !recipient.status.is_settled()) {
                let priority = message.priority.rank();
                if let Some(permit) = self.handover.capacity.reserve(&recipient.next_hop, message.project, priority) {
                    permits.insert(recipient.id.uuid(), permit);
                }
            }
        }
        let is_leased = |id: &Uuid| permits.contains_key(id);
        let since = Instant::now();
        let birth = Birth { owner: self.handover.owner, token, span: self.handover.span, is_leased: &is_leased };
        let stored = match self.connection.accept(batch, &birth, &*self.rng).await {
            Ok(stored) => stored,
            Err(error) => {
                // Nothing was delivered in these places: that says nothing of how fast their lanes are.
                permits.into_values().for_each(Permit::give_up);
                return Err(error);
            }
        };
        for (submission, stored) in batch.iter().zip(&stored) {
            let Stored::Accepted(items) = stored else { continue };
            let fresh = submission.items.iter().zip(items).filter(|(_, stored)| **stored == ItemStored::Accepted);
            for message in fresh.flat_map(|(item, _)| &item.messages) {
                self.pass_on(message, (token, since), &mut permits);
            }
        }
        // Those of requests that were answered before.
        permits.into_values().for_each(Permit::give_up);
        Ok(stored)
    }

    /// Gives an accepted message's deliveries to this process, or says where they wait.
    fn pass_on(&self, message: &NewMessage, (token, since): (Uuid, Instant), permits: &mut HashMap<Uuid, Permit>) {
        let (shard, priority) = (message.id.shard(), message.priority.rank());
        for recipient in message.recipients.iter().filter(|recipient| !recipient.status.is_settled()) {
            let id = recipient.id.uuid();
            let Some(permit) = permits.remove(&id) else {
                self.backlog.add(shard, message.project);
                self.handover.capacity.left_waiting(shard, &recipient.next_hop, message.project, priority);
                continue;
            };
            let delivery = LeasedDelivery {
                lease: Lease { shard, id, token, attempt: 1 },
                message: message.id,
                recipient: recipient.id,
                project: message.project,
                priority,
                next_hop: recipient.next_hop.clone(),
                demand: message.demand.clone(),
                size: message.raw.len(),
                due_at: message.send_at.unwrap_or(message.created_at),
                expires_at: message.give_up_at,
                rescued: 0,
                uncertain: 0,
                charged: false,
                as_of: None,
            };
            let sender = || ReversePath::Address(message.sender.clone());
            let reverse_path = recipient.return_path.clone().unwrap_or_else(sender);
            let carried = self.handover.carry(reverse_path, &recipient.address, &message.raw, since);
            self.handover.hand_over(PlacedDelivery { delivery, permit, carried });
        }
        self.events.ring(shard);
    }
}

/// Splits a batch so that no idempotency key stands twice in one round: the second finds the first.
fn rounds(batch: Vec<Taken>) -> VecDeque<Vec<Taken>> {
    let mut rounds = VecDeque::new();
    let mut rest = batch;
    while !rest.is_empty() {
        let mut seen = HashSet::new();
        let (round, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|entry| {
            let of_items = entry.submission.items.iter().filter_map(|item| item.key.as_ref());
            let keys: Vec<_> = entry.submission.key.iter().chain(of_items).collect();
            let is_new = keys.iter().all(|key| !seen.contains(&(key.project, key.key.clone())));
            if is_new {
                seen.extend(keys.into_iter().map(|key| (key.project, key.key.clone())));
            }
            is_new
        });
        rounds.push_back(round);
        rest = later;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_any_more_takes_no_memory() {
        let large = Arc::new(vec![0_u8; 1 << 20]);
        let (waiting, on_leave) = Waiting::new(Arc::clone(&large));
        drop(on_leave);
        assert_eq!(Arc::strong_count(&large), 1, "its caller took it along");
        assert!(waiting.take().is_none());
        let (waiting, _on_leave) = Waiting::new(1);
        assert_eq!((waiting.take(), waiting.take()), (Some(1), None));
    }
}
