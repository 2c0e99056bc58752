//! The queue of one project, emptied bit by bit: what nobody has in hand is listed, and cancelled by key.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::clock::{Rng, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, ProjectId, RecipientId};
use crate::domain::recipient::RecipientStatus;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, StoreError, bounds, on_connection};

/// A delivery that nobody has in hand.
#[derive(Debug, Clone, Copy)]
pub struct Unclaimed {
    pub recipient: RecipientId,
    pub message: MessageId,
}

/// One that waits for its time.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub delivery: Unclaimed,
    pub project: ProjectId,
    pub due_at: Timestamp,
}

/// What a cancelling commit wrote.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cancelled {
    pub deliveries: u64,
    pub webhook_jobs: u64,
}

impl OwnedConnection {
    /// The shards in which a project has something ready: one index probe for each priority of each.
    pub async fn shards_with_ready_of(&mut self, project: ProjectId) -> Result<Vec<Shard>, StoreError> {
        on_connection!(self, "deliveries.find_ready_of", conn, shards_where_ready_of(conn, project))
    }

    /// What a project has ready in one shard, at most `limit` of each priority.
    pub async fn ready_of(
        &mut self,
        shard: Shard,
        project: ProjectId,
        limit: i64,
    ) -> Result<Vec<Unclaimed>, StoreError> {
        on_connection!(self, "deliveries.list_ready_of", conn, ready_of(conn, shard, project, limit))
    }

    /// What waits for its time in one shard, from `from` on, whosever it is.
    pub async fn waiting_from(
        &mut self,
        shard: Shard,
        from: Timestamp,
        limit: i64,
    ) -> Result<Vec<Waiting>, StoreError> {
        on_connection!(self, "deliveries.list_waiting", conn, waiting_from(conn, shard, from, limit))
    }

    /// Cancels those of some deliveries of one shard that nobody has in hand: state, event and webhook jobs, in one commit.
    pub async fn cancel_unclaimed(
        &mut self,
        shard: Shard,
        deliveries: &[Unclaimed],
        rng: &dyn Rng,
    ) -> Result<Cancelled, StoreError> {
        let (now, era) = (self.store.now(), self.store.era());
        let events: Vec<_> = deliveries.iter().map(|_| EventId::new_in(shard, now, rng).uuid()).collect();
        on_connection!(self, "deliveries.cancel", conn, cancel(conn, shard, deliveries, &events, (now, era)))
    }
}

async fn shards_where_ready_of(conn: &mut PgConnection, project: ProjectId) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT s.shard AS "shard!" FROM unnest($1::int[]) AS s (shard), unnest(ARRAY[0, 1, 2]::smallint[]) AS p (priority),
        LATERAL (
            SELECT 1 FROM deliveries d
            WHERE d.shard = s.shard AND d.priority = p.priority AND d.project_id = $2 AND d.lease_token IS NULL AND d.ready
            LIMIT 1) AS any_
        "#,
        &shards,
        project.uuid(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn ready_of(
    conn: &mut PgConnection,
    shard: Shard,
    project: ProjectId,
    limit: i64,
) -> Result<Vec<Unclaimed>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT r.id, r.message_id FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS p (priority), LATERAL (
            SELECT d.id, d.message_id FROM deliveries d
            WHERE d.shard = $1 AND d.priority = p.priority AND d.project_id = $2 AND d.lease_token IS NULL AND d.ready
            LIMIT $3) AS r
        "#,
        shard.value(),
        project.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| Unclaimed::of(row.id, row.message_id)).collect())
}

async fn waiting_from(
    conn: &mut PgConnection,
    shard: Shard,
    from: Timestamp,
    limit: i64,
) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT d.id, d.message_id, d.project_id, d.due_at FROM deliveries d
        WHERE d.shard = $1 AND d.lease_token IS NULL AND d.ready = false AND d.due_at >= $2 ORDER BY d.due_at LIMIT $3
        "#,
        shard.value(),
        from,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let waiting = rows.into_iter().map(|row| Waiting {
        delivery: Unclaimed::of(row.id, row.message_id),
        project: ProjectId::from_uuid(row.project_id),
        due_at: row.due_at,
    });
    Ok(waiting.collect())
}

async fn cancel(
    conn: &mut PgConnection,
    shard: Shard,
    deliveries: &[Unclaimed],
    events: &[Uuid],
    (now, era): (Timestamp, i16),
) -> Result<Cancelled, StoreError> {
    let messages: Vec<_> = deliveries.iter().map(|delivery| delivery.message.uuid()).collect();
    let (first, last) = bounds(messages.iter().copied());
    let row = sqlx::query!(
        r#"
        WITH c AS MATERIALIZED (
            SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS c (id, message_id, event_id)),
        -- Found by key, as in settling; what somebody took in hand meanwhile is left to them.
        ended AS (
            DELETE FROM deliveries d USING c
            WHERE d.shard = $1 AND d.id = c.id AND d.lease_token IS NOT DISTINCT FROM NULL
            RETURNING d.project_id, d.mode, c.*),
        recipients_ AS (
            UPDATE recipients r SET status = $8, settled_at = $5, events = r.events + 1 FROM ended g
            WHERE r.shard = $1 AND r.message_id = g.message_id AND r.id = g.id AND r.settled_at IS NULL
              AND r.message_id BETWEEN $6 AND $7
            RETURNING r.message_id, r.id, r.events, g.project_id, g.mode, g.event_id),
        events_ AS (
            INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data,
                era, xid)
            SELECT $1, r.event_id, r.project_id, r.message_id, r.id, r.mode, r.events, $9, $5, '{}', $10, pg_current_xact_id()
            FROM recipients_ r),
        jobs_ AS (
            INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at)
            SELECT $1, md5(g.event_id::text || w.id::text)::uuid, w.id, g.message_id, g.event_id, $5
            FROM ended g JOIN webhook_endpoints w ON w.project_id = g.project_id AND w.enabled
                AND w.mode IN (g.mode, 'both')
                AND ('*' = ANY (w.events) OR $9 = ANY (w.events))
            WHERE w.tags = '{}' OR EXISTS (
                SELECT 1 FROM messages m
                WHERE m.shard = $1 AND m.id = g.message_id AND m.id BETWEEN $6 AND $7 AND m.tags ?| w.tags)
            ON CONFLICT DO NOTHING RETURNING 1)
        SELECT (SELECT count(*) FROM ended) AS "ended!", (SELECT count(*) FROM jobs_) AS "jobs!"
        "#,
        shard.value(),
        &deliveries.iter().map(|delivery| delivery.recipient.uuid()).collect::<Vec<_>>(),
        &messages,
        events,
        now,
        first,
        last,
        RecipientStatus::Cancelled.name(),
        EventType::Cancelled.name(),
        era,
    )
    .fetch_one(conn)
    .await?;
    Ok(Cancelled { deliveries: row.ended.unsigned_abs(), webhook_jobs: row.jobs.unsigned_abs() })
}

impl Unclaimed {
    const fn of(id: Uuid, message: Uuid) -> Self {
        Self { recipient: RecipientId::from_uuid(id), message: MessageId::from_uuid(message) }
    }
}
