//! Delivering to the sandbox: the message is kept, and no server is spoken to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::stopped::Stopped;
use super::suppressed::SuppressionCheck;
use crate::compose::searchable_text;
use crate::domain::clock::Clock;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::outcome::{AttemptReport, Outcome};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::stage::Stage;
use crate::queue::Gate;
use crate::smtp::client::session_tls::SessionTls;
use crate::store::patience::until_it_answers;
use crate::store::{Store, StoreError};

/// Wait before the store is asked again when it was away.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Messages that are read at once to be found by their words: the memory that they take.
const READING_MAX: usize = 2;

/// Where test messages end.
pub struct Sandbox {
    store: Store,
    clock: Arc<dyn Clock>,
    reading: Semaphore,
    suppressions: SuppressionCheck,
}

impl Sandbox {
    pub fn new(store: Store, clock: Arc<dyn Clock>, suppressions: SuppressionCheck) -> Self {
        Self { store, clock, reading: Semaphore::new(READING_MAX), suppressions }
    }

    /// Keeps a message.
    pub async fn keep(&self, delivery: &LeasedDelivery, gate: &Gate) -> Result<AttemptReport, Stopped> {
        if delivery.is_expired(self.clock.now()) {
            return Err(Stopped::expired());
        }
        self.not_suppressed(delivery).await?;
        if !gate.begin() {
            return Err(Stopped::NotOurs);
        }
        let keep = async || {
            self.make_searchable(delivery).await?;
            self.store.deliver_to_sandbox(delivery).await
        };
        if let Err(error) = until_it_answers!(STORE_PAUSE, "a message for the sandbox", keep()) {
            tracing::error!(%error, "the sandbox cannot be written");
            return Err(Stopped::NotOurs);
        }
        let enhanced = Some(EnhancedStatus { class: 2, subject: 0, detail: 0 });
        let reply = Reply { code: 250, enhanced, text: "kept in the sandbox".to_owned() };
        Ok(AttemptReport {
            host: Some("sandbox".to_owned()),
            tls: Some(SessionTls::None.to_string()),
            ..AttemptReport::without_session(Outcome::Accepted(reply), Stage::Sandbox)
        })
    }

    async fn not_suppressed(&self, delivery: &LeasedDelivery) -> Result<(), Stopped> {
        if self.suppressions.is_young(delivery) {
            return Ok(());
        }
        let address = || self.store.recipient_address(delivery.message, delivery.recipient);
        match until_it_answers!(STORE_PAUSE, "the address of a message for the sandbox", address()) {
            Ok(Some(address)) => self.suppressions.not_suppressed(delivery, &address).await,
            // Whoever keeps it says what is wrong with it.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Reads the message's words, once for all of its copies.
    async fn make_searchable(&self, delivery: &LeasedDelivery) -> Result<(), StoreError> {
        let _reading = self.reading.acquire().await;
        let Some(raw) = self.store.load_unread(delivery.message).await? else { return Ok(()) };
        self.store.keep_searchable_text(delivery.message, &searchable_text(&raw)).await
    }
}
