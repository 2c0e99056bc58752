//! Events that are of a project and of no message: what happened to its endpoints and its domains.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::event::EventType;
use crate::domain::id::EventId;
use crate::domain::shard::Shard;
use crate::store::{Moment, StoreError};

/// One of them, about to be written.
#[derive(Debug)]
pub(in crate::store) struct NewProjectEvent {
    pub project: Uuid,
    pub mode: Mode,
    /// What it is about: events of several things spread over the shards.
    pub about: Uuid,
    pub data: serde_json::Value,
}

/// Writes events of one type. What names a message in the log names the event itself: so it lies in a day.
pub(in crate::store) async fn insert_project_events(
    conn: &mut PgConnection,
    event_type: EventType,
    events: &[NewProjectEvent],
    at: Moment<'_>,
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let shard = |event: &NewProjectEvent| Shard::of_low_bits(event.about.as_bytes()[15]);
    let ids: Vec<_> = events.iter().map(|event| EventId::new_in(shard(event), at.now, at.rng)).collect();
    sqlx::query!(
        r#"
        INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data, era, xid)
        SELECT e.shard, e.id, e.project_id, e.id, e.id, e.mode, 1, $6, $7, e.data, $8, pg_current_xact_id()
        FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::jsonb[]) AS e (shard, id, project_id, mode, data)
        "#,
        &ids.iter().map(|id| id.shard().value()).collect::<Vec<_>>(),
        &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
        &events.iter().map(|event| event.project).collect::<Vec<_>>(),
        &events.iter().map(|event| event.mode.name()).collect::<Vec<_>>() as &[&str],
        &events.iter().map(|event| event.data.clone()).collect::<Vec<_>>(),
        event_type.name(),
        at.now,
        at.era,
    )
    .execute(conn)
    .await?;
    Ok(())
}
