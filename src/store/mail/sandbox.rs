//! The built-in inbox: what was delivered to the sandbox.

use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::domain::search::fold_for_search;
use crate::domain::shard::Shard;
use crate::store::{Store, StoreError, on_pool};

/// One delivered copy.
#[derive(Debug)]
pub struct SandboxEntry {
    pub id: RecipientId,
    pub message: MessageId,
    /// The author, with a name if there is one.
    pub author: String,
    pub recipient: String,
    pub subject: String,
    pub size: i32,
    pub has_attachments: bool,
    pub received_at: Timestamp,
}

/// What the inbox is narrowed to. `None` narrows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SandboxFilter<'f> {
    pub mode: Option<Mode>,
    pub to: Option<&'f str>,
    /// Part of the author or the recipient, or of what is read; or of the source as it is.
    pub q: Option<&'f str>,
    /// Part of the subject.
    pub subject: Option<&'f str>,
    pub since: Option<Timestamp>,
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
                INSERT INTO sandbox_messages
                    (shard, message_id, id, project_id, sender, recipient, received_at, has_attachments)
                SELECT r.shard, r.message_id, r.id, m.project_id, m.sender, r.address, $4,
                    coalesce(position(convert_to(E'\r\nContent-Disposition: attachment', 'UTF8') IN b.raw) > 0, false)
                FROM recipients r JOIN messages m ON m.shard = r.shard AND m.id = r.message_id
                LEFT JOIN message_bodies b ON b.shard = r.shard AND b.message_id = r.message_id
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

    /// The bytes of a message whose searchable text is not kept yet.
    pub async fn load_unread(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        on_pool!(
            self,
            "sandbox.load_unread",
            conn,
            sqlx::query_scalar!(
                "SELECT raw FROM message_bodies WHERE shard = $1 AND message_id = $2 AND searchable_text IS NULL",
                id.shard().value(),
                id.uuid(),
            )
            .fetch_optional(conn)
        )
    }

    /// Keeps by which text a message is found in the inbox. A message that is gone is none of its concern.
    pub async fn keep_searchable_text(&self, id: MessageId, text: &str) -> Result<(), StoreError> {
        on_pool!(
            self,
            "sandbox.keep_searchable_text",
            conn,
            sqlx::query!(
                "UPDATE message_bodies SET searchable_text = $3 WHERE shard = $1 AND message_id = $2",
                id.shard().value(),
                id.uuid(),
                text,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Takes copies out of the project's inbox: that one, or all of mail in `mode`. Returns their number.
    pub async fn delete_sandbox(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        id: Option<RecipientId>,
    ) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "sandbox.delete",
            conn,
            sqlx::query!(
                r#"
                DELETE FROM sandbox_messages s USING messages m
                WHERE m.shard = s.shard AND m.id = s.message_id AND s.project_id = $1
                  AND ($2::uuid IS NULL OR s.id = $2) AND ($3::text IS NULL OR m.mode = $3)
                "#,
                project.uuid(),
                id.map(RecipientId::uuid),
                mode.map(Mode::name),
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }

    /// The project's inbox, newest first.
    pub async fn list_sandbox(
        &self,
        project: ProjectId,
        filter: SandboxFilter<'_>,
        before: Option<RecipientId>,
        limit: i64,
    ) -> Result<Vec<SandboxEntry>, StoreError> {
        let rows = on_pool!(
            self,
            "sandbox.list",
            conn,
            sqlx::query_as!(
                EntryRow,
                r#"
            SELECT s.id, s.message_id, m.author, s.recipient, s.received_at, m.subject, m.size, s.has_attachments,
                ''::bytea AS "raw!"
            FROM sandbox_messages s JOIN messages m ON m.shard = s.shard AND m.id = s.message_id
            WHERE s.project_id = $1 AND ($2::text IS NULL OR lower(s.recipient) = lower($2))
              AND ($3::uuid IS NULL OR s.id < $3) AND ($6::text IS NULL OR m.mode = $6)
              AND ($8::text IS NULL OR position(lower($8) IN lower(m.subject)) > 0)
              AND ($9::timestamptz IS NULL OR s.received_at >= $9)
              AND ($5::text IS NULL
                OR position(lower($5) IN lower(m.subject || E'\n' || m.author || E'\n' || s.recipient)) > 0
                OR EXISTS (
                    SELECT 1 FROM message_bodies b
                    WHERE b.shard = s.shard AND b.message_id = s.message_id
                      AND (position($7 IN b.searchable_text) > 0 OR position(convert_to($5, 'UTF8') IN b.raw) > 0)))
            ORDER BY s.id DESC LIMIT $4
            "#,
                project.uuid(),
                filter.to,
                before.map(RecipientId::uuid),
                limit,
                filter.q,
                filter.mode.map(Mode::name),
                filter.q.map(fold_for_search),
                filter.subject,
                filter.since,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| row.decode().0).collect())
    }

    /// One delivered copy and its bytes. Recipients of before 2026-11-26 have ids that do not carry their shard: those are
    /// sought everywhere, as long as any are kept.
    pub async fn find_sandbox(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        id: RecipientId,
    ) -> Result<Option<(SandboxEntry, Vec<u8>)>, StoreError> {
        match self.find_sandbox_in(project, mode, id, Some(id.shard())).await? {
            None => self.find_sandbox_in(project, mode, id, None).await,
            found => Ok(found),
        }
    }

    /// Bytes of the message of a copy.
    pub async fn measure_sandbox(&self, project: ProjectId, id: RecipientId) -> Result<Option<usize>, StoreError> {
        for shard in [Some(id.shard()), None] {
            let size = on_pool!(
                self,
                "sandbox.measure",
                conn,
                sqlx::query_scalar!(
                    r#"
                    SELECT m.size FROM sandbox_messages s JOIN messages m ON m.shard = s.shard AND m.id = s.message_id
                    WHERE ($3::int IS NULL OR s.shard = $3) AND s.project_id = $1 AND s.id = $2
                    "#,
                    project.uuid(),
                    id.uuid(),
                    shard.map(Shard::value),
                )
                .fetch_optional(conn)
            )?;
            if let Some(size) = size {
                return Ok(Some(usize::try_from(size).unwrap_or(0)));
            }
        }
        Ok(None)
    }

    async fn find_sandbox_in(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        id: RecipientId,
        shard: Option<Shard>,
    ) -> Result<Option<(SandboxEntry, Vec<u8>)>, StoreError> {
        let row = on_pool!(
            self,
            "sandbox.find",
            conn,
            sqlx::query_as!(
                EntryRow,
                r#"
                SELECT s.id, s.message_id, m.author, s.recipient, s.received_at, m.subject, m.size, s.has_attachments, b.raw
                FROM sandbox_messages s
                JOIN messages m ON m.shard = s.shard AND m.id = s.message_id
                JOIN message_bodies b ON b.shard = s.shard AND b.message_id = s.message_id
                WHERE ($3::int IS NULL OR s.shard = $3) AND s.project_id = $1 AND s.id = $2
                  AND ($4::text IS NULL OR m.mode = $4)
                "#,
                project.uuid(),
                id.uuid(),
                shard.map(Shard::value),
                mode.map(Mode::name),
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(EntryRow::decode))
    }
}

struct EntryRow {
    id: Uuid,
    message_id: Uuid,
    author: String,
    recipient: String,
    subject: String,
    size: i32,
    has_attachments: bool,
    received_at: Timestamp,
    /// Empty in a list.
    raw: Vec<u8>,
}

impl EntryRow {
    fn decode(self) -> (SandboxEntry, Vec<u8>) {
        let entry = SandboxEntry {
            id: RecipientId::from_uuid(self.id),
            message: MessageId::from_uuid(self.message_id),
            author: self.author,
            recipient: self.recipient,
            subject: self.subject,
            size: self.size,
            has_attachments: self.has_attachments,
            received_at: self.received_at,
        };
        (entry, self.raw)
    }
}
