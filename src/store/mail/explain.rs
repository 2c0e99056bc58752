//! Where a message's deliveries stand in the queue, for those who ask why.

use crate::domain::clock::Timestamp;
use crate::domain::draft::{Demand, TlsDemand};
use crate::domain::id::{MessageId, RecipientId};
use crate::store::{Store, StoreError, on_pool};

/// A delivery that is still owed.
#[derive(Debug, Clone)]
pub struct OwedDelivery {
    pub recipient: RecipientId,
    pub next_hop: String,
    pub demand: Demand,
    pub due_at: Timestamp,
    pub expires_at: Timestamp,
    pub attempt: i32,
    pub is_ready: bool,
    pub is_leased: bool,
    /// Why it was put off without a try.
    pub held: Option<String>,
}

/// The judgement of a recipient's last attempt.
#[derive(Debug, Clone)]
pub struct LastAttempt {
    pub recipient: RecipientId,
    pub number: i32,
    pub outcome: String,
    pub class: String,
    pub stage: Option<String>,
    pub host: Option<String>,
    pub ip: Option<String>,
    pub source_ip: Option<String>,
    pub tls: Option<String>,
    pub rule: Option<String>,
    pub confidence: Option<i16>,
    pub action: Option<String>,
    pub text: Option<String>,
    pub started_at: Timestamp,
}

impl Store {
    /// The deliveries of a message that are still in the queue.
    pub async fn list_owed(&self, id: MessageId, recipients: &[RecipientId]) -> Result<Vec<OwedDelivery>, StoreError> {
        let ids: Vec<_> = recipients.iter().map(|recipient| recipient.uuid()).collect();
        let rows = on_pool!(self, "deliveries.list_owed", conn,
            sqlx::query!(
                "SELECT id, next_hop, tls, ip_pool, due_at, expires_at, attempt, ready, lease_token IS NOT NULL AS \"leased!\", held \
                 FROM deliveries WHERE shard = $1 AND id = ANY ($2) AND message_id = $3",
                id.shard().value(),
                &ids,
                id.uuid(),
            )
            .fetch_all(conn)
        )?;
        let owed = rows.into_iter().map(|row| OwedDelivery {
            recipient: RecipientId::from_uuid(row.id),
            next_hop: row.next_hop,
            demand: Demand { tls: TlsDemand::parse(&row.tls).unwrap_or_default(), ip_pool: row.ip_pool },
            due_at: row.due_at,
            expires_at: row.expires_at,
            attempt: row.attempt,
            is_ready: row.ready,
            is_leased: row.leased,
            held: row.held,
        });
        Ok(owed.collect())
    }

    /// The last attempt of every recipient of a message.
    pub async fn list_last_attempts(&self, id: MessageId) -> Result<Vec<LastAttempt>, StoreError> {
        let rows = on_pool!(self, "attempts.list_last", conn,
            sqlx::query!(
                "SELECT DISTINCT ON (recipient_id) recipient_id, number, outcome, class, stage, host, ip, source_ip, tls, rule, \
                     confidence, action, reply_text, started_at \
                 FROM attempts WHERE shard = $1 AND message_id = $2 ORDER BY recipient_id, number DESC, id DESC",
                id.shard().value(),
                id.uuid(),
            )
            .fetch_all(conn)
        )?;
        let last = rows.into_iter().map(|row| LastAttempt {
            recipient: RecipientId::from_uuid(row.recipient_id),
            number: row.number,
            outcome: row.outcome,
            class: row.class,
            stage: row.stage,
            host: row.host,
            ip: row.ip,
            source_ip: row.source_ip,
            tls: row.tls,
            rule: row.rule,
            confidence: row.confidence,
            action: row.action,
            text: row.reply_text,
            started_at: row.started_at,
        });
        Ok(last.collect())
    }
}
