//! The accepting commit: idempotency keys, messages, bodies, recipients, deliveries, first events and their webhook
//! jobs. All messages of a commit lie in one shard, and their statement says so: one node can answer it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::clock::{Rng, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, ProjectId};
use crate::domain::message::{Idempotency, NewMessage, NewSubmission};
use crate::domain::reverse_path::ReversePath;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, StoreError, on_connection};

/// What became of one submission of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is on disk.
    Accepted,
    /// Its idempotency key was used before with the same body: what that made.
    Replayed(Vec<MessageId>),
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

impl OwnedConnection {
    /// Stores a batch in one transaction, in order of the batch. Its messages lie in one shard, and no key stands twice.
    /// On any error nothing is stored.
    pub async fn accept(
        &mut self,
        batch: &[NewSubmission],
        birth: &Birth<'_>,
        rng: &dyn Rng,
    ) -> Result<Written, StoreError> {
        let context = Context { birth, now: self.store.now(), era: self.store.era(), rng };
        on_connection!(self, "messages.accept", conn, accept(conn, batch, &context))
    }
}

/// What is the same for all rows of a commit.
struct Context<'a> {
    birth: &'a Birth<'a>,
    now: Timestamp,
    era: i16,
    rng: &'a dyn Rng,
}

async fn accept(
    conn: &mut PgConnection,
    batch: &[NewSubmission],
    context: &Context<'_>,
) -> Result<Written, StoreError> {
    // Without keys one statement is the whole transaction.
    if batch.iter().all(|submission| submission.key.is_none()) {
        let all: Vec<_> = batch.iter().flat_map(|submission| &submission.messages).collect();
        let webhook_jobs = insert(conn, &all, context).await?;
        return Ok(Written { stored: vec![Stored::Accepted; batch.len()], webhook_jobs });
    }
    let mut tx = conn.begin().await?;
    let mut known = claim_keys(&mut tx, batch, context.now).await?;
    let stored: Vec<_> = batch.iter().map(|submission| outcome(submission, &mut known)).collect();
    let fresh = batch.iter().zip(&stored).filter(|(_, stored)| **stored == Stored::Accepted);
    let fresh: Vec<_> = fresh.flat_map(|(submission, _)| &submission.messages).collect();
    let webhook_jobs = if fresh.is_empty() { 0 } else { insert(&mut tx, &fresh, context).await? };
    tx.commit().await?;
    Ok(Written { stored, webhook_jobs })
}

/// Keys that were taken before, with what they were taken for.
type Known = HashMap<(ProjectId, String), (Vec<u8>, Vec<Uuid>)>;

fn outcome(submission: &NewSubmission, known: &mut Known) -> Stored {
    let key = submission.key.as_ref();
    let found = key.and_then(|key| Some((key, known.remove(&(key.project, key.key.clone()))?)));
    match found {
        None => Stored::Accepted,
        Some((key, (fingerprint, messages))) if fingerprint == key.fingerprint => {
            Stored::Replayed(messages.into_iter().map(MessageId::from_uuid).collect())
        }
        Some(_) => Stored::Mismatch,
    }
}

/// Claims the idempotency keys of the batch; returns what was found for those that were taken already.
async fn claim_keys(conn: &mut PgConnection, batch: &[NewSubmission], now: Timestamp) -> Result<Known, StoreError> {
    let mut keyed: Vec<(&NewSubmission, &Idempotency)> =
        batch.iter().filter_map(|submission| Some((submission, submission.key.as_ref()?))).collect();
    // Two writers that lock the same keys do so in the same order.
    keyed.sort_by(|(_, a), (_, b)| (a.project, &a.key).cmp(&(b.project, &b.key)));
    let ids = |submission: &NewSubmission| {
        let ids: Vec<_> = submission.messages.iter().map(|message| message.id.uuid().simple().to_string()).collect();
        format!("{{{}}}", ids.join(","))
    };
    let shards: Vec<i32> = keyed.iter().map(|(_, key)| key.shard().value()).collect();
    let projects: Vec<Uuid> = keyed.iter().map(|(_, key)| key.project.uuid()).collect();
    let keys: Vec<String> = keyed.iter().map(|(_, key)| key.key.clone()).collect();
    let fingerprints: Vec<Vec<u8>> = keyed.iter().map(|(_, key)| key.fingerprint.to_vec()).collect();
    let messages: Vec<String> = keyed.iter().map(|(submission, _)| ids(submission)).collect();
    let expiries: Vec<Timestamp> = keyed.iter().map(|(_, key)| key.expires_at).collect();
    let won: HashSet<(Uuid, String)> = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (shard, project_id, key, fingerprint, message_ids, expires_at)
        -- An array of arrays would have to be square: each list of ids travels as its text.
        SELECT k.shard, k.project_id, k.key, k.fingerprint, k.message_ids::uuid[], k.expires_at
        FROM unnest($1::int[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])
            AS k (shard, project_id, key, fingerprint, message_ids, expires_at)
        ON CONFLICT (shard, project_id, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, message_ids = excluded.message_ids, expires_at = excluded.expires_at
            WHERE idempotency_keys.expires_at <= $7
        RETURNING project_id, key
        "#,
        &shards,
        &projects,
        &keys,
        &fingerprints,
        &messages,
        &expiries,
        now,
    )
    .fetch_all(&mut *conn)
    .await?
    .into_iter()
    .map(|row| (row.project_id, row.key))
    .collect();
    if won.len() == keyed.len() {
        return Ok(HashMap::new());
    }
    let found = sqlx::query!(
        r#"
        SELECT k.project_id, k.key, k.fingerprint, k.message_ids
        FROM unnest($1::int[], $2::uuid[], $3::text[]) AS w (shard, project_id, key)
        JOIN idempotency_keys k ON k.shard = w.shard AND k.project_id = w.project_id AND k.key = w.key
        "#,
        &shards,
        &projects,
        &keys,
    )
    .fetch_all(&mut *conn)
    .await?;
    let found: Known = found
        .into_iter()
        .filter(|row| !won.contains(&(row.project_id, row.key.clone())))
        .map(|row| ((ProjectId::from_uuid(row.project_id), row.key), (row.fingerprint, row.message_ids)))
        .collect();
    if found.len() + won.len() < keyed.len() {
        return Err(StoreError::Away("an idempotency key vanished while it was read".to_owned()));
    }
    Ok(found)
}

/// One row a message, by column.
#[derive(Default)]
struct MessageColumns<'m> {
    id: Vec<Uuid>,
    project_id: Vec<Uuid>,
    mode: Vec<&'static str>,
    sender: Vec<&'m str>,
    author: Vec<&'m str>,
    message_id: Vec<Option<&'m str>>,
    subject: Vec<&'m str>,
    tags: Vec<serde_json::Value>,
    metadata: Vec<serde_json::Value>,
    priority: Vec<i16>,
    size: Vec<i32>,
    created_at: Vec<Timestamp>,
    expires_at: Vec<Option<Timestamp>>,
    tls: Vec<&'static str>,
    ip_pool: Vec<Option<&'m str>>,
    raw: Vec<&'m [u8]>,
}

/// One row a recipient, by column, with what its rows need of its message: a join in the statement would cost more.
#[derive(Default)]
struct RecipientColumns<'m> {
    id: Vec<Uuid>,
    message_id: Vec<Uuid>,
    project_id: Vec<Uuid>,
    mode: Vec<&'static str>,
    position: Vec<i16>,
    kind: Vec<&'static str>,
    address: Vec<&'m str>,
    return_path: Vec<Option<&'m str>>,
    places: Vec<Option<&'m str>>,
    status: Vec<&'static str>,
    settled_at: Vec<Option<Timestamp>>,
    next_hop: Vec<&'m str>,
    priority: Vec<i16>,
    size: Vec<i32>,
    give_up_at: Vec<Timestamp>,
    tls: Vec<&'static str>,
    ip_pool: Vec<Option<&'m str>>,
    is_leased: Vec<bool>,
    event_id: Vec<Uuid>,
    event_type: Vec<&'static str>,
    created_at: Vec<Timestamp>,
    tags: Vec<serde_json::Value>,
}

fn json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn size_of(message: &NewMessage) -> i32 {
    i32::try_from(message.raw.len()).unwrap_or(i32::MAX)
}

impl<'m> MessageColumns<'m> {
    fn push(&mut self, message: &'m NewMessage) {
        self.id.push(message.id.uuid());
        self.project_id.push(message.project.uuid());
        self.mode.push(message.mode.name());
        self.sender.push(message.sender.as_str());
        self.author.push(&message.author);
        self.message_id.push(message.message_id.as_deref());
        self.subject.push(&message.subject);
        self.tags.push(json(&message.tags));
        self.metadata.push(json(&message.metadata));
        self.priority.push(message.priority.rank());
        self.size.push(size_of(message));
        self.created_at.push(message.created_at);
        self.expires_at.push(message.expires_at);
        self.tls.push(message.demand.tls.name());
        self.ip_pool.push(message.demand.ip_pool.as_deref());
        self.raw.push(&message.raw);
    }
}

impl<'m> RecipientColumns<'m> {
    fn push_all(&mut self, message: &'m NewMessage, context: &Context<'_>) {
        let shard = message.id.shard();
        for (position, recipient) in (0..).zip(&message.recipients) {
            self.id.push(recipient.id.uuid());
            self.message_id.push(message.id.uuid());
            self.project_id.push(message.project.uuid());
            self.mode.push(message.mode.name());
            self.position.push(position);
            self.kind.push(recipient.kind.name());
            self.address.push(recipient.address.as_str());
            self.return_path.push(recipient.return_path.as_ref().map(ReversePath::as_str));
            self.places.push(recipient.places.as_deref());
            self.status.push(recipient.status.name());
            self.settled_at.push(recipient.status.is_settled().then_some(message.created_at));
            self.next_hop.push(&recipient.next_hop);
            self.priority.push(message.priority.rank());
            self.size.push(size_of(message));
            self.give_up_at.push(message.give_up_at);
            self.tls.push(message.demand.tls.name());
            self.ip_pool.push(message.demand.ip_pool.as_deref());
            self.is_leased.push((context.birth.is_leased)(&recipient.id.uuid()));
            self.event_id.push(EventId::new_in(shard, context.now, context.rng).uuid());
            self.event_type.push(EventType::Queued.name());
            self.created_at.push(message.created_at);
            self.tags.push(json(&message.tags));
        }
    }
}

/// Messages and all that belongs to them, in one statement: a round trip for each table would cost more than the rows.
/// Returns the number of webhook jobs: one for each enabled endpoint of the project that wants the type and the tags;
/// their ids follow from event and endpoint.
#[expect(clippy::too_many_lines, reason = "one statement, with a clause and an argument on each line")]
async fn insert(conn: &mut PgConnection, batch: &[&NewMessage], context: &Context<'_>) -> Result<u64, StoreError> {
    let (mut m, mut r) = (MessageColumns::default(), RecipientColumns::default());
    for message in batch {
        m.push(message);
        r.push_all(message, context);
    }
    let shard = batch.first().map_or(Shard::of_low_bits(0), |message| message.id.shard());
    let jobs = sqlx::query_scalar!(
        r#"
        WITH
        messages_ AS (
            INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size,
                created_at, expires_at, tls, ip_pool, message_id)
            SELECT $1::int, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::jsonb[], $9::jsonb[], $10::smallint[], $11::int[], $12::timestamptz[], $13::timestamptz[],
                $14::text[], $15::text[], $43::text[])),
        bodies_ AS (
            INSERT INTO message_bodies (shard, message_id, raw)
            SELECT $1, * FROM unnest($2::uuid[], $16::bytea[])),
        -- One row a recipient, with what its rows need of its message.
        r AS MATERIALIZED (
            SELECT * FROM unnest($17::uuid[], $18::uuid[], $19::uuid[], $20::text[], $21::smallint[], $22::text[],
                $23::text[], $24::text[], $25::text[], $26::timestamptz[], $27::text[], $28::smallint[], $29::int[],
                $30::timestamptz[], $31::text[], $32::text[], $33::bool[], $34::uuid[], $35::text[], $36::timestamptz[],
                $37::jsonb[], $44::text[])
            AS r (id, message_id, project_id, mode, position, kind, address, return_path, status, settled_at, next_hop,
                priority, size, give_up_at, tls, ip_pool, is_leased, event_id, event_type, created_at, tags, places)),
        recipients_ AS (
            INSERT INTO recipients (shard, message_id, id, position, kind, address, return_path, places, status, settled_at)
            SELECT $1, r.message_id, r.id, r.position, r.kind, r.address, r.return_path, r.places, r.status, r.settled_at
            FROM r),
        -- Owed to each that is not settled already; leased at once where this process has a place for it.
        deliveries_ AS (
            INSERT INTO deliveries (shard, id, message_id, project_id, mode, next_hop, priority, size, expires_at, due_at,
                tls, ip_pool, attempt, lease_owner, lease_token, lease_until)
            SELECT $1, r.id, r.message_id, r.project_id, r.mode, r.next_hop, r.priority, r.size, r.give_up_at,
                $38::timestamptz, r.tls, r.ip_pool, r.is_leased::int, CASE WHEN r.is_leased THEN $39::uuid END,
                CASE WHEN r.is_leased THEN $40::uuid END,
                CASE WHEN r.is_leased THEN $38 + make_interval(secs => $41) END
            FROM r WHERE r.settled_at IS NULL),
        events_ AS (
            INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data,
                era, xid)
            SELECT $1, r.event_id, r.project_id, r.message_id, r.id, r.mode, 1, r.event_type, r.created_at, '{}', $42,
                pg_current_xact_id()
            FROM r),
        jobs_ AS (
            INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at)
            SELECT $1, md5(r.event_id::text || w.id::text)::uuid, w.id, r.message_id, r.event_id, $38
            FROM r JOIN webhook_endpoints w ON w.project_id = r.project_id AND w.enabled
                AND w.mode IN (r.mode, 'both')
                AND ('*' = ANY (w.events) OR r.event_type = ANY (w.events))
            WHERE w.tags = '{}' OR r.tags ?| w.tags
            ON CONFLICT DO NOTHING RETURNING 1)
        SELECT count(*) AS "jobs!" FROM jobs_
        "#,
        shard.value(),
        &m.id,
        &m.project_id,
        &m.mode as &[&str],
        &m.sender as &[&str],
        &m.author as &[&str],
        &m.subject as &[&str],
        &m.tags,
        &m.metadata,
        &m.priority,
        &m.size,
        &m.created_at,
        &m.expires_at as &[Option<Timestamp>],
        &m.tls as &[&str],
        &m.ip_pool as &[Option<&str>],
        &m.raw as &[&[u8]],
        &r.id,
        &r.message_id,
        &r.project_id,
        &r.mode as &[&str],
        &r.position,
        &r.kind as &[&str],
        &r.address as &[&str],
        &r.return_path as &[Option<&str>],
        &r.status as &[&str],
        &r.settled_at as &[Option<Timestamp>],
        &r.next_hop as &[&str],
        &r.priority,
        &r.size,
        &r.give_up_at,
        &r.tls as &[&str],
        &r.ip_pool as &[Option<&str>],
        &r.is_leased,
        &r.event_id,
        &r.event_type as &[&str],
        &r.created_at,
        &r.tags,
        context.now,
        context.birth.owner,
        context.birth.token,
        context.birth.span.as_secs_f64(),
        context.era,
        &m.message_id as &[Option<&str>],
        &r.places as &[Option<&str>],
    )
    .fetch_one(conn)
    .await?;
    Ok(jobs.unsigned_abs())
}
