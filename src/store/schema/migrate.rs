//! The schema: forward-only migrations, embedded in the binary.

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use crate::store::{Store, StoreError};

static MIGRATOR: Migrator = sqlx::migrate!();

fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => error.into(),
        other => StoreError::Unusable(format!("migration: {other}")),
    }
}

impl Store {
    /// Brings the schema up to this binary's, with the partitions of the next days. Safe to run twice, and by two processes at once: an
    /// advisory lock makes one wait for the other.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = PgConnection::connect_with(&self.migration_options()).await?;
        MIGRATOR.run(&mut conn).await.map_err(failed)?;
        conn.close().await?;
        self.ensure_partitions().await
    }

    /// Refuses a schema that is older than this binary, or one that it does not know.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        self.within(async {
            let mut conn = self.conn().await?;
            let table = sqlx::query!("SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS \"exists!\"")
                .fetch_one(conn.get()?)
                .await?;
            let applied = if table.exists {
                conn.get()?.list_applied_migrations("_sqlx_migrations").await.map_err(failed)?
            } else {
                Vec::new()
            };
            conn.keep();
            let newest = MIGRATOR.iter().map(|m| m.version).max().unwrap_or_default();
            let present = applied.iter().map(|m| m.version).max();
            match present {
                Some(version) if version >= newest => Ok(()),
                Some(version) => Err(StoreError::Unusable(format!(
                    "the schema is at version {version} and this binary needs {newest}: run `mailwright migrate` first"
                ))),
                None => Err(StoreError::Unusable(
                    "the database has no schema yet: run `mailwright migrate` first".to_owned(),
                )),
            }
        })
        .await
    }

    /// Migrations may take their time, but wait for locks only briefly.
    fn migration_options(&self) -> sqlx::postgres::PgConnectOptions {
        self.options.clone().options([("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")])
    }
}
