//! Messages as they were accepted, for a request that is repeated.

use std::collections::HashMap;

use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::recipient::RecipientKind;
use crate::store::{Store, StoreError, decoded, on_pool};

/// What was answered when a message was accepted.
#[derive(Debug, Clone)]
pub struct StoredAccepted {
    pub id: MessageId,
    pub created_at: Timestamp,
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
}

impl Store {
    /// These messages with their recipients, in order of `ids`. A message that is no longer kept has no recipients, and
    /// the instant of its id.
    pub async fn load_accepted(&self, ids: &[MessageId]) -> Result<Vec<StoredAccepted>, StoreError> {
        let rows = on_pool!(
            self,
            "messages.load_accepted",
            conn,
            sqlx::query!(
                r#"
                SELECT m.id, m.created_at, r.id AS recipient_id, r.address, r.kind, r.places
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
        let mut found: HashMap<_, (Timestamp, Vec<_>)> = HashMap::with_capacity(ids.len());
        for row in rows {
            let (_, recipients) = found.entry(row.id).or_insert_with(|| (row.created_at, Vec::new()));
            let id = RecipientId::from_uuid(row.recipient_id);
            let kind = decoded(RecipientKind::parse(&row.kind), ("recipients", "kind"), id, &row.kind)?;
            recipients.push(StoredRecipientPlace { id, address: row.address, kind, places: row.places });
        }
        let accepted = ids.iter().map(|id| {
            let (created_at, recipients) = found.remove(&id.uuid()).unwrap_or_else(|| (id.made_at(), Vec::new()));
            StoredAccepted { id: *id, created_at, recipients }
        });
        Ok(accepted.collect())
    }
}
