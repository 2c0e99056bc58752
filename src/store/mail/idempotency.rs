//! Idempotency keys: what they made before, and keys past their day.

use sqlx::PgConnection;
use uuid::Uuid;

use super::accept::parted;
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::message::Idempotency;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, Store, StoreError, on_connection, on_pool};

impl Store {
    /// What a key made with that body, item by item.
    pub async fn find_by_key(&self, key: &Idempotency) -> Result<Option<Vec<Vec<MessageId>>>, StoreError> {
        let found = self.find_key_use(key.project, &key.key).await?;
        Ok(found.filter(|found| found.fingerprint == key.fingerprint).map(|found| parted(&found.message_ids)))
    }

    /// The messages that a key made, whatever the body was.
    pub async fn find_messages_of_key(&self, project: ProjectId, key: &str) -> Result<Vec<MessageId>, StoreError> {
        let found = self.find_key_use(project, key).await?;
        Ok(found.map(|found| parted(&found.message_ids).concat()).unwrap_or_default())
    }

    async fn find_key_use(&self, project: ProjectId, key: &str) -> Result<Option<KeyUse>, StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "idempotency_keys.find",
            conn,
            sqlx::query_as!(
                KeyUse,
                r#"
                SELECT fingerprint, message_ids FROM idempotency_keys
                WHERE shard = $1 AND project_id = $2 AND key = $3 AND expires_at > $4
                "#,
                Shard::of_key(project.uuid(), key).value(),
                project.uuid(),
                key,
                now,
            )
            .fetch_optional(conn)
        )
    }
}

/// What a key was used for.
struct KeyUse {
    fingerprint: Vec<u8>,
    message_ids: Vec<Uuid>,
}

impl OwnedConnection {
    /// Removes keys that have expired, in small batches of one shard each.
    pub async fn prune_idempotency_keys(&mut self, batch: i64) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for shard in Shard::all() {
            loop {
                let now = self.store.now();
                let removed = on_connection!(self, "idempotency_keys.prune", conn, prune(conn, shard, batch, now))?;
                pruned += removed;
                if removed < batch.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(pruned)
    }
}

async fn prune(conn: &mut PgConnection, shard: Shard, batch: i64, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM idempotency_keys
        WHERE shard = $1 AND expires_at <= $3 AND (project_id, key) IN (
            SELECT k.project_id, k.key FROM idempotency_keys k
            WHERE k.shard = $1 AND k.expires_at <= $3
            ORDER BY k.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        "#,
        shard.value(),
        batch,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
