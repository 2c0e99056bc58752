//! What a project keeps for less time than the installation does: purged message by message, in the order of ids, from a
//! mark on. What is not settled for long enough is put aside, and looked at again when it may be.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::id::MessageId;
use crate::shutdown::Shutdown;
use crate::store::accounts::retention::PurgeTurn;
use crate::store::mail::purge::Standing;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};

/// How often it is looked whose turn it is.
const EVERY: Duration = Duration::from_secs(1);
/// Looks from one to the next for what was changed too long ago, and entries that are forgotten then.
const AUDIT_EVERY: u32 = 60;
const AUDIT_STEP: i64 = 10_000;
/// Turns that one look takes.
const TURNS: i64 = 20;
/// Messages of one step.
const STEP: usize = 500;
/// Between two steps: accepting and settling go first.
const REST: Duration = Duration::from_millis(20);
/// When something is looked at again that is not settled, or still to be told.
const LATER: Duration = Duration::from_hours(1);

/// What ticks.
pub struct Purge {
    pub store: Store,
    /// How long it is kept who changed what.
    pub audit: Duration,
    pub rng: Arc<dyn Rng>,
}

/// What became of the messages of a step.
#[derive(Default)]
struct Looked {
    done: Vec<MessageId>,
    held: Vec<(MessageId, Timestamp)>,
}

impl Purge {
    pub async fn run(self, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        let mut ticks = 0_u32;
        while shutdown.pause(self.rng.jitter(EVERY, 0.2)).await {
            ticks = ticks.wrapping_add(1);
            // One of the two clocks is wrong, and what is purged does not come back.
            if self.store.clock().is_far_off() {
                continue;
            }
            if ticks.is_multiple_of(AUDIT_EVERY)
                && let Err(error) = self.store.purge_audit(self.store.clock().now() - self.audit, AUDIT_STEP).await
            {
                tracing::warn!(%error, "who changed what is forgotten later");
            }
            if let Err(error) = self.tick(&mut connection, &shutdown).await {
                tracing::warn!(%error, "what projects keep no longer is purged at a later tick");
            }
        }
    }

    async fn tick(&self, connection: &mut OwnedConnection, shutdown: &Shutdown) -> Result<(), StoreError> {
        for turn in connection.take_purge_turns(TURNS).await? {
            self.purge(connection, turn, shutdown).await?;
        }
        Ok(())
    }

    async fn purge(
        &self,
        connection: &mut OwnedConnection,
        mut turn: PurgeTurn,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        let before = self.store.clock().now() - turn.span;
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        loop {
            let held = connection.held_from_purge(&turn, limit).await?;
            let count = held.len();
            let looked = self.look(connection, &turn, held, before).await?;
            connection.release_from_purge(&turn, &looked.done, &looked.held).await?;
            if count < STEP {
                break;
            }
            if !shutdown.pause(REST).await {
                return Ok(());
            }
        }
        loop {
            let (found, mark) = connection.messages_between(turn.project, (turn.mark, before), limit).await?;
            let count = found.len();
            let ids = found.into_iter().map(|(id, _)| id).collect();
            let looked = self.look(connection, &turn, ids, before).await?;
            connection.advance_purge(&turn, mark, &looked.held).await?;
            turn.mark = turn.mark.max(mark);
            if count < STEP || !shutdown.pause(REST).await {
                return Ok(());
            }
        }
    }

    /// Purges those of some messages that are settled for long enough.
    async fn look(
        &self,
        connection: &mut OwnedConnection,
        turn: &PurgeTurn,
        messages: Vec<MessageId>,
        before: Timestamp,
    ) -> Result<Looked, StoreError> {
        let mut looked = Looked::default();
        let later = self.store.clock().now() + LATER;
        for run in by_shard(messages, connection.max_shards_per_tx(), |id| id.shard()) {
            let mut old = Vec::with_capacity(run.len());
            for (id, standing) in connection.standing(&run).await? {
                match standing {
                    Standing::Settled(at) if at <= before => old.push(id),
                    Standing::Settled(at) => looked.held.push((id, at + turn.span)),
                    Standing::Unsettled => looked.held.push((id, later)),
                    Standing::Gone => looked.done.push(id),
                }
            }
            let left = connection.purge(turn.kind, &old, before).await?;
            old.retain(|id| !left.contains(id));
            looked.done.extend(old);
            looked.held.extend(left.into_iter().map(|id| (id, later)));
        }
        Ok(looked)
    }
}
