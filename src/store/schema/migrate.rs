//! Migrations: forward only, embedded in the binary. They wait for locks only briefly and try again, so that nobody queues
//! behind them; and they refuse to run beside a process that they would break.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use crate::store::pooler::not_connected;
use crate::store::{Store, StoreError};

static MIGRATOR: Migrator = sqlx::migrate!();

/// Longest wait for a lock: whoever else wants the table waits behind us meanwhile.
const LOCK_TIMEOUT: &str = "1s";
/// Tries at a migration whose lock was not to be had, and the wait between two.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(500);
/// How a process that keeps a connection names itself; behind it stands the schema that it was built for. Processes of
/// before 2026-11-26 have the bare name.
const APPLICATION: &str = "mailwright";
/// The oldest binary that goes on with this schema: what the migrations write into `schema_compatibility.min_binary`.
const OLDEST_BINARY: i64 = 20_261_128_000_700;
/// `SQLSTATE` of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The newest migration that this binary knows.
pub fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// What this process is called in `pg_stat_activity`.
pub fn application_name() -> String {
    format!("{APPLICATION} {}", newest())
}

fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Unusable(format!("migration: {other}")),
    }
}

fn is_lock_timeout(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
}

impl Store {
    /// Brings the schema up to this binary's, with the partitions of the next days. Safe to run twice, and by two
    /// processes at once: an advisory lock makes one wait for the other. Refuses while a process of an earlier version is
    /// connected that could not go on with the new schema.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = self.connect_to_migrate().await?;
        refuse_beside_older_processes(&mut conn).await?;
        let mut tries = 0;
        loop {
            match MIGRATOR.run(&mut conn).await {
                Ok(()) => break,
                Err(error) if is_lock_timeout(&error) && tries < TRIES => {
                    tries += 1;
                    tracing::warn!(tries, "a migration waits for a lock that somebody holds; it is tried again");
                    // A failed try may leave the migrator's own lock with its connection.
                    conn.close().await?;
                    tokio::time::sleep(PAUSE).await;
                    conn = self.connect_to_migrate().await?;
                }
                Err(error) if is_lock_timeout(&error) => {
                    return Err(StoreError::Away(format!(
                        "a migration needs a lock that another session holds ({}); nothing was changed: end that session, \
                         or run `mailwright migrate` again later",
                        failed(error)
                    )));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        conn.close().await?;
        self.ensure_partitions().await
    }

    /// Refuses a schema that is older than this binary, or one that this binary is too old for.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        self.within("schema.check", async {
            let mut conn = self.conn().await?;
            let table = sqlx::query!(
                r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "has_schema!",
                    to_regclass('schema_compatibility') IS NOT NULL AS "says_compatibility!""#
            )
            .fetch_one(conn.get()?)
            .await?;
            let applied = if table.has_schema {
                conn.get()?.list_applied_migrations("_sqlx_migrations").await.map_err(failed)?
            } else {
                Vec::new()
            };
            let min_binary = if table.says_compatibility {
                sqlx::query_scalar!("SELECT min_binary FROM schema_compatibility").fetch_one(conn.get()?).await?
            } else {
                0
            };
            conn.keep().await?;
            fits(applied.iter().map(|migration| migration.version).max(), min_binary)
        })
        .await
    }

    /// A connection that makes things where the tables are, or are to be. A role that is called `mailwright` finds the schema of
    /// the outbox first, by the usual path's `"$user"`, as soon as a migration has made it.
    async fn connect_to_migrate(&self) -> Result<PgConnection, StoreError> {
        let mut conn = PgConnection::connect_with(&self.migration_options()).await.map_err(not_connected)?;
        sqlx::query!(
            r#"
            SELECT set_config('search_path', string_agg(quote_ident(s), ', '), false) AS path
            FROM unnest(current_schemas(false)) AS s
            WHERE s <> 'mailwright' AND to_regclass('mailwright._sqlx_migrations') IS NULL
            HAVING count(*) > 0
            "#
        )
        .fetch_optional(&mut conn)
        .await?;
        Ok(conn)
    }

    /// Migrations may take their time, but wait for locks only briefly.
    fn migration_options(&self) -> sqlx::postgres::PgConnectOptions {
        self.direct.clone().application_name("mailwright-migrate").options([
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("lock_timeout", LOCK_TIMEOUT),
        ])
    }
}

fn fits(present: Option<i64>, min_binary: i64) -> Result<(), StoreError> {
    let newest = newest();
    match present {
        _ if min_binary > newest => Err(StoreError::Unusable(format!(
            "the schema needs a binary that knows {min_binary}, and this one knows {newest}: run a newer mailwright"
        ))),
        Some(version) if version >= newest => Ok(()),
        Some(version) => Err(StoreError::Unusable(format!(
            "the schema is at version {version} and this binary needs {newest}: run `mailwright migrate` first"
        ))),
        None => Err(StoreError::Unusable("the database has no schema yet: run `mailwright migrate` first".to_owned())),
    }
}

/// A process of an earlier version would fail with every statement once the schema has changed under it.
async fn refuse_beside_older_processes(conn: &mut PgConnection) -> Result<(), StoreError> {
    let has_schema = sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "has!""#)
        .fetch_one(&mut *conn)
        .await?;
    if !has_schema {
        return Ok(());
    }
    let others = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT application_name AS "name!" FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND (application_name = $1 OR starts_with(application_name, $1 || ' '))
        "#,
        APPLICATION,
    )
    .fetch_all(conn)
    .await?;
    let built_for = |name: &str| name.split_once(' ').and_then(|(_, version)| version.parse::<i64>().ok()).unwrap_or(0);
    match others.iter().filter(|name| built_for(name) < OLDEST_BINARY).count() {
        0 => Ok(()),
        _ => Err(StoreError::Unusable(
            "a mailwright process of an earlier version is connected to this database, and could not go on with the new \
             schema: stop all of them, run `mailwright migrate`, and start the new version"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_and_a_binary_that_do_not_fit_refuse_each_other_in_words() {
        assert!(fits(Some(newest()), newest()).is_ok());
        assert!(fits(Some(newest() + 1), newest()).is_ok(), "what a later binary added does not break this one");
        let words = |result: Result<(), StoreError>| result.unwrap_err().to_string();
        assert!(words(fits(Some(newest() + 1), newest() + 1)).contains("run a newer mailwright"));
        assert!(words(fits(Some(1), 0)).contains("run `mailwright migrate` first"));
        assert!(words(fits(None, 0)).contains("no schema yet"));
    }
}
