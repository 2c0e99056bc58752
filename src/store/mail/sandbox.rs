//! The built-in inbox: what was delivered to the sandbox.

use crate::domain::clock::Timestamp;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::domain::shard::Shard;
use crate::store::{Store, StoreError, on_pool};

/// One delivered copy.
#[derive(Debug)]
pub struct SandboxEntry {
    pub id: RecipientId,
    pub message: MessageId,
    pub sender: String,
    pub recipient: String,
    pub subject: String,
    pub size: i32,
    pub received_at: Timestamp,
}

impl Store {
    /// Delivers to the inbox. A second delivery to the same recipient changes nothing.
    pub async fn deliver_to_sandbox(&self, delivery: &LeasedDelivery) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "sandbox.deliver",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO sandbox_messages (shard, message_id, id, project_id, sender, recipient, received_at)
                SELECT r.shard, r.message_id, r.id, m.project_id, m.sender, r.address, $4
                FROM recipients r JOIN messages m ON m.shard = r.shard AND m.id = r.message_id
                WHERE r.shard = $1 AND r.message_id = $2 AND r.id = $3
                ON CONFLICT DO NOTHING
                "#,
                delivery.lease.shard.value(),
                delivery.message.uuid(),
                delivery.recipient.uuid(),
                now,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// The project's inbox, newest first, narrowed to one recipient address if wished.
    pub async fn list_sandbox(
        &self,
        project: ProjectId,
        to: Option<&str>,
        before: Option<RecipientId>,
        limit: i64,
    ) -> Result<Vec<SandboxEntry>, StoreError> {
        let rows = on_pool!(
            self,
            "sandbox.list",
            conn,
            sqlx::query!(
                r#"
            SELECT s.id, s.message_id, s.sender, s.recipient, s.received_at, m.subject, m.size
            FROM sandbox_messages s JOIN messages m ON m.shard = s.shard AND m.id = s.message_id
            WHERE s.project_id = $1 AND ($2::text IS NULL OR s.recipient = $2) AND ($3::uuid IS NULL OR s.id < $3)
            ORDER BY s.id DESC LIMIT $4
            "#,
                project.uuid(),
                to,
                before.map(RecipientId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        Ok(rows
            .into_iter()
            .map(|row| SandboxEntry {
                id: RecipientId::from_uuid(row.id),
                message: MessageId::from_uuid(row.message_id),
                sender: row.sender,
                recipient: row.recipient,
                subject: row.subject,
                size: row.size,
                received_at: row.received_at,
            })
            .collect())
    }

    /// One delivered copy and its bytes. Recipients of before 2026-11-26 have ids that do not carry their shard: those are
    /// sought everywhere, as long as any are kept.
    pub async fn find_sandbox(
        &self,
        project: ProjectId,
        id: RecipientId,
    ) -> Result<Option<(SandboxEntry, Vec<u8>)>, StoreError> {
        match self.find_sandbox_in(project, id, Some(id.shard())).await? {
            None => self.find_sandbox_in(project, id, None).await,
            found => Ok(found),
        }
    }

    async fn find_sandbox_in(
        &self,
        project: ProjectId,
        id: RecipientId,
        shard: Option<Shard>,
    ) -> Result<Option<(SandboxEntry, Vec<u8>)>, StoreError> {
        let row = on_pool!(
            self,
            "sandbox.find",
            conn,
            sqlx::query!(
                r#"
                SELECT s.message_id, s.sender, s.recipient, s.received_at, m.subject, m.size, b.raw
                FROM sandbox_messages s
                JOIN messages m ON m.shard = s.shard AND m.id = s.message_id
                JOIN message_bodies b ON b.shard = s.shard AND b.message_id = s.message_id
                WHERE ($3::int IS NULL OR s.shard = $3) AND s.project_id = $1 AND s.id = $2
                "#,
                project.uuid(),
                id.uuid(),
                shard.map(Shard::value),
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| {
            let entry = SandboxEntry {
                id,
                message: MessageId::from_uuid(row.message_id),
                sender: row.sender,
                recipient: row.recipient,
                subject: row.subject,
                size: row.size,
                received_at: row.received_at,
            };
            (entry, row.raw)
        }))
    }
}
