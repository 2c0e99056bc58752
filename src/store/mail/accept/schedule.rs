//! Scheduled mail in the accepting transaction: put into the schedule, and taken out of it when its time has come.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{ItemStored, Stored};
use crate::domain::clock::Timestamp;
use crate::domain::id::BatchId;
use crate::domain::message::{NewScheduled, NewSubmission};
use crate::store::StoreError;

/// Takes the messages that come from the schedule out of it; those that are not there any more are gone.
pub(super) async fn take(
    conn: &mut PgConnection,
    batch: &[NewSubmission],
    stored: &mut [Stored],
) -> Result<(), StoreError> {
    let from_schedule = batch.iter().flat_map(|submission| &submission.items);
    let due: Vec<(i32, Uuid, i32)> = from_schedule
        .filter_map(|item| {
            let (version, message) = (item.from_schedule?, item.messages.first()?);
            Some((message.id.shard().value(), message.id.uuid(), version))
        })
        .collect();
    let Some((shard, ..)) = due.first() else { return Ok(()) };
    let taken: HashSet<Uuid> = sqlx::query_scalar!(
        r#"
        DELETE FROM scheduled_messages s USING unnest($2::uuid[], $3::int[]) AS d (id, version)
        WHERE s.shard = $1 AND s.id = d.id AND s.version = d.version
        RETURNING s.id
        "#,
        shard,
        &due.iter().map(|(_, id, _)| *id).collect::<Vec<_>>(),
        &due.iter().map(|(.., version)| *version).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .collect();
    for (submission, stored) in batch.iter().zip(stored) {
        let Stored::Accepted(items) = stored else { continue };
        for (item, stored) in submission.items.iter().zip(items).filter(|(item, _)| item.from_schedule.is_some()) {
            if !item.messages.iter().all(|message| taken.contains(&message.id.uuid())) {
                *stored = ItemStored::Gone;
            }
        }
    }
    Ok(())
}

/// Puts messages into the schedule.
pub(super) async fn insert(conn: &mut PgConnection, scheduled: &[&NewScheduled]) -> Result<(), StoreError> {
    let Some(first) = scheduled.first() else { return Ok(()) };
    let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
    sqlx::query!(
        r#"
        INSERT INTO scheduled_messages (shard, id, project_id, mode, send_at, request, summary, tags, created_at, expires_at,
            idempotency_key, batch_id, template)
        SELECT $1::int, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::bytea[], $7::jsonb[],
            $8::jsonb[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::uuid[], $13::text[])
        "#,
        first.id.shard().value(),
        &scheduled.iter().map(|s| s.id.uuid()).collect::<Vec<_>>(),
        &scheduled.iter().map(|s| s.project.uuid()).collect::<Vec<_>>(),
        &scheduled.iter().map(|s| s.mode.name()).collect::<Vec<_>>() as &[&str],
        &scheduled.iter().map(|s| s.send_at).collect::<Vec<_>>(),
        &scheduled.iter().map(|s| s.request.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &scheduled.iter().map(|s| json(serde_json::to_value(&s.summary))).collect::<Vec<_>>(),
        &scheduled.iter().map(|s| json(serde_json::to_value(&s.tags))).collect::<Vec<_>>(),
        &scheduled.iter().map(|s| s.created_at).collect::<Vec<_>>(),
        &scheduled.iter().map(|s| s.expires_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &scheduled.iter().map(|s| s.idempotency_key.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &scheduled.iter().map(|s| s.batch.map(BatchId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &scheduled.iter().map(|s| s.template.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
