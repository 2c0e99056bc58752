//! Messages on their way from disk: the bytes of deliveries that were claimed, read in batches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::domain::address::Address;
use crate::domain::delivery::LeasedDelivery;
use crate::shutdown::Shutdown;
use crate::store::patience::until_it_answers;
use crate::store::queue::claims::{ContentLoad, ContentRequest};
use crate::store::{OwnedConnection, Store, StoreError, by_shard};

/// Messages in one statement; their memory was granted before.
const BATCH: usize = 256;
/// Bytes of one statement, beyond which no further message is added: it must be answered within the store's deadline.
const BATCH_BYTES: usize = 16 << 20;
/// Tasks that read, each with a connection.
const TASKS: usize = 2;
/// Wait before a message is read again from a store that was away.
const PAUSE: Duration = Duration::from_millis(500);

struct Entry {
    wanted: ContentRequest,
    size: usize,
    loaded: oneshot::Sender<ContentLoad>,
}

/// The workers' side.
#[derive(Clone)]
pub struct Loader {
    entries: mpsc::Sender<Entry>,
    store: Store,
}

impl Loader {
    pub fn start(store: &Store, shutdown: &Shutdown) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..TASKS {
            let task = Task { entries: Arc::clone(&receiver), connection: store.connection() };
            shutdown.keep("a loader", task.run());
        }
        Self { entries: sender, store: store.clone() }
    }

    /// The recipient's address; `Some(None)` when the message is gone, `None` when it cannot be read.
    pub async fn address(&self, delivery: &LeasedDelivery) -> Option<Option<Address>> {
        let find = || self.store.recipient_address(delivery.message, delivery.recipient);
        let found = until_it_answers!(PAUSE, "a recipient's address to be read", find());
        found.inspect_err(|error| tracing::error!(%error, "an address cannot be read")).ok()
    }

    /// Reads a message; waits while the store is away. `None` when it cannot be read: its lease runs out.
    pub async fn load(&self, delivery: &LeasedDelivery) -> Option<ContentLoad> {
        let (loaded, load) = oneshot::channel();
        let wanted = ContentRequest { lease: delivery.lease, message: delivery.message };
        self.entries.send(Entry { wanted, size: delivery.size, loaded }).await.ok()?;
        load.await.ok()
    }
}

/// How many of these sizes one statement reads: one at least.
fn part(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    let fits = |size: &usize| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(*size);
        is_first || bytes <= BATCH_BYTES
    };
    sizes.take_while(fits).count()
}

struct Task {
    entries: Arc<Mutex<mpsc::Receiver<Entry>>>,
    connection: OwnedConnection,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            if self.entries.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            let max = self.connection.max_shards_per_tx();
            for mut run in by_shard(batch, max, |entry| entry.wanted.lease.shard) {
                while !run.is_empty() {
                    let rest = run.split_off(part(run.iter().map(|entry| entry.size)));
                    self.read_run(std::mem::replace(&mut run, rest)).await;
                }
            }
        }
    }

    async fn read_run(&mut self, run: Vec<Entry>) {
        let wanted: Vec<_> = run.iter().map(|entry| entry.wanted).collect();
        match self.read_until_answered(&wanted).await {
            Some(loads) => {
                for (entry, load) in run.into_iter().zip(loads) {
                    // The worker may have been stopped.
                    let _ = entry.loaded.send(load);
                }
            }
            // One that cannot be read fails only itself.
            None => {
                for entry in run {
                    if let Some(load) =
                        self.read_until_answered(&[entry.wanted]).await.and_then(|mut loads| loads.pop())
                    {
                        let _ = entry.loaded.send(load);
                    }
                }
            }
        }
    }

    async fn read_until_answered(&mut self, wanted: &[ContentRequest]) -> Option<Vec<ContentLoad>> {
        let loads = until_it_answers!(PAUSE, "messages to be read", self.connection.load_deliveries(wanted));
        let log = |error: &StoreError| tracing::error!(%error, messages = wanted.len(), "messages cannot be read");
        loads.inspect_err(log).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_reads_as_many_messages_as_it_can_answer_for() {
        let mib = |sizes: &[usize]| part(sizes.iter().map(|size| size << 20));
        assert_eq!(mib(&[25, 25, 25]), 1);
        assert_eq!(mib(&[5, 5, 5, 5]), 3);
        assert_eq!(part([100; 64].into_iter()), 64);
        assert_eq!(mib(&[]), 0);
    }
}
