//! Erasures of addresses: asked for, worked at by one process after the other, and kept as a proof without the address.

use std::fmt::Write;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::erasure::ErasedCounts;
use crate::domain::id::{ErasureId, MessageId, ProjectId};
use crate::store::{OwnedConnection, Store, StoreError, on_connection, on_pool};

/// So long whoever works at an erasure keeps others from it: what takes longer puts it off again. One whose process was
/// killed is taken up after it.
const TURN: Duration = Duration::from_secs(15);

/// An erasure as it is shown.
#[derive(Debug, Clone)]
pub struct StoredErasure {
    pub id: ErasureId,
    /// Of the address, salted with the project's id; in hex digits.
    pub hash: String,
    pub keep_suppressed: bool,
    pub requested_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub counts: ErasedCounts,
}

/// An erasure whose turn it is.
#[derive(Debug, Clone)]
pub struct ErasureTurn {
    pub id: ErasureId,
    pub project: ProjectId,
    /// In lower case.
    pub address: String,
    pub hash: String,
    pub keep_suppressed: bool,
    pub requested_at: Timestamp,
    /// Messages up to this id were looked through.
    pub mark: Uuid,
    pub counts: ErasedCounts,
}

/// What stands for an address of a project once the address itself is forgotten: a hash that is another one in each project.
pub fn address_hash(project: ProjectId, folded: &str) -> String {
    hex(&address_digest(project, folded))
}

/// The same hash, in octets.
pub fn address_digest(project: ProjectId, folded: &str) -> [u8; 32] {
    let text = [project.uuid().as_bytes().as_slice(), folded.as_bytes()].concat();
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, &text).as_ref());
    octets
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(64), |mut hex, octet| {
        let _ = write!(hex, "{octet:02x}");
        hex
    })
}

/// The form of a suppressed address that was erased.
pub fn erased_form(project: ProjectId, folded: &str) -> String {
    form_of_digest(&address_digest(project, folded))
}

/// The same, of an address of which nothing but the hash is known.
pub fn form_of_digest(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}

fn counts_of(stored: serde_json::Value) -> ErasedCounts {
    serde_json::from_value(stored).unwrap_or_default()
}

fn counts_as_json(counts: &ErasedCounts) -> serde_json::Value {
    serde_json::to_value(counts).unwrap_or_default()
}

impl Store {
    /// Notes an address that is to be erased.
    pub async fn insert_erasure(
        &self,
        (id, project): (ErasureId, ProjectId),
        folded: &str,
        keep_suppressed: bool,
    ) -> Result<StoredErasure, StoreError> {
        let (now, hash) = (self.now(), address_hash(project, folded));
        on_pool!(
            self,
            "erasures.insert",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO erasures (id, project_id, address, hash, keep_suppressed, requested_at, look_at)
                VALUES ($1, $2, $3, $4, $5, $6, $6)
                "#,
                id.uuid(),
                project.uuid(),
                folded,
                hash,
                keep_suppressed,
                now,
            )
            .execute(conn)
        )?;
        let counts = ErasedCounts::new();
        Ok(StoredErasure { id, hash, keep_suppressed, requested_at: now, finished_at: None, counts })
    }

    /// A project's erasures, the newest first: that one, or those before another.
    pub async fn list_erasures(
        &self,
        project: ProjectId,
        (id, before): (Option<ErasureId>, Option<ErasureId>),
        limit: i64,
    ) -> Result<Vec<StoredErasure>, StoreError> {
        let rows = on_pool!(
            self,
            "erasures.list",
            conn,
            sqlx::query!(
                r#"
                SELECT id, hash, keep_suppressed, requested_at, finished_at, counts FROM erasures
                WHERE project_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::uuid IS NULL OR id < $3)
                ORDER BY id DESC LIMIT $4
                "#,
                project.uuid(),
                id.map(ErasureId::uuid),
                before.map(ErasureId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        Ok(rows
            .into_iter()
            .map(|row| StoredErasure {
                id: ErasureId::from_uuid(row.id),
                hash: row.hash,
                keep_suppressed: row.keep_suppressed,
                requested_at: row.requested_at,
                finished_at: row.finished_at,
                counts: counts_of(row.counts),
            })
            .collect())
    }
}

impl OwnedConnection {
    /// Takes the turn of an erasure that nobody works at.
    pub async fn take_erasure(&mut self) -> Result<Option<ErasureTurn>, StoreError> {
        let now = self.store.now();
        let row = on_connection!(
            self,
            "erasures.take_turn",
            conn,
            sqlx::query!(
                r#"
                UPDATE erasures e SET look_at = $2 FROM (
                    SELECT d.id FROM erasures d WHERE d.finished_at IS NULL AND d.look_at <= $1
                    ORDER BY d.look_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS due
                WHERE e.id = due.id
                RETURNING e.id, e.project_id, e.address AS "address!", e.hash, e.keep_suppressed, e.requested_at, e.mark,
                    e.counts
                "#,
                now,
                now + TURN,
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| ErasureTurn {
            id: ErasureId::from_uuid(row.id),
            project: ProjectId::from_uuid(row.project_id),
            address: row.address,
            hash: row.hash,
            keep_suppressed: row.keep_suppressed,
            requested_at: row.requested_at,
            mark: row.mark,
            counts: counts_of(row.counts),
        }))
    }

    /// Notes how far an erasure has come, and which messages it is to come back to; it is looked at again after `pause`, or
    /// after a turn.
    pub async fn advance_erasure(
        &mut self,
        turn: &ErasureTurn,
        waiting: &[MessageId],
        pause: Option<Duration>,
    ) -> Result<(), StoreError> {
        let look_at = self.store.now() + pause.unwrap_or(TURN);
        on_connection!(
            self,
            "erasures.advance",
            conn,
            sqlx::query!(
                r#"
                WITH waiting AS (
                    INSERT INTO erasures_waiting (erasure_id, message_id) SELECT $1, * FROM unnest($2::uuid[])
                    ON CONFLICT DO NOTHING)
                UPDATE erasures SET mark = $3, counts = $4, look_at = $5 WHERE id = $1 AND finished_at IS NULL
                "#,
                turn.id.uuid(),
                &waiting.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
                turn.mark,
                counts_as_json(&turn.counts),
                look_at,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// The next messages that an erasure is to come back to, after that one.
    pub async fn erasure_waits_for(
        &mut self,
        erasure: ErasureId,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<MessageId>, StoreError> {
        let rows = on_connection!(
            self,
            "erasures.list_waiting",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT message_id FROM erasures_waiting WHERE erasure_id = $1 AND message_id > $2
                ORDER BY message_id LIMIT $3
                "#,
                erasure.uuid(),
                after,
                limit,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(MessageId::from_uuid).collect())
    }

    pub async fn erasure_waits_no_more(
        &mut self,
        erasure: ErasureId,
        messages: &[MessageId],
    ) -> Result<(), StoreError> {
        on_connection!(
            self,
            "erasures.drop_waiting",
            conn,
            sqlx::query!(
                "DELETE FROM erasures_waiting WHERE erasure_id = $1 AND message_id = ANY ($2)",
                erasure.uuid(),
                &messages.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Ends an erasure: the address goes in the same commit.
    pub async fn finish_erasure(&mut self, turn: &ErasureTurn) -> Result<(), StoreError> {
        let now = self.store.now();
        on_connection!(
            self,
            "erasures.finish",
            conn,
            sqlx::query!(
                r#"
                UPDATE erasures SET address = NULL, finished_at = $2, counts = $3
                WHERE id = $1 AND finished_at IS NULL
                "#,
                turn.id.uuid(),
                now,
                counts_as_json(&turn.counts),
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
