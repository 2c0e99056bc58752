//! Erasing: an address out of what is kept of settled messages, and a settled message whole. Rows that others count and
//! follow stay, without what told of a person.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::blocks;
use super::mentions::drop_scheduled;
use super::purge::{Standing, floor, shards, standing, uuids};
use crate::domain::clock::Timestamp;
use crate::domain::erasure::{ErasedCounts, Needle};
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, Store, StoreError, bounds, on_connection, on_pool};

/// What became of a message that was to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    Erased,
    /// A recipient is not settled: nothing was erased.
    Unsettled,
    /// There is no such message in the project.
    Absent,
}

impl OwnedConnection {
    /// Erases an address from settled messages that name it; gives how many rows of what were changed or removed.
    pub async fn erase_from(&mut self, needle: &Needle, messages: &[MessageId]) -> Result<ErasedCounts, StoreError> {
        let now = self.store.now();
        on_connection!(self, "messages.erase_address", conn, erase_from(conn, needle, messages, now))
    }

    /// Erases an address from what a project's suppressions of other addresses say, and removes idempotency keys that name
    /// it; in one shard.
    pub async fn erase_in_shard(
        &mut self,
        project: ProjectId,
        shard: Shard,
        needle: &Needle,
    ) -> Result<(u64, u64), StoreError> {
        on_connection!(self, "shards.erase_address", conn, erase_in_shard(conn, project, shard, needle))
    }
}

impl Store {
    /// Erases a settled message: its rows are removed, but for its events, which lose what they tell of.
    pub async fn erase_message(&self, project: ProjectId, id: MessageId) -> Result<Erased, StoreError> {
        let now = self.now();
        on_pool!(self, "messages.erase", conn, erase_settled(conn, (project, id), now))
    }
}

async fn erase_settled(
    conn: &mut PgConnection,
    (project, id): (ProjectId, MessageId),
    now: Timestamp,
) -> Result<Erased, StoreError> {
    if drop_scheduled(conn, project, id).await? {
        return Ok(Erased::Erased);
    }
    let own = sqlx::query_scalar!(
        r#"SELECT 1 AS "one!" FROM messages WHERE shard = $1 AND id = $2 AND project_id = $3"#,
        id.shard().value(),
        id.uuid(),
        project.uuid(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    if own.is_none() {
        return Ok(Erased::Absent);
    }
    // What is settled stays so.
    match standing(conn, &[id]).await?.first() {
        Some((_, Standing::Settled(_))) => {}
        Some((_, Standing::Unsettled)) => return Ok(Erased::Unsettled),
        _ => return Ok(Erased::Absent),
    }
    let mut tx = conn.begin().await?;
    erase_message(&mut tx, id).await?;
    blocks::forget(&mut tx, std::iter::once((project, id)), now).await?;
    tx.commit().await?;
    Ok(Erased::Erased)
}

async fn erase_message(conn: &mut PgConnection, id: MessageId) -> Result<(), StoreError> {
    let uuid = id.uuid();
    sqlx::query!(
        r#"
        WITH bodies AS (DELETE FROM message_bodies WHERE shard = $1 AND message_id = $2),
        reports_ AS (DELETE FROM reports WHERE message_id = $2),
        copies AS (DELETE FROM sandbox_messages WHERE shard = $1 AND message_id = $2),
        tries AS (DELETE FROM attempts WHERE shard = $1 AND message_id = $2),
        told AS (DELETE FROM webhook_deliveries WHERE shard = $1 AND message_id = $2),
        jobs AS (DELETE FROM webhook_jobs WHERE shard = $1 AND message_id = $2),
        recipients_ AS (DELETE FROM recipients WHERE shard = $1 AND message_id = $2),
        facts AS (UPDATE events SET data = '{}' WHERE shard = $1 AND message_id = $2 AND id >= $3)
        DELETE FROM messages WHERE shard = $1 AND id = $2
        "#,
        id.shard().value(),
        uuid,
        floor(uuid),
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn erase_from(
    conn: &mut PgConnection,
    needle: &Needle,
    messages: &[MessageId],
    now: Timestamp,
) -> Result<ErasedCounts, StoreError> {
    let (shards, ids) = (shards(messages), uuids(messages));
    let (first, last) = bounds(ids.iter().copied());
    let run = Run { shards: &shards, ids: &ids, first, last };
    let mut tx = conn.begin().await?;
    let mut counts = ErasedCounts::new();
    let (bodies, copies) = erase_contents(&mut tx, &run).await?;
    let recipients = erase_recipients(&mut tx, &run, needle).await?;
    // These go by the recipients' new address.
    let attempts = erase_attempts(&mut tx, &run, needle).await?;
    let events = erase_events(&mut tx, &run, needle).await?;
    let answers = erase_answers(&mut tx, &run, needle).await?;
    let columns = erase_columns(&mut tx, &run, needle).await?;
    let of_projects = projects_of(&mut tx, &run).await?;
    blocks::forget(&mut tx, of_projects.into_iter(), now).await?;
    tx.commit().await?;
    let found = [
        ("messages", columns),
        ("message_bodies", bodies),
        ("sandbox_messages", copies),
        ("recipients", recipients),
        ("attempts", attempts),
        ("events", events),
        ("webhook_deliveries", answers),
    ];
    counts.extend(found.into_iter().map(|(name, count)| (name.to_owned(), count)));
    Ok(counts)
}

async fn projects_of(conn: &mut PgConnection, run: &Run<'_>) -> Result<Vec<(ProjectId, MessageId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT m.project_id, m.id FROM messages m JOIN unnest($1::int[], $2::uuid[]) AS w (shard, id)
            ON m.shard = w.shard AND m.id = w.id AND m.id BETWEEN $3 AND $4
        "#,
        run.shards,
        run.ids,
        run.first,
        run.last,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (ProjectId::from_uuid(row.project_id), MessageId::from_uuid(row.id))).collect())
}

/// Messages that one transaction is about.
pub(super) struct Run<'r> {
    pub shards: &'r [i32],
    pub ids: &'r [Uuid],
    pub first: Uuid,
    pub last: Uuid,
}

/// Removes the bytes of messages, their copies in the inbox, and what came back of them.
pub(super) async fn erase_contents(conn: &mut PgConnection, run: &Run<'_>) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query!(
        r#"
        WITH reports_ AS (DELETE FROM reports WHERE message_id = ANY($2)),
        copies AS (
            DELETE FROM sandbox_messages s USING unnest($1::int[], $2::uuid[]) AS w (shard, id)
            WHERE s.shard = w.shard AND s.message_id = w.id AND s.message_id BETWEEN $3 AND $4 RETURNING 1),
        bodies AS (
            DELETE FROM message_bodies b USING unnest($1::int[], $2::uuid[]) AS w (shard, id)
            WHERE b.shard = w.shard AND b.message_id = w.id AND b.message_id BETWEEN $3 AND $4 RETURNING 1)
        SELECT (SELECT count(*) FROM bodies) AS "bodies!", (SELECT count(*) FROM copies) AS "copies!"
        "#,
        run.shards,
        run.ids,
        run.first,
        run.last,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.bodies.unsigned_abs(), row.copies.unsigned_abs()))
}

async fn erase_recipients(conn: &mut PgConnection, run: &Run<'_>, needle: &Needle) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE recipients r SET
            address = CASE WHEN lower(r.address) = $5 THEN $7 ELSE r.address END,
            reply_text = CASE WHEN lower(r.address) = $5 OR mentions_address(r.reply_text, $5, $6) THEN NULL
                ELSE r.reply_text END,
            return_path = CASE WHEN mentions_address(r.return_path, $5, $6) THEN NULL ELSE r.return_path END
        FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE r.shard = w.shard AND r.message_id = w.id AND r.message_id BETWEEN $3 AND $4 AND r.settled_at IS NOT NULL
          AND mentions_address(concat_ws(' ', r.address, r.reply_text, r.return_path), $5, $6)
        "#,
        run.shards,
        run.ids,
        run.first,
        run.last,
        needle.text,
        needle.pattern,
        needle.replacement,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn erase_attempts(conn: &mut PgConnection, run: &Run<'_>, needle: &Needle) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE attempts a SET transcript = '', reply_text = NULL
        FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE a.shard = w.shard AND a.message_id = w.id AND a.message_id BETWEEN $3 AND $4
          AND (a.transcript <> '' OR a.reply_text IS NOT NULL)
          AND (mentions_address(concat_ws(' ', a.reply_text, a.transcript), $5, $6) OR EXISTS (
              SELECT 1 FROM recipients r
              WHERE r.shard = a.shard AND r.message_id = a.message_id AND r.id = a.recipient_id AND r.address = $7
                AND r.message_id BETWEEN $3 AND $4))
        "#,
        run.shards,
        run.ids,
        run.first,
        run.last,
        needle.text,
        needle.pattern,
        needle.replacement,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn erase_events(conn: &mut PgConnection, run: &Run<'_>, needle: &Needle) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE events e SET data = CASE WHEN jsonb_typeof(e.data -> 'attempt') = 'number'
            THEN jsonb_build_object('attempt', e.data -> 'attempt') ELSE '{}' END
        FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE e.shard = w.shard AND e.message_id = w.id AND e.id >= $3 AND e.data <> '{}'
          AND (mentions_address(e.data::text, $5, $6) OR EXISTS (
              SELECT 1 FROM recipients r
              WHERE r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id AND r.address = $7
                AND r.message_id BETWEEN $8 AND $4))
        "#,
        run.shards,
        run.ids,
        floor(run.first),
        run.last,
        needle.text,
        needle.pattern,
        needle.replacement,
        run.first,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What endpoints answered, which may repeat what they were told.
async fn erase_answers(conn: &mut PgConnection, run: &Run<'_>, needle: &Needle) -> Result<u64, StoreError> {
    sqlx::query!(
        r#"
        UPDATE webhook_jobs j SET tries = '[]' FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE j.shard = w.shard AND j.message_id = w.id AND mentions_address(j.tries::text, $3, $4)
        "#,
        run.shards,
        run.ids,
        needle.text,
        needle.pattern,
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!(
        r#"
        UPDATE webhook_deliveries d SET detail = '', tries = '[]' FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE d.shard = w.shard AND d.message_id = w.id AND d.message_id BETWEEN $3 AND $4
          AND mentions_address(concat_ws(' ', d.detail, d.tries), $5, $6)
        "#,
        run.shards,
        run.ids,
        run.first,
        run.last,
        needle.text,
        needle.pattern,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn erase_columns(conn: &mut PgConnection, run: &Run<'_>, needle: &Needle) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE messages m SET
            sender = CASE WHEN mentions_address(m.sender, $5, $6) THEN $7 ELSE m.sender END,
            author = CASE WHEN mentions_address(m.author, $5, $6) THEN $7 ELSE m.author END,
            subject = CASE WHEN mentions_address(m.subject, $5, $6) THEN '' ELSE m.subject END,
            tags = CASE WHEN mentions_address(m.tags::text, $5, $6) THEN '[]' ELSE m.tags END,
            metadata = CASE WHEN mentions_address(m.metadata::text, $5, $6) THEN '{}' ELSE m.metadata END,
            message_id = CASE WHEN mentions_address(m.message_id, $5, $6) THEN NULL ELSE m.message_id END,
            idempotency_key = CASE WHEN mentions_address(m.idempotency_key, $5, $6) THEN NULL ELSE m.idempotency_key END,
            template = CASE WHEN mentions_address(m.template, $5, $6) THEN NULL ELSE m.template END
        FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
        WHERE m.shard = w.shard AND m.id = w.id AND m.id BETWEEN $3 AND $4
          AND mentions_address(concat_ws(' ', m.sender, m.author, m.subject, m.tags, m.metadata, m.message_id,
              m.idempotency_key, m.template), $5, $6)
        "#,
        run.shards,
        run.ids,
        run.first,
        run.last,
        needle.text,
        needle.pattern,
        needle.replacement,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn erase_in_shard(
    conn: &mut PgConnection,
    project: ProjectId,
    shard: Shard,
    needle: &Needle,
) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query!(
        r#"
        WITH evidence AS (
            UPDATE suppressions SET evidence = '{}', note = ''
            WHERE shard = $1 AND project_id = $2 AND mentions_address(concat_ws(' ', evidence, note), $3, $4)
            RETURNING 1),
        keys AS (
            DELETE FROM idempotency_keys
            WHERE shard = $1 AND project_id = $2 AND mentions_address(key, $3, $4)
            RETURNING 1)
        SELECT (SELECT count(*) FROM evidence) AS "evidence!", (SELECT count(*) FROM keys) AS "keys!"
        "#,
        shard.value(),
        project.uuid(),
        needle.text,
        needle.pattern,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.evidence.unsigned_abs(), row.keys.unsigned_abs()))
}
