//! What is learnt of a recipient after it was settled, told in the log: its state stays as it is.

use sqlx::PgConnection;

use crate::domain::access::Mode;
use crate::domain::clock::Rng;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, ProjectId, RecipientId};
use crate::domain::shard::Shard;
use crate::store::{Moment, Store, StoreError, on_pool};

/// Events of one type that a recipient has at most: whoever loads an image a thousand times is told of no more.
const ENGAGEMENTS: i16 = 20;

impl Store {
    /// Writes that the recipient of a message did something with it; `false` if it is gone, or did so often.
    pub async fn put_engagement(
        &self,
        message: MessageId,
        event_type: EventType,
        data: &serde_json::Value,
        rng: &dyn Rng,
    ) -> Result<bool, StoreError> {
        let at = self.moment(rng);
        let done = on_pool!(
            self,
            "events.put_engagement",
            conn,
            sqlx::query!(
                r#"
                WITH m AS (SELECT project_id, mode FROM messages WHERE shard = $1 AND id = $2),
                r AS (
                    UPDATE recipients SET events = events + 1,
                        opened_at = CASE WHEN $9 THEN COALESCE(opened_at, $5) ELSE opened_at END,
                        clicked_at = CASE WHEN $9 THEN clicked_at ELSE COALESCE(clicked_at, $5) END,
                        opens = opens + $9::int::smallint, clicks = clicks + (NOT $9)::int::smallint
                    WHERE shard = $1 AND message_id = $2 AND position = 0 AND address NOT LIKE '%@erased.invalid'
                      AND CASE WHEN $9 THEN opens ELSE clicks END < $8 AND EXISTS (SELECT FROM m)
                    RETURNING id, events, settled_at)
                INSERT INTO events (shard, id, project_id, message_id, recipient_id, mode, sequence, type, occurred_at, data, era, xid)
                -- Nobody reads as fast as what looks into mail at the door.
                SELECT $1, $3, m.project_id, $2, r.id, m.mode, r.events, $4, $5,
                    CASE WHEN r.settled_at > $5::timestamptz - interval '2 seconds' AND $6::jsonb -> 'machine' = 'null'
                        THEN $6 || '{"machine": "scanner"}' ELSE $6 END, $7, pg_current_xact_id()
                FROM r, m
                "#,
                message.shard().value(),
                message.uuid(),
                EventId::new_in(message.shard(), at.now, at.rng).uuid(),
                event_type.name(),
                at.now,
                data,
                at.era,
                ENGAGEMENTS,
                event_type == EventType::Opened,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() > 0)
    }
}

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
            UPDATE recipients SET events = events + 1,
                complained_at = CASE WHEN $7 = 'message.complained' THEN COALESCE(complained_at, $8) ELSE complained_at END,
                unsubscribed_at = CASE WHEN $7 = 'message.unsubscribed' THEN COALESCE(unsubscribed_at, $8) ELSE unsubscribed_at END
            WHERE shard = $1 AND message_id = $2 AND id = $3
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
