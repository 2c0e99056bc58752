//! Deliveries that are put off without a try, on their way to disk: taken in batches, as outcomes are, since all that waits for one
//! next hop or one day's allowance is put off at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::gather::Gathering;
use crate::domain::delivery::Hold;
use crate::shutdown::Shutdown;
use crate::store::patience::until_it_answers;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};
use crate::telemetry::metrics::Metrics;

/// Deliveries in one commit.
const BATCH: usize = 256;
/// How long the first waits for others.
const GATHERING: Gathering = Gathering { most: BATCH, linger: Duration::from_millis(5) };
/// Wait before the store is asked again when it was away.
const PAUSE: Duration = Duration::from_millis(500);

struct Entry {
    hold: Hold,
    done: oneshot::Sender<()>,
}

/// Puts deliveries off.
#[derive(Clone)]
pub struct Holder {
    entries: mpsc::Sender<Entry>,
    metrics: Arc<Metrics>,
}

impl Holder {
    pub fn start(store: &Store, metrics: Arc<Metrics>, shutdown: &Shutdown) -> Self {
        let (entries, receiver) = mpsc::channel(BATCH);
        shutdown.keep_last("what puts deliveries off", run(receiver, store.connection()));
        Self { entries, metrics }
    }

    /// Returns once it is on disk that the delivery waits, or found that its lease is no longer ours.
    pub async fn hold(&self, hold: Hold) {
        if let Some(why) = hold.why {
            self.metrics.held.with_label_values(&[why.name()]).inc();
        }
        let (done, held) = oneshot::channel();
        if self.entries.send(Entry { hold, done }).await.is_ok() {
            // An error means that the service is stopping hard: the lease will run out.
            let _ = held.await;
        }
    }
}

async fn run(mut entries: mpsc::Receiver<Entry>, mut connection: OwnedConnection) {
    let mut batch = Vec::with_capacity(BATCH);
    while GATHERING.take(&mut entries, &mut batch).await {
        for run in by_shard(std::mem::take(&mut batch), connection.max_shards_per_tx(), |entry| entry.hold.lease.shard)
        {
            let holds: Vec<_> = run.iter().map(|entry| entry.hold).collect();
            if write(&mut connection, &holds).await.is_err() {
                for hold in holds {
                    if let Err(error) = write(&mut connection, &[hold]).await {
                        tracing::error!(delivery.id = %hold.lease.id, %error, "a delivery could not be put off");
                    }
                }
            }
            for entry in run {
                let _ = entry.done.send(());
            }
        }
    }
}

async fn write(connection: &mut OwnedConnection, holds: &[Hold]) -> Result<u64, StoreError> {
    until_it_answers!(PAUSE, "deliveries to be put off", connection.hold_deliveries(holds))
}
