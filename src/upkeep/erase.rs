//! Addresses that are to be forgotten: what is owed to them is cancelled, and what is kept of them erased, message by
//! message. What is not settled is never touched: it is waited for.
//!
//! Every step may be repeated. A mark tells how far the messages were looked through, so that a process that is killed is
//! followed by another one that goes on from there.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::erasure::{ErasedCounts, Needle};
use crate::domain::id::MessageId;
use crate::domain::shard::Shard;
use crate::domain::suppression::{Evidence, NewSuppression, Suppression};
use crate::recall::{Done, Recaller};
use crate::shutdown::Shutdown;
use crate::store::accounts::erasures::{ErasureTurn, erased_form};
use crate::store::mail::purge::Standing;
use crate::store::mail::scheduled::ScheduledRequest;
use crate::store::queue::recall::Recall;
use crate::store::{OwnedConnection, Store, StoreError, by_shard};

/// How often it is looked whether an address is to be erased.
const EVERY: Duration = Duration::from_secs(1);
/// Messages of one step, and of the schedule.
const STEP: usize = 500;
const SCHEDULED_STEP: usize = 100;
/// Bytes of messages that one statement looks through; a larger message has one of its own.
const BYTES: u64 = 4 << 20;
/// When an erasure comes back to what was not settled.
const PAUSE: Duration = Duration::from_secs(5);
/// What stands in the mark once all was looked through.
const WHOLE: Uuid = Uuid::max();

/// What ticks.
pub struct Erasing {
    pub store: Store,
    pub recaller: Arc<Recaller>,
    pub rng: Arc<dyn Rng>,
}

/// One erasure, being worked at.
struct Work<'w> {
    connection: &'w mut OwnedConnection,
    turn: ErasureTurn,
    needle: Needle,
    /// Only what was accepted before is looked at.
    before: Timestamp,
}

impl Erasing {
    pub async fn run(self, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        while shutdown.pause(self.rng.jitter(EVERY, 0.2)).await {
            if let Err(error) = self.tick(&mut connection, &shutdown).await {
                tracing::warn!(%error, "the erasure of an address goes on at a later tick");
            }
        }
    }

    async fn tick(&self, connection: &mut OwnedConnection, shutdown: &Shutdown) -> Result<(), StoreError> {
        while let Some(turn) = connection.take_erasure().await? {
            let needle = Needle::new(&turn.address, &turn.hash);
            let before = turn.requested_at + Duration::from_millis(1);
            let mut work = Work { connection, turn, needle, before };
            self.erase(&mut work, shutdown).await?;
            if shutdown.soft.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn erase(&self, work: &mut Work<'_>, shutdown: &Shutdown) -> Result<(), StoreError> {
        if work.turn.mark.is_nil() {
            // What leaves the schedule meanwhile is among the messages by the time that those are looked through.
            work.empty_schedule().await?;
        }
        self.cancel(work).await?;
        if work.turn.mark.is_nil() {
            work.erase_own().await?;
        }
        while work.turn.mark != WHOLE {
            if shutdown.soft.is_cancelled() {
                return Ok(());
            }
            work.step().await?;
        }
        if work.come_back(shutdown).await? {
            return work.connection.advance_erasure(&work.turn, &[], Some(PAUSE)).await;
        }
        if shutdown.soft.is_cancelled() {
            return Ok(());
        }
        let changed = self.forget_suppressions(&work.turn).await?;
        work.count("suppressions", changed);
        for shard in Shard::all() {
            let (evidence, keys) = work.connection.erase_in_shard(work.turn.project, shard, &work.needle).await?;
            work.count("suppressions", evidence);
            work.count("idempotency_keys", keys);
        }
        work.connection.finish_erasure(&work.turn).await?;
        tracing::info!(erasure = %work.turn.id, "an address was erased");
        Ok(())
    }

    /// Cancels what is owed to the address, as far as it has not begun.
    async fn cancel(&self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let mut after = Uuid::nil();
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        loop {
            let range = (after, work.before);
            let (project, wanted) = (work.turn.project, (&work.needle, true));
            let owed = work.connection.recipients_of_address(project, wanted, range, limit).await?;
            for (message, recipient) in &owed {
                let done = self.recaller.recall(*message, &[*recipient], Recall::Cancel).await?;
                work.count("cancelled", u64::from(done.contains(&(*recipient, Done::Done))));
                after = message.uuid();
            }
            work.connection.advance_erasure(&work.turn, &[], None).await?;
            if owed.len() < STEP {
                return Ok(());
            }
        }
    }

    /// The address stays suppressed by a hash of it, or not at all; gives how many entries there were.
    async fn forget_suppressions(&self, turn: &ErasureTurn) -> Result<u64, StoreError> {
        let mut forms = vec![turn.address.clone()];
        let hashed = erased_form(turn.project, &turn.address);
        if turn.keep_suppressed {
            let found = self.store.find_suppressions(turn.project, None, &forms).await?;
            let kept = found.into_iter().map(|entry| without_address(entry, turn, &hashed)).collect();
            self.store.put_suppressions(kept, &*self.rng).await?;
        } else {
            forms.push(hashed);
        }
        let mut changed = 0;
        for mode in [Mode::Live, Mode::Test] {
            changed += self.store.delete_suppressions_of(turn.project, mode, &forms, None).await?;
        }
        Ok(changed)
    }
}

/// A suppression that knows no more whom it is about, nor why.
fn without_address(entry: Suppression, turn: &ErasureTurn, hashed: &str) -> NewSuppression {
    NewSuppression {
        project: turn.project,
        mode: entry.mode,
        address: hashed.to_owned(),
        scope: entry.scope,
        reason: entry.reason,
        class: entry.class,
        evidence: Evidence::default(),
        note: String::new(),
        created_at: entry.created_at,
        expires_at: entry.expires_at,
    }
}

impl Work<'_> {
    fn count(&mut self, name: &str, more: u64) {
        if more > 0 {
            *self.turn.counts.entry(name.to_owned()).or_default() += more;
        }
    }

    fn count_all(&mut self, counts: ErasedCounts) {
        for (name, more) in counts {
            self.count(&name, more);
        }
    }

    /// Takes what names the address out of the schedule.
    async fn empty_schedule(&mut self) -> Result<(), StoreError> {
        let mut after = Uuid::nil();
        let limit = i64::try_from(SCHEDULED_STEP).unwrap_or(i64::MAX);
        loop {
            let found = self.connection.scheduled_after(self.turn.project, after, limit).await?;
            for scheduled in &found {
                after = scheduled.stored.id.uuid();
                if self.is_named_in(scheduled) {
                    let dropped = self.connection.drop_scheduled(self.turn.project, scheduled.stored.id).await?;
                    self.count("scheduled_messages", u64::from(dropped));
                }
            }
            self.connection.advance_erasure(&self.turn, &[], None).await?;
            if found.len() < SCHEDULED_STEP {
                return Ok(());
            }
        }
    }

    fn is_named_in(&self, scheduled: &ScheduledRequest) -> bool {
        let stored = &scheduled.stored;
        let summary = serde_json::to_string(&stored.summary).unwrap_or_default();
        let texts = [
            String::from_utf8_lossy(&scheduled.request).into_owned(),
            summary,
            stored.tags.to_string(),
            stored.key.clone().unwrap_or_default(),
        ];
        stored.created_at < self.before && texts.iter().any(|text| self.needle.is_in(text))
    }

    /// Erases the address from the messages that went to it, which are found by their index: whatever the project keeps beside
    /// them, they are first.
    async fn erase_own(&mut self) -> Result<(), StoreError> {
        let (mut after, limit) = (Uuid::nil(), i64::try_from(STEP).unwrap_or(i64::MAX));
        loop {
            let range = (after, self.before);
            let found = self.connection.recipients_of_address(self.turn.project, (&self.needle, false), range, limit);
            let mut messages: Vec<_> = found.await?.into_iter().map(|(message, _)| message).collect();
            let is_last = messages.len() < STEP;
            messages.dedup();
            after = messages.last().map_or(after, |last| last.uuid());
            let mut waiting = Vec::new();
            for run in by_shard(messages, self.connection.max_shards_per_tx(), |id| id.shard()) {
                waiting.extend(self.erase_settled(run).await?.0);
            }
            self.connection.advance_erasure(&self.turn, &waiting, None).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Looks through the next messages, and erases the address from those that name it and are settled.
    async fn step(&mut self) -> Result<(), StoreError> {
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        let range = (self.turn.mark, self.before);
        let (found, _) = self.connection.messages_between(self.turn.project, range, limit).await?;
        let is_last = found.len() < STEP;
        for (batch, last) in batches(found) {
            let mut waiting = Vec::new();
            for run in by_shard(batch, self.connection.max_shards_per_tx(), |id| id.shard()) {
                let naming = self.connection.naming(&self.needle, &run).await?;
                waiting.extend(self.erase_settled(naming).await?.0);
            }
            self.turn.mark = last.uuid();
            self.connection.advance_erasure(&self.turn, &waiting, None).await?;
        }
        if is_last {
            self.turn.mark = WHOLE;
            self.connection.advance_erasure(&self.turn, &[], None).await?;
        }
        Ok(())
    }

    /// Erases the address from messages of one run; gives those that are not settled, and the others.
    async fn erase_settled(&mut self, run: Vec<MessageId>) -> Result<(Vec<MessageId>, Vec<MessageId>), StoreError> {
        if run.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let standing = self.connection.standing(&run).await?;
        let (waiting, others): (Vec<_>, Vec<_>) =
            standing.into_iter().partition(|(_, standing)| *standing == Standing::Unsettled);
        let settled: Vec<_> =
            others.iter().filter(|(_, standing)| *standing != Standing::Gone).map(|(id, _)| *id).collect();
        if !settled.is_empty() {
            let counts = self.connection.erase_from(&self.needle, &settled).await?;
            self.count_all(counts);
        }
        let ids = |of: Vec<(MessageId, Standing)>| of.into_iter().map(|(id, _)| id).collect();
        Ok((ids(waiting), ids(others)))
    }

    /// Comes back to what was not settled; says whether something still is not.
    async fn come_back(&mut self, shutdown: &Shutdown) -> Result<bool, StoreError> {
        let (mut after, mut is_waiting) = (Uuid::nil(), false);
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        loop {
            let found = self.connection.erasure_waits_for(self.turn.id, after, limit).await?;
            let Some(last) = found.last().copied() else { return Ok(is_waiting) };
            for run in by_shard(found, self.connection.max_shards_per_tx(), |id| id.shard()) {
                let (waiting, done) = self.erase_settled(run).await?;
                is_waiting |= !waiting.is_empty();
                self.connection.erasure_waits_no_more(self.turn.id, &done).await?;
            }
            self.connection.advance_erasure(&self.turn, &[], None).await?;
            after = last.uuid();
            if shutdown.soft.is_cancelled() {
                return Ok(true);
            }
        }
    }
}

/// Cuts messages into runs of so many bytes as one statement may look through, each with its last one.
fn batches(messages: Vec<(MessageId, i32)>) -> Vec<(Vec<MessageId>, MessageId)> {
    let mut batches: Vec<(Vec<MessageId>, MessageId)> = Vec::new();
    let mut bytes = 0;
    for (id, size) in messages {
        let size = u64::from(size.unsigned_abs());
        match batches.last_mut() {
            Some((batch, last)) if bytes + size <= BYTES => {
                bytes += size;
                batch.push(id);
                *last = id;
            }
            _ => {
                bytes = size;
                batches.push((vec![id], id));
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededRng;

    #[test]
    fn a_statement_looks_through_few_bytes_but_at_least_one_message() {
        let rng = SeededRng::new(1);
        let sizes = [1 << 20, 3 << 20, 1, 30 << 20, 5];
        let messages: Vec<_> = sizes
            .into_iter()
            .map(|size| (MessageId::new_in(Shard::of_low_bits(0), Timestamp::UNIX_EPOCH, &rng), size))
            .collect();
        let cut = batches(messages.clone());
        assert_eq!(cut.iter().map(|(batch, _)| batch.len()).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(cut.last().unwrap().1, messages[4].0);
    }
}
