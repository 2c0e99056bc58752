//! Where an address is named: in recipients, by their index; in anything else that is kept of messages, by reading it; and
//! in what waits in the schedule.

use sqlx::PgConnection;
use uuid::Uuid;

use super::purge::{floor, shards, uuids};
use super::scheduled::{ScheduledRequest, ScheduledRow};
use crate::domain::clock::Timestamp;
use crate::domain::erasure::Needle;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::store::schema::partitions::first_id_at;
use crate::store::{OwnedConnection, StoreError, bounds, on_connection};

impl OwnedConnection {
    /// The next recipients with that address, all or the unsettled ones, of messages after that one that were accepted before
    /// `before`.
    pub async fn recipients_of_address(
        &mut self,
        project: ProjectId,
        (needle, unsettled_only): (&Needle, bool),
        (after, before): (Uuid, Timestamp),
        limit: i64,
    ) -> Result<Vec<(MessageId, RecipientId)>, StoreError> {
        let domain = needle.text.rsplit_once('@').map_or("", |(_, domain)| domain);
        let rows = on_connection!(
            self,
            "recipients.list_of_address",
            conn,
            sqlx::query!(
                r#"
                SELECT r.message_id, r.id FROM recipients r
                WHERE r.project_id = $1 AND split_part(r.address, '@', -1) = $2 AND lower(r.address) = $3
                  AND r.message_id > $4 AND r.message_id < $5 AND (r.settled_at IS NULL OR NOT $7)
                ORDER BY r.message_id LIMIT $6
                "#,
                project.uuid(),
                domain,
                needle.text,
                after,
                first_id_at(before),
                limit,
                unsettled_only,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| (MessageId::from_uuid(row.message_id), RecipientId::from_uuid(row.id))).collect())
    }

    /// Which of some messages name the address in what is kept of them: columns, tries, events, copies, what endpoints
    /// said, and the bytes, with soft line breaks of quoted-printable undone.
    pub async fn naming(&mut self, needle: &Needle, messages: &[MessageId]) -> Result<Vec<MessageId>, StoreError> {
        let (first, last) = bounds(messages.iter().map(|id| id.uuid()));
        let rows = on_connection!(
            self,
            "messages.find_naming",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT m.id FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                JOIN messages m ON m.shard = w.shard AND m.id = w.id AND m.id BETWEEN $3 AND $4
                WHERE mentions_address(concat_ws(' ', m.sender, m.author, m.subject, m.tags, m.metadata, m.message_id,
                        m.idempotency_key, m.template, m.credential), $6, $7)
                   OR EXISTS (
                    SELECT 1 FROM recipients r
                    WHERE r.shard = m.shard AND r.message_id = m.id AND r.message_id BETWEEN $3 AND $4
                      AND mentions_address(concat_ws(' ', r.address, r.reply_text, r.return_path), $6, $7))
                   OR EXISTS (
                    SELECT 1 FROM attempts a
                    WHERE a.shard = m.shard AND a.message_id = m.id AND a.message_id BETWEEN $3 AND $4
                      AND mentions_address(concat_ws(' ', a.reply_text, a.transcript), $6, $7))
                   OR EXISTS (
                    SELECT 1 FROM events e
                    WHERE e.shard = m.shard AND e.message_id = m.id AND e.id >= $5
                      AND mentions_address(e.data::text, $6, $7))
                   OR EXISTS (
                    SELECT 1 FROM sandbox_messages s
                    WHERE s.shard = m.shard AND s.message_id = m.id AND s.message_id BETWEEN $3 AND $4
                      AND mentions_address(concat_ws(' ', s.sender, s.recipient), $6, $7))
                   OR EXISTS (
                    SELECT 1 FROM webhook_deliveries d
                    WHERE d.shard = m.shard AND d.message_id = m.id AND d.message_id BETWEEN $3 AND $4
                      AND mentions_address(concat_ws(' ', d.detail, d.tries), $6, $7))
                   OR EXISTS (
                    SELECT 1 FROM webhook_jobs j
                    WHERE j.shard = m.shard AND j.message_id = m.id AND mentions_address(j.tries::text, $6, $7))
                   OR EXISTS (
                    SELECT 1 FROM message_bodies b
                    WHERE b.shard = m.shard AND b.message_id = m.id AND b.message_id BETWEEN $3 AND $4
                      AND (mentions_address(b.searchable_text, $6, $7)
                        OR mentions_address(replace(encode(b.raw, 'escape'), E'=\r\n', ''), $8, $9)))
                "#,
                &shards(messages),
                &uuids(messages),
                first,
                last,
                floor(first),
                needle.text,
                needle.pattern,
                needle.escaped,
                needle.escaped_pattern,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(MessageId::from_uuid).collect())
    }

    /// A project's next messages in the schedule after that id, with what was asked for.
    pub async fn scheduled_after(
        &mut self,
        project: ProjectId,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<ScheduledRequest>, StoreError> {
        let rows = on_connection!(
            self,
            "scheduled_messages.walk",
            conn,
            sqlx::query_as!(
                ScheduledRow,
                r#"
                SELECT id, project_id, mode, send_at, created_at, expires_at, version, summary, tags, idempotency_key,
                    batch_id, template, charged, request
                FROM scheduled_messages WHERE project_id = $1 AND id > $2 ORDER BY id LIMIT $3
                "#,
                project.uuid(),
                after,
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(ScheduledRow::decode).collect()
    }

    /// Takes a message out of the schedule; `false`: it is not there any more.
    pub async fn drop_scheduled(&mut self, project: ProjectId, id: MessageId) -> Result<bool, StoreError> {
        on_connection!(self, "scheduled_messages.drop", conn, drop_scheduled(conn, project, id))
    }
}

pub(super) async fn drop_scheduled(
    conn: &mut PgConnection,
    project: ProjectId,
    id: MessageId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM scheduled_messages WHERE shard = $1 AND id = $2 AND project_id = $3",
        id.shard().value(),
        id.uuid(),
        project.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
