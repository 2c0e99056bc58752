//! One message: what was accepted, and its bytes. Every statement names the message's shard.

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::draft::Priority;
use crate::domain::id::{MessageId, ProjectId};
use crate::store::{Store, StoreError, decoded, on_pool};

/// A message as it was accepted.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub id: MessageId,
    pub mode: Mode,
    pub author: String,
    pub subject: String,
    pub tags: serde_json::Value,
    pub metadata: serde_json::Value,
    pub priority: Priority,
    pub size: i32,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// What is left of a message's bytes.
#[derive(Debug)]
pub enum StoredRaw {
    Kept(Vec<u8>),
    /// The message is there, its bytes are past their retention.
    NotKept,
    /// There is no such message in the project.
    Absent,
}

/// The mode in a row of `messages`.
pub(super) fn mode(id: MessageId, word: &str) -> Result<Mode, StoreError> {
    decoded(Mode::parse(word), ("messages", "mode"), id, word)
}

/// The priority in a row of `messages`.
pub(super) fn priority(id: MessageId, rank: i16) -> Result<Priority, StoreError> {
    decoded(Priority::of_rank(rank), ("messages", "priority"), id, rank)
}

impl Store {
    /// The project's message with that id. A foreign one is not found.
    pub async fn find_message(&self, project: ProjectId, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let row = on_pool!(
            self,
            "messages.find",
            conn,
            sqlx::query!(
                r#"
                SELECT mode, author, subject, tags, metadata, priority, size, created_at, expires_at
                FROM messages WHERE shard = $1 AND id = $2 AND project_id = $3
                "#,
                id.shard().value(),
                id.uuid(),
                project.uuid(),
            )
            .fetch_optional(conn)
        )?;
        row.map(|row| {
            Ok(StoredMessage {
                id,
                mode: mode(id, &row.mode)?,
                author: row.author,
                subject: row.subject,
                tags: row.tags,
                metadata: row.metadata,
                priority: priority(id, row.priority)?,
                size: row.size,
                created_at: row.created_at,
                expires_at: row.expires_at,
            })
        })
        .transpose()
    }

    /// The bytes of a message as they went, or will go, on the wire.
    pub async fn load_raw(&self, project: ProjectId, id: MessageId) -> Result<StoredRaw, StoreError> {
        let row = on_pool!(
            self,
            "messages.load_raw",
            conn,
            sqlx::query!(
                r#"
                SELECT b.raw AS "raw?" FROM messages m
                LEFT JOIN message_bodies b ON b.shard = m.shard AND b.message_id = m.id
                WHERE m.shard = $1 AND m.id = $2 AND m.project_id = $3
                "#,
                id.shard().value(),
                id.uuid(),
                project.uuid(),
            )
            .fetch_optional(conn)
        )?;
        Ok(match row.map(|row| row.raw) {
            None => StoredRaw::Absent,
            Some(None) => StoredRaw::NotKept,
            Some(Some(raw)) => StoredRaw::Kept(raw),
        })
    }
}
