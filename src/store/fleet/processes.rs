//! Which processes deliver: each says so every second, and reads who else does.

use std::time::Duration;

use uuid::Uuid;

use crate::store::{Store, StoreError, on_pool};

/// Time without a sign of life after which a process is taken to be dead.
pub const LIVE: Duration = Duration::from_secs(5);

/// A process that was seen within `live` seconds delivers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// In order of their ids.
    pub live: Vec<Uuid>,
}

impl Store {
    /// Says that this process delivers, and how far its machine's clock is ahead of the store's; returns all that deliver,
    /// itself included.
    pub async fn heartbeat(&self, process: Uuid, live: Duration) -> Result<Members, StoreError> {
        let offset = i64::try_from(self.clock().offset().whole_milliseconds()).unwrap_or(i64::MAX);
        self.within("processes.beat", async {
            let mut conn = self.conn().await?;
            sqlx::query!(
                r#"
                INSERT INTO processes (id, seen_at, clock_offset_ms) VALUES ($1, now(), $2)
                ON CONFLICT (id) DO UPDATE SET seen_at = now(), clock_offset_ms = EXCLUDED.clock_offset_ms
                "#,
                process,
                offset,
            )
            .execute(conn.get()?)
            .await?;
            let live = sqlx::query_scalar!(
                "SELECT id FROM processes WHERE seen_at > now() - make_interval(secs => $1) ORDER BY id",
                live.as_secs_f64(),
            )
            .fetch_all(conn.get()?)
            .await?;
            conn.keep().await?;
            Ok(Members { live })
        })
        .await
    }

    /// Processes that gave a sign of life within `live`, and how many milliseconds their machine's clock is ahead of the store's.
    pub async fn process_clocks(&self, live: Duration) -> Result<Vec<(Uuid, i64)>, StoreError> {
        let rows = on_pool!(
            self,
            "processes.clocks",
            conn,
            sqlx::query!(
                "SELECT id, clock_offset_ms FROM processes WHERE seen_at > now() - make_interval(secs => $1) ORDER BY id",
                live.as_secs_f64(),
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| (row.id, row.clock_offset_ms)).collect())
    }

    /// Whether every other live process was seen since this one's first sign of life: from then on all count it.
    pub async fn is_known_to_others(&self, process: Uuid, live: Duration) -> Result<bool, StoreError> {
        let waiting = on_pool!(self, "processes.is_known", conn,
            sqlx::query_scalar!(
                r#"
                SELECT count(*) AS "waiting!" FROM processes p, processes me
                WHERE me.id = $1 AND p.id <> $1 AND p.seen_at > now() - make_interval(secs => $2) AND p.seen_at <= me.seen_at
                "#,
                process,
                live.as_secs_f64(),
            )
            .fetch_one(conn)
        )?;
        Ok(waiting == 0)
    }

    /// Takes a process off the list, and what it told of its lanes; and those that have been silent for long.
    pub async fn leave_fleet(&self, process: Uuid) -> Result<(), StoreError> {
        self.within("processes.leave", async {
            let mut conn = self.conn().await?;
            sqlx::query!("DELETE FROM processes WHERE id = $1 OR seen_at < now() - interval '1 hour'", process)
                .execute(conn.get()?)
                .await?;
            sqlx::query!(
                "DELETE FROM lane_states WHERE process_id = $1 OR updated_at < now() - interval '1 hour'",
                process,
            )
            .execute(conn.get()?)
            .await?;
            conn.keep().await?;
            Ok(())
        })
        .await
    }
}
