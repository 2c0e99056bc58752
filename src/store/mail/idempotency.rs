//! Idempotency keys: answers given before, and keys past their day.

use sqlx::PgConnection;

use crate::domain::id::ProjectId;
use crate::domain::shard::Shard;
use crate::store::{Link, Store, StoreError, on_link, on_pool};

impl Store {
    /// The answer that a key was given with that body.
    pub async fn find_answer(
        &self,
        project: ProjectId,
        key: &str,
        fingerprint: &[u8; 32],
    ) -> Result<Option<String>, StoreError> {
        on_pool!(
            self,
            conn,
            sqlx::query_scalar!(
                "SELECT answer FROM idempotency_keys \
             WHERE shard = $1 AND project_id = $2 AND key = $3 AND fingerprint = $4 AND expires_at > now()",
                Shard::of_key(project.uuid(), key).value(),
                project.uuid(),
                key,
                &fingerprint[..],
            )
            .fetch_optional(conn)
        )
    }
}

impl Link {
    /// Removes keys that have expired, in small batches of one shard each.
    pub async fn prune_idempotency_keys(&mut self, batch: i64) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for shard in Shard::all() {
            loop {
                let link = &mut *self;
                let removed = on_link!(link, conn, prune(conn, shard, batch))?;
                pruned += removed;
                if removed < batch.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(pruned)
    }
}

async fn prune(conn: &mut PgConnection, shard: Shard, batch: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE shard = $1 AND expires_at <= now() AND (project_id, key) IN ( \
             SELECT k.project_id, k.key FROM idempotency_keys k WHERE k.shard = $1 AND k.expires_at <= now() \
             ORDER BY k.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        shard.value(),
        batch,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
