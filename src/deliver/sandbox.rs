//! Delivering to the sandbox: a receiver is played by a script, what it accepts is kept, and no server is spoken to.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::classify;
use super::courier::Courier;
use super::stopped::Stopped;
use super::suppressed::SuppressionCheck;
use crate::compose::searchable_text;
use crate::domain::class::OwnClass;
use crate::domain::clock::Clock;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::hold::HoldReason;
use crate::domain::id::RecipientId;
use crate::domain::outcome::{AttemptReport, Condemned, Outcome, Trouble};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::script::{Answer, Script};
use crate::domain::stage::Stage;
use crate::domain::suppression::Suppressed;
use crate::queue::Gate;
use crate::routing::Router;
use crate::smtp::client::session_tls::SessionTls;
use crate::store::mail::sandbox_scripts::SandboxTerms;
use crate::store::patience::until_it_answers;
use crate::store::{Store, StoreError};

/// Wait before the store is asked again when it was away.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Messages that are read at once to be found by their words: the memory that they take.
const READING_MAX: usize = 2;
/// Deliveries whose scripts waited already that are remembered: one that is forgotten waits once more.
const WAITED_MAX: usize = 10_000;

/// Where test messages end.
pub struct Sandbox {
    store: Store,
    clock: Arc<dyn Clock>,
    router: Arc<Router>,
    reading: Semaphore,
    suppressions: SuppressionCheck,
    waited: Mutex<HashSet<RecipientId>>,
}

impl Sandbox {
    pub fn new(store: Store, clock: Arc<dyn Clock>, courier: &Courier) -> Self {
        Self {
            store,
            clock,
            router: Arc::clone(&courier.router),
            reading: Semaphore::new(READING_MAX),
            suppressions: courier.suppressions.clone(),
            waited: Mutex::default(),
        }
    }

    /// Plays one try.
    pub async fn keep(&self, delivery: &LeasedDelivery, gate: &Gate) -> Result<AttemptReport, Stopped> {
        if delivery.is_expired(delivery.instant(self.clock.now())) {
            return Err(Stopped::expired());
        }
        let terms = self.terms(delivery).await?;
        self.suppressions.not_suppressed(delivery, &terms.address).await?;
        if Script::is_suppressed(&terms.address) {
            return Err(Stopped::suppressed(Suppressed::by_name(delivery.recipient, self.clock.now())));
        }
        let script = script_of(&terms);
        self.waits(delivery, script.as_ref())?;
        if !gate.begin() {
            return Err(Stopped::NotOurs);
        }
        let tries = (delivery.lease.attempt - delivery.rescued).max(1).unsigned_abs();
        let outcome = match script.as_ref().and_then(|script| script.answer(tries)) {
            None => Outcome::Accepted(kept()),
            Some(Answer::Reply(reply)) if reply.is_positive() => Outcome::Accepted(reply.clone()),
            Some(Answer::Reply(reply)) => {
                classify::of_refusal(&self.router.traffic.plan().classifier, None, Stage::Rcpt, reply.clone())
            }
            Some(Answer::Drop) => {
                let why = "no reply to the final dot: the script drops the connection";
                Outcome::Uncertain(Trouble::new(OwnClass::Uncertain, why))
            }
        };
        if matches!(outcome, Outcome::Accepted(_)) {
            self.deliver(delivery, script.as_ref()).await?;
        }
        let transcript = script
            .as_ref()
            .map_or_else(String::new, |script| format!("try {tries} of the script: {}\n", script.as_str()));
        let condemned = || Condemned { mode: terms.mode, address: terms.address.clone() };
        // An address that is a script by its name is there to be used again.
        let is_condemned = outcome.condemns_address() && Script::of_address(&terms.address).is_none();
        Ok(AttemptReport {
            host: Some("sandbox".to_owned()),
            tls: Some(SessionTls::None.to_string()),
            condemned: is_condemned.then(condemned),
            transcript,
            ..AttemptReport::without_session(outcome, Stage::Sandbox)
        })
    }

    async fn terms(&self, delivery: &LeasedDelivery) -> Result<SandboxTerms, Stopped> {
        let terms = || self.store.sandbox_terms(delivery);
        match until_it_answers!(STORE_PAUSE, "a message for the sandbox", terms()) {
            Ok(Some(terms)) => Ok(terms),
            Ok(None) => Err(Stopped::message_gone()),
            Err(error) => {
                tracing::error!(%error, "a message for the sandbox cannot be read");
                Err(Stopped::NotOurs)
            }
        }
    }

    /// Puts the first try off, once, if the script waits.
    fn waits(&self, delivery: &LeasedDelivery, script: Option<&Script>) -> Result<(), Stopped> {
        let Some(wait) = script.map(|script| script.wait).filter(|wait| !wait.is_zero()) else { return Ok(()) };
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        if delivery.lease.attempt - delivery.rescued > 1 || waited.remove(&delivery.recipient) {
            return Ok(());
        }
        if waited.len() >= WAITED_MAX {
            waited.clear();
        }
        waited.insert(delivery.recipient);
        Err(Stopped::Held { until: Instant::now() + wait, why: HoldReason::Scripted })
    }

    /// Keeps what was accepted, and notes what comes back of it.
    async fn deliver(&self, delivery: &LeasedDelivery, script: Option<&Script>) -> Result<(), Stopped> {
        let afterwards = script.map(|script| &script.afterwards[..]).unwrap_or_default();
        let keep = async || {
            self.make_searchable(delivery).await?;
            if !afterwards.is_empty() {
                let at = delivery.instant(self.clock.now());
                self.store.note_afterwards(delivery, afterwards, at).await?;
            }
            self.store.deliver_to_sandbox(delivery).await
        };
        until_it_answers!(STORE_PAUSE, "a message for the sandbox", keep()).map_err(|error| {
            tracing::error!(%error, "the sandbox cannot be written");
            Stopped::NotOurs
        })
    }

    /// Reads the message's words, once for all of its copies.
    async fn make_searchable(&self, delivery: &LeasedDelivery) -> Result<(), StoreError> {
        let _reading = self.reading.acquire().await;
        let Some(raw) = self.store.load_unread(delivery.message).await? else { return Ok(()) };
        self.store.keep_searchable_text(delivery.message, &searchable_text(&raw)).await
    }
}

/// The message's own script, that of the first pattern that fits its address, or that which the address names by itself.
fn script_of(terms: &SandboxTerms) -> Option<Script> {
    let told = terms.script.as_deref().and_then(|text| Script::parse(text).ok());
    told.or_else(|| Script::of_address(&terms.address))
}

fn kept() -> Reply {
    let enhanced = Some(EnhancedStatus { class: 2, subject: 0, detail: 0 });
    Reply { code: 250, enhanced, text: "kept in the sandbox".to_owned() }
}
