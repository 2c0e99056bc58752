//! Which addresses of all projects are suppressed: a walk over all, and what changed lately. And the removal of what has
//! expired.

use uuid::Uuid;

use super::suppressions::next_shard;
use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, StoreError, on_connection};

/// Where a walk over all suppressions is: a shard, and the last one of it that was seen.
#[derive(Debug, Clone)]
pub struct Walk {
    shard: Shard,
    project: Uuid,
    address: String,
}

impl Walk {
    fn at(shard: Shard) -> Self {
        Self { shard, project: Uuid::nil(), address: String::new() }
    }
}

impl Default for Walk {
    fn default() -> Self {
        Self::at(Shard::of_low_bits(0))
    }
}

impl OwnedConnection {
    /// The next addresses of a walk over all suppressions of the store; `true` at its end, after which it begins anew.
    pub async fn walk_suppressed(
        &mut self,
        walk: &mut Walk,
        limit: i64,
    ) -> Result<(Vec<(ProjectId, String)>, bool), StoreError> {
        let rows = on_connection!(
            self,
            "suppressions.walk_all",
            conn,
            sqlx::query!(
                r#"
                SELECT project_id, address FROM suppressions
                WHERE shard = $1 AND (project_id, address) > ($2, $3)
                ORDER BY project_id, address LIMIT $4
                "#,
                walk.shard.value(),
                walk.project,
                walk.address,
                limit,
            )
            .fetch_all(conn)
        )?;
        let is_last_of_shard = (rows.len() as u64) < limit.unsigned_abs();
        if let Some(last) = rows.last().filter(|_| !is_last_of_shard) {
            (walk.project, walk.address) = (last.project_id, last.address.clone());
        }
        let mut is_over = false;
        if is_last_of_shard {
            let next = next_shard(walk.shard);
            is_over = next.is_none();
            *walk = Walk::at(next.unwrap_or(Shard::of_low_bits(0)));
        }
        let found = rows.into_iter().map(|row| (ProjectId::from_uuid(row.project_id), row.address)).collect();
        Ok((found, is_over))
    }

    /// The addresses whose suppressions were stored or changed since about then.
    pub async fn suppressed_since(&mut self, since: Timestamp) -> Result<Vec<(ProjectId, String)>, StoreError> {
        let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
        let rows = on_connection!(
            self,
            "suppressions.changed",
            conn,
            sqlx::query!(
                r#"
                SELECT f.project_id, f.address FROM unnest($1::int[]) AS w (shard), LATERAL (
                    SELECT s.project_id, s.address FROM suppressions s
                    WHERE s.shard = w.shard AND s.updated_at >= $2) AS f
                "#,
                &shards,
                since,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| (ProjectId::from_uuid(row.project_id), row.address)).collect())
    }

    /// From when on changes may still become visible: what was written before is visible by now, or was given up.
    pub fn changes_from(&self) -> Timestamp {
        self.all_visible()
    }

    /// Removes suppressions that have expired, in small batches of one shard each.
    pub async fn prune_suppressions(&mut self, batch: i64) -> Result<(), StoreError> {
        for shard in Shard::all() {
            loop {
                let now = self.store.now();
                let done = on_connection!(
                    self,
                    "suppressions.prune",
                    conn,
                    sqlx::query!(
                        r#"
                        DELETE FROM suppressions
                        WHERE shard = $1 AND expires_at <= $3 AND (project_id, mode, id) IN (
                            SELECT s.project_id, s.mode, s.id FROM suppressions s
                            WHERE s.shard = $1 AND s.expires_at <= $3
                            ORDER BY s.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                        "#,
                        shard.value(),
                        batch,
                        now,
                    )
                    .execute(conn)
                )?;
                if done.rows_affected() < batch.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(())
    }
}
