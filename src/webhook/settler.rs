//! What calls led to, written many at a time: those that end while the last ones are being written go together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::clock::Rng;
use crate::shutdown::Shutdown;
use crate::store::patience::until_it_answers;
use crate::store::queue::webhook_jobs::JobSettlement;
use crate::store::{Store, by_shard};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Results of one statement.
const BATCH: usize = 200;
/// Wait before the store is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// A result, and who waits until it is on disk.
type Entry = (JobSettlement, oneshot::Sender<()>);

/// Where results go.
#[derive(Clone)]
pub struct Settler(mpsc::UnboundedSender<Entry>);

/// What writes results needs.
pub struct SettlerParts {
    pub store: Store,
    /// Nudged when jobs left the queue: there is room for others.
    pub events: Arc<Wake>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
    /// An endpoint that only fails for this long is disabled.
    pub disable_after: Duration,
}

impl Settler {
    /// Starts what writes. Calls under way bound what waits for it.
    pub fn start(parts: SettlerParts, shutdown: &Shutdown) -> Self {
        let (sender, mut results) = mpsc::unbounded_channel::<Entry>();
        let soft = shutdown.soft.clone();
        let SettlerParts { store, events, rng, metrics, disable_after } = parts;
        shutdown.keep_last("the writer of webhooks' results", async move {
            let mut taken = Vec::new();
            while results.recv_many(&mut taken, BATCH).await > 0 {
                let (settlements, waiting): (Vec<_>, Vec<_>) = taken.drain(..).unzip();
                let runs = by_shard(settlements, store.max_shards_per_tx(), |settlement: &JobSettlement| {
                    settlement.job.lease.shard
                });
                for run in runs {
                    let settle = || store.settle_jobs(&run, disable_after, &*rng);
                    match until_it_answers!(STORE_PAUSE, "webhooks' results to be written", settle()) {
                        Ok(ours) => {
                            let lost = run.len().saturating_sub(ours.len());
                            metrics.leases_lost.with_label_values(&["webhooks"]).inc_by(lost as u64);
                        }
                        Err(error) => {
                            tracing::error!(%error, "webhooks' results were refused; their leases will run out");
                        }
                    }
                }
                events.nudge();
                for waiting in waiting {
                    // Whoever waited may be gone.
                    let _ = waiting.send(());
                }
            }
            // Whoever posts is gone: that is an end only when the service stops.
            soft.cancelled().await;
        });
        Self(sender)
    }

    /// Waits until a result is on disk, or was given up.
    pub async fn settle(&self, settlement: JobSettlement) {
        let (done, is_done) = oneshot::channel();
        if self.0.send((settlement, done)).is_ok() {
            let _ = is_done.await;
        }
    }
}
