//! Scheduled mail: when its time has come it goes through the ordinary door, composed, signed and dated then. What leaves the
//! schedule becomes a message in the same commit, or stays; what cannot be sent as it was asked for is one that bounced.

use super::content::NotMade;
use super::filling::fill;
use super::making::Making;
use super::pools::Counted;
use super::quota::{Charge, Denied};
use super::templates::Templates;
use super::{Door, Refusal, WriteError};
use crate::config::Limits;
use crate::domain::access::Caller;
use crate::domain::draft::{Content, Expiry};
use crate::domain::fault::Fault;
use crate::domain::message::{NewItem, NewSubmission};
use crate::request::found::{Found, uploads_of};
use crate::request::json::{JsonError, object};
use crate::request::send::{Context, read};
use crate::store::mail::accept::{ItemStored, Stored};
use crate::store::mail::scheduled::{ScheduledRequest, StoredScheduled};
use crate::store::mail::unsent::Unsent;
use crate::store::{Store, StoreError};

/// A message that leaves the schedule.
#[derive(Debug, Clone)]
pub struct Due {
    pub stored: StoredScheduled,
    pub content: Content,
}

/// What became of a message that was to leave the schedule.
#[derive(Debug, Clone)]
pub enum Released {
    /// It is a message like any other.
    Done,
    /// It was not in the schedule any more, or was changed meanwhile.
    Gone,
    /// It cannot be sent as it was asked for.
    Refused(Refusal),
    /// Something of ours is wrong with it: it stays in the schedule.
    Failed,
}

/// Reads what was asked for, when it is wanted: the language is the same as that of requests.
pub(super) async fn read_request(
    store: &Store,
    templates: &Templates,
    limits: &Limits,
    request: ScheduledRequest,
) -> Result<Result<Due, Vec<Fault>>, StoreError> {
    let ScheduledRequest { stored, request } = request;
    let mut map = match object(&request) {
        Ok(map) => map,
        Err(JsonError::Faults(faults)) => return Ok(Err(faults)),
        Err(JsonError::Malformed(detail)) => {
            let code = crate::domain::fault::FaultCode::InvalidText;
            return Ok(Err(vec![Fault::new("", code, detail)]));
        }
    };
    let mut found = Found::default();
    let uploads = uploads_of(std::iter::once(&map));
    if !uploads.is_empty() {
        found.uploads = store.load_uploads(stored.project, None, &uploads).await?;
    }
    let context = Context { limits, now: stored.created_at, found: &found };
    // Only a request that a transaction of a user's own wrote has its template still.
    let filled = fill(templates, (stored.project, stored.mode), &mut map, "").await;
    let filled = match filled.map_err(|error| StoreError::Away(error.to_string()))? {
        Ok(filled) => filled,
        Err(faults) => return Ok(Err(faults)),
    };
    let mut sending = match read(map, "", filled.as_ref(), &context) {
        Ok(sending) => sending,
        Err(faults) => return Ok(Err(faults)),
    };
    let mut content = sending.contents.swap_remove(0);
    if stored.template.is_some() {
        content.options_mut().template.clone_from(&stored.template);
    }
    if let Some(expires_at) = stored.expires_at {
        content.options_mut().expires_at = Some(Expiry::checked_before(expires_at));
    }
    Ok(Ok(Due { stored, content }))
}

/// Why a message was not sent, as status and events show it.
fn why(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Faulty(faults) => {
            let told: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
            told.join("; ")
        }
        other => other.to_string(),
    }
}

impl Door {
    /// Charges a message that nobody was charged for to its project.
    pub(super) async fn charge(&self, caller: &Caller, recipients: u64, bytes: u64) -> Result<Charge, Denied> {
        if self.parts.backlog.check(caller.project).is_err() {
            return Err(Denied::Unknown("the queue is full".to_owned()));
        }
        let mut charge = self.parts.quotas.admit_one(caller, recipients).await?;
        charge.fit(&[Some(bytes)]).await?;
        Ok(charge)
    }

    /// Ends a message that cannot be sent as it was asked for.
    pub(super) async fn refuse(&self, stored: &StoredScheduled, refusal: &Refusal) -> Result<(), StoreError> {
        tracing::warn!(message.id = %stored.id, %refusal, "a scheduled message cannot be sent");
        let unsent = Unsent::NotSendable(why(refusal));
        let ended = self.parts.store.end_scheduled(&[stored], &unsent, &*self.parts.rng).await?;
        self.parts.metrics.settled.with_label_values(&[unsent.status().name()]).inc_by(ended.recipients);
        Ok(())
    }

    /// Sends messages whose time has come, and which lie in one shard.
    pub async fn release(&self, due: &[Due]) -> Result<Vec<Released>, WriteError> {
        let (now, mut released, mut items, mut counts) = (self.parts.clock.now(), Vec::new(), Vec::new(), Vec::new());
        let Some(shard) = due.first().map(|due| due.stored.id.shard()) else { return Ok(released) };
        for due in due {
            let at = due.stored.id.made_at();
            self.parts.store.ensure_day(at.date()).await.map_err(|error| WriteError::from(&error))?;
            let caller = Caller::of_schedule(due.stored.project, due.stored.mode);
            let making = Making { due: Some(due), ..Making::at(shard, now) };
            match Box::pin(self.make(&caller, due.content.clone(), &making)).await {
                Ok(made) => {
                    let mut message = made.message;
                    self.mark_suppressed(&caller, vec![&mut message]).await?;
                    let from_schedule = Some(due.stored.version);
                    items.push(NewItem { messages: vec![message], from_schedule, ..NewItem::default() });
                    counts.push(made.counted);
                    released.push(Released::Done);
                }
                Err(NotMade::Failed(error)) => return Err(error),
                Err(NotMade::Refused(refusal)) => released.push(Released::Refused(refusal)),
            }
        }
        if items.is_empty() {
            return Ok(released);
        }
        let submission = NewSubmission { shard, items, key: None, is_strict: false };
        counts.iter_mut().flatten().for_each(Counted::begin);
        if let Stored::Accepted(stored) = self.parts.writer.write_apart(submission).await? {
            let done = released.iter_mut().filter(|released| matches!(released, Released::Done));
            for ((released, counted), stored) in done.zip(counts).zip(stored) {
                if stored == ItemStored::Gone {
                    *released = Released::Gone;
                    counted.into_iter().for_each(Counted::give_back);
                }
            }
        }
        Ok(released)
    }
}
