//! The one door through which messages enter, whatever dialect they came in.
//!
//! Takes a caller and a draft whose parts were parsed; gives an answer once the message is on disk, and
//! not before. What can be wrong is found before the store is touched.

mod backlog;
mod signing;
mod workbench;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::compose::{Stamp, compose, dkim};
use crate::config::Config;
use crate::domain::access::Caller;
use crate::domain::clock::{Chance, Clock, Timestamp, rfc3339};
use crate::domain::draft::{Draft, Expiry, Recipient};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::message::{Idempotency, NewMessage, NewRecipient};
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::Shard;

use crate::routing::Traffic;
pub use backlog::{Backlog, Full};
use signing::{Keys, Signing};
pub use writer::{WriteError, Writer, WriterParts};

use crate::store::mail::accept::Stored;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// How long an idempotency key is remembered.
const KEY_LIFETIME: Duration = Duration::from_hours(24);
/// Messages without a key stay on one shard this long, so that a batch's rows lie together.
const SHARD_TURN_MILLIS: i128 = 50;
/// Longest time to an answer; a message that no writer has taken up by then is not stored.
const DEADLINE: Duration = Duration::from_secs(9);
/// From this size on a message is composed and signed off the async threads; with RSA, always.
const LARGE: usize = 128 << 10;

/// The door.
pub struct Door {
    store: Store,
    writer: Writer,
    backlog: Arc<Backlog>,
    signing: Signing,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    metrics: Arc<Metrics>,
    rules: Rules,
}

struct Rules {
    traffic: Arc<Traffic>,
    lifetime: Duration,
    message_limit: usize,
}

/// The answer to an accepted message: what the client may rely on from now.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    id: MessageId,
    status: RecipientStatus,
    created_at: String,
    recipients: Vec<AnswerRecipient<'a>>,
}

#[derive(Debug, Serialize)]
struct AnswerRecipient<'a> {
    id: RecipientId,
    email: &'a str,
    status: RecipientStatus,
}

/// A message that is on disk.
#[derive(Debug)]
pub struct Accepted {
    pub id: MessageId,
    /// The JSON of the answer, byte for byte the same on every replay.
    pub answer: String,
    pub replayed: bool,
}

/// Why a draft was not accepted. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the message is not acceptable")]
    Invalid(Vec<Fault>),
    #[error("this credential may not send as {0}")]
    ForeignDomain(String),
    #[error("the idempotency key was used with another request body")]
    KeyReused,
    /// Too much waits in the queue already.
    #[error("the queue is at its limit")]
    Backlog(Full),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The key of a request and the SHA-256 of its canonical body.
#[derive(Debug, Clone)]
pub struct RequestKey {
    pub key: String,
    pub fingerprint: [u8; 32],
}

impl RequestKey {
    /// The key as it is stored: live and test mail have keys of their own.
    fn of(self, caller: &Caller) -> Self {
        Self { key: format!("{}:{}", caller.mode.name(), self.key), ..self }
    }
}

impl Door {
    pub fn new(
        store: Store,
        writer: Writer,
        backlog: Arc<Backlog>,
        (config, traffic): (&Config, Arc<Traffic>),
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let rules = Rules { traffic, lifetime: config.delivery.lifetime.0, message_limit: config.limits.message.0 };
        let signing = Signing::new(store.clone(), config.dkim.cache.0);
        Self { store, writer, backlog, signing, clock, chance, metrics, rules }
    }

    /// Composes, signs and stores one message: what is stored is what goes on the wire.
    pub async fn accept(
        &self,
        caller: &Caller,
        draft: Draft,
        key: Option<RequestKey>,
    ) -> Result<Accepted, SubmitError> {
        let domain = draft.from().address.domain();
        if !caller.may_send_as(domain) {
            return Err(SubmitError::ForeignDomain(domain.to_owned()));
        }
        if let Some(pool) =
            draft.options().demand.ip_pool.as_ref().filter(|pool| !self.rules.traffic.plan().shaping.has_pool(pool))
        {
            let fault = Fault::new("/ip_pool", FaultCode::UnknownIpPool, format!("there is no pool '{pool}'"));
            return Err(SubmitError::Invalid(vec![fault]));
        }
        if let Err(full) = self.backlog.check(caller.project) {
            // What was accepted before keeps its answer.
            let known = match key {
                Some(key) => self.answered(caller, key).await.map_err(|error| WriteError::from(&error))?,
                None => None,
            };
            return known.ok_or(SubmitError::Backlog(full));
        }
        let key = key.map(|key| key.of(caller));
        let now = self.clock.now();
        let work = async {
            let keys = self.signing.keys(caller.project, draft.from().address.domain()).await?;
            let message = self.compose(caller, draft, keys, key, now).await?;
            let (id, answer) = (message.id, message.answer.clone());
            let timer = self.metrics.accept_seconds.start_timer();
            let stored = self.writer.write(message).await?;
            timer.observe_duration();
            Ok::<_, SubmitError>((id, answer, stored))
        };
        let (id, answer, stored) = tokio::time::timeout(DEADLINE, work)
            .await
            .map_err(|_| WriteError::Away("not stored within the deadline".to_owned()))??;
        match stored {
            Stored::Accepted => {
                self.metrics.accepted.with_label_values(&[caller.mode.name()]).inc();
                Ok(Accepted { id, answer, replayed: false })
            }
            Stored::Replayed { answer } => {
                self.metrics.idempotent_replays.inc();
                Ok(Accepted { id: answered_id(&answer).unwrap_or(id), answer, replayed: true })
            }
            Stored::Mismatch => Err(SubmitError::KeyReused),
        }
    }

    /// The answer that this key and body were given before, if they were.
    pub async fn answered(&self, caller: &Caller, key: RequestKey) -> Result<Option<Accepted>, StoreError> {
        let key = key.of(caller);
        let found = self.store.find_answer(caller.project, &key.key, &key.fingerprint).await?;
        Ok(found.and_then(|answer| Some(Accepted { id: answered_id(&answer)?, answer, replayed: true })))
    }

    async fn compose(
        &self,
        caller: &Caller,
        draft: Draft,
        keys: Keys,
        key: Option<RequestKey>,
        now: Timestamp,
    ) -> Result<NewMessage, SubmitError> {
        let shard = match &key {
            Some(key) => Shard::of_key(caller.project.uuid(), &key.key),
            None => shard_of_turn(now),
        };
        let id = MessageId::new_in(shard, now, &*self.chance);
        let stamp =
            Stamp { message_id: format!("{}@{}", id.uuid().simple(), draft.from().address.domain()), date: now };
        let blocks = draft.weight() > LARGE || keys.iter().any(|key| key.is_slow());
        let write = move || {
            // A draft that exists composes: what fails here is a defect.
            let raw = compose(&draft, &stamp).map_err(|error| WriteError::Failed(error.to_string()))?;
            let raw = dkim::sign(raw, &keys, now).map_err(|error| WriteError::Failed(error.to_string()))?;
            Ok::<_, SubmitError>((draft, raw))
        };
        let (draft, raw) = if blocks { self.signing.off_thread(write).await?? } else { write()? };
        if raw.len() > self.rules.message_limit {
            let detail =
                format!("the composed message has {} bytes; the limit is {}", raw.len(), self.rules.message_limit);
            return Err(SubmitError::Invalid(vec![Fault::new("", FaultCode::MessageTooLarge, detail)]));
        }
        Ok(self.finish(caller, &draft, raw, id, key, now))
    }

    fn finish(
        &self,
        caller: &Caller,
        draft: &Draft,
        raw: Vec<u8>,
        id: MessageId,
        key: Option<RequestKey>,
        now: Timestamp,
    ) -> NewMessage {
        let plan = self.rules.traffic.plan();
        let recipients: Vec<_> = draft
            .recipients()
            .distinct()
            .into_iter()
            .map(|Recipient { kind, address }| NewRecipient {
                id: RecipientId::new(now, &*self.chance),
                kind,
                next_hop: plan.next_hop(caller.mode, caller.project, &address),
                address,
            })
            .collect();
        let answer = Answer {
            id,
            status: RecipientStatus::Queued,
            created_at: rfc3339(now),
            recipients: recipients
                .iter()
                .map(|r| AnswerRecipient { id: r.id, email: r.address.as_str(), status: RecipientStatus::Queued })
                .collect(),
        };
        let options = draft.options();
        let (last, expires_at) = (now + self.rules.lifetime, options.expires_at.map(Expiry::instant));
        NewMessage {
            id,
            project: caller.project,
            mode: caller.mode,
            sender: draft.from().address.clone(),
            author: draft.from().to_string(),
            subject: draft.subject().as_str().to_owned(),
            tags: options.tags.clone(),
            metadata: options.metadata.clone(),
            priority: options.priority,
            created_at: now,
            expires_at,
            give_up_at: expires_at.map_or(last, |at| at.min(last)),
            answer: serde_json::to_string(&answer).unwrap_or_default(),
            demand: options.demand.clone(),
            recipients,
            raw: Arc::new(raw),
            idempotency: key.map(|key| Idempotency {
                key: key.key,
                fingerprint: key.fingerprint,
                expires_at: now + KEY_LIFETIME,
            }),
        }
    }
}

/// The shard of un-keyed messages at an instant: all shards take turns.
fn shard_of_turn(now: Timestamp) -> Shard {
    let turn = now.unix_timestamp_nanos() / (SHARD_TURN_MILLIS * 1_000_000);
    Shard::of_low_bits(turn.to_le_bytes()[0])
}

fn answered_id(answer: &str) -> Option<MessageId> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    MessageId::parse(answer.get("id")?.as_str()?)
}
