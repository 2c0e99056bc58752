//! The accepting commit: idempotency keys, messages, bodies, recipients, deliveries, first events and
//! their webhook jobs, for a whole batch in one transaction of set-based statements.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Link, StoreError, on_link, webhook_jobs};
use crate::domain::clock::{Chance, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{EventId, ProjectId};
use crate::domain::message::{Idempotency, NewMessage};
use crate::domain::shard::Shard;

/// What became of one message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is on disk.
    Accepted,
    /// Its idempotency key was used before with the same body: the first answer.
    Replayed { answer: String },
    /// Its idempotency key was used before with another body.
    Mismatch,
}

/// Which deliveries are born under a lease, and what lease that is.
#[derive(Clone, Copy)]
pub struct Birth<'a> {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    /// Whether the delivery of a recipient is born leased.
    pub is_leased: &'a (dyn Fn(&Uuid) -> bool + Sync),
}

/// What a commit wrote.
#[derive(Debug)]
pub struct Written {
    /// In order of the batch.
    pub stored: Vec<Stored>,
    pub webhook_jobs: u64,
}

impl Link {
    /// Stores a batch in one transaction, in order of the batch. Two messages with one idempotency key
    /// must not stand in one batch. On any error nothing is stored.
    pub async fn accept(
        &mut self,
        batch: &[NewMessage],
        birth: &Birth<'_>,
        now: Timestamp,
        chance: &dyn Chance,
    ) -> Result<Written, StoreError> {
        let link = self;
        on_link!(link, conn, accept(conn, batch, birth, now, chance))
    }
}

async fn accept(
    conn: &mut PgConnection,
    batch: &[NewMessage],
    birth: &Birth<'_>,
    now: Timestamp,
    chance: &dyn Chance,
) -> Result<Written, StoreError> {
    let mut tx = conn.begin().await?;
    let repeated = claim_keys(&mut tx, batch).await?;
    let fresh: Vec<_> = batch.iter().filter(|m| !repeated.contains_key(&m.id.uuid())).collect();
    let mut webhook_jobs = 0;
    if !fresh.is_empty() {
        insert_messages(&mut tx, &fresh).await?;
        insert_bodies(&mut tx, &fresh).await?;
        insert_recipients(&mut tx, &fresh).await?;
        insert_deliveries(&mut tx, &fresh, birth).await?;
        let events = queued_events(&fresh, now, chance);
        insert_events(&mut tx, &events).await?;
        webhook_jobs = webhook_jobs::enqueue(&mut tx, &events).await?;
    }
    tx.commit().await?;
    let stored = batch.iter().map(|m| repeated.get(&m.id.uuid()).cloned().unwrap_or(Stored::Accepted)).collect();
    Ok(Written { stored, webhook_jobs })
}

/// Claims the idempotency keys of the batch; gives what was found for those that were taken already.
async fn claim_keys(conn: &mut PgConnection, batch: &[NewMessage]) -> Result<HashMap<Uuid, Stored>, StoreError> {
    let mut keyed: Vec<(&NewMessage, &Idempotency)> =
        batch.iter().filter_map(|m| m.idempotency.as_ref().map(|key| (m, key))).collect();
    if keyed.is_empty() {
        return Ok(HashMap::new());
    }
    // Two writers that lock the same keys do so in the same order.
    keyed.sort_by(|(a, x), (b, y)| (a.project, &x.key).cmp(&(b.project, &y.key)));
    let shards: Vec<i32> = keyed.iter().map(|(m, _)| m.id.shard().value()).collect();
    let projects: Vec<Uuid> = keyed.iter().map(|(m, _)| m.project.uuid()).collect();
    let keys: Vec<String> = keyed.iter().map(|(_, key)| key.key.clone()).collect();
    let fingerprints: Vec<Vec<u8>> = keyed.iter().map(|(_, key)| key.fingerprint.to_vec()).collect();
    let messages: Vec<Uuid> = keyed.iter().map(|(m, _)| m.id.uuid()).collect();
    let answers: Vec<String> = keyed.iter().map(|(m, _)| m.answer.clone()).collect();
    let expiries: Vec<Timestamp> = keyed.iter().map(|(_, key)| key.expires_at).collect();
    let won: HashSet<Uuid> = sqlx::query!(
        "INSERT INTO idempotency_keys (shard, project_id, key, fingerprint, message_id, answer, expires_at) \
         SELECT * FROM unnest($1::int[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[], $6::text[], $7::timestamptz[]) \
         ON CONFLICT (shard, project_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
             message_id = excluded.message_id, answer = excluded.answer, expires_at = excluded.expires_at \
             WHERE idempotency_keys.expires_at <= now() \
         RETURNING message_id",
        &shards,
        &projects,
        &keys,
        &fingerprints,
        &messages,
        &answers,
        &expiries,
    )
    .fetch_all(&mut *conn)
    .await?
    .into_iter()
    .map(|row| row.message_id)
    .collect();
    if won.len() == keyed.len() {
        return Ok(HashMap::new());
    }
    let found = sqlx::query!(
        "SELECT k.project_id, k.key, k.fingerprint, k.answer FROM idempotency_keys k \
         JOIN unnest($1::int[], $2::uuid[], $3::text[]) AS w (shard, project_id, key) \
           ON k.shard = w.shard AND k.project_id = w.project_id AND k.key = w.key",
        &shards,
        &projects,
        &keys,
    )
    .fetch_all(&mut *conn)
    .await?;
    let found: HashMap<(Uuid, &str), _> = found.iter().map(|row| ((row.project_id, row.key.as_str()), row)).collect();
    keyed
        .into_iter()
        .filter(|(message, _)| !won.contains(&message.id.uuid()))
        .map(|(message, key)| {
            let row = found
                .get(&(message.project.uuid(), key.key.as_str()))
                .ok_or_else(|| StoreError::Away("an idempotency key vanished while it was read".to_owned()))?;
            let stored = if row.fingerprint == key.fingerprint {
                Stored::Replayed { answer: row.answer.clone() }
            } else {
                Stored::Mismatch
            };
            Ok((message.id.uuid(), stored))
        })
        .collect()
}

fn shards(messages: &[&NewMessage]) -> Vec<i32> {
    messages.iter().map(|m| m.id.shard().value()).collect()
}

fn ids(messages: &[&NewMessage]) -> Vec<Uuid> {
    messages.iter().map(|m| m.id.uuid()).collect()
}

fn json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

async fn insert_messages(conn: &mut PgConnection, batch: &[&NewMessage]) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size, created_at, expires_at) \
         SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], \
             $8::jsonb[], $9::jsonb[], $10::smallint[], $11::int[], $12::timestamptz[], $13::timestamptz[])",
        &shards(batch),
        &ids(batch),
        &batch.iter().map(|m| m.project.uuid()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.mode.name().to_owned()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.sender.to_string()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.author.clone()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.subject.clone()).collect::<Vec<_>>(),
        &batch.iter().map(|m| json(&m.tags)).collect::<Vec<_>>(),
        &batch.iter().map(|m| json(&m.metadata)).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.priority.rank()).collect::<Vec<_>>(),
        &batch.iter().map(|m| i32::try_from(m.raw.len()).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.created_at).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.expires_at).collect::<Vec<_>>() as &[Option<Timestamp>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_bodies(conn: &mut PgConnection, batch: &[&NewMessage]) -> Result<(), StoreError> {
    let bodies: Vec<&[u8]> = batch.iter().map(|m| m.raw.as_slice()).collect();
    sqlx::query!(
        "INSERT INTO message_bodies (shard, message_id, raw) SELECT * FROM unnest($1::int[], $2::uuid[], $3::bytea[])",
        &shards(batch),
        &ids(batch),
        &bodies as &[&[u8]],
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_recipients(conn: &mut PgConnection, batch: &[&NewMessage]) -> Result<(), StoreError> {
    let rows = || batch.iter().flat_map(|m| m.recipients.iter().enumerate().map(move |(n, r)| (m, n, r)));
    sqlx::query!(
        "INSERT INTO recipients (shard, message_id, id, position, kind, address, status) \
         SELECT *, 'queued' FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::smallint[], $5::text[], $6::text[])",
        &rows().map(|(m, _, _)| m.id.shard().value()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.id.uuid()).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.id.uuid()).collect::<Vec<_>>(),
        &rows().map(|(_, n, _)| i16::try_from(n).unwrap_or(i16::MAX)).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.kind.name().to_owned()).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.address.to_string()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_deliveries(
    conn: &mut PgConnection,
    batch: &[&NewMessage],
    birth: &Birth<'_>,
) -> Result<(), StoreError> {
    let rows = || batch.iter().flat_map(|m| m.recipients.iter().map(move |r| (m, r)));
    sqlx::query!(
        "INSERT INTO deliveries (shard, id, message_id, project_id, next_hop, priority, size, expires_at, due_at, \
             attempt, lease_owner, lease_token, lease_until) \
         SELECT r.shard, r.id, r.message_id, r.project_id, r.next_hop, r.priority, r.size, r.expires_at, now(), \
             CASE WHEN r.leased THEN 1 ELSE 0 END, CASE WHEN r.leased THEN $10::uuid END, CASE WHEN r.leased THEN $11::uuid END, \
             CASE WHEN r.leased THEN now() + make_interval(secs => $12) END \
         FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::smallint[], $7::int[], $8::timestamptz[], $9::bool[]) \
             AS r (shard, id, message_id, project_id, next_hop, priority, size, expires_at, leased)",
        &rows().map(|(m, _)| m.id.shard().value()).collect::<Vec<_>>(),
        &rows().map(|(_, r)| r.id.uuid()).collect::<Vec<_>>(),
        &rows().map(|(m, _)| m.id.uuid()).collect::<Vec<_>>(),
        &rows().map(|(m, _)| m.project.uuid()).collect::<Vec<_>>(),
        &rows().map(|(_, r)| r.next_hop.clone()).collect::<Vec<_>>(),
        &rows().map(|(m, _)| m.priority.rank()).collect::<Vec<_>>(),
        &rows().map(|(m, _)| i32::try_from(m.raw.len()).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
        &rows().map(|(m, _)| m.give_up_at).collect::<Vec<_>>(),
        &rows().map(|(_, r)| (birth.is_leased)(&r.id.uuid())).collect::<Vec<_>>(),
        birth.owner,
        birth.token,
        birth.span.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An event about to be stored.
#[derive(Debug)]
pub struct NewEvent {
    pub shard: Shard,
    pub message: Uuid,
    pub id: EventId,
    pub project: ProjectId,
    pub recipient: Uuid,
    pub sequence: i32,
    pub event: EventType,
    pub occurred_at: Timestamp,
    pub data: serde_json::Value,
}

fn queued_events(batch: &[&NewMessage], now: Timestamp, chance: &dyn Chance) -> Vec<NewEvent> {
    batch
        .iter()
        .flat_map(|m| m.recipients.iter().map(move |r| (m, r)))
        .map(|(m, r)| NewEvent {
            shard: m.id.shard(),
            message: m.id.uuid(),
            id: EventId::new(now, chance),
            project: m.project,
            recipient: r.id.uuid(),
            sequence: 1,
            event: EventType::Queued,
            occurred_at: m.created_at,
            data: serde_json::json!({}),
        })
        .collect()
}

/// Writes events; the caller's transaction makes them true together with what they report.
pub(super) async fn insert_events(conn: &mut PgConnection, events: &[NewEvent]) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO events (shard, message_id, id, project_id, recipient_id, sequence, type, occurred_at, data) \
         SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::int[], $7::text[], $8::timestamptz[], $9::jsonb[])",
        &events.iter().map(|e| e.shard.value()).collect::<Vec<_>>(),
        &events.iter().map(|e| e.message).collect::<Vec<_>>(),
        &events.iter().map(|e| e.id.uuid()).collect::<Vec<_>>(),
        &events.iter().map(|e| e.project.uuid()).collect::<Vec<_>>(),
        &events.iter().map(|e| e.recipient).collect::<Vec<_>>(),
        &events.iter().map(|e| e.sequence).collect::<Vec<_>>(),
        &events.iter().map(|e| e.event.name().to_owned()).collect::<Vec<_>>(),
        &events.iter().map(|e| e.occurred_at).collect::<Vec<_>>(),
        &events.iter().map(|e| e.data.clone()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
