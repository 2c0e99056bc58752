//! The one door through which messages enter, whatever dialect they came in:
//!
//! `Submission → admit → content → writer → Accepted`
//!
//! Takes a caller and contents that are valid by construction ([`domain::draft`](crate::domain::draft)); answers once they
//! are on disk, and not before, with ids and states that each dialect renders in its own words. Whether a request was
//! answered before is decided here. What can be wrong is found before the store is touched.

mod admit;
mod backlog;
mod content;
mod cpu_pool;
mod places;
mod signing;
mod submission;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use backlog::{Backlog, Full};
pub use submission::{
    Accepted, AcceptedMessage, AcceptedRecipient, Content, Refusal, RequestKey, Strictness, Submission, SubmitError,
};
pub use writer::{WriteError, Writer, WriterParts};

use crate::config::Config;
use crate::domain::access::Caller;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::draft::Expiry;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::message::{Idempotency, NewMessage, NewRecipient, NewSubmission};
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::{SHARDS, Shard};
use crate::routing::TrafficPolicy;
use crate::store::mail::accept::Stored;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use content::{Final, NotMade};
use places::Ranks;
use signing::Signing;

/// How long an idempotency key is remembered.
const KEY_LIFETIME: Duration = Duration::from_hours(24);
/// Messages stay on one shard this long, so that a batch's rows lie together.
const SHARD_TURN_MILLIS: i128 = 50;
/// Longest time to an answer; a message that no writer has taken up by then is not stored.
const DEADLINE: Duration = Duration::from_secs(9);

/// The door.
pub struct Door {
    parts: DoorParts,
    signing: Signing,
    lifetime: Duration,
    message_limit: usize,
    /// Whether a message lies in the shard of its idempotency key: where a transaction may not touch all shards.
    follows_key: bool,
}

/// What a door is made of.
pub struct DoorParts {
    pub store: Store,
    pub writer: Writer,
    pub backlog: Arc<Backlog>,
    pub traffic: Arc<TrafficPolicy>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Door {
    pub fn new(config: &Config, parts: DoorParts) -> Self {
        Self {
            signing: Signing::new(parts.store.clone(), config.dkim.cache.0),
            lifetime: config.delivery.lifetime.0,
            message_limit: config.limits.message.0,
            follows_key: config.database.max_shards_per_tx < SHARDS.len(),
            parts,
        }
    }

    /// Composes, signs and stores the messages of a request, in one commit.
    pub async fn accept(&self, caller: &Caller, submission: Submission) -> Result<Accepted, SubmitError> {
        let (key, mode) = (submission.key.as_ref().map(|key| self.idempotency(caller, key)), submission.mode);
        if let Err(full) = self.parts.backlog.check(caller.project) {
            // What was accepted before keeps its answer.
            let known = match &key {
                Some(key) => self.replay(key).await.map_err(|error| WriteError::from(&error))?,
                None => None,
            };
            return known.ok_or(SubmitError::Backlog(full));
        }
        // On the heap: what waits for a commit is small, what makes a message is not.
        let work = Box::pin(self.make_and_store(caller, submission, key, mode));
        tokio::time::timeout(DEADLINE, work)
            .await
            .map_err(|_| WriteError::Away("not stored within the deadline".to_owned()))?
    }

    /// What this key and body made before, if they did. For requests that would be refused by now: what was accepted once
    /// keeps its answer.
    pub async fn answered(&self, caller: &Caller, key: &RequestKey) -> Result<Option<Accepted>, StoreError> {
        self.replay(&self.idempotency(caller, key)).await
    }

    async fn make_and_store(
        &self,
        caller: &Caller,
        submission: Submission,
        key: Option<Idempotency>,
        mode: Strictness,
    ) -> Result<Accepted, SubmitError> {
        let now = self.parts.clock.now();
        let shard = match &key {
            Some(key) if self.follows_key => key.shard(),
            _ => shard_of_turn(now),
        };
        let mut made = Vec::new();
        for (index, content) in submission.into_contents().enumerate() {
            match Box::pin(self.make(caller, content, shard, now)).await {
                Err(NotMade::Refused(refusal)) if mode == Strictness::Strict => {
                    return Err(SubmitError::Refused(index, refusal));
                }
                Err(NotMade::Refused(refusal)) => made.push(Err(refusal)),
                Err(NotMade::Failed(error)) => return Err(error.into()),
                Ok(message) => made.push(Ok(message)),
            }
        }
        let accepted: Vec<_> = made.iter().map(|made| made.as_ref().map(of_message).map_err(Clone::clone)).collect();
        let messages: Vec<_> = made.into_iter().filter_map(Result::ok).collect();
        if messages.is_empty() {
            return Ok(Accepted { messages: accepted, replayed: false });
        }
        let count = messages.len() as u64;
        let timer = self.parts.metrics.accept_seconds.start_timer();
        let stored = self.parts.writer.write(NewSubmission { messages, key }).await?;
        timer.observe_duration();
        match stored {
            Stored::Accepted => {
                self.parts.metrics.accepted.with_label_values(&[caller.mode.name()]).inc_by(count);
                Ok(Accepted { messages: accepted, replayed: false })
            }
            Stored::Replayed(ids) => self.load_accepted(&ids).await.map_err(|error| WriteError::from(&error).into()),
            Stored::Mismatch => Err(SubmitError::KeyReused),
        }
    }

    /// One message, ready to be stored.
    async fn make(
        &self,
        caller: &Caller,
        content: Content,
        shard: Shard,
        now: Timestamp,
    ) -> Result<NewMessage, NotMade> {
        let plan = self.parts.traffic.plan();
        admit::admit(caller, &content, &plan).map_err(NotMade::Refused)?;
        let keys = self.signing.keys(caller.project, content.author().domain()).await?;
        let id = MessageId::new_in(shard, now, &*self.parts.rng);
        let made = content::finish(content, &self.signing, keys, id, now, self.message_limit).await?;
        let Final { sender, author, message_id, subject, reverse_path, recipients, options, raw } = made;
        let mut ranks = Ranks::default();
        let recipients = recipients.into_iter().map(|recipient| {
            let id = RecipientId::new_in(shard, now, &*self.parts.rng);
            NewRecipient {
                id,
                kind: recipient.kind,
                places: ranks.column(recipient.kind, &recipient.places),
                next_hop: plan.next_hop(caller.mode, caller.project, &recipient.address),
                address: recipient.address,
                return_path: reverse_path.as_ref().map(|path| path.for_recipient(id)),
                status: RecipientStatus::Queued,
            }
        });
        let (last, expires_at) = (now + self.lifetime, options.expires_at.map(Expiry::instant));
        Ok(NewMessage {
            id,
            project: caller.project,
            mode: caller.mode,
            sender,
            author,
            message_id,
            subject,
            recipients: recipients.collect(),
            tags: options.tags,
            metadata: options.metadata,
            priority: options.priority,
            created_at: now,
            expires_at,
            give_up_at: expires_at.map_or(last, |at| at.min(last)),
            demand: options.demand,
            raw,
        })
    }

    /// The key as it is stored: live and test mail have keys of their own.
    fn idempotency(&self, caller: &Caller, request: &RequestKey) -> Idempotency {
        Idempotency {
            project: caller.project,
            key: format!("{}:{}", caller.mode.name(), request.key),
            fingerprint: request.fingerprint,
            expires_at: self.parts.clock.now() + KEY_LIFETIME,
        }
    }

    async fn replay(&self, key: &Idempotency) -> Result<Option<Accepted>, StoreError> {
        match self.parts.store.find_by_key(key).await? {
            Some(ids) => self.load_accepted(&ids).await.map(Some),
            None => Ok(None),
        }
    }

    /// What was answered when these messages were accepted.
    async fn load_accepted(&self, ids: &[MessageId]) -> Result<Accepted, StoreError> {
        self.parts.metrics.idempotent_replays.inc();
        let mut messages = Vec::with_capacity(ids.len());
        for stored in self.parts.store.load_accepted(ids).await? {
            let mut ranks = Ranks::default();
            let recipients = stored.recipients.into_iter().map(|recipient| AcceptedRecipient {
                id: recipient.id,
                address: recipient.address,
                pointers: ranks.pointers(recipient.kind, recipient.places.as_deref()),
                status: RecipientStatus::Queued,
            });
            let (id, created_at) = (stored.id, stored.created_at);
            messages.push(Ok(AcceptedMessage { id, created_at, recipients: recipients.collect() }));
        }
        Ok(Accepted { messages, replayed: true })
    }
}

fn of_message(message: &NewMessage) -> AcceptedMessage {
    let mut ranks = Ranks::default();
    let recipients = message.recipients.iter().map(|recipient| AcceptedRecipient {
        id: recipient.id,
        pointers: ranks.pointers(recipient.kind, recipient.places.as_deref()),
        address: recipient.address.to_string(),
        status: recipient.status,
    });
    AcceptedMessage { id: message.id, created_at: message.created_at, recipients: recipients.collect() }
}

/// The shard of messages at an instant: all shards take turns.
fn shard_of_turn(now: Timestamp) -> Shard {
    let turn = now.unix_timestamp_nanos() / (SHARD_TURN_MILLIS * 1_000_000);
    Shard::of_low_bits(turn.to_le_bytes()[0])
}
