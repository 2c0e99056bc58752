//! Idempotency keys past their day.

use sqlx::PgConnection;

use super::{Link, StoreError, on_link};
use crate::domain::shard::Shard;

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
