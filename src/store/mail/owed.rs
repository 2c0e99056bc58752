//! Where a message's deliveries stand in the queue, for those who ask why.

use crate::domain::clock::Timestamp;
use crate::domain::draft::{Demand, TlsDemand};
use crate::domain::hold::HoldReason;
use crate::domain::id::{MessageId, RecipientId};
use crate::store::{Store, StoreError, decoded, on_pool};

/// A delivery that is still owed.
#[derive(Debug, Clone)]
pub struct OwedDelivery {
    pub recipient: RecipientId,
    pub next_hop: String,
    pub demand: Demand,
    pub due_at: Timestamp,
    pub expires_at: Timestamp,
    pub attempt: i32,
    pub is_leased: bool,
    /// Why it was put off without a try.
    pub held: Option<HoldReason>,
}

impl Store {
    /// The deliveries of a message that are still in the queue.
    pub async fn list_owed(&self, id: MessageId, recipients: &[RecipientId]) -> Result<Vec<OwedDelivery>, StoreError> {
        let ids: Vec<_> = recipients.iter().map(|recipient| recipient.uuid()).collect();
        let rows = on_pool!(
            self,
            "deliveries.list_owed",
            conn,
            sqlx::query!(
                r#"
                SELECT id, next_hop, tls, ip_pool, due_at, expires_at, attempt, lease_token IS NOT NULL AS "is_leased!",
                    held
                FROM deliveries WHERE shard = $1 AND id = ANY ($2) AND message_id = $3
                "#,
                id.shard().value(),
                &ids,
                id.uuid(),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let tls = decoded(TlsDemand::parse(&row.tls).ok(), ("deliveries", "tls"), row.id, &row.tls)?;
                let held = match &row.held {
                    Some(word) => Some(decoded(HoldReason::parse(word), ("deliveries", "held"), row.id, word)?),
                    None => None,
                };
                Ok(OwedDelivery {
                    recipient: RecipientId::from_uuid(row.id),
                    next_hop: row.next_hop,
                    demand: Demand { tls, ip_pool: row.ip_pool },
                    due_at: row.due_at,
                    expires_at: row.expires_at,
                    attempt: row.attempt,
                    is_leased: row.is_leased,
                    held,
                })
            })
            .collect()
    }
}
