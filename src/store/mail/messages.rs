//! One message: what was accepted, and its bytes. Every statement names the message's shard.

use uuid::Uuid;

use super::scheduled::StoredScheduled;
use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::draft::Priority;
use crate::domain::id::{BatchId, MessageId, ProjectId};
use crate::domain::message::made_message_id;
use crate::store::{Store, StoreError, decoded, on_pool};

/// A message as it was accepted.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub id: MessageId,
    pub mode: Mode,
    pub author: String,
    /// `Message-ID` without angle brackets.
    pub message_id: String,
    pub subject: String,
    pub tags: serde_json::Value,
    pub metadata: serde_json::Value,
    pub priority: Priority,
    pub size: i32,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// The instant for which it was scheduled.
    pub send_at: Option<Timestamp>,
    pub batch: Option<BatchId>,
    /// The caller's own key.
    pub key: Option<String>,
    pub template: Option<String>,
    /// By what it was sent.
    pub credential: Option<String>,
    /// It waits for its time.
    pub scheduled: Option<Box<StoredScheduled>>,
}

impl From<StoredScheduled> for StoredMessage {
    fn from(stored: StoredScheduled) -> Self {
        let summary = &stored.summary;
        let made = || made_message_id(stored.id, domain_of(summary.author.trim_end_matches('>')));
        Self {
            id: stored.id,
            mode: stored.mode,
            author: summary.author.clone(),
            message_id: summary.message_id.clone().unwrap_or_else(made),
            subject: summary.subject.clone(),
            tags: stored.tags.clone(),
            metadata: summary.metadata.clone(),
            priority: Priority::of_rank(summary.priority).unwrap_or_default(),
            size: summary.size,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            send_at: Some(stored.send_at),
            batch: stored.batch,
            key: stored.key.clone(),
            template: stored.template.clone(),
            credential: summary.credential.clone(),
            scheduled: Some(Box::new(stored)),
        }
    }
}

/// The columns of a message.
pub(super) struct MessageRow {
    pub id: Uuid,
    pub mode: String,
    pub sender: String,
    pub author: String,
    pub message_id: Option<String>,
    pub subject: String,
    pub tags: serde_json::Value,
    pub metadata: serde_json::Value,
    pub priority: i16,
    pub size: i32,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub send_at: Option<Timestamp>,
    pub batch_id: Option<Uuid>,
    pub idempotency_key: Option<String>,
    pub template: Option<String>,
    pub credential: Option<String>,
}

impl MessageRow {
    /// The message, or which column of it cannot be decoded.
    pub fn decode(self) -> Result<StoredMessage, StoreError> {
        let id = MessageId::from_uuid(self.id);
        Ok(StoredMessage {
            id,
            mode: decoded(Mode::parse(&self.mode), ("messages", "mode"), id, &self.mode)?,
            author: self.author,
            message_id: self.message_id.unwrap_or_else(|| made_message_id(id, domain_of(&self.sender))),
            subject: self.subject,
            tags: self.tags,
            metadata: self.metadata,
            priority: decoded(Priority::of_rank(self.priority), ("messages", "priority"), id, self.priority)?,
            size: self.size,
            created_at: self.created_at,
            expires_at: self.expires_at,
            send_at: self.send_at,
            batch: self.batch_id.map(BatchId::from_uuid),
            key: self.idempotency_key,
            template: self.template,
            credential: self.credential,
            scheduled: None,
        })
    }
}

pub(super) fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, domain)| domain)
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

impl Store {
    /// The project's message with that id, also one that waits for its time. A foreign one is not found.
    pub async fn find_message(&self, project: ProjectId, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        if let Some(found) = self.find_sent(project, id).await? {
            return Ok(Some(found));
        }
        if let Some(found) = self.find_scheduled(project, id).await? {
            return Ok(Some(found.stored.into()));
        }
        // It may have left the schedule between the two questions.
        self.find_sent(project, id).await
    }

    async fn find_sent(&self, project: ProjectId, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let row = on_pool!(
            self,
            "messages.find",
            conn,
            sqlx::query_as!(
                MessageRow,
                r#"
                SELECT id, mode, sender, author, message_id, subject, tags, metadata, priority, size, created_at, expires_at,
                    send_at, batch_id, idempotency_key, template, credential
                FROM messages WHERE shard = $1 AND id = $2 AND project_id = $3
                "#,
                id.shard().value(),
                id.uuid(),
                project.uuid(),
            )
            .fetch_optional(conn)
        )?;
        row.map(MessageRow::decode).transpose()
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
