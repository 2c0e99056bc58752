//! The accepting commit: idempotency keys, messages, bodies, recipients, deliveries, first events. All messages of a commit lie in one shard, and their statement says so: one node can answer it.

mod keys;
mod schedule;

pub(super) use keys::parted;

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::blocks;
use crate::domain::class::OwnClass;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::draft::Stream;
use crate::domain::event::EventType;
use crate::domain::id::{BatchId, EventId, MessageId};
use crate::domain::message::{NewItem, NewMessage, NewSubmission};
use crate::domain::reverse_path::ReversePath;
use crate::domain::shard::Shard;
use crate::domain::suppression::Suppressed;
use crate::store::{OwnedConnection, StoreError, on_connection};

/// What became of one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Its items are on disk, each as it says.
    Accepted(Vec<ItemStored>),
    /// Its idempotency key was used before with the same body: what that made, item by item; of one that was refused,
    /// nothing.
    Replayed(Vec<Vec<MessageId>>),
    /// Its idempotency key was used before with another body.
    Mismatch,
    /// All or none was wanted, and this item's key was used before with another body: nothing was stored.
    Refused(usize),
}

/// What became of one item of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemStored {
    Accepted,
    /// Its own key was used before with the same body: what that made.
    Replayed(Vec<MessageId>),
    /// Its own key was used before with another body.
    Mismatch,
    /// It was scheduled, and is not in the schedule any more.
    Gone,
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

impl OwnedConnection {
    /// Stores a batch in one transaction, in order of the batch. Its messages lie in one shard, and no key stands twice.
    /// On any error nothing is stored.
    pub async fn accept(
        &mut self,
        batch: &[NewSubmission],
        birth: &Birth<'_>,
        rng: &dyn Rng,
    ) -> Result<Vec<Stored>, StoreError> {
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
) -> Result<Vec<Stored>, StoreError> {
    let all_new = |submission: &NewSubmission| Stored::Accepted(vec![ItemStored::Accepted; submission.items.len()]);
    let messages = || batch.iter().flat_map(NewSubmission::messages);
    let is_late = messages().any(|message| blocks::is_late(message.id, context.now));
    // Without keys and schedules one statement is the whole transaction.
    if !is_late && batch.iter().all(is_plain) {
        let all: Vec<_> = messages().collect();
        if !all.is_empty() {
            insert(conn, &all, context).await?;
        }
        return Ok(batch.iter().map(all_new).collect());
    }
    let mut tx = conn.begin().await?;
    let mut stored = keys::claim(&mut tx, batch, context.now).await?;
    schedule::take(&mut tx, batch, &mut stored).await?;
    let mut fresh = Vec::new();
    let mut scheduled = Vec::new();
    for (submission, stored) in batch.iter().zip(&stored) {
        let Stored::Accepted(items) = stored else { continue };
        for (item, _) in submission.items.iter().zip(items).filter(|(_, stored)| **stored == ItemStored::Accepted) {
            fresh.extend(&item.messages);
            scheduled.extend(&item.scheduled);
        }
    }
    if !fresh.is_empty() {
        insert(&mut tx, &fresh, context).await?;
    }
    schedule::insert(&mut tx, &scheduled).await?;
    blocks::forget(&mut tx, fresh.iter().map(|message| (message.project, message.id)), context.now).await?;
    tx.commit().await?;
    Ok(stored)
}

/// Whether it makes messages, and asks nothing of what is there.
fn is_plain(submission: &NewSubmission) -> bool {
    let is_plain = |item: &NewItem| item.key.is_none() && item.scheduled.is_empty() && item.from_schedule.is_none();
    submission.key.is_none() && submission.items.iter().all(is_plain)
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
    batch_id: Vec<Option<Uuid>>,
    idempotency_key: Vec<Option<&'m str>>,
    send_at: Vec<Option<Timestamp>>,
    template: Vec<Option<&'m str>>,
    credential: Vec<Option<&'m str>>,
    script: Vec<Option<&'m str>>,
    stream: Vec<Option<&'m str>>,
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
    reply_text: Vec<Option<String>>,
    reply_class: Vec<Option<&'static str>>,
    data: Vec<serde_json::Value>,
}

fn as_json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// What the first event says of a recipient that is born suppressed.
fn suppressed_data(why: &Suppressed) -> serde_json::Value {
    let class = OwnClass::Suppressed.name();
    json!({
        "reply": {"code": null, "enhanced": null, "text": why.text(), "host": null, "class": class},
        "suppression": why,
    })
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
        self.tags.push(as_json(&message.tags));
        self.metadata.push(as_json(&message.metadata));
        self.priority.push(message.priority.rank());
        self.size.push(size_of(message));
        self.created_at.push(message.created_at);
        self.expires_at.push(message.expires_at);
        self.tls.push(message.demand.tls.name());
        self.ip_pool.push(message.demand.ip_pool.as_deref());
        self.batch_id.push(message.batch.map(BatchId::uuid));
        self.idempotency_key.push(message.idempotency_key.as_deref());
        self.send_at.push(message.send_at);
        self.template.push(message.template.as_deref());
        self.credential.push(message.credential.as_deref());
        self.script.push(message.script.as_deref());
        self.stream.push(message.stream.as_ref().map(Stream::as_str));
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
            self.settled_at.push(recipient.status.is_settled().then_some(context.now));
            self.next_hop.push(&recipient.next_hop);
            self.priority.push(message.priority.rank());
            self.size.push(size_of(message));
            self.give_up_at.push(message.give_up_at);
            self.tls.push(message.demand.tls.name());
            self.ip_pool.push(message.demand.ip_pool.as_deref());
            self.is_leased.push((context.birth.is_leased)(&recipient.id.uuid()));
            self.event_id.push(EventId::new_in(shard, context.now, context.rng).uuid());
            self.event_type.push(EventType::of_birth(recipient.status).name());
            self.created_at.push(message.send_at.map_or(message.created_at, |_| context.now));
            let why = recipient.suppressed.as_ref();
            self.reply_text.push(why.map(Suppressed::text));
            self.reply_class.push(why.map(|_| OwnClass::Suppressed.name()));
            self.data.push(why.map_or_else(|| json!({}), suppressed_data));
        }
    }
}

/// Messages and all that belongs to them, in one statement: a round trip for each table would cost more than the rows.
#[expect(clippy::too_many_lines, reason = "one statement, with a clause and an argument on each line")]
async fn insert(conn: &mut PgConnection, batch: &[&NewMessage], context: &Context<'_>) -> Result<(), StoreError> {
    let (mut m, mut r) = (MessageColumns::default(), RecipientColumns::default());
    for message in batch {
        m.push(message);
        r.push_all(message, context);
    }
    let shard = batch.first().map_or(Shard::of_low_bits(0), |message| message.id.shard());
    sqlx::query!(
        r#"
        WITH
        messages_ AS (
            INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size,
                created_at, expires_at, tls, ip_pool, message_id, batch_id, idempotency_key, send_at,
                template, sandbox_script, stream, credential)
            SELECT $1::int, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::jsonb[], $9::jsonb[], $10::smallint[], $11::int[], $12::timestamptz[], $13::timestamptz[],
                $14::text[], $15::text[], $43::text[], $45::uuid[], $46::text[], $47::timestamptz[],
                $37::text[], $51::text[], $52::text[], $53::text[])),
        bodies_ AS (
            INSERT INTO message_bodies (shard, message_id, raw)
            SELECT $1, * FROM unnest($2::uuid[], $16::bytea[])),
        -- One row a recipient, with what its rows need of its message.
        r AS MATERIALIZED (
            SELECT * FROM unnest($17::uuid[], $18::uuid[], $19::uuid[], $20::text[], $21::smallint[], $22::text[],
                $23::text[], $24::text[], $25::text[], $26::timestamptz[], $27::text[], $28::smallint[], $29::int[],
                $30::timestamptz[], $31::text[], $32::text[], $33::bool[], $34::uuid[], $35::text[], $36::timestamptz[],
                $44::text[], $48::text[], $49::text[], $50::jsonb[])
            AS r (id, message_id, project_id, mode, position, kind, address, return_path, status, settled_at, next_hop,
                priority, size, give_up_at, tls, ip_pool, is_leased, event_id, event_type, created_at, places,
                reply_text, reply_class, data)),
        recipients_ AS (
            INSERT INTO recipients (shard, project_id, message_id, id, position, kind, address, return_path, places, status,
                settled_at, reply_text, reply_class)
            SELECT $1, r.project_id, r.message_id, r.id, r.position, r.kind, r.address, r.return_path, r.places, r.status,
                r.settled_at, r.reply_text, r.reply_class
            FROM r),
        -- Owed to each that is not settled already; leased at once where this process has a place for it.
        deliveries_ AS (
            INSERT INTO deliveries (shard, id, message_id, project_id, mode, next_hop, priority, size, expires_at, due_at,
                tls, ip_pool, attempt, lease_owner, lease_token, lease_until)
            SELECT $1, r.id, r.message_id, r.project_id, r.mode, r.next_hop, r.priority, r.size, r.give_up_at,
                $38::timestamptz, r.tls, r.ip_pool, r.is_leased::int, CASE WHEN r.is_leased THEN $39::uuid END,
                CASE WHEN r.is_leased THEN $40::uuid END,
                CASE WHEN r.is_leased THEN $38 + make_interval(secs => $41) END
            FROM r WHERE r.settled_at IS NULL)
        INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data, era, xid)
        SELECT $1, r.event_id, r.project_id, r.message_id, r.id, r.mode, 1, r.event_type, r.created_at, r.data, $42,
            pg_current_xact_id()
        FROM r
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
        &m.template as &[Option<&str>],
        context.now,
        context.birth.owner,
        context.birth.token,
        context.birth.span.as_secs_f64(),
        context.era,
        &m.message_id as &[Option<&str>],
        &r.places as &[Option<&str>],
        &m.batch_id as &[Option<Uuid>],
        &m.idempotency_key as &[Option<&str>],
        &m.send_at as &[Option<Timestamp>],
        &r.reply_text as &[Option<String>],
        &r.reply_class as &[Option<&str>],
        &r.data,
        &m.script as &[Option<&str>],
        &m.stream as &[Option<&str>],
        &m.credential as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
