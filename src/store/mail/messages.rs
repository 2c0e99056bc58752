//! Reading one message: state, events, attempts, bytes. Every statement names the message's shard.

use crate::domain::clock::Timestamp;
use crate::domain::draft::Priority;
use crate::domain::id::{AttemptId, EventId, MessageId, ProjectId, RecipientId};
use crate::domain::recipient::RecipientStatus;
use crate::store::{Store, StoreError, on_pool};

/// A message as it was accepted.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub id: MessageId,
    pub mode: String,
    pub author: String,
    pub subject: String,
    pub tags: serde_json::Value,
    pub metadata: serde_json::Value,
    pub priority: &'static str,
    pub size: i32,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// A recipient and where its delivery stands.
#[derive(Debug, Clone)]
pub struct StoredRecipient {
    pub id: RecipientId,
    pub kind: String,
    pub address: String,
    pub status: RecipientStatus,
    pub attempts: i32,
    pub settled_at: Option<Timestamp>,
    /// When it is tried next; `None` once settled or while it is being sent.
    pub next_attempt_at: Option<Timestamp>,
    pub last_reply: Option<StoredReply>,
}

/// The last thing that is known of a recipient's delivery.
#[derive(Debug, Clone)]
pub struct StoredReply {
    pub code: Option<i16>,
    pub enhanced: Option<String>,
    pub text: Option<String>,
    pub host: Option<String>,
    pub class: Option<String>,
}

/// A fact about a recipient.
#[derive(Debug)]
pub struct StoredEvent {
    pub id: EventId,
    pub recipient: RecipientId,
    pub email: String,
    pub sequence: i32,
    pub event_type: String,
    pub occurred_at: Timestamp,
    pub data: serde_json::Value,
}

/// One try of a delivery.
#[derive(Debug)]
pub struct StoredAttempt {
    pub id: AttemptId,
    pub recipient: RecipientId,
    pub email: String,
    pub number: i32,
    pub outcome: String,
    pub class: String,
    pub started_at: Timestamp,
    pub duration_ms: i32,
    pub stage: Option<String>,
    pub host: Option<String>,
    pub ip: Option<String>,
    pub source_ip: Option<String>,
    pub tls: Option<String>,
    pub provider: Option<String>,
    pub rule: Option<String>,
    pub confidence: Option<i16>,
    pub action: Option<String>,
    pub reply: StoredReply,
    pub transcript: String,
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

/// The name of a stored priority.
pub(super) fn priority_name(rank: i16) -> &'static str {
    Priority::of_rank(rank).unwrap_or_default().name()
}

impl Store {
    /// The project's message with that id. A foreign one is not found.
    pub async fn find_message(&self, project: ProjectId, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let row = on_pool!(
            self,
            "messages.find",
            conn,
            sqlx::query!(
                "SELECT mode, author, subject, tags, metadata, priority, size, created_at, expires_at \
                 FROM messages WHERE shard = $1 AND id = $2 AND project_id = $3",
                id.shard().value(),
                id.uuid(),
                project.uuid(),
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| StoredMessage {
            id,
            mode: row.mode,
            author: row.author,
            subject: row.subject,
            tags: row.tags,
            metadata: row.metadata,
            priority: priority_name(row.priority),
            size: row.size,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }))
    }

    /// The recipients of a message in the order in which they were given. A leased delivery is `sending`.
    pub async fn list_recipients(&self, id: MessageId) -> Result<Vec<StoredRecipient>, StoreError> {
        let rows = on_pool!(self, "recipients.list", conn, sqlx::query!(
            "SELECT r.id, r.kind, r.address, r.status, r.settled_at, r.reply_code, r.reply_status, r.reply_text, \
                 r.reply_host, r.reply_class, GREATEST(r.attempts, d.attempt) AS \"attempts!\", d.due_at AS \"due_at?\", \
                 d.lease_token IS NOT NULL AS \"leased!\" \
             FROM recipients r LEFT JOIN deliveries d ON d.shard = r.shard AND d.id = r.id \
             WHERE r.shard = $1 AND r.message_id = $2 ORDER BY r.position",
            id.shard().value(),
            id.uuid(),
        )
        .fetch_all(conn))?;
        rows.into_iter()
            .map(|row| {
                let stored = RecipientStatus::parse(&row.status)
                    .ok_or_else(|| StoreError::corrupt("recipients", "status", row.id, &row.status))?;
                let sending = row.leased && !stored.is_settled();
                Ok(StoredRecipient {
                    id: RecipientId::from_uuid(row.id),
                    kind: row.kind,
                    address: row.address,
                    status: if sending { RecipientStatus::Sending } else { stored },
                    attempts: row.attempts,
                    settled_at: row.settled_at,
                    next_attempt_at: row.due_at.filter(|_| !sending && !stored.is_settled()),
                    last_reply: row.reply_class.map(|class| StoredReply {
                        code: row.reply_code,
                        enhanced: row.reply_status,
                        text: row.reply_text,
                        host: row.reply_host,
                        class: Some(class),
                    }),
                })
            })
            .collect()
    }

    /// The events of a message, oldest first.
    pub async fn list_events(
        &self,
        id: MessageId,
        after: Option<EventId>,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = on_pool!(self, "events.list", conn, sqlx::query!(
            "SELECT e.id, e.recipient_id, r.address, e.sequence, e.type AS event_type, e.occurred_at, e.data \
             FROM events e JOIN recipients r ON r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id \
             WHERE e.shard = $1 AND e.message_id = $2 AND ($3::uuid IS NULL OR e.id > $3) ORDER BY e.id LIMIT $4",
            id.shard().value(),
            id.uuid(),
            after.map(EventId::uuid),
            limit,
        )
        .fetch_all(conn))?;
        Ok(rows
            .into_iter()
            .map(|row| StoredEvent {
                id: EventId::from_uuid(row.id),
                recipient: RecipientId::from_uuid(row.recipient_id),
                email: row.address,
                sequence: row.sequence,
                event_type: row.event_type,
                occurred_at: row.occurred_at,
                data: row.data,
            })
            .collect())
    }

    /// The attempts of a message, oldest first.
    pub async fn list_attempts(
        &self,
        id: MessageId,
        after: Option<AttemptId>,
        limit: i64,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        let rows = on_pool!(self, "attempts.list", conn, sqlx::query!(
            "SELECT a.id, a.recipient_id, r.address, a.number, a.outcome, a.class, a.started_at, a.duration_ms, a.stage, \
                 a.host, a.ip, a.source_ip, a.tls, a.reply_code, a.reply_status, a.reply_text, a.transcript, \
                 a.provider, a.rule, a.confidence, a.action \
             FROM attempts a JOIN recipients r ON r.shard = a.shard AND r.message_id = a.message_id AND r.id = a.recipient_id \
             WHERE a.shard = $1 AND a.message_id = $2 AND ($3::uuid IS NULL OR a.id > $3) ORDER BY a.id LIMIT $4",
            id.shard().value(),
            id.uuid(),
            after.map(AttemptId::uuid),
            limit,
        )
        .fetch_all(conn))?;
        Ok(rows
            .into_iter()
            .map(|row| StoredAttempt {
                id: AttemptId::from_uuid(row.id),
                recipient: RecipientId::from_uuid(row.recipient_id),
                email: row.address,
                number: row.number,
                outcome: row.outcome,
                reply: StoredReply {
                    code: row.reply_code,
                    enhanced: row.reply_status,
                    text: row.reply_text,
                    host: row.host.clone(),
                    class: Some(row.class.clone()),
                },
                class: row.class,
                started_at: row.started_at,
                duration_ms: row.duration_ms,
                stage: row.stage,
                host: row.host,
                ip: row.ip,
                source_ip: row.source_ip,
                tls: row.tls,
                provider: row.provider,
                rule: row.rule,
                confidence: row.confidence,
                action: row.action,
                transcript: row.transcript,
            })
            .collect())
    }

    /// The bytes of a message as they went, or will go, on the wire.
    pub async fn load_raw(&self, project: ProjectId, id: MessageId) -> Result<StoredRaw, StoreError> {
        let row = on_pool!(self, "messages.load_raw", conn,
            sqlx::query!(
                "SELECT b.raw AS \"raw?\" FROM messages m LEFT JOIN message_bodies b ON b.shard = m.shard AND b.message_id = m.id \
                 WHERE m.shard = $1 AND m.id = $2 AND m.project_id = $3",
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
