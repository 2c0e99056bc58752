//! What is learnt of a recipient after it was settled, told in the log: its state stays as it is.

use sqlx::PgConnection;

use crate::domain::access::Mode;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, ProjectId, RecipientId};
use crate::domain::shard::Shard;
use crate::store::{Moment, StoreError};

/// The recipient that something is told of.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct About {
    pub shard: Shard,
    pub project: ProjectId,
    pub mode: Mode,
    pub message: MessageId,
    pub recipient: RecipientId,
}

/// Writes the next event of a recipient; nothing if it is gone.
pub(in crate::store) async fn insert_later_event(
    conn: &mut PgConnection,
    about: About,
    event_type: EventType,
    data: &serde_json::Value,
    at: Moment<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        WITH r AS (
            UPDATE recipients SET events = events + 1 WHERE shard = $1 AND message_id = $2 AND id = $3
            RETURNING events)
        INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data, era, xid)
        SELECT $1, $4, $5, $2, $3, $6, r.events, $7, $8, $9, $10, pg_current_xact_id() FROM r
        "#,
        about.shard.value(),
        about.message.uuid(),
        about.recipient.uuid(),
        EventId::new_in(about.shard, at.now, at.rng).uuid(),
        about.project.uuid(),
        about.mode.name(),
        event_type.name(),
        at.now,
        data,
        at.era,
    )
    .execute(conn)
    .await?;
    Ok(())
}
