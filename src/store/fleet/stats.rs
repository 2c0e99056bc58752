//! What the server says of itself, and rows made up for measuring: the benchmark's view of the store.

use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::domain::shard::SHARDS;
use crate::store::{Store, StoreError, on_pool};

/// Counters of the server.
#[derive(Debug, Clone, Copy)]
pub struct ServerStats {
    /// Bytes of write-ahead log written so far.
    pub wal_bytes: i64,
    /// Tries whose end nobody knows.
    pub uncertain: i64,
}

/// What decides whether the server keeps what it was given.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    pub now: Timestamp,
    /// Names and values of settings.
    pub settings: Vec<(String, String)>,
}

/// Deliveries that wait, made up by the server itself.
#[derive(Debug, Clone)]
pub struct Backlog<'a> {
    pub project: ProjectId,
    pub rows: i64,
    /// The lane that they wait for.
    pub next_hop: &'a str,
    /// The domain of their recipients.
    pub domain: &'a str,
    pub due_at: Timestamp,
    pub expires_at: Timestamp,
    /// The instant in their ids.
    pub created_at: Timestamp,
}

impl Store {
    pub async fn server_stats(&self) -> Result<ServerStats, StoreError> {
        let row = on_pool!(
            self,
            "server.stats",
            conn,
            sqlx::query!(
                r#"
                SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS "wal_bytes!",
                    (SELECT count(*) FROM attempts WHERE outcome = 'uncertain') AS "uncertain!"
                "#
            )
            .fetch_one(conn)
        )?;
        Ok(ServerStats { wal_bytes: row.wal_bytes, uncertain: row.uncertain })
    }

    /// The server's clock, and the settings that durability and upkeep hang on.
    pub async fn server_health(&self) -> Result<ServerHealth, StoreError> {
        let rows = on_pool!(
            self,
            "server.health",
            conn,
            sqlx::query!(
                r#"
                SELECT clock_timestamp() AS "now!", name AS "name!", setting AS "setting!" FROM pg_settings
                WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'autovacuum') ORDER BY name
                "#
            )
            .fetch_all(conn)
        )?;
        let now = rows.first().map_or(Timestamp::UNIX_EPOCH, |row| row.now);
        Ok(ServerHealth { now, settings: rows.into_iter().map(|row| (row.name, row.setting)).collect() })
    }

    /// Writes `backlog.rows` messages of one recipient each, some thousands at a time.
    pub async fn preload(&self, backlog: &Backlog<'_>) -> Result<(), StoreError> {
        const STEP: i64 = 5_000;
        let mut from = 0;
        while from < backlog.rows {
            let to = (from + STEP).min(backlog.rows);
            self.preload_part(backlog, from, to).await?;
            from = to;
        }
        // The server's own upkeep of so many new rows would fall into what is measured.
        on_pool!(self, "bench.preload", conn, sqlx::query!("VACUUM (ANALYZE)").execute(conn))?;
        on_pool!(self, "bench.preload", conn, sqlx::query!("CHECKPOINT").execute(conn))?;
        Ok(())
    }

    async fn preload_part(&self, backlog: &Backlog<'_>, from: i64, to: i64) -> Result<(), StoreError> {
        let millis = i64::try_from(backlog.created_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        on_pool!(self, "bench.preload", conn,
            sqlx::query!(
                // A UUIDv7 from instant and number; its lowest six bits are the shard's index.
                r#"
                WITH made AS MATERIALIZED (
                    SELECT n, ($1::int[])[(n % 64 + 1)::int] AS shard,
                        (lpad(to_hex($4::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' ||
                         substr(md5(n::text), 4, 13) || lpad(to_hex(n % 64), 2, '0'))::uuid AS id
                    FROM generate_series($2::bigint, $3::bigint - 1) AS n),
                m AS (
                    INSERT INTO messages (shard, id, project_id, mode, sender, author, subject, tags, metadata, priority, size,
                        created_at)
                    SELECT shard, id, $5, 'live', 'a@bench.example', 'a@bench.example', 'Backlog', '[]', '{}', 1, 64, $9
                    FROM made),
                b AS (
                    INSERT INTO message_bodies (shard, message_id, raw)
                    SELECT shard, id, convert_to(
                        'Message-ID: <' || replace(id::text, '-', '') || E'@bench.example>\r\n\r\nbacklog\r\n', 'UTF8') FROM made),
                r AS (
                    INSERT INTO recipients (shard, message_id, id, position, kind, address, status)
                    SELECT shard, id, id, 0, 'to', 'backlog' || n || '@' || $6, 'queued' FROM made)
                INSERT INTO deliveries (shard, id, message_id, project_id, next_hop, priority, size, due_at, ready, expires_at)
                SELECT shard, id, id, $5, $7, 1, 64, $8, $8 <= $9, $10 FROM made
                "#,
                &SHARDS[..],
                from,
                to,
                millis,
                backlog.project.uuid(),
                backlog.domain,
                backlog.next_hop,
                backlog.due_at,
                backlog.created_at,
                backlog.expires_at,
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
