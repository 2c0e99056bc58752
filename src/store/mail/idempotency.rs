//! Idempotency keys: what they made before, and keys past their day.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::id::MessageId;
use crate::domain::message::Idempotency;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, Store, StoreError, on_connection, on_pool};

impl Store {
    /// The messages that a key made with that body.
    pub async fn find_by_key(&self, key: &Idempotency) -> Result<Option<Vec<MessageId>>, StoreError> {
        let now = self.now();
        let found: Option<Vec<Uuid>> = on_pool!(
            self,
            "idempotency_keys.find",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT message_ids FROM idempotency_keys
                WHERE shard = $1 AND project_id = $2 AND key = $3 AND fingerprint = $4 AND expires_at > $5
                "#,
                key.shard().value(),
                key.project.uuid(),
                key.key,
                &key.fingerprint[..],
                now,
            )
            .fetch_optional(conn)
        )?;
        Ok(found.map(|ids| ids.into_iter().map(MessageId::from_uuid).collect()))
    }
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
