//! The attempts of one message: all of them, and the last of each recipient.

use uuid::Uuid;

use super::recipients::StoredReply;
use crate::domain::class::Class;
use crate::domain::clock::Timestamp;
use crate::domain::id::{AttemptId, MessageId, RecipientId};
use crate::domain::outcome::OutcomeKind;
use crate::domain::stage::Stage;
use crate::store::{Store, StoreError, decoded, on_pool};

/// One try of a delivery.
#[derive(Debug)]
pub struct StoredAttempt {
    pub id: AttemptId,
    pub recipient: RecipientId,
    pub email: String,
    pub number: i32,
    pub outcome: OutcomeKind,
    pub started_at: Timestamp,
    pub duration_ms: i32,
    pub stage: Option<Stage>,
    pub ip: Option<String>,
    pub source_ip: Option<String>,
    pub tls: Option<String>,
    pub provider: Option<String>,
    pub rule: Option<String>,
    pub confidence: Option<i16>,
    pub action: Option<String>,
    /// With the attempt's host and class.
    pub reply: StoredReply,
    pub transcript: String,
}

/// A row of `attempts` with its recipient's address.
struct Row {
    id: Uuid,
    recipient_id: Uuid,
    address: String,
    number: i32,
    outcome: String,
    class: String,
    started_at: Timestamp,
    duration_ms: i32,
    stage: Option<String>,
    host: Option<String>,
    ip: Option<String>,
    source_ip: Option<String>,
    tls: Option<String>,
    reply_code: Option<i16>,
    reply_status: Option<String>,
    reply_text: Option<String>,
    transcript: String,
    provider: Option<String>,
    rule: Option<String>,
    confidence: Option<i16>,
    action: Option<String>,
}

impl Row {
    fn into_attempt(self) -> Result<StoredAttempt, StoreError> {
        let outcome = decoded(OutcomeKind::parse(&self.outcome), ("attempts", "outcome"), self.id, &self.outcome)?;
        let stage = match &self.stage {
            Some(word) => Some(decoded(Stage::parse(word), ("attempts", "stage"), self.id, word)?),
            None => None,
        };
        Ok(StoredAttempt {
            id: AttemptId::from_uuid(self.id),
            recipient: RecipientId::from_uuid(self.recipient_id),
            email: self.address,
            number: self.number,
            outcome,
            started_at: self.started_at,
            duration_ms: self.duration_ms,
            stage,
            ip: self.ip,
            source_ip: self.source_ip,
            tls: self.tls,
            provider: self.provider,
            rule: self.rule,
            confidence: self.confidence,
            action: self.action,
            reply: StoredReply {
                code: self.reply_code,
                enhanced: self.reply_status,
                text: self.reply_text,
                host: self.host,
                class: Class::of(&self.class),
            },
            transcript: self.transcript,
        })
    }
}

impl Store {
    /// The attempts of a message, oldest first.
    pub async fn list_attempts(
        &self,
        id: MessageId,
        after: Option<AttemptId>,
        limit: i64,
    ) -> Result<Vec<StoredAttempt>, StoreError> {
        let rows = on_pool!(
            self,
            "attempts.list",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT a.id, a.recipient_id, r.address, a.number, a.outcome, a.class, a.started_at, a.duration_ms,
                    a.stage, a.host, a.ip, a.source_ip, a.tls, a.reply_code, a.reply_status, a.reply_text, a.transcript,
                    a.provider, a.rule, a.confidence, a.action
                FROM attempts a
                JOIN recipients r ON r.shard = a.shard AND r.message_id = a.message_id AND r.id = a.recipient_id
                WHERE a.shard = $1 AND a.message_id = $2 AND ($3::uuid IS NULL OR a.id > $3)
                ORDER BY a.id LIMIT $4
                "#,
                id.shard().value(),
                id.uuid(),
                after.map(AttemptId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::into_attempt).collect()
    }

    /// The last attempt of every recipient of a message.
    pub async fn list_last_attempts(&self, id: MessageId) -> Result<Vec<StoredAttempt>, StoreError> {
        let rows = on_pool!(
            self,
            "attempts.list_last",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT DISTINCT ON (a.recipient_id) a.id, a.recipient_id, r.address, a.number, a.outcome, a.class,
                    a.started_at, a.duration_ms, a.stage, a.host, a.ip, a.source_ip, a.tls, a.reply_code, a.reply_status,
                    a.reply_text, a.transcript, a.provider, a.rule, a.confidence, a.action
                FROM attempts a
                JOIN recipients r ON r.shard = a.shard AND r.message_id = a.message_id AND r.id = a.recipient_id
                WHERE a.shard = $1 AND a.message_id = $2
                ORDER BY a.recipient_id, a.number DESC, a.id DESC
                "#,
                id.shard().value(),
                id.uuid(),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::into_attempt).collect()
    }
}
