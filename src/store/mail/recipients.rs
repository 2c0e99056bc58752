//! The recipients of one message, and where their deliveries stand.

use super::scheduled::StoredScheduled;
use std::collections::HashMap;

use crate::domain::address::Address;
use crate::domain::class::Class;
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::message::ScheduledRecipient;
use crate::domain::recipient::{RecipientKind, RecipientStatus};
use crate::store::{Store, StoreError, decoded, on_pool};

/// A recipient and where its delivery stands.
#[derive(Debug, Clone)]
pub struct StoredRecipient {
    pub id: RecipientId,
    pub kind: RecipientKind,
    pub address: String,
    pub status: RecipientStatus,
    pub attempts: i32,
    pub settled_at: Option<Timestamp>,
    /// When it is tried next; `None` once settled or while it is being sent.
    pub next_attempt_at: Option<Timestamp>,
    pub last_reply: Option<StoredReply>,
    pub later: Later,
}

/// What was learnt of a recipient once it was settled, and when first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Later {
    pub opened_at: Option<Timestamp>,
    pub clicked_at: Option<Timestamp>,
    pub complained_at: Option<Timestamp>,
    pub unsubscribed_at: Option<Timestamp>,
}

/// The last thing that is known of a recipient's delivery.
#[derive(Debug, Clone)]
pub struct StoredReply {
    pub code: Option<i16>,
    pub enhanced: Option<String>,
    pub text: Option<String>,
    pub host: Option<String>,
    pub class: Class,
}

impl StoredRecipient {
    /// Those of a message that waits for its time.
    pub fn of_scheduled(scheduled: &StoredScheduled) -> Vec<Self> {
        let of_one = |recipient: &ScheduledRecipient| Self {
            id: recipient.id,
            kind: RecipientKind::parse(&recipient.kind).unwrap_or(RecipientKind::To),
            address: recipient.email.clone(),
            status: RecipientStatus::Scheduled,
            attempts: 0,
            settled_at: None,
            next_attempt_at: Some(scheduled.send_at),
            last_reply: None,
            later: Later::default(),
        };
        scheduled.summary.recipients.iter().map(of_one).collect()
    }
}

impl Store {
    /// The address of one recipient; `None` when its message is gone.
    pub async fn recipient_address(
        &self,
        message: MessageId,
        recipient: RecipientId,
    ) -> Result<Option<Address>, StoreError> {
        let address = on_pool!(
            self,
            "recipients.find_address",
            conn,
            sqlx::query_scalar!(
                "SELECT address FROM recipients WHERE shard = $1 AND message_id = $2 AND id = $3",
                message.shard().value(),
                message.uuid(),
                recipient.uuid(),
            )
            .fetch_optional(conn)
        )?;
        let parse = |address: String| {
            Address::parse(&address).map_err(|_| StoreError::corrupt("recipients", "address", recipient, &address))
        };
        address.map(parse).transpose()
    }

    /// The recipients of a message in the order in which they were given. A leased delivery is `sending`.
    pub async fn list_recipients(&self, id: MessageId) -> Result<Vec<StoredRecipient>, StoreError> {
        Ok(self.list_recipients_of(&[id]).await?.remove(&id).unwrap_or_default())
    }

    /// The recipients of these messages, each message's in the order in which they were given.
    pub async fn list_recipients_of(
        &self,
        ids: &[MessageId],
    ) -> Result<HashMap<MessageId, Vec<StoredRecipient>>, StoreError> {
        let rows = on_pool!(
            self,
            "recipients.list",
            conn,
            sqlx::query!(
                r#"
                SELECT r.message_id, r.id, r.kind, r.address, r.status, r.settled_at, r.reply_code, r.reply_status,
                    r.reply_text, r.reply_host, r.reply_class, GREATEST(r.attempts, d.attempt) AS "attempts!",
                    d.due_at AS "due_at?", d.lease_token IS NOT NULL AS "is_leased!",
                    r.opened_at, r.clicked_at, r.complained_at, r.unsubscribed_at
                FROM unnest($1::int[], $2::uuid[]) AS w (shard, id)
                JOIN recipients r ON r.shard = w.shard AND r.message_id = w.id
                LEFT JOIN deliveries d ON d.shard = r.shard AND d.id = r.id
                ORDER BY r.position
                "#,
                &ids.iter().map(|id| id.shard().value()).collect::<Vec<_>>(),
                &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
            )
            .fetch_all(conn)
        )?;
        let mut known: HashMap<_, Vec<StoredRecipient>> = HashMap::with_capacity(ids.len());
        for row in rows {
            let stored = decoded(RecipientStatus::parse(&row.status), ("recipients", "status"), row.id, &row.status)?;
            let is_sending = row.is_leased && !stored.is_settled();
            known.entry(MessageId::from_uuid(row.message_id)).or_default().push(StoredRecipient {
                id: RecipientId::from_uuid(row.id),
                kind: decoded(RecipientKind::parse(&row.kind), ("recipients", "kind"), row.id, &row.kind)?,
                address: row.address,
                status: if is_sending { RecipientStatus::Sending } else { stored },
                attempts: row.attempts,
                settled_at: row.settled_at,
                next_attempt_at: row.due_at.filter(|_| !is_sending && !stored.is_settled()),
                last_reply: row.reply_class.map(|class| StoredReply {
                    code: row.reply_code,
                    enhanced: row.reply_status,
                    text: row.reply_text,
                    host: row.reply_host,
                    class: Class::of(&class),
                }),
                later: Later {
                    opened_at: row.opened_at,
                    clicked_at: row.clicked_at,
                    complained_at: row.complained_at,
                    unsubscribed_at: row.unsubscribed_at,
                },
            });
        }
        Ok(known)
    }
}
