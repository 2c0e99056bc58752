//! From the schema of 110a564 to the present: nothing is lost, locks are waited for only briefly, and a process that would
//! break keeps the schema as it is. `fixtures/store_110a564.sql` is a dump of a store that the binary of that commit filled.

use std::sync::Arc;

use mailwright::domain::id::MessageId;
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::app::Setup;
use crate::support::database::{Database, store};
use crate::support::sink::Sink;
use crate::support::within;

const DUMP: &str = include_str!("fixtures/store_110a564.sql");
/// What its clients were told.
const TOLD: &str = include_str!("fixtures/store_110a564.json");

/// The store as it was, with its instants moved to today.
async fn store_of_110a564() -> Arc<Database> {
    let database = Arc::new(Database::empty().await);
    database.execute(DUMP).await;
    database
        .execute(
            "UPDATE deliveries SET expires_at = now() + interval '3 days', due_at = LEAST(due_at, now()) WHERE held IS NULL;
             UPDATE deliveries SET expires_at = now() + interval '3 days', due_at = now() + interval '1 hour' WHERE held IS NOT NULL;
             UPDATE idempotency_keys SET expires_at = now() + interval '1 day'",
        )
        .await;
    database
}

#[tokio::test]
async fn a_store_filled_by_110a564_loses_nothing() {
    let told: Value = serde_json::from_str(TOLD).unwrap();
    let database = store_of_110a564().await;
    let before = database.count("SELECT count(*) FROM events").await;
    store(&database.url).migrate().await.unwrap();
    store(&database.url).migrate().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM events WHERE era = 0 AND xid = '0'").await, before);
    let miscounted = "SELECT count(*) FROM recipients r WHERE r.events <> (SELECT max(e.sequence) FROM events e \
                      WHERE e.shard = r.shard AND e.message_id = r.message_id AND e.recipient_id = r.id)";
    assert_eq!(database.count(miscounted).await, 0);
    assert_eq!(database.count("SELECT count(*) FROM deliveries WHERE held = 'rate'").await, 1);
    let sink = Sink::start().await;
    let app = Setup::new()
        .on(&database)
        .route_to(sink.address)
        .set("retention.messages", "3650d")
        .set("retention.bodies", "3650d")
        .start()
        .await;
    let live = told["live"].as_str().unwrap();
    for keyed in told["keyed"].as_array().unwrap() {
        let headers = [("idempotency-key", keyed["key"].as_str().unwrap())];
        let again = app.call_as(live, "POST", "/v1/send", &headers, keyed["body"].to_string().into_bytes()).await;
        let mut answer = again.json();
        for recipient in answer["recipients"].as_array_mut().unwrap() {
            assert!(recipient.as_object_mut().unwrap().remove("pointers").is_some(), "what is new since then");
        }
        assert_eq!((again.status, answer), (202, keyed["answer"].clone()), "the same answer as then");
        let message =
            app.get_as(live, &format!("/v1/messages/{}", keyed["answer"]["id"].as_str().unwrap())).await.json();
        assert_eq!(message["status"], "partially_delivered");
        let events = app.get_as(live, &format!("/v1/messages/{}/events", message["id"].as_str().unwrap())).await.json();
        assert_eq!(events["data"].as_array().unwrap().len(), 4, "queued twice, delivered, bounced");
    }
    // What waited is delivered now, and so is what was deferred; what is held waits for its hour.
    let held = told["waiting"][0].as_str().unwrap();
    let taken = within("what waited to be delivered", sink.until_taken(3)).await;
    assert!(taken.iter().all(|taken| taken.sender == "shop@example.org"));
    for id in told["waiting"].as_array().unwrap()[1..].iter().chain([&told["deferred"]]) {
        app.settled(id.as_str().unwrap()).await;
    }
    assert_eq!(app.message(held).await["recipients"][0]["attempts"], 0);
    // Ids of before do not carry their shard, and are found all the same.
    let test = told["test"].as_str().unwrap();
    let inbox = app.get_as(test, "/v1/sandbox/messages").await.json();
    let copy = inbox["data"][0]["id"].as_str().unwrap();
    assert_eq!(app.get_as(test, &format!("/v1/sandbox/messages/{copy}")).await.status, 200);
    // New events go on where the old ones ended.
    let id = MessageId::parse(told["deferred"].as_str().unwrap()).unwrap().uuid();
    let sequences =
        format!("SELECT string_agg(sequence::text, ',' ORDER BY sequence) FROM events WHERE message_id = '{id}'");
    let sequences: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sequences)).fetch_one(&database.pool).await.unwrap();
    assert_eq!(sequences, "1,2,3");
}

#[tokio::test]
async fn nobody_queues_behind_a_migration_that_waits_for_a_lock() {
    let database = store_of_110a564().await;
    let mut reader = PgConnection::connect(&database.url).await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    reading.execute("SELECT count(*) FROM events").await.unwrap();
    let store = store(&database.url);
    let others = async {
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while database.count(waits).await == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(database.count("SELECT count(*) FROM events").await, 25, "others read on");
        reading.commit().await.unwrap();
    };
    let (migrated, ()) = within("the migration", async { tokio::join!(store.migrate(), others) }).await;
    migrated.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM events WHERE era = 0").await, 25);
}

#[tokio::test]
async fn a_migration_refuses_to_run_beside_a_process_that_it_would_break() {
    let database = store_of_110a564().await;
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    // As 110a564 names itself.
    let old = PgConnection::connect_with(&options.application_name("mailwright")).await.unwrap();
    let error = store(&database.url).migrate().await.unwrap_err().to_string();
    assert!(error.contains("an earlier version is connected") && error.contains("stop all of them"), "{error}");
    assert_eq!(
        database.count("SELECT count(*) FROM pg_class WHERE relname = 'log_eras'").await,
        0,
        "nothing was changed"
    );
    old.close().await.unwrap();
    within("the old process's session to end", async {
        while store(&database.url).migrate().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // One that goes on with the schema of today is no obstacle: a fleet rolls.
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let oldest = database.count("SELECT min_binary FROM schema_compatibility").await;
    let recent = options.application_name(&format!("mailwright {oldest}"));
    let _recent = PgConnection::connect_with(&recent).await.unwrap();
    store(&database.url).migrate().await.unwrap();
    // A schema that this binary is too old for.
    database.execute("UPDATE schema_compatibility SET min_binary = 99990101000000").await;
    let error = store(&database.url).check_schema().await.unwrap_err().to_string();
    assert!(error.contains("run a newer mailwright"), "{error}");
}

/// The dump of a schema without partitions, settings and comments: those differ from day to day and from server to server.
fn schema_of(url: &str) -> String {
    let on_path =
        ["/usr/lib/postgresql", "/usr/local/pgsql"].iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let programs = on_path.flatten().map(|entry| entry.unwrap().path().join("bin/pg_dump"));
    let program = programs.filter(|path| path.exists()).max().unwrap_or_else(|| "pg_dump".into());
    let dumped = std::process::Command::new(program)
        .args([
            "--schema-only",
            "--no-owner",
            "--no-privileges",
            "--exclude-table=*_p2*",
            "--exclude-table=_sqlx_migrations",
            url,
        ])
        .output()
        .expect("pg_dump, of the package postgresql-client");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let text = String::from_utf8(dumped.stdout).unwrap();
    let is_schema = |line: &&str| {
        !line.is_empty() && !["--", "SET ", "SELECT pg_catalog", "\\"].iter().any(|start| line.starts_with(start))
    };
    lines(text.lines().filter(is_schema))
}

fn lines<'t>(lines: impl Iterator<Item = &'t str>) -> String {
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[tokio::test]
async fn docs_schema_sql_is_the_whole_schema() {
    let database = Database::empty().await;
    store(&database.url).migrate().await.unwrap();
    let schema = schema_of(&database.url);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema.sql");
    if std::env::var_os("MAILWRIGHT_WRITE_SCHEMA").is_some() {
        std::fs::write(path, format!("{}\n{schema}", SCHEMA_HEAD.trim())).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    let written = lines(written.lines().filter(|line| !line.starts_with("--")));
    assert_eq!(written, schema, "run: MAILWRIGHT_WRITE_SCHEMA=1 scripts/test docs_schema_sql");
}

const SCHEMA_HEAD: &str = "
-- The whole schema as pg_dump writes it, without the partitions of days. Written by a test, which holds it equal to the
-- migrations: MAILWRIGHT_WRITE_SCHEMA=1 scripts/test docs_schema_sql
";
