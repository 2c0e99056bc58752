//! What is past its retention, removed message by message. Nothing that belongs to an unsettled recipient is, nor an event
//! that an endpoint is still to be told of.

use sqlx::PgConnection;
use uuid::Uuid;

use super::erase::{Run, erase_contents};
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::retention::RetentionKind;
use crate::store::schema::partitions::first_id_at;
use crate::store::{OwnedConnection, StoreError, bounds, on_connection};

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All its recipients are settled, since then.
    Settled(Timestamp),
    /// A recipient is not, or it waits in the schedule.
    Unsettled,
    /// There is no such message.
    Gone,
}

impl OwnedConnection {
    /// A project's next messages in the order of their ids, after that one and accepted before that instant, with their
    /// sizes in bytes; and the id up to which that are all.
    pub async fn messages_between(
        &mut self,
        project: ProjectId,
        (after, before): (Uuid, Timestamp),
        limit: i64,
    ) -> Result<(Vec<(MessageId, i32)>, Uuid), StoreError> {
        let end = first_id_at(before);
        let rows = on_connection!(
            self,
            "messages.walk",
            conn,
            sqlx::query!(
                "SELECT id, size FROM messages WHERE project_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4",
                project.uuid(),
                after,
                end,
                limit,
            )
            .fetch_all(conn)
        )?;
        let is_last = (rows.len() as u64) < limit.unsigned_abs();
        let mark = rows.last().filter(|_| !is_last).map_or(end, |row| row.id);
        Ok((rows.into_iter().map(|row| (MessageId::from_uuid(row.id), row.size)).collect(), mark.max(after)))
    }

    /// How far each of some messages is.
    pub async fn standing(&mut self, messages: &[MessageId]) -> Result<Vec<(MessageId, Standing)>, StoreError> {
        on_connection!(self, "messages.standing", conn, standing(conn, messages))
    }

    /// Removes one kind of what is kept of messages that are settled. Gives those of which something is left: events that
    /// are younger than `before`, or that are still to be told.
    pub async fn purge(
        &mut self,
        kind: RetentionKind,
        messages: &[MessageId],
        before: Timestamp,
    ) -> Result<Vec<MessageId>, StoreError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        on_connection!(self, "messages.purge", conn, purge(conn, kind, messages, before))
    }
}

pub(super) fn shards(messages: &[MessageId]) -> Vec<i32> {
    messages.iter().map(|id| id.shard().value()).collect()
}

pub(super) fn uuids(messages: &[MessageId]) -> Vec<Uuid> {
    messages.iter().map(|id| id.uuid()).collect()
}

/// The least id of the millisecond in which an id was made: an event may have a lesser one than its message.
pub(super) fn floor(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() >> 80 << 80)
}

pub(super) async fn standing(
    conn: &mut PgConnection,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, Standing)>, StoreError> {
    let (first, last) = bounds(messages.iter().map(|id| id.uuid()));
    let rows = sqlx::query!(
        r#"
        SELECT w.id AS "id!", s.recipients AS "recipients!", s.last,
            s.unsettled > 0 OR EXISTS (
                SELECT 1 FROM scheduled_messages d WHERE d.shard = w.shard AND d.id = w.id) AS "is_unsettled!"
        FROM unnest($1::int[], $2::uuid[]) AS w (shard, id), LATERAL (
            SELECT count(*) AS recipients, max(r.settled_at) AS last,
                count(*) FILTER (WHERE r.settled_at IS NULL OR EXISTS (
                    SELECT 1 FROM deliveries d WHERE d.shard = r.shard AND d.id = r.id)) AS unsettled
            FROM recipients r
            WHERE r.shard = w.shard AND r.message_id = w.id AND r.message_id BETWEEN $3 AND $4) AS s
        "#,
        &shards(messages),
        &uuids(messages),
        first,
        last,
    )
    .fetch_all(conn)
    .await?;
    let standing = |is_unsettled: bool, last: Option<Timestamp>| match last {
        _ if is_unsettled => Standing::Unsettled,
        Some(last) => Standing::Settled(last),
        None => Standing::Gone,
    };
    Ok(rows.into_iter().map(|row| (MessageId::from_uuid(row.id), standing(row.is_unsettled, row.last))).collect())
}

async fn purge(
    conn: &mut PgConnection,
    kind: RetentionKind,
    messages: &[MessageId],
    before: Timestamp,
) -> Result<Vec<MessageId>, StoreError> {
    let (shards, ids) = (shards(messages), uuids(messages));
    let (first, last) = bounds(ids.iter().copied());
    match kind {
        RetentionKind::Bodies => {
            erase_contents(conn, &Run { shards: &shards, ids: &ids, first, last }).await?;
        }
        RetentionKind::Metadata => {
            sqlx::query!(
                r#"
                UPDATE messages m SET metadata = '{}' FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                WHERE m.shard = w.shard AND m.id = w.id AND m.id BETWEEN $3 AND $4 AND m.metadata <> '{}'
                "#,
                &shards,
                &ids,
                first,
                last,
            )
            .execute(conn)
            .await?;
        }
        RetentionKind::Transcripts => {
            sqlx::query!(
                r#"
                UPDATE attempts a SET transcript = '' FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                WHERE a.shard = w.shard AND a.message_id = w.id AND a.message_id BETWEEN $3 AND $4 AND a.transcript <> ''
                "#,
                &shards,
                &ids,
                first,
                last,
            )
            .execute(conn)
            .await?;
        }
        RetentionKind::Events => return purge_events(conn, (&shards, &ids), floor(first), before).await,
    }
    Ok(Vec::new())
}

async fn purge_events(
    conn: &mut PgConnection,
    (shards, ids): (&[i32], &[Uuid]),
    first: Uuid,
    before: Timestamp,
) -> Result<Vec<MessageId>, StoreError> {
    sqlx::query!(
        r#"
        DELETE FROM events e USING unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE e.shard = w.shard AND e.message_id = w.id AND e.id >= $3 AND e.occurred_at <= $4
          AND NOT EXISTS (
            SELECT 1 FROM webhook_jobs j JOIN webhook_endpoints w ON w.id = j.endpoint_id AND w.enabled
            WHERE j.shard = e.shard AND j.message_id = e.message_id AND j.event_id = e.id)
          -- What was not turned into jobs yet is owed as well.
          AND NOT EXISTS (
            SELECT 1 FROM webhook_positions p JOIN webhook_endpoints w ON w.id = p.endpoint_id AND w.enabled
            WHERE p.project_id = e.project_id AND p.fed_until <= e.occurred_at + make_interval(mins => 5))
        "#,
        shards,
        ids,
        first,
        before,
    )
    .execute(&mut *conn)
    .await?;
    let left = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT e.message_id FROM events e JOIN unnest($1::int[], $2::uuid[]) AS w (shard, id)
            ON e.shard = w.shard AND e.message_id = w.id AND e.id >= $3
        "#,
        shards,
        ids,
        first,
    )
    .fetch_all(conn)
    .await?;
    Ok(left.into_iter().map(MessageId::from_uuid).collect())
}
