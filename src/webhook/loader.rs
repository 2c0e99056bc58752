//! What claimed calls send, read many at a time: those that are asked for while the last ones are being read go together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::calls::{Destination, Letter, body};
use crate::domain::id::{EndpointId, EventId};
use crate::shutdown::Shutdown;
use crate::store::patience::until_it_answers;
use crate::store::queue::webhook_feed::NewJob;
use crate::store::{Store, StoreError};

/// Calls of one statement.
const BATCH: usize = 100;
/// Wait before the store is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// A call, and who waits for what it sends.
type Entry = (NewJob, oneshot::Sender<Option<Letter>>);

/// Where letters come from.
#[derive(Clone)]
pub struct Loader(mpsc::UnboundedSender<Entry>);

impl Loader {
    /// Starts what reads. Calls under way bound what waits for it.
    pub fn start(store: Store, shutdown: &Shutdown) -> Self {
        let (sender, mut entries) = mpsc::unbounded_channel::<Entry>();
        let soft = shutdown.soft.clone();
        shutdown.keep("a loader of webhooks", async move {
            let mut taken = Vec::new();
            while entries.recv_many(&mut taken, BATCH).await > 0 {
                answer(&store, std::mem::take(&mut taken)).await;
            }
            // Whoever posts is gone: that is an end only when the service stops.
            soft.cancelled().await;
        });
        Self(sender)
    }

    /// What a call sends; waits while the store is away. `Some(None)`: the endpoint, the event or its message is gone. `None`: it
    /// cannot be read, and its lease runs out.
    pub async fn load(&self, call: NewJob) -> Option<Option<Letter>> {
        let (loaded, letter) = oneshot::channel();
        self.0.send((call, loaded)).ok()?;
        letter.await.ok()
    }
}

async fn answer(store: &Store, entries: Vec<Entry>) {
    let calls: Vec<_> = entries.iter().map(|(call, _)| *call).collect();
    match until_it_answers!(STORE_PAUSE, "webhook jobs to be read", load(store, &calls)) {
        Ok(mut letters) => {
            for (call, waiting) in entries {
                // Whoever waited may be gone.
                let _ = waiting.send(letters.remove(&(call.endpoint, call.event)));
            }
        }
        Err(error) if entries.len() == 1 => {
            tracing::error!(%error, "a webhook job cannot be read; its lease will run out");
        }
        // One that cannot be read fails only itself.
        Err(_) => {
            for entry in entries {
                Box::pin(answer(store, vec![entry])).await;
            }
        }
    }
}

async fn load(store: &Store, calls: &[NewJob]) -> Result<HashMap<(EndpointId, EventId), Letter>, StoreError> {
    let mut endpoints: Vec<_> = calls.iter().map(|call| call.endpoint).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let destinations = Destination::load(store, &endpoints).await?;
    let (told, mut bodies) = (store.load_told(calls).await?, HashMap::new());
    let letters = calls.iter().filter_map(|call| {
        let to = Arc::clone(destinations.get(&call.endpoint)?);
        let event = told.get(&call.event)?;
        let made = bodies.entry((call.event, to.form)).or_insert_with(|| body(to.form, event)).clone();
        Some(((call.endpoint, call.event), Letter { to, body: made? }))
    });
    Ok(letters.collect())
}
