//! The one door through which messages enter, whatever dialect they came in:
//!
//! `Submission → admit → content → writer → Accepted`
//!
//! Takes a caller and contents that are valid by construction ([`domain::draft`](crate::domain::draft)); answers once they
//! are on disk, and not before, with ids and states that each dialect renders in its own words. Whether a request was
//! answered before is decided here. What can be wrong is found before the store is touched.

mod admit;
mod answers;
mod backlog;
mod content;
mod cpu_pool;
pub mod filling;
mod links;
mod lookups;
mod making;
mod places;
mod pools;
mod quota;
mod rehearsal;
mod release;
mod schedule;
mod signing;
mod submission;
mod suppressed;
pub mod templates;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use crate::domain::draft::Content;
pub use backlog::{Backlog, Full};
pub use making::Rehearsed;
pub use pools::{PoolParts, Pools};
pub use quota::{Charge, Denied, Quotas, Spent, Standing, Usage};
pub use release::{Due, Released};
pub use schedule::{Held, Scheduler};
pub use submission::{
    Accepted, AcceptedItem, AcceptedMessage, AcceptedRecipient, Item, Refusal, RequestKey, Strictness, Submission,
    SubmitError, Wanted, parse_key,
};
pub use writer::{WriteError, Writer, WriterParts};

use crate::config::{Config, ReturnPathStyle};
use crate::domain::access::Caller;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::draft::SendAt;
use crate::domain::fault::Fault;
use crate::domain::id::{BatchId, MessageId};
use crate::domain::message::{Idempotency, NewItem, NewMessage, NewSubmission};
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::{SHARDS, Shard};
use crate::routing::{Router, TrafficPolicy};
use crate::store::mail::accept::{ItemStored, Stored};
use crate::store::{Store, StoreError};
use crate::suppress::Suppressions;
use crate::telemetry::metrics::Metrics;
use crate::tokens::Tokens;
use content::NotMade;
use making::{MadeMessage, Making};
use pools::Counted;
use signing::Signing;

/// How long an idempotency key is remembered.
const KEY_LIFETIME: Duration = Duration::from_hours(24);
/// Messages stay on one shard this long, so that a batch's rows lie together.
const SHARD_TURN_MILLIS: i128 = 50;
/// Longest time to an answer; a message that no writer has taken up by then is not stored.
const DEADLINE: Duration = Duration::from_secs(9);
/// Longest time to an answer for whoever repeats by itself: programs wait ten minutes for the reply to a message (RFC 5321 §4.5.3.2.6).
const CERTAIN: Duration = Duration::from_secs(30);
/// How often it is asked meanwhile what became of a write.
const CERTAIN_POLL: Duration = Duration::from_millis(500);
/// What each item of a batch adds to it: composing and signing take their time.
const DEADLINE_EACH: Duration = Duration::from_millis(20);

/// The door.
pub struct Door {
    parts: DoorParts,
    signing: Signing,
    pub pools: Arc<Pools>,
    /// Live mail reaches the network.
    is_live: bool,
    return_path_style: ReturnPathStyle,
    /// There is a host that takes reports.
    takes_reports: bool,
    /// Where links of live mail lead; empty: nowhere.
    public_url: Arc<str>,
    lifetime: Duration,
    message_limit: usize,
    batch_limit: usize,
    /// Whether a message lies in the shard of its idempotency key: where a transaction may not touch all shards.
    follows_key: bool,
}

/// What a door is made of.
pub struct DoorParts {
    pub store: Store,
    pub writer: Writer,
    pub backlog: Arc<Backlog>,
    pub quotas: Arc<Quotas>,
    pub traffic: Arc<TrafficPolicy>,
    pub suppressions: Arc<Suppressions>,
    pub tokens: Arc<Tokens>,
    pub router: Arc<Router>,
    /// Where links of mail lead that does not leave this machine.
    pub local_url: Arc<str>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Door {
    pub fn new(config: &Config, parts: DoorParts) -> Self {
        let pool_parts = PoolParts {
            store: parts.store.clone(),
            router: Arc::clone(&parts.router),
            quotas: Arc::clone(&parts.quotas),
            clock: Arc::clone(&parts.clock),
        };
        Self {
            signing: Signing::new(parts.store.clone(), config.dkim.cache.0, &config.domains.second_signature),
            is_live: !config.is_sandboxed(),
            return_path_style: config.inbound.return_path,
            takes_reports: !config.inbound.host.is_empty(),
            public_url: config.http.public_url.as_str().into(),
            lifetime: config.delivery.lifetime.0,
            message_limit: config.limits.message.0,
            batch_limit: config.limits.batch_bytes.0,
            follows_key: config.database.max_shards_per_tx < SHARDS.len(),
            pools: Arc::new(Pools::new(pool_parts, config.dkim.cache.0)),
            parts,
        }
    }

    /// Composes, signs and stores the messages of a request, in one commit.
    pub async fn accept(&self, caller: &Caller, submission: Submission) -> Result<Accepted, SubmitError> {
        let key = submission.key.clone();
        if let Err(full) = self.parts.backlog.check(caller.project) {
            // What was accepted before keeps its answer.
            return self.replay_of(caller, key.as_ref()).await?.ok_or(SubmitError::Backlog(full));
        }
        let charge = match self.parts.quotas.admit(caller, &submission).await {
            Ok(charge) => charge,
            Err(denied) => return self.replay_of(caller, key.as_ref()).await?.ok_or_else(|| denied.into()),
        };
        let patience = if submission.is_certain {
            CERTAIN
        } else {
            DEADLINE + DEADLINE_EACH * u32::try_from(submission.items.len()).unwrap_or(u32::MAX)
        };
        // On the heap: what waits for a commit is small, what makes a message is not.
        let work = Box::pin(self.make_and_store(caller, submission, charge));
        let accepted = tokio::time::timeout(patience, work)
            .await
            .map_err(|_| WriteError::Away("not stored within the deadline".to_owned()))?;
        match accepted {
            // What was accepted once may be refused by now: its last instant has passed, or what it names is gone.
            Err(SubmitError::Refused(..) | SubmitError::QuotaSpent(_)) => {
                self.replay_of(caller, key.as_ref()).await?.map_or(accepted, Ok)
            }
            other => other,
        }
    }

    async fn make_and_store(
        &self,
        caller: &Caller,
        submission: Submission,
        charge: Charge,
    ) -> Result<Accepted, SubmitError> {
        let now = self.parts.clock.now();
        let Submission { items, key, mode, is_batch, is_certain } = submission;
        let latest = items.iter().filter_map(|item| item.wanted.as_ref().ok()?.send_at).map(SendAt::instant).max();
        let key = key.map(|key| self.idempotency(caller, &key, latest));
        let shard = match &key {
            Some(key) if self.follows_key => key.shard(),
            _ => shard_of_turn(now),
        };
        let batch = is_batch.then(|| BatchId::new(now, &*self.parts.rng));
        let (mut made, mut bytes) = (Vec::with_capacity(items.len()), 0);
        for (index, Item { wanted, key: own }) in items.into_iter().enumerate() {
            let caller_key = own.as_ref().map(|own| own.key.clone());
            let send_at = wanted.as_ref().ok().and_then(|wanted| wanted.send_at).map(SendAt::instant);
            let own = own.map(|own| self.idempotency(caller, &own, send_at));
            let making = Making {
                batch,
                key: caller_key.or_else(|| key.as_ref().map(Idempotency::callers)),
                ..Making::at(shard, now)
            };
            match self.item(caller, wanted, own, &making).await {
                Ok(item) => {
                    bytes += item.bytes();
                    if bytes > self.batch_limit {
                        return Err(SubmitError::TooLarge(bytes, self.batch_limit));
                    }
                    made.push(Ok(item));
                }
                Err(NotMade::Failed(error)) => return Err(error.into()),
                Err(NotMade::Refused(refusal)) if mode == Strictness::Strict => {
                    return Err(SubmitError::Refused(index, refusal));
                }
                Err(NotMade::Refused(refusal)) => made.push(Err(refusal)),
            }
        }
        self.store_made(
            caller,
            made,
            NewSubmission { shard, items: Vec::new(), key, is_strict: mode == Strictness::Strict },
            (batch, charge, is_certain),
        )
        .await
    }

    /// One item, ready to be stored; or what it made before.
    async fn item(
        &self,
        caller: &Caller,
        wanted: Result<Wanted, Vec<Fault>>,
        key: Option<Idempotency>,
        making: &Making<'_>,
    ) -> Result<Made, NotMade> {
        let made = match wanted {
            Ok(wanted) => self.make_item(caller, wanted, making).await,
            Err(faults) => Err(NotMade::Refused(Refusal::Faulty(faults))),
        };
        match (made, key) {
            (Err(NotMade::Refused(refusal)), Some(key)) => {
                let known = self.parts.store.find_by_key(&key).await.map_err(|error| WriteError::from(&error))?;
                let ids = known.map(|items| items.concat()).ok_or(NotMade::Refused(refusal))?;
                Ok(Made::Before(ids))
            }
            (made, key) => {
                let (item, counted) = making::item_of(made?, key);
                Ok(Made::New(item, counted))
            }
        }
    }

    async fn store_made(
        &self,
        caller: &Caller,
        mut made: Vec<Result<Made, Refusal>>,
        mut submission: NewSubmission,
        (batch, mut charge, is_certain): (Option<BatchId>, Charge, bool),
    ) -> Result<Accepted, SubmitError> {
        let suppressed = self.mark_suppressed(caller, made.iter_mut().flat_map(Made::messages).collect()).await?;
        let to_store: Vec<_> = made.iter().map(|made| made.as_ref().ok().and_then(Made::to_store)).collect();
        let (mut answers, mut counts) = (Vec::with_capacity(made.len()), Vec::with_capacity(made.len()));
        for made in made {
            let mut counted = Vec::new();
            let (answer, item) = match made {
                Ok(Made::New(item, counts)) => {
                    counted = counts;
                    (Ok(answers::of_item(&item)), item)
                }
                Ok(Made::Before(ids)) => {
                    let before = self.load_item(&ids).await.map_err(|error| WriteError::from(&error))?;
                    (Ok(before), NewItem::default())
                }
                Err(refusal) => (Err(refusal), NewItem::default()),
            };
            answers.push(answer);
            counts.push(counted);
            submission.items.push(item);
        }
        let count = submission.items.iter().map(|item| item.ids().count()).sum::<usize>();
        if count == 0 {
            return Ok(Accepted { items: answers, replayed: false, batch });
        }
        charge.fit(&to_store).await?;
        let timer = self.parts.metrics.accept_seconds.start_timer();
        charge.begin();
        // What becomes of a write that is given up is not known: it counts.
        counts.iter_mut().flatten().for_each(Counted::begin);
        let ids: Vec<_> = submission.items.iter().map(|item| item.ids().collect::<Vec<_>>()).collect();
        let mut stored = self.parts.writer.write(submission).await;
        if is_certain && matches!(stored, Err(WriteError::Away(_))) {
            stored = Ok(self.found(&ids).await);
        }
        charge.settle(&stored);
        let stored = stored?;
        timer.observe_duration();
        let is_stored = |at: usize| matches!(&stored, Stored::Accepted(items) if items.get(at).is_some_and(|item| *item == ItemStored::Accepted));
        for (at, counted) in counts.into_iter().enumerate() {
            if !is_stored(at) {
                counted.into_iter().for_each(Counted::give_back);
            }
        }
        match stored {
            Stored::Accepted(stored) => {
                self.parts.metrics.accepted.with_label_values(&[caller.mode.name()]).inc_by(count as u64);
                self.parts.metrics.settled.with_label_values(&[RecipientStatus::Suppressed.name()]).inc_by(suppressed);
                for (answer, stored) in answers.iter_mut().zip(stored) {
                    match stored {
                        ItemStored::Accepted | ItemStored::Gone => {}
                        ItemStored::Replayed(ids) => {
                            *answer = Ok(self.load_item(&ids).await.map_err(|error| WriteError::from(&error))?);
                        }
                        ItemStored::Mismatch => *answer = Err(Refusal::KeyReused),
                    }
                }
                Ok(Accepted { items: answers, replayed: false, batch })
            }
            Stored::Replayed(items) => {
                self.load_accepted(&items).await.map_err(|error| WriteError::from(&error).into())
            }
            Stored::Mismatch => Err(SubmitError::KeyReused),
            Stored::Refused(index) => Err(SubmitError::Refused(index, Refusal::KeyReused)),
        }
    }

    /// What a write came to of which nobody has heard: waits until its messages are there. Whoever waits gives it up in time.
    async fn found(&self, items: &[Vec<MessageId>]) -> Stored {
        let ids = items.concat();
        loop {
            tokio::time::sleep(CERTAIN_POLL).await;
            if let Ok(found) = self.parts.store.load_accepted(&ids).await
                && found.iter().all(|message| !message.recipients.is_empty())
            {
                return Stored::Accepted(items.iter().map(|_| ItemStored::Accepted).collect());
            }
        }
    }

    /// The messages of one item.
    async fn make_item(
        &self,
        caller: &Caller,
        wanted: Wanted,
        making: &Making<'_>,
    ) -> Result<Vec<MadeMessage>, NotMade> {
        let mut made = Vec::with_capacity(wanted.contents.len());
        let making = Making { send_at: wanted.send_at.map(SendAt::instant), ..making.clone() };
        for content in wanted.contents {
            made.push(Box::pin(self.make(caller, content, &making)).await?);
        }
        Ok(made)
    }

    /// The key as it is stored: live and test mail have keys of their own. Kept for a day, counted from when the message is
    /// sent.
    fn idempotency(&self, caller: &Caller, request: &RequestKey, send_at: Option<Timestamp>) -> Idempotency {
        let now = self.parts.clock.now();
        Idempotency {
            project: caller.project,
            key: Idempotency::stored(caller.mode, &request.key),
            fingerprint: request.fingerprint,
            expires_at: send_at.map_or(now, |at| at.max(now)) + KEY_LIFETIME,
        }
    }

    /// What this key and body made before, if they did.
    async fn replay_of(&self, caller: &Caller, key: Option<&RequestKey>) -> Result<Option<Accepted>, SubmitError> {
        let Some(key) = key.map(|key| self.idempotency(caller, key, None)) else { return Ok(None) };
        let away = |error: StoreError| WriteError::from(&error);
        match self.parts.store.find_by_key(&key).await.map_err(away)? {
            Some(items) => Ok(Some(self.load_accepted(&items).await.map_err(away)?)),
            None => Ok(None),
        }
    }

    /// What was answered when these messages were accepted, item by item.
    async fn load_accepted(&self, items: &[Vec<MessageId>]) -> Result<Accepted, StoreError> {
        self.parts.metrics.idempotent_replays.inc();
        let mut loaded = self.parts.store.load_accepted(&items.concat()).await?.into_iter();
        let mut answers = Vec::with_capacity(items.len());
        let mut batch = None;
        for ids in items {
            let messages: Vec<_> = loaded.by_ref().take(ids.len()).collect();
            batch = batch.or_else(|| messages.iter().find_map(|message| message.batch));
            let is_refused = messages.is_empty();
            answers.push(if is_refused { Err(Refusal::RefusedBefore) } else { Ok(answers::of_stored(messages)) });
        }
        Ok(Accepted { items: answers, replayed: true, batch })
    }

    async fn load_item(&self, ids: &[MessageId]) -> Result<AcceptedItem, StoreError> {
        self.parts.metrics.idempotent_replays.inc();
        Ok(answers::of_stored(self.parts.store.load_accepted(ids).await?))
    }
}

/// An item, ready to be stored, or stored before.
enum Made {
    New(NewItem, Vec<Counted>),
    Before(Vec<MessageId>),
}

impl Made {
    /// The messages of an item that are to be stored now.
    fn messages(made: &mut Result<Self, Refusal>) -> &mut [NewMessage] {
        match made {
            Ok(Self::New(item, _)) => &mut item.messages,
            Ok(Self::Before(_)) | Err(_) => &mut [],
        }
    }

    /// The bytes that are to be stored, if any are.
    fn to_store(&self) -> Option<u64> {
        matches!(self, Self::New(..)).then(|| self.bytes() as u64)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::New(item, _) => {
                let messages = item.messages.iter().map(|message| message.raw.len());
                messages.chain(item.scheduled.iter().map(|later| later.request.len())).sum()
            }
            Self::Before(_) => 0,
        }
    }
}

/// The shard of messages at an instant: all shards take turns.
fn shard_of_turn(now: Timestamp) -> Shard {
    let turn = now.unix_timestamp_nanos() / (SHARD_TURN_MILLIS * 1_000_000);
    Shard::of_low_bits(turn.to_le_bytes()[0])
}
