//! The queue of one project, looked through bit by bit: what nobody has in hand is listed, for whoever ends it.

use sqlx::PgConnection;

use super::cancel::Unclaimed;
use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::domain::shard::Shard;
use crate::store::mail::scheduled::{ScheduledRow, StoredScheduled};
use crate::store::{OwnedConnection, StoreError, on_connection};

/// One that waits for its time.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub delivery: Unclaimed,
    pub project: ProjectId,
    pub due_at: Timestamp,
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

    /// The first of what a project has in the schedule, without what was asked for.
    pub async fn scheduled_of(&mut self, project: ProjectId, limit: i64) -> Result<Vec<StoredScheduled>, StoreError> {
        on_connection!(self, "scheduled_messages.list_of", conn, scheduled_of(conn, project, limit))
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

async fn scheduled_of(
    conn: &mut PgConnection,
    project: ProjectId,
    limit: i64,
) -> Result<Vec<StoredScheduled>, StoreError> {
    let rows = sqlx::query_as!(
        ScheduledRow,
        r#"
    SELECT id, project_id, mode, send_at, created_at, expires_at, version, summary, tags, idempotency_key,
        batch_id, template, charged, ''::bytea AS "request!"
    FROM scheduled_messages WHERE project_id = $1 ORDER BY id LIMIT $2
    "#,
        project.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok(row.decode()?.stored)).collect()
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
