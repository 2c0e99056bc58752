//! The schedule: mail whose time has come is sent, in turns of shards and projects, so that whoever scheduled much for one
//! instant keeps nobody else's. What a transaction of a user's own wrote was charged to nobody: it is charged here, and waits
//! for what its project may not send yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use uuid::Uuid;

use super::quota::{Charge, Denied};
use super::release::{Due, Released, read_request};
use super::templates::Templates;
use super::{Door, Refusal, WriteError};
use crate::config::Limits;
use crate::domain::access::Caller;
use crate::domain::id::ProjectId;
use crate::domain::quota::UsageLimits;
use crate::domain::shard::Shard;
use crate::shutdown::Shutdown;
use crate::store::mail::accept::{ItemStored, Stored};
use crate::store::mail::scheduled::{ScheduledRequest, StoredScheduled};
use crate::store::{OwnedConnection, Store, StoreError};

/// How often the schedule is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Messages that are made and written together.
const BATCH: i64 = 100;
/// Shards that are worked at together: composing takes the processor, writing the store.
const AT_ONCE: usize = 4;
/// How long a message belongs to the process that is sending it.
const LEASE: Duration = Duration::from_secs(5);
/// Wait after the store did not answer, or when nobody's that is due may be sent.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a project waits at least, and at most until it is asked again, that may not send now.
const HELD_LEAST: Duration = Duration::from_secs(1);
const HELD_MOST: Duration = Duration::from_secs(5);

/// What sends scheduled mail.
pub struct Scheduler {
    pub store: Store,
    pub door: Arc<Door>,
    pub templates: Arc<Templates>,
    pub limits: Limits,
    pub owner: Uuid,
    pub held: Held,
}

/// Projects that may not send now, and until when.
#[derive(Debug, Default)]
pub struct Held(Mutex<HashMap<ProjectId, Instant>>);

impl Held {
    fn known(&self) -> MutexGuard<'_, HashMap<ProjectId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, project: ProjectId, wait: Duration) {
        self.known().insert(project, Instant::now() + wait.clamp(HELD_LEAST, HELD_MOST));
    }

    /// Those of now.
    fn projects(&self) -> HashSet<ProjectId> {
        let (mut known, now) = (self.known(), Instant::now());
        known.retain(|_, until| *until > now);
        known.keys().copied().collect()
    }
}

/// What messages of a project are charged by, looked up once a batch.
type Terms = HashMap<ProjectId, UsageLimits>;

impl Scheduler {
    /// Looks at the schedule until the soft token falls.
    pub async fn run(self, shutdown: Shutdown) {
        let mut connections = [(); AT_ONCE].map(|()| self.store.connection());
        let (mut wait, mut are_limits_told) = (LOOK, false);
        while shutdown.pause(wait).await {
            if !are_limits_told {
                are_limits_told = self.tell_limits().await;
            }
            if self.store.clock().is_far_off() {
                continue;
            }
            wait = match self.tick(&mut connections, &shutdown).await {
                Ok(true) => LOOK,
                Ok(false) => PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "scheduled mail waits for the store");
                    PAUSE
                }
            };
        }
    }

    /// Tells transactions of users' own what their messages are judged by; `false`: it is to be told again.
    async fn tell_limits(&self) -> bool {
        let Limits { recipients, message, attachments, tags, metadata, headers, .. } = &self.limits;
        let limits = [
            ("recipients", *recipients),
            ("message", message.0),
            ("attachments", *attachments),
            ("tags", *tags),
            ("metadata", metadata.0),
            ("headers", *headers),
        ];
        let told = self.store.put_outbox_limits(&limits).await;
        told.inspect_err(|error| tracing::debug!(%error, "the limits are told to the outbox later")).is_ok()
    }

    /// Sends what is due; `false`: what is left is of projects that may not send now.
    async fn tick(
        &self,
        connections: &mut [OwnedConnection; AT_ONCE],
        shutdown: &Shutdown,
    ) -> Result<bool, StoreError> {
        loop {
            let due = connections[0].shards_with_scheduled_due().await?;
            if due.is_empty() || shutdown.soft.is_cancelled() {
                return Ok(true);
            }
            if self.take_turns(connections, due).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Sends a batch of each of these shards, several at once; gives the number of messages that left the schedule.
    async fn take_turns(
        &self,
        connections: &mut [OwnedConnection; AT_ONCE],
        due: Vec<Shard>,
    ) -> Result<usize, StoreError> {
        let due = Mutex::new(due);
        let next = || due.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let turns = connections.iter_mut().map(async |connection| {
            let mut count = 0;
            while let Some(shard) = next() {
                count += self.send_batch(connection, shard).await?;
            }
            Ok::<_, StoreError>(count)
        });
        join_all(turns).await.into_iter().sum()
    }

    async fn send_batch(&self, connection: &mut OwnedConnection, shard: Shard) -> Result<usize, StoreError> {
        let mut held = self.held.projects();
        let claimed = connection.claim_scheduled(shard, (self.owner, LEASE), &held, BATCH).await?;
        let count = claimed.len();
        let (mut due, mut charges, mut put_back) = (Vec::new(), Vec::new(), Vec::new());
        let mut terms = Terms::new();
        for request in claimed {
            let stored = request.stored.clone();
            let charge = if stored.is_charged {
                None
            } else if held.contains(&stored.project) {
                put_back.push(stored.id);
                continue;
            } else {
                match self.charge(&request, &mut terms).await? {
                    Ok(charge) => Some(charge),
                    Err(wait) => {
                        self.held.hold(stored.project, wait);
                        held.insert(stored.project);
                        put_back.push(stored.id);
                        continue;
                    }
                }
            };
            match read_request(&self.store, &self.templates, &self.limits, request).await? {
                Ok(message) => {
                    due.push(message);
                    charges.push(charge);
                }
                Err(faults) => self.door.refuse(&stored, &Refusal::Faulty(faults)).await?,
            }
        }
        connection.put_back_scheduled(shard, self.owner, &put_back).await?;
        charges.iter_mut().flatten().for_each(Charge::begin);
        let released = self.release(&due).await?;
        for ((due, charge), released) in due.iter().zip(charges).zip(released) {
            if let Released::Refused(refusal) = &released {
                self.door.refuse(&due.stored, refusal).await?;
            }
            let stored = if matches!(released, Released::Done) { ItemStored::Accepted } else { ItemStored::Gone };
            if let Some(charge) = charge {
                charge.settle(&Ok(Stored::Accepted(vec![stored])));
            }
        }
        Ok(count - put_back.len())
    }

    /// Charges a message to its project, or says how long that is to wait.
    async fn charge(
        &self,
        request: &ScheduledRequest,
        terms: &mut Terms,
    ) -> Result<Result<Charge, Duration>, StoreError> {
        let StoredScheduled { project, mode, summary, .. } = &request.stored;
        let known = terms.get(project).copied();
        let limits = if let Some(limits) = known { limits } else { self.limits_of(*project).await? };
        terms.insert(*project, limits);
        let caller = Caller { project_limits: limits, ..Caller::of_schedule(*project, *mode) };
        let charged = self.door.charge(&caller, summary.recipients.len() as u64, request.request.len() as u64);
        Ok(charged.await.map_err(|denied| match denied {
            Denied::Spent(spent) => spent.wait,
            Denied::Suspended(_) | Denied::Unknown(_) => PAUSE,
        }))
    }

    async fn limits_of(&self, project: ProjectId) -> Result<UsageLimits, StoreError> {
        Ok(self.store.find_terms(&project.to_string()).await?.map(|terms| terms.limits).unwrap_or_default())
    }

    /// Sends messages together; when one of them fails by a defect, one by one: it waits out its lease, and keeps nobody.
    async fn release(&self, due: &[Due]) -> Result<Vec<Released>, StoreError> {
        let away = |error: WriteError| StoreError::Away(error.to_string());
        match self.door.release(due).await {
            Err(WriteError::Failed(_)) => {}
            released => return released.map_err(away),
        }
        let mut released = Vec::with_capacity(due.len());
        for one in due {
            match self.door.release(std::slice::from_ref(one)).await {
                Err(WriteError::Failed(reason)) => {
                    tracing::error!(message.id = %one.stored.id, reason, "a scheduled message failed; it is tried again");
                    released.push(Released::Failed);
                }
                one => released.extend(one.map_err(away)?),
            }
        }
        Ok(released)
    }
}
