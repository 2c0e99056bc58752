//! Snapshots that somebody holds on this database: while one lasts, nothing that was settled since can be cleared away.

use std::time::Duration;

use crate::store::{Store, StoreError, on_pool};

/// A snapshot that is held for longer is worth a word.
pub const SNAPSHOT_LONG: Duration = Duration::from_mins(5);

/// A snapshot of somebody's.
#[derive(Debug, Clone, Default)]
pub struct HeldSnapshot {
    pub age: Duration,
    /// Who holds it, in words.
    pub holder: String,
}

impl Store {
    /// The snapshot that has been held longest: by a session (of other users only with the role `pg_read_all_stats`), or by
    /// a prepared transaction. `None`: none is held.
    pub async fn oldest_snapshot(&self) -> Result<Option<HeldSnapshot>, StoreError> {
        let row = on_pool!(
            self,
            "server.oldest_snapshot",
            conn,
            sqlx::query!(
                r#"
                SELECT EXTRACT(EPOCH FROM clock_timestamp() - since)::float8 AS "age!", holder AS "holder!"
                FROM (
                    SELECT xact_start AS since, format('process %s of the server (%s, %s)', pid,
                        COALESCE(NULLIF(application_name, ''), 'without a name'), COALESCE(usename, backend_type)) AS holder
                    FROM pg_stat_activity
                    WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
                      AND backend_type <> 'autovacuum worker'
                    UNION ALL
                    SELECT prepared, format('the prepared transaction %L', gid) FROM pg_prepared_xacts
                    WHERE database = current_database()) AS held
                WHERE since IS NOT NULL ORDER BY since LIMIT 1
                "#
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| HeldSnapshot {
            age: Duration::try_from_secs_f64(row.age).unwrap_or_default(),
            holder: row.holder,
        }))
    }
}
