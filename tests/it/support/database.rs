//! A database per test, copied from one that was migrated once. Rows that a test may wait for are announced
//! by triggers that only these databases have.

use std::sync::atomic::{AtomicU32, Ordering};

use mailwright::ambient::store_clock;
use mailwright::config::{Database as Settings, Span};
use mailwright::store::Store;
use mailwright::telemetry::metrics::Metrics;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::within;

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

const ANNOUNCE: &str = "
    SET search_path = public;
    CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('changed', ''); RETURN NULL; END $$;
    CREATE TRIGGER announce AFTER INSERT OR UPDATE ON events FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER INSERT OR UPDATE ON attempts FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER INSERT OR UPDATE ON webhook_positions FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER UPDATE ON erasures FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER UPDATE ON retention FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER INSERT OR UPDATE ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER INSERT OR UPDATE ON webhook_jobs FOR EACH STATEMENT EXECUTE FUNCTION announce();
    CREATE TRIGGER announce AFTER INSERT OR UPDATE ON webhook_deliveries FOR EACH STATEMENT EXECUTE FUNCTION announce();
";

/// A test's own database.
pub struct Database {
    pub url: String,
    pub pool: PgPool,
}

fn server() -> PgConnectOptions {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL: run the tests by scripts/test");
    url.parse::<PgConnectOptions>().unwrap().disable_statement_logging()
}

async fn admin() -> PgConnection {
    server().connect().await.unwrap()
}

/// The settings of a store on `url`.
pub fn settings(url: &str) -> Settings {
    Settings { url: url.to_owned(), timeout: Span(std::time::Duration::from_secs(5)), ..Settings::default() }
}

/// A store on `url`.
pub fn store(url: &str) -> Store {
    Store::new(&settings(url), Metrics::new().unwrap().into(), store_clock()).unwrap()
}

fn url_of(name: &str) -> String {
    let base = std::env::var("DATABASE_URL").unwrap();
    let (base, query) = base.split_once('?').map_or((&*base, String::new()), |(b, q)| (b, format!("?{q}")));
    let (server, _) = base.rsplit_once('/').unwrap();
    format!("{server}/{name}{query}")
}

async fn template() -> &'static str {
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("it_{}_template", std::process::id());
            let mut admin = admin().await;
            sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
            store(&url_of(&name)).migrate().await.unwrap();
            let mut conn = server().database(&name).connect().await.unwrap();
            sqlx::raw_sql(ANNOUNCE).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
            name
        })
        .await
}

impl Database {
    /// A migrated database without rows.
    pub async fn new() -> Self {
        Self::copy_of(template().await).await
    }

    /// A database without a schema.
    pub async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    async fn copy_of(template: &str) -> Self {
        let name = format!("it_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = admin().await;
        // Copying wants the template for itself: one at a time.
        sqlx::query("SELECT pg_advisory_lock(4711)").execute(&mut admin).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
            .execute(&mut admin)
            .await
            .unwrap();
        admin.close().await.unwrap();
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(server().database(&name));
        Self { url: url_of(&name), pool }
    }

    /// Hears of rows from now on.
    pub async fn watch(&self) -> Watch {
        let mut listener = PgListener::connect_with(&self.pool).await.unwrap();
        listener.listen("changed").await.unwrap();
        Watch { listener }
    }

    /// One number of one row.
    pub async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Waits until the statement gives `wanted`.
    pub async fn until_count(&self, sql: &str, wanted: i64) {
        let mut watch = self.watch().await;
        let mut last = -1;
        let reached = async {
            loop {
                last = self.count(sql).await;
                if last == wanted {
                    return;
                }
                watch.changed().await;
            }
        };
        let is_reached = tokio::time::timeout(super::PATIENCE, reached).await.is_ok();
        assert!(is_reached, "{sql}: {last}, not {wanted}");
    }
}

/// Hears when rows change.
pub struct Watch {
    listener: PgListener,
}

impl Watch {
    pub async fn changed(&mut self) {
        within("a row to change", self.listener.recv()).await.unwrap();
    }
}
