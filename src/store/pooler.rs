//! Postgres behind a pooler in transaction mode (`PgBouncer` and its like): a connection is another server's session with each
//! transaction. What a session would keep is said at the beginning of each transaction; statements are prepared for one use
//! where the pooler keeps no account of them; and what needs a session of its own (migrations, days' partitions) goes by
//! `database.direct_url`.

use std::fmt::Write;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Store, StoreError, connect_options, on_pool};
use crate::config::{Database, Pooler};

/// What to do about a pooler that nobody was told of.
const SAY_SO: &str = "the database is reached through a pooler: set database.pooler = \"transaction\" (or \
                      \"transaction-unprepared\"), and database.direct_url to the database itself";
/// Said by `PgBouncer` to parameters that it does not know.
const UNSUPPORTED: &str = "unsupported startup parameter";

/// How a session is set up, for a whole connection or anew for each transaction.
#[derive(Debug, Clone)]
pub struct Sessions {
    pooler: Pooler,
    timeout: Duration,
}

impl Sessions {
    pub const fn new(config: &Database) -> Self {
        Self { pooler: config.pooler, timeout: config.timeout.0 }
    }

    fn is_pooled(&self) -> bool {
        self.pooler != Pooler::None
    }

    fn settings(&self) -> [(&'static str, String); 3] {
        let millis = self.timeout.as_millis().to_string();
        [
            ("statement_timeout", millis.clone()),
            ("idle_in_transaction_session_timeout", millis),
            ("timezone", "UTC".to_owned()),
        ]
    }

    /// Options of connections whose sessions last, or of those to a pooler, which takes none.
    pub fn options(&self, options: PgConnectOptions) -> PgConnectOptions {
        match self.pooler {
            Pooler::None => options.options(self.settings()),
            Pooler::Transaction => options.extra_float_digits(None),
            // A statement prepared on one server is unknown to the next.
            Pooler::TransactionUnprepared => options.extra_float_digits(None).statement_cache_capacity(0),
        }
    }

    /// Those options, with further settings of the session.
    pub fn options_with(&self, options: PgConnectOptions, more: &[(&str, &str)]) -> PgConnectOptions {
        if self.is_pooled() { options } else { options.options(more.iter().copied()) }
    }

    /// Sets up the session of the transaction that begins here, behind a pooler.
    pub async fn begin(&self, conn: &mut PgConnection, more: &[(&str, &str)]) -> Result<(), StoreError> {
        if !self.is_pooled() {
            return Ok(());
        }
        let mut text = "BEGIN".to_owned();
        if self.pooler == Pooler::TransactionUnprepared {
            // What others prepared here has the names that ours will have.
            text.push_str("; DEALLOCATE ALL");
        }
        let own = self.settings();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(more.iter().copied()) {
            let _ = write!(text, "; SET LOCAL {name} = '{value}'");
        }
        conn.execute(AssertSqlSafe(text)).await?;
        Ok(())
    }

    /// Ends that transaction.
    pub async fn commit(&self, conn: &mut PgConnection) -> Result<(), StoreError> {
        if self.is_pooled() {
            conn.execute("COMMIT").await?;
        }
        Ok(())
    }
}

/// Options for what needs a session of its own.
pub fn direct_options(config: &Database) -> Result<PgConnectOptions, StoreError> {
    let direct = &config.direct_url;
    if direct.is_empty() {
        return connect_options(&config.url);
    }
    connect_options(direct).map_err(|error| StoreError::Unusable(error.to_string().replacen("url", "direct_url", 1)))
}

/// No statement was heard: whatever a server says to that, it is away; but for a pooler, which no waiting mends.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub fn not_connected(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    if text.contains(UNSUPPORTED) { StoreError::Unusable(SAY_SO.to_owned()) } else { StoreError::Away(text) }
}

impl Store {
    /// Whether sessions keep what they were given, and statements the names that they were prepared under: what stands
    /// between may drop or change it without a word.
    pub async fn check_session(&self) -> Result<(), StoreError> {
        let row = on_pool!(
            self,
            "session.check",
            conn,
            // Prepared itself, it is among those that it counts.
            sqlx::query!(
                r#"
                SELECT current_setting('statement_timeout')::interval = make_interval(secs => $1) AS "keeps!",
                    EXISTS (SELECT 1 FROM pg_prepared_statements WHERE name LIKE 'sqlx\_s\_%') AS "has_our_names!"
                "#,
                self.sessions.timeout.as_secs_f64(),
            )
            .fetch_one(conn)
        )?;
        let unusable = |why: &str| Err(StoreError::Unusable(why.to_owned()));
        match (self.sessions.pooler, row.has_our_names) {
            _ if !row.keeps => unusable(SAY_SO),
            (Pooler::Transaction, true) => unusable(
                "what database.url leads to keeps no account of prepared statements: set database.pooler = \
                 \"transaction-unprepared\", or max_prepared_statements of PgBouncer (from 1.21 on)",
            ),
            (Pooler::TransactionUnprepared, false) => unusable(
                "what database.url leads to keeps account of prepared statements: set database.pooler = \"transaction\"",
            ),
            _ => Ok(()),
        }
    }
}
