//! All SQL, and nothing else: rows become domain types in here, and sqlx never leaves.
//!
//! Statements on hot tables name one shard, or run over a list that [`by_shard`] has cut to what one
//! transaction may touch. Every statement has a client-side deadline that closes the connection, since a
//! hung server ignores its own. A connection whose work was dropped half way is closed, never returned to
//! the pool with a transaction open; accepting, claiming and settling own theirs ([`OwnedConnection`]).

pub(crate) mod accounts;
pub(crate) mod clock;
mod error;
pub(crate) mod fleet;
pub mod mail;
pub(crate) mod patience;
mod pooler;
pub mod queue;
pub mod schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

pub use clock::StoreClock;
pub use error::StoreError;
use error::decoded;
use pooler::{Sessions, not_connected};
use queue::floors::DeliveryFloors;
pub use queue::leases::{Spared, Window};

use crate::config::Database;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::shard::Shard;
use crate::sealing::Vault;
use crate::telemetry::metrics::Metrics;
use schema::days::KnownDays;

/// The way to Postgres, shared by everything in the process.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    /// Settings of the pool's sessions.
    settings: Settings,
    options: PgConnectOptions,
    /// To the database itself, where a pooler stands before it.
    direct: PgConnectOptions,
    sessions: Sessions,
    timeout: Duration,
    max_shards_per_tx: usize,
    clock: Arc<StoreClock>,
    /// By what secrets are sealed here.
    vault: Vault,
    /// The era of the event log that is written now; see [`schema::eras`].
    era: Arc<AtomicI16>,
    /// Days that were prepared a moment ago.
    days: Arc<KnownDays>,
    metrics: Arc<Metrics>,
}

/// Settings of sessions, by name.
type Settings = &'static [(&'static str, &'static str)];

/// Lists walk indexes, newest first, and stop early. A planner that takes them for reports would compile them, or read whole tables of all projects to
/// join a few rows.
const READS: Settings =
    &[("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("enable_seqscan", "off"), ("jit", "off")];

/// When it is, the log's era, and chance.
#[derive(Clone, Copy)]
struct Moment<'a> {
    now: Timestamp,
    era: i16,
    rng: &'a dyn Rng,
}

/// Options of a connection. The error names what is wrong with the URL, which may hold a password and is not told.
pub fn connect_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !["postgres", "postgresql"].contains(&scheme) {
        let form = "database.url: must be postgres://user:password@host/database";
        return Err(StoreError::Unusable(form.to_owned()));
    }
    url.parse().map_err(|error: sqlx::Error| StoreError::Unusable(format!("database.url: {error}")))
}

impl Store {
    /// Prepares the pool; connects to nothing yet. The error names what is wrong with the URL.
    pub fn new(config: &Database, metrics: Arc<Metrics>, clock: Arc<StoreClock>) -> Result<Self, StoreError> {
        let options = connect_options(&config.url)?;
        let name = schema::application_name();
        let direct = pooler::direct_options(config)?.application_name(&name).disable_statement_logging();
        let direct = direct.options([("timezone", "UTC")]);
        let sessions = Sessions::new(config);
        let options = sessions.options(options.application_name(&name).disable_statement_logging());
        let pool = PgPoolOptions::new()
            .max_connections(config.connections)
            .acquire_timeout(config.timeout.0)
            .connect_lazy_with(options.clone());
        Ok(Self {
            pool,
            settings: &[],
            options,
            direct,
            sessions,
            timeout: config.timeout.0,
            max_shards_per_tx: config.max_shards_per_tx,
            clock,
            vault: Vault::default(),
            era: Arc::default(),
            days: Arc::default(),
            metrics,
        })
    }

    /// The same store, in which secrets are sealed by these keys.
    #[must_use]
    pub fn sealed_by(self, vault: Vault) -> Self {
        Self { vault, ..self }
    }

    /// The same store by so many connections of its own: others' statements never stand before those that go by it.
    #[must_use]
    pub fn aside(&self, connections: u32) -> Self {
        self.with_pool(connections, &[])
    }

    /// The same for lists.
    #[must_use]
    pub fn for_lists(&self, connections: u32) -> Self {
        self.with_pool(connections, READS)
    }

    fn with_pool(&self, connections: u32, settings: Settings) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.timeout)
            .connect_lazy_with(self.sessions.options_with(self.options.clone(), settings));
        Self { pool, settings, ..self.clone() }
    }

    /// What it counts with.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The store's clock: what everything that lasts goes by.
    pub const fn clock(&self) -> &Arc<StoreClock> {
        &self.clock
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many shards one transaction may touch.
    pub const fn max_shards_per_tx(&self) -> usize {
        self.max_shards_per_tx
    }

    fn era(&self) -> i16 {
        self.era.load(Ordering::Acquire)
    }

    /// What events that are written now are made of.
    fn moment<'a>(&self, rng: &'a dyn Rng) -> Moment<'a> {
        Moment { now: self.now(), era: self.era(), rng }
    }

    /// A connection of the caller's own, for work in transactions.
    pub fn connection(&self) -> OwnedConnection {
        self.own(BY_INDEX)
    }

    /// The same for claims alone.
    pub fn claiming_connection(&self) -> OwnedConnection {
        self.own(IN_ORDER)
    }

    fn own(&self, settings: Settings) -> OwnedConnection {
        OwnedConnection { store: self.clone(), settings, conn: None, opened: None, floors: DeliveryFloors::default() }
    }

    /// Whether the store takes a connection, right now.
    pub async fn ping_once(&self) -> Result<(), StoreError> {
        let ping = async {
            let connection = PgConnection::connect_with(&self.options).await.map_err(not_connected)?;
            Ok(connection.close().await?)
        };
        self.within("store.ping", ping).await
    }

    /// Closes the pool's connections.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(self.timeout, self.pool.close()).await;
    }

    async fn conn(&self) -> Result<Pooled, StoreError> {
        let mut pooled =
            Pooled { conn: Some(self.pool.acquire().await.map_err(not_connected)?), sessions: self.sessions.clone() };
        self.sessions.begin(pooled.get()?, self.settings).await?;
        Ok(pooled)
    }

    /// The one door of statements: runs `work` under the deadline, in a span of its name (`noun.verb`), and counts it.
    /// What it holds when the deadline falls is closed.
    async fn within<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let work = tokio::time::timeout(self.timeout, work).instrument(tracing::debug_span!("db", db.statement = name));
        let result = work.await.unwrap_or_else(|_| Err(StoreError::Away("no answer within the deadline".to_owned())));
        self.metrics.store_seconds.with_label_values(&[name]).observe(began.elapsed().as_secs_f64());
        if let Err(error) = &result {
            self.metrics.store_errors.with_label_values(&[error.kind()]).inc();
        }
        result
    }
}

/// A pooled connection that goes back to the pool only after [`Pooled::keep`]. Dropped before that, in
/// the middle of a statement or after an error, it is closed.
struct Pooled {
    conn: Option<PoolConnection<Postgres>>,
    sessions: Sessions,
}

impl Pooled {
    fn get(&mut self) -> Result<&mut PgConnection, StoreError> {
        self.conn.as_deref_mut().ok_or_else(|| StoreError::Away("connection was given back".to_owned()))
    }

    async fn keep(mut self) -> Result<(), StoreError> {
        let sessions = self.sessions.clone();
        sessions.commit(self.get()?).await?;
        drop(self.conn.take());
        Ok(())
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(conn.detach());
        }
    }
}

/// Every statement on a connection is over a batch and by primary key or partial index. A planner that guesses
/// from fresh statistics would hash whole tables for it (measured: half of Postgres' CPU per message), and one that sees
/// an empty table would walk a whole index where it must find a batch's rows by key: entries read are what is to be few.
const BY_INDEX: Settings = IN_ORDER.split_at(1).1;

/// The same for claims, which look at what an index has in order: over an empty table another index seems as good, and all of a shard is sorted for each
/// probe. For what locks rows in order it would be wrong: over an empty table it walks whole indexes for the order of a batch.
const IN_ORDER: Settings = &[
    ("enable_sort", "off"),
    ("cpu_index_tuple_cost", "1"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("random_page_cost", "1"),
];

/// A connection that one task owns. It is opened when needed and thrown away after any error.
pub struct OwnedConnection {
    store: Store,
    /// Of its sessions.
    settings: Settings,
    conn: Option<(PgConnection, Instant)>,
    opened: Option<Instant>,
    floors: DeliveryFloors,
}

/// A connection keeps its plans; it is opened anew after this time, so that plans made over few rows, or before the
/// server knew its tables, do not last.
const AGE: Duration = Duration::from_mins(5);
/// A connection that was idle for longer is tried before it is used.
const IDLE: Duration = Duration::from_millis(500);

impl OwnedConnection {
    /// How many shards one transaction may touch.
    pub const fn max_shards_per_tx(&self) -> usize {
        self.store.max_shards_per_tx
    }

    /// Rows from before this instant are visible to all, or were given up.
    fn all_visible(&self) -> Timestamp {
        self.store.now() - self.store.timeout * 2
    }

    /// Takes the connection, opening it if need be, with a session that is set up.
    async fn open(&mut self) -> Result<PgConnection, StoreError> {
        let mut conn = self.take().await?;
        self.store.sessions.begin(&mut conn, self.settings).await?;
        Ok(conn)
    }

    async fn take(&mut self) -> Result<PgConnection, StoreError> {
        if self.opened.is_some_and(|opened| opened.elapsed() > AGE)
            && let Some((conn, _)) = self.conn.take()
        {
            // A new one is there whether or not the old one says goodbye.
            let _ = conn.close().await;
        }
        match self.conn.take() {
            Some((conn, since)) if since.elapsed() < IDLE => Ok(conn),
            // A server that was restarted meanwhile must not cost a caller its answer.
            Some((mut conn, _)) => match conn.ping().await {
                Ok(()) => Ok(conn),
                Err(_) => self.connect().await,
            },
            None => self.connect().await,
        }
    }

    async fn connect(&mut self) -> Result<PgConnection, StoreError> {
        self.opened = Some(Instant::now());
        let connected =
            PgConnection::connect_with(&self.store.sessions.options_with(self.store.options.clone(), self.settings))
                .await;
        connected.map_err(not_connected)
    }

    /// Keeps the connection for the next call.
    async fn keep(&mut self, mut conn: PgConnection) -> Result<(), StoreError> {
        self.store.sessions.commit(&mut conn).await?;
        self.conn = Some((conn, Instant::now()));
        Ok(())
    }
}

/// Runs one statement on a pooled connection: `on_pool!(store, "noun.verb", conn, query.fetch_one(conn))`.
///
/// A macro, since the future of a closure that borrows cannot be sent to another thread.
macro_rules! on_pool {
    ($store:ident, $name:literal, $conn:ident, $work:expr) => {
        $store
            .within($name, async {
                let mut pooled = $store.conn().await?;
                let $conn = pooled.get()?;
                let value = $work.await?;
                pooled.keep().await?;
                Ok(value)
            })
            .await
    };
}
use on_pool;

/// Runs a statement or transaction on a connection: `on_connection!(connection, "noun.verb", conn, work(conn))`.
macro_rules! on_connection {
    ($connection:ident, $name:literal, $conn:ident, $work:expr) => {{
        let connection = &mut *$connection;
        let store = connection.store.clone();
        store
            .within($name, async {
                let mut owned = connection.open().await?;
                let $conn = &mut owned;
                let value = $work.await?;
                connection.keep(owned).await?;
                Ok(value)
            })
            .await
    }};
}
use on_connection;

/// The least and the greatest of some message ids. Given to a statement as parameters they are known before it
/// starts, and the partitions of other days stay unopened.
fn bounds(messages: impl Iterator<Item = Uuid>) -> (Uuid, Uuid) {
    messages.fold((Uuid::max(), Uuid::nil()), |(first, last), id| (first.min(id), last.max(id)))
}

/// Cuts `items` into runs that one transaction may hold: all together, or shard by shard.
pub fn by_shard<T>(mut items: Vec<T>, max_shards: usize, shard: impl Fn(&T) -> Shard) -> Vec<Vec<T>> {
    if max_shards >= 64 || items.is_empty() {
        return if items.is_empty() { Vec::new() } else { vec![items] };
    }
    items.sort_by_key(&shard);
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut shards_in_run = 0;
    for item in items {
        let same = runs.last().and_then(|run| run.last()).is_some_and(|last| shard(last) == shard(&item));
        if same || (shards_in_run > 0 && shards_in_run < max_shards) {
            if let Some(run) = runs.last_mut() {
                run.push(item);
            }
            shards_in_run += usize::from(!same);
        } else {
            runs.push(vec![item]);
            shards_in_run = 1;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_holds_as_many_shards_as_a_transaction_may_touch() {
        let items: Vec<_> = [3, 1, 3, 2, 1].into_iter().map(Shard::of_low_bits).collect();
        let lengths = |max| by_shard(items.clone(), max, |s| *s).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(1), [2, 1, 2]);
        assert_eq!(lengths(2), [3, 2]);
        assert_eq!(lengths(64), [5]);
        assert!(by_shard(Vec::<Shard>::new(), 1, |s| *s).is_empty());
    }
}
