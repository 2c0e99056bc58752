//! The events of one message.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, RecipientId};
use crate::store::schema::partitions::first_id_at;
use crate::store::{Store, StoreError, decoded, on_pool};

/// How much the clocks of two processes may differ: an event's id may be made so long before its message's.
const CLOCKS_DIFFER: Duration = Duration::from_hours(24);

/// A fact about a recipient.
#[derive(Debug)]
pub struct StoredEvent {
    pub id: EventId,
    pub recipient: RecipientId,
    pub email: String,
    pub sequence: i32,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
    pub data: serde_json::Value,
}

impl Store {
    /// The events of a message, oldest first.
    pub async fn list_events(
        &self,
        id: MessageId,
        created_at: Timestamp,
        after: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        // Days before the message's own are never opened. One that was scheduled may be cancelled long before its own.
        let oldest = first_id_at(id.made_at().min(created_at) - CLOCKS_DIFFER);
        let rows = on_pool!(
            self,
            "events.list",
            conn,
            sqlx::query!(
                r#"
                SELECT e.id, e.recipient_id, r.address, e.sequence, e.type AS event_type, e.occurred_at, e.data
                FROM events e
                JOIN recipients r ON r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id
                WHERE e.shard = $1 AND e.message_id = $2 AND ($3::uuid IS NULL OR e.id > $3)
                  AND e.id >= $5
                ORDER BY e.id LIMIT $4
                "#,
                id.shard().value(),
                id.uuid(),
                after.map(EventId::uuid),
                limit,
                oldest,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let event_type = EventType::parse(&row.event_type);
                Ok(StoredEvent {
                    id: EventId::from_uuid(row.id),
                    recipient: RecipientId::from_uuid(row.recipient_id),
                    email: row.address,
                    sequence: row.sequence,
                    event_type: decoded(event_type, ("events", "type"), row.id, &row.event_type)?,
                    occurred_at: row.occurred_at,
                    data: row.data,
                })
            })
            .collect()
    }
}
