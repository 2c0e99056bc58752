//! Mail that waits for its time: found when it is due, read, changed, and told of like any other message.

use std::collections::HashSet;
use std::io::Read;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::{BatchId, MessageId, ProjectId};
use crate::domain::message::ScheduledSummary;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, Store, StoreError, decoded, on_connection, on_pool};

/// A message in the schedule.
#[derive(Debug, Clone)]
pub struct StoredScheduled {
    pub id: MessageId,
    pub project: ProjectId,
    pub mode: Mode,
    pub send_at: Timestamp,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub version: i32,
    pub summary: ScheduledSummary,
    pub tags: serde_json::Value,
    pub key: Option<String>,
    pub batch: Option<BatchId>,
    pub template: Option<String>,
    /// Its project was charged for it when it was accepted.
    pub is_charged: bool,
}

/// A message of the schedule, with what was asked for.
#[derive(Debug, Clone)]
pub struct ScheduledRequest {
    pub stored: StoredScheduled,
    /// JSON, as it was when it was validated.
    pub request: Vec<u8>,
}

/// What is changed of a message that waits for its time. `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScheduledChange {
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

pub(in crate::store) struct ScheduledRow {
    pub id: Uuid,
    pub project_id: Uuid,
    pub mode: String,
    pub send_at: Timestamp,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub version: i32,
    pub summary: serde_json::Value,
    pub tags: serde_json::Value,
    pub idempotency_key: Option<String>,
    pub batch_id: Option<Uuid>,
    pub template: Option<String>,
    pub charged: bool,
    pub request: Vec<u8>,
}

impl ScheduledRow {
    pub fn decode(self) -> Result<ScheduledRequest, StoreError> {
        let corrupt = |column, why: String| StoreError::corrupt("scheduled_messages", column, self.id, why);
        let summary = serde_json::from_value(self.summary).map_err(|error| corrupt("summary", error.to_string()))?;
        let mut request = Vec::new();
        let mut zipped = flate2::read::GzDecoder::new(&*self.request);
        // What a transaction of a user's own wrote is as it was written.
        if self.request.starts_with(&[0x1f, 0x8b]) {
            zipped.read_to_end(&mut request).map_err(|error| corrupt("request", error.to_string()))?;
        } else {
            request = self.request;
        }
        let stored = StoredScheduled {
            id: MessageId::from_uuid(self.id),
            project: ProjectId::from_uuid(self.project_id),
            mode: decoded(Mode::parse(&self.mode), ("scheduled_messages", "mode"), self.id, &self.mode)?,
            send_at: self.send_at,
            created_at: self.created_at,
            expires_at: self.expires_at,
            version: self.version,
            summary,
            tags: self.tags,
            key: self.idempotency_key,
            batch: self.batch_id.map(BatchId::from_uuid),
            template: self.template,
            is_charged: self.charged,
        };
        Ok(ScheduledRequest { stored, request })
    }
}

impl OwnedConnection {
    /// The shards in which a message's time has come: one index probe each.
    pub async fn shards_with_scheduled_due(&mut self) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "scheduled_messages.find_due", conn, shards_due(conn, now))
    }

    /// Takes a lease of messages of one shard whose time has come: projects in turns, of each the first first.
    pub async fn claim_scheduled(
        &mut self,
        shard: Shard,
        (owner, span): (Uuid, Duration),
        without: &HashSet<ProjectId>,
        limit: i64,
    ) -> Result<Vec<ScheduledRequest>, StoreError> {
        let now = self.store.now();
        let lease = (owner, now, span);
        on_connection!(self, "scheduled_messages.claim", conn, claim(conn, shard, lease, without, limit))
    }

    /// Gives leases back: the messages stay due.
    pub async fn put_back_scheduled(&mut self, shard: Shard, owner: Uuid, ids: &[MessageId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        on_connection!(self, "scheduled_messages.put_back", conn, put_back(conn, shard, owner, ids))
    }
}

async fn shards_due(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT s.shard AS "shard!" FROM unnest($1::int[]) AS s (shard), LATERAL (
            SELECT 1 FROM scheduled_messages d
            WHERE d.shard = s.shard AND d.send_at <= $2
              AND (d.lease_until IS NULL OR d.lease_until <= $2)
            ORDER BY d.send_at LIMIT 1) AS due
        "#,
        &shards,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn claim(
    conn: &mut PgConnection,
    shard: Shard,
    (owner, now, span): (Uuid, Timestamp, Duration),
    without: &HashSet<ProjectId>,
    limit: i64,
) -> Result<Vec<ScheduledRequest>, StoreError> {
    let rows = sqlx::query_as!(
        ScheduledRow,
        r#"
        WITH RECURSIVE
        -- Whoever has something in the schedule: one index probe each.
        p AS (
            (SELECT d.project_id FROM scheduled_messages d WHERE d.shard = $1 ORDER BY d.project_id LIMIT 1)
            UNION ALL
            SELECT (SELECT d.project_id FROM scheduled_messages d WHERE d.shard = $1 AND d.project_id > p.project_id
                    ORDER BY d.project_id LIMIT 1)
            FROM p WHERE p.project_id IS NOT NULL),
        turns AS MATERIALIZED (
            SELECT d.id FROM p, LATERAL (
                SELECT d.id, d.send_at, row_number() OVER (ORDER BY d.send_at) AS turn FROM (
                    SELECT d.id, d.send_at FROM scheduled_messages d
                    WHERE d.shard = $1 AND d.project_id = p.project_id AND d.send_at <= $3::timestamptz
                      AND (d.lease_until IS NULL OR d.lease_until <= $3)
                    ORDER BY d.send_at LIMIT $5) AS d) AS d
            WHERE p.project_id <> ALL ($6::uuid[])
            ORDER BY d.turn, d.send_at LIMIT $5),
        due AS MATERIALIZED (
            SELECT d.id FROM scheduled_messages d JOIN turns t ON t.id = d.id
            WHERE d.shard = $1 AND (d.lease_until IS NULL OR d.lease_until <= $3)
            FOR UPDATE OF d SKIP LOCKED)
        UPDATE scheduled_messages s SET lease_owner = $2, lease_until = $3 + make_interval(secs => $4)
        FROM due WHERE s.shard = $1 AND s.id = due.id
        RETURNING s.id, s.project_id, s.mode, s.send_at, s.created_at, s.expires_at, s.version, s.summary, s.tags,
            s.idempotency_key, s.batch_id, s.template, s.charged, s.request
        "#,
        shard.value(),
        owner,
        now,
        span.as_secs_f64(),
        limit,
        &without.iter().map(|project| project.uuid()).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    // One that cannot be read waits out its lease, and keeps nobody else's.
    let told = |error: &StoreError| tracing::error!(%error, "a scheduled message cannot be read");
    Ok(rows.into_iter().filter_map(|row| row.decode().inspect_err(told).ok()).collect())
}

async fn put_back(conn: &mut PgConnection, shard: Shard, owner: Uuid, ids: &[MessageId]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE scheduled_messages SET lease_owner = NULL, lease_until = NULL
        WHERE shard = $1 AND id = ANY ($2) AND lease_owner = $3
        "#,
        shard.value(),
        &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

impl Store {
    /// The project's message with that id, if it waits for its time.
    pub async fn find_scheduled(
        &self,
        project: ProjectId,
        id: MessageId,
    ) -> Result<Option<ScheduledRequest>, StoreError> {
        let row = on_pool!(
            self,
            "scheduled_messages.find",
            conn,
            sqlx::query_as!(
                ScheduledRow,
                r#"
                SELECT id, project_id, mode, send_at, created_at, expires_at, version, summary, tags, idempotency_key,
                    batch_id, template, charged, request
                FROM scheduled_messages WHERE shard = $1 AND id = $2 AND project_id = $3
                "#,
                id.shard().value(),
                id.uuid(),
                project.uuid(),
            )
            .fetch_optional(conn)
        )?;
        row.map(ScheduledRow::decode).transpose()
    }

    /// Changes a message that waits for its time; `false`: it does not, or not any more.
    pub async fn change_scheduled(
        &self,
        project: ProjectId,
        id: MessageId,
        change: ScheduledChange,
    ) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "scheduled_messages.change",
            conn,
            sqlx::query!(
                r#"
                UPDATE scheduled_messages SET send_at = COALESCE($4, send_at), expires_at = COALESCE($5, expires_at),
                    version = version + 1, lease_owner = NULL, lease_until = NULL
                WHERE shard = $1 AND id = $2 AND project_id = $3
                "#,
                id.shard().value(),
                id.uuid(),
                project.uuid(),
                change.send_at,
                change.expires_at,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}
