//! The accepting commit: idempotency keys, messages, bodies, recipients, deliveries, first events and
//! their webhook jobs, for a whole batch in one statement, with keys in one transaction of two.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::clock::{Chance, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::EventId;
use crate::domain::message::{Idempotency, NewMessage};
use crate::store::{Link, StoreError, on_link};

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
    let all: Vec<_> = batch.iter().collect();
    // Without keys one statement is the whole transaction.
    if batch.iter().all(|message| message.idempotency.is_none()) {
        let webhook_jobs = insert(conn, &all, birth, now, chance).await?;
        return Ok(Written { stored: vec![Stored::Accepted; batch.len()], webhook_jobs });
    }
    let mut tx = conn.begin().await?;
    let repeated = claim_keys(&mut tx, batch).await?;
    let fresh: Vec<_> = all.into_iter().filter(|m| !repeated.contains_key(&m.id.uuid())).collect();
    let webhook_jobs = if fresh.is_empty() { 0 } else { insert(&mut tx, &fresh, birth, now, chance).await? };
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

fn json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Messages, bodies, recipients, deliveries, first events and their webhook jobs, in one statement: a round trip each
/// would cost more than the rows. Gives the number of jobs, which are for each enabled endpoint of the project that
/// wants the type and the tags; their ids follow from event and endpoint.
async fn insert(
    conn: &mut PgConnection,
    batch: &[&NewMessage],
    birth: &Birth<'_>,
    now: Timestamp,
    chance: &dyn Chance,
) -> Result<u64, StoreError> {
    let rows = || batch.iter().flat_map(|m| m.recipients.iter().enumerate().map(move |(n, r)| (m, n, r)));
    let bodies: Vec<&[u8]> = batch.iter().map(|m| m.raw.as_slice()).collect();
    let jobs = sqlx::query_scalar!(
        "WITH m AS (INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size, created_at, expires_at, tls, ip_pool) \
             SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], \
                 $8::jsonb[], $9::jsonb[], $10::smallint[], $11::int[], $12::timestamptz[], $13::timestamptz[], $34::text[], $35::text[])), \
         b AS (INSERT INTO message_bodies (shard, message_id, raw) SELECT * FROM unnest($1::int[], $2::uuid[], $14::bytea[])), \
         r AS MATERIALIZED (SELECT * FROM unnest($15::int[], $16::uuid[], $17::uuid[], $18::uuid[], $19::smallint[], $20::text[], \
                 $21::text[], $22::text[], $23::smallint[], $24::int[], $25::timestamptz[], $26::bool[], $27::uuid[], $28::timestamptz[], $29::jsonb[], $36::text[], $37::text[]) \
             AS r (shard, message_id, id, project_id, position, kind, address, next_hop, priority, size, expires_at, leased, event_id, created_at, tags, tls, ip_pool)), \
         p AS (INSERT INTO recipients (shard, message_id, id, position, kind, address, status) \
             SELECT r.shard, r.message_id, r.id, r.position, r.kind, r.address, 'queued' FROM r), \
         d AS (INSERT INTO deliveries (shard, id, message_id, project_id, next_hop, priority, size, expires_at, due_at, \
                 tls, ip_pool, attempt, lease_owner, lease_token, lease_until) \
             SELECT r.shard, r.id, r.message_id, r.project_id, r.next_hop, r.priority, r.size, r.expires_at, now(), r.tls, r.ip_pool, \
                 CASE WHEN r.leased THEN 1 ELSE 0 END, CASE WHEN r.leased THEN $30::uuid END, CASE WHEN r.leased THEN $31::uuid END, \
                 CASE WHEN r.leased THEN now() + make_interval(secs => $32) END FROM r), \
         e AS (INSERT INTO events (shard, message_id, id, project_id, recipient_id, sequence, type, occurred_at, data) \
             SELECT r.shard, r.message_id, r.event_id, r.project_id, r.id, 1, $33, r.created_at, '{}' FROM r), \
         j AS (INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at) \
             SELECT r.shard, md5(r.event_id::text || w.id::text)::uuid, w.id, r.message_id, r.event_id, now() \
             FROM r JOIN webhook_endpoints w ON w.project_id = r.project_id AND w.enabled \
                  AND ('*' = ANY (w.events) OR $33 = ANY (w.events)) \
             WHERE w.tags = '{}' OR r.tags ?| w.tags ON CONFLICT DO NOTHING RETURNING 1) \
         SELECT count(*) AS \"jobs!\" FROM j",
        &batch.iter().map(|m| m.id.shard().value()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.id.uuid()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.project.uuid()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.mode.name().to_owned()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.sender.to_string()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.author.clone()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.subject.clone()).collect::<Vec<_>>(),
        &batch.iter().map(|m| json(&m.tags)).collect::<Vec<_>>(),
        &batch.iter().map(|m| json(&m.metadata)).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.priority.rank()).collect::<Vec<_>>(),
        &batch.iter().map(|m| size_of(m)).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.created_at).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.expires_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &bodies as &[&[u8]],
        &rows().map(|(m, _, _)| m.id.shard().value()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.id.uuid()).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.id.uuid()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.project.uuid()).collect::<Vec<_>>(),
        &rows().map(|(_, n, _)| i16::try_from(n).unwrap_or(i16::MAX)).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.kind.name().to_owned()).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.address.to_string()).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| r.next_hop.clone()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.priority.rank()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| size_of(m)).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.give_up_at).collect::<Vec<_>>(),
        &rows().map(|(_, _, r)| (birth.is_leased)(&r.id.uuid())).collect::<Vec<_>>(),
        &rows().map(|_| EventId::new(now, chance).uuid()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.created_at).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| json(&m.tags)).collect::<Vec<_>>(),
        birth.owner,
        birth.token,
        birth.span.as_secs_f64(),
        EventType::Queued.name(),
        &batch.iter().map(|m| m.demand.tls.name().to_owned()).collect::<Vec<_>>(),
        &batch.iter().map(|m| m.demand.ip_pool.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows().map(|(m, _, _)| m.demand.tls.name().to_owned()).collect::<Vec<_>>(),
        &rows().map(|(m, _, _)| m.demand.ip_pool.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .fetch_one(conn)
    .await?;
    Ok(jobs.unsigned_abs())
}

fn size_of(message: &NewMessage) -> i32 {
    i32::try_from(message.raw.len()).unwrap_or(i32::MAX)
}
