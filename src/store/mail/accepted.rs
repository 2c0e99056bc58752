//! Messages as they were accepted, for a request that is repeated.

use std::collections::HashMap;

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::id::{BatchId, MessageId, RecipientId};
use crate::domain::message::ScheduledSummary;
use crate::domain::recipient::{RecipientKind, RecipientStatus};
use crate::store::{Store, StoreError, decoded, on_pool};

/// What was answered when a message was accepted.
#[derive(Debug, Clone)]
pub struct StoredAccepted {
    pub id: MessageId,
    pub created_at: Timestamp,
    /// When it is sent, or was, if it was scheduled.
    pub send_at: Option<Timestamp>,
    pub batch: Option<BatchId>,
    /// In the order of the request.
    pub recipients: Vec<StoredRecipientPlace>,
}

/// A recipient as it was accepted.
#[derive(Debug, Clone)]
pub struct StoredRecipientPlace {
    pub id: RecipientId,
    pub address: String,
    pub kind: RecipientKind,
    /// See `NewRecipient::places`.
    pub places: Option<String>,
    /// As what it was accepted, if it was sent at once: `suppressed` without a try is what it was born as.
    pub status: RecipientStatus,
}

impl Store {
    /// These messages with their recipients, in order of `ids`. A message that is no longer kept has no recipients, and
    /// the instant of its id.
    pub async fn load_accepted(&self, ids: &[MessageId]) -> Result<Vec<StoredAccepted>, StoreError> {
        let mut found = self.load_scheduled_accepted(ids).await?;
        // Asked second: what leaves the schedule meanwhile is there then.
        found.extend(self.load_sent_accepted(ids).await?);
        let accepted = ids.iter().map(|id| {
            let gone = || StoredAccepted {
                id: *id,
                created_at: id.made_at(),
                send_at: None,
                batch: None,
                recipients: Vec::new(),
            };
            found.remove(&id.uuid()).unwrap_or_else(gone)
        });
        Ok(accepted.collect())
    }

    async fn load_sent_accepted(&self, ids: &[MessageId]) -> Result<HashMap<Uuid, StoredAccepted>, StoreError> {
        let rows = on_pool!(
            self,
            "messages.load_accepted",
            conn,
            sqlx::query!(
                r#"
                SELECT m.id, m.created_at, m.send_at, m.batch_id, r.id AS recipient_id, r.address, r.kind, r.places,
                    r.status = 'suppressed' AND r.attempts = 0 AS "is_born_suppressed!"
                FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                JOIN messages m ON m.shard = w.shard AND m.id = w.id
                JOIN recipients r ON r.shard = m.shard AND r.message_id = m.id
                ORDER BY r.position
                "#,
                &ids.iter().map(|id| id.shard().value()).collect::<Vec<_>>(),
                &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
            )
            .fetch_all(conn)
        )?;
        let mut found: HashMap<_, StoredAccepted> = HashMap::with_capacity(ids.len());
        for row in rows {
            let accepted = found.entry(row.id).or_insert_with(|| StoredAccepted {
                id: MessageId::from_uuid(row.id),
                created_at: row.created_at,
                send_at: row.send_at,
                batch: row.batch_id.map(BatchId::from_uuid),
                recipients: Vec::new(),
            });
            let id = RecipientId::from_uuid(row.recipient_id);
            let kind = decoded(RecipientKind::parse(&row.kind), ("recipients", "kind"), id, &row.kind)?;
            let status = if row.is_born_suppressed { RecipientStatus::Suppressed } else { RecipientStatus::Queued };
            let place = StoredRecipientPlace { id, address: row.address, kind, places: row.places, status };
            accepted.recipients.push(place);
        }
        Ok(found)
    }

    async fn load_scheduled_accepted(&self, ids: &[MessageId]) -> Result<HashMap<Uuid, StoredAccepted>, StoreError> {
        let rows = on_pool!(
            self,
            "scheduled_messages.load_accepted",
            conn,
            sqlx::query!(
                r#"
                SELECT s.id, s.created_at, s.send_at, s.batch_id, s.summary
                FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                JOIN scheduled_messages s ON s.shard = w.shard AND s.id = w.id
                "#,
                &ids.iter().map(|id| id.shard().value()).collect::<Vec<_>>(),
                &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
            )
            .fetch_all(conn)
        )?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let summary: ScheduledSummary = serde_json::from_value(row.summary)
                .map_err(|error| StoreError::corrupt("scheduled_messages", "summary", row.id, error.to_string()))?;
            let recipients = summary.recipients.into_iter().map(|recipient| StoredRecipientPlace {
                id: recipient.id,
                address: recipient.email,
                kind: RecipientKind::parse(&recipient.kind).unwrap_or(RecipientKind::To),
                places: recipient.places,
                status: RecipientStatus::Scheduled,
            });
            found.insert(
                row.id,
                StoredAccepted {
                    id: MessageId::from_uuid(row.id),
                    created_at: row.created_at,
                    send_at: Some(row.send_at),
                    batch: row.batch_id.map(BatchId::from_uuid),
                    recipients: recipients.collect(),
                },
            );
        }
        Ok(found)
    }
}
