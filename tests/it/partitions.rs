//! Days' partitions: how the old tables became the first of them, how they are made, and what is dropped.

use std::sync::Arc;
use std::time::Duration;

use mailwright::app::Role;
use mailwright::store::schema::partitions::{Retention, Retired};
use sqlx::Connection;
use sqlx::migrate::Migrator;

use crate::support::app::{App, Setup, message_to};
use crate::support::database::{Database, store};
use crate::support::within;

static MIGRATIONS: Migrator = sqlx::migrate!();
/// The migration that made partitions of the tables.
const PARTITIONS: i64 = 20_261_124_000_200;

const WIDE: [&str; 8] = [
    "attempts",
    "events",
    "message_blocks",
    "message_bodies",
    "messages",
    "recipients",
    "sandbox_messages",
    "webhook_deliveries",
];

const DAYS: fn(u64) -> Duration = |days| Duration::from_secs(days * 86_400);
const MONTH: Retention = Retention { messages: Duration::from_hours(720), bodies: Duration::from_hours(720) };

/// The first id of the day so many days from today, in SQL.
fn first_id(days: i32) -> String {
    format!(
        "rpad(lpad(to_hex(extract(epoch FROM (now() AT TIME ZONE 'UTC')::date + {days})::bigint * 1000), 12, '0'), 32, '0')::uuid"
    )
}

/// Ends the first partition, `…_pfirst` from now on, 35 days ago, and makes one for the day three days ago.
async fn make_old_partitions(database: &Database) {
    for table in WIDE {
        let first = format!(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = '{table}'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE '%(MINVALUE)%'"
        );
        let (month_ago, from, to) = (first_id(-35), first_id(-3), first_id(-2));
        database
            .execute(&format!(
                "DO $$ BEGIN \
                 EXECUTE format('ALTER TABLE {table} DETACH PARTITION %I', ({first})); \
                 EXECUTE format('ALTER TABLE %I RENAME TO {table}_pfirst', (SELECT c.relname FROM pg_class c \
                     WHERE c.relkind = 'r' AND NOT c.relispartition AND starts_with(c.relname::text, '{table}_p'))); \
                 EXECUTE format('ALTER TABLE {table} ATTACH PARTITION {table}_pfirst FOR VALUES FROM (MINVALUE) TO (%L)', {month_ago}); \
                 EXECUTE format('CREATE TABLE public.{table}_pthree PARTITION OF {table} FOR VALUES FROM (%L) TO (%L)', {from}, {to}); \
                 END $$"
            ))
            .await;
    }
    store(&database.url).ensure_partitions().await.unwrap();
}

/// A database with old partitions, and a service on it that accepts and nothing else.
async fn accepting() -> (Arc<Database>, App) {
    let database = Arc::new(Database::new().await);
    make_old_partitions(&database).await;
    let app = Setup::new().roles(&[Role::Api]).on(&database).start().await;
    (database, app)
}

/// Makes a message so many days old, as if it had been accepted then; gives its new id.
async fn backdate(database: &Database, id: &str, days: i32) -> String {
    let hex = id.strip_prefix("msg_").unwrap();
    let old = |column: &str| {
        let day = first_id(-days);
        format!("(left(replace(({day})::text, '-', ''), 12) || right(replace({column}::text, '-', ''), 20))::uuid")
    };
    let mut updates = vec![format!("UPDATE messages SET id = {} WHERE id = '{hex}'", old("id"))];
    for table in ["message_bodies", "recipients", "deliveries", "events", "webhook_jobs"] {
        let own =
            if ["recipients", "deliveries"].contains(&table) { format!(", id = {}", old("id")) } else { String::new() };
        let recipient =
            if table == "events" { format!(", recipient_id = {}", old("recipient_id")) } else { String::new() };
        updates.push(format!(
            "UPDATE {table} SET message_id = {}{own}{recipient} WHERE message_id = '{hex}'",
            old("message_id")
        ));
    }
    database.execute(&updates.join("; ")).await;
    let new = format!("SELECT replace(({})::text, '-', '')", old(&format!("'{hex}'::uuid")));
    let new: String = sqlx::query_scalar(sqlx::AssertSqlSafe(new)).fetch_one(&database.pool).await.unwrap();
    format!("msg_{new}")
}

/// Ends what is owed for all messages.
async fn settle_all(database: &Database) {
    database.execute("DELETE FROM deliveries; UPDATE recipients SET status = 'delivered', settled_at = now()").await;
}

async fn retire(database: &Database, retention: Retention) -> Retired {
    let mut retired = store(&database.url).retire_partitions(retention).await.unwrap();
    retired.dropped.sort();
    retired.kept.sort();
    retired
}

fn all(suffix: &str) -> Vec<String> {
    WIDE.iter().map(|table| format!("{table}_p{suffix}")).collect()
}

/// Does `work`, which has to wait for a lock, and gives what it said when it had waited in vain. A message sent
/// meanwhile must not wait with it: it is stored while the work still waits. On a slow machine the lock's time-out
/// may come first, which proves nothing; then both are done anew.
async fn send_while_waiting<T>(database: &Database, app: &App, mut work: impl AsyncFnMut() -> T) -> T {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('relation', 'virtualxid')";
    for _ in 0..10 {
        let working = work();
        tokio::pin!(working);
        let sending = async {
            while database.count(waiting).await == 0 {
                tokio::task::yield_now().await;
            }
            app.send(&message_to("a@example.net")).await;
            database.count(waiting).await == 1
        };
        let stored_meanwhile = tokio::select! {
            stored_meanwhile = sending => stored_meanwhile,
            _ = &mut working => continue,
        };
        let said = within("the lock's time-out", working).await;
        if stored_meanwhile {
            return said;
        }
    }
    panic!("no message was stored while somebody waited for a lock");
}

/// The partitions of all tables, and the relation that each of them is.
async fn partitions(database: &Database) -> Vec<(String, i64)> {
    let sql =
        "SELECT c.relname::text, c.oid::int8 FROM pg_class c WHERE c.relispartition AND c.relkind = 'r' ORDER BY 1";
    sqlx::query_as(sql).fetch_all(&database.pool).await.unwrap()
}

/// Takes away the partitions of the last two days.
async fn take_last_days(database: &Database) -> usize {
    let before = partitions(database).await.len();
    let last = first_id(6);
    database
        .execute(&format!(
            "DO $$ DECLARE name text; BEGIN FOR name IN SELECT c.relname FROM pg_class c WHERE c.relispartition AND c.relkind = 'r' \
                 AND substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''(.{{36}})''\\)')::uuid >= {last} \
             LOOP EXECUTE format('DROP TABLE %I', name); END LOOP; END $$"
        ))
        .await;
    before
}

#[tokio::test]
async fn the_migration_keeps_the_rows_of_a_filled_database() {
    let database = Arc::new(Database::empty().await);
    let before = MIGRATIONS.iter().map(|migration| migration.version).filter(|version| *version < PARTITIONS).max();
    MIGRATIONS.run_to(before.unwrap(), &database.pool).await.unwrap();
    let id = "019ab000-0000-7000-8000-000000000000";
    let key = format!("60, '{id}'");
    database
        .execute(&format!(
            "INSERT INTO messages VALUES ({key}, '{id}', 'live', 's@example.org', 'S', 'Old', '[]', '{{}}', 1, 3, now()); \
             INSERT INTO message_bodies VALUES ({key}, 'old'); \
             INSERT INTO recipients (shard, message_id, id, position, kind, address, status) \
                 VALUES ({key}, '{id}', 0, 'to', 'a@b.example', 'queued'); \
             INSERT INTO attempts (shard, message_id, id, recipient_id, number, outcome, class, started_at, duration_ms) \
                 VALUES ({key}, '{id}', '{id}', 1, 'deferred', 'x', now(), 1); \
             INSERT INTO events VALUES ({key}, '{id}', '{id}', '{id}', 1, 'message.queued', now(), '{{}}'); \
             INSERT INTO webhook_deliveries VALUES ({key}, '{id}', '{id}', '{id}', 'failed', 1, 500, '', now()); \
             INSERT INTO sandbox_messages VALUES ({key}, '{id}', '{id}', 's@example.org', 'a@b.example', now())"
        ))
        .await;
    store(&database.url).migrate().await.unwrap();
    // Blocks are made when there are messages enough.
    for table in WIDE.into_iter().filter(|table| *table != "message_blocks") {
        assert_eq!(database.count(&format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    let app = Setup::new().paused().on(&database).start().await;
    for table in ["messages", "recipients"] {
        database.execute(&format!("UPDATE {table} SET project_id = (SELECT id FROM projects)")).await;
    }
    let id = format!("msg_{}", id.replace('-', ""));
    assert_eq!(app.message(&id).await["recipients"][0]["email"], "a@b.example");
    assert_eq!(app.attempts(&id).await.len(), 1);
    assert_eq!(app.events(&id).await.len(), 1);
    assert_eq!(app.get(&format!("/v1/messages/{id}/raw")).await.text(), "old");
    for found in ["to=a%40b.example", "domain=b.example"] {
        assert_eq!(app.get(&format!("/v1/messages?{found}")).await.json()["data"][0]["id"], *id);
    }
}

#[tokio::test]
async fn every_partition_is_made_as_its_table_says() {
    let database = Database::new().await;
    make_old_partitions(&database).await;
    database.execute(&WIDE.map(|table| format!("DROP TABLE {table}_pthree")).join("; ")).await;
    let of = "FROM pg_inherits t JOIN pg_class c ON c.oid = t.inhrelid JOIN pg_class p ON p.oid = t.inhparent \
              WHERE p.relkind = 'p' AND c.relkind = 'r'";
    assert!(database.count(&format!("SELECT count(*) {of}")).await >= 8 * 8);
    let differing_storage = format!(
        "SELECT count(*) {of} AND COALESCE(c.reloptions, '{{}}') <> (CASE p.relname WHEN 'recipients' THEN '{{fillfactor=80}}' \
             WHEN 'message_bodies' THEN '{{toast_tuple_target=8160}}' WHEN 'message_blocks' THEN '{{toast_tuple_target=128}}' ELSE '{{}}' END)::text[]"
    );
    assert_eq!(database.count(&differing_storage).await, 0);
    let compressed_bodies = format!(
        "SELECT count(*) {of} AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'raw' AND a.attstorage <> 'e')"
    );
    assert_eq!(database.count(&compressed_bodies).await, 0);
    let other_indexes = format!(
        "SELECT count(*) {of} AND ARRAY(SELECT h.inhparent FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid \
                 WHERE i.indrelid = c.oid AND i.indisvalid ORDER BY 1) \
             <> ARRAY(SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = p.oid ORDER BY 1)"
    );
    assert_eq!(database.count(&other_indexes).await, 0);
    let other_checks = format!(
        "SELECT count(*) {of} AND ARRAY(SELECT conname FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c' ORDER BY 1) \
             <> ARRAY(SELECT conname FROM pg_constraint WHERE conrelid = p.oid AND contype = 'c' ORDER BY 1)"
    );
    assert_eq!(database.count(&other_checks).await, 0);
}

#[tokio::test]
async fn two_processes_make_the_missing_days_once() {
    let database = Database::new().await;
    let before = take_last_days(&database).await;
    let (one, two) = (store(&database.url), store(&database.url));
    assert_eq!(one.partition_days_ahead().await.unwrap(), 5);
    let (first, second) = tokio::join!(one.ensure_partitions(), two.ensure_partitions());
    first.unwrap();
    second.unwrap();
    let made = partitions(&database).await;
    assert_eq!(made.len(), before);
    one.ensure_partitions().await.unwrap();
    assert_eq!(partitions(&database).await, made, "nothing is made twice");
    assert_eq!(one.partition_days_ahead().await.unwrap(), 7);
}

#[tokio::test]
async fn a_start_makes_the_days_that_are_missing_and_says_how_many_there_are() {
    let database = Arc::new(Database::new().await);
    let before = take_last_days(&database).await;
    let app = Setup::new().roles(&[Role::Api]).on(&database).start().await;
    assert_eq!(partitions(&database).await.len(), before);
    assert!((app.metric("mailwright_partitions_days_ahead").await - 7.0).abs() < 0.1);
}

#[tokio::test]
async fn messages_are_accepted_while_a_partition_is_being_attached() {
    let database = Arc::new(Database::new().await);
    let app = Setup::new().paused().roles(&[Role::Api]).on(&database).start().await;
    let before = take_last_days(&database).await;
    let mut conn = database.pool.acquire().await.unwrap();
    // What an ANALYZE or another DDL holds: attaching must wait for it, writing need not.
    let mut tx = conn.begin().await.unwrap();
    sqlx::query("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE").execute(&mut *tx).await.unwrap();
    let store = store(&database.url);
    let error = send_while_waiting(&database, &app, async || store.ensure_partitions().await).await.unwrap_err();
    assert!(error.is_away(), "the next tick tries again: {error}");
    tx.rollback().await.unwrap();
    store.ensure_partitions().await.unwrap();
    assert_eq!(partitions(&database).await.len(), before);
}

#[tokio::test]
async fn days_that_are_old_and_settled_are_dropped_and_younger_ones_are_not() {
    let (database, app) = accepting().await;
    let old = app.send(&message_to("a@example.net")).await;
    let old = backdate(&database, &old, 40).await;
    let young = app.send(&message_to("b@example.net")).await;
    let young = backdate(&database, &young, 3).await;
    settle_all(&database).await;
    let before = partitions(&database).await.len();
    let retired = retire(&database, MONTH).await;
    assert_eq!((retired.dropped, retired.kept), (all("first"), vec![]));
    assert!(retired.failed.is_empty());
    assert_eq!(partitions(&database).await.len(), before - WIDE.len());
    assert_eq!(database.count("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_pfirst'").await, 0);
    assert_eq!(app.get(&format!("/v1/messages/{old}")).await.status, 404);
    assert_eq!(app.message(&young).await["id"], *young);
    app.send(&message_to("c@example.net")).await;
    assert_eq!(retire(&database, MONTH).await.dropped, Vec::<String>::new());
}

#[tokio::test]
async fn a_day_with_an_unsettled_delivery_is_kept_whole() {
    let (database, app) = accepting().await;
    let id = app.send(&message_to("a@example.net")).await;
    backdate(&database, &id, 40).await;
    let retired = retire(&database, MONTH).await;
    assert_eq!((retired.dropped, retired.kept), (vec![], all("first")));
    settle_all(&database).await;
    assert_eq!(retire(&database, MONTH).await.dropped, all("first"));
}

#[tokio::test]
async fn a_day_with_an_unsettled_webhook_job_is_kept_whole_and_does_not_keep_others() {
    let (database, app) = accepting().await;
    let id = app.send(&message_to("a@example.net")).await;
    let endpoint = serde_json::json!({"url": "http://127.0.0.1:9/", "events": ["message.queued"]});
    assert_eq!(app.post("/v1/webhooks", &endpoint).await.status, 201);
    database
        .execute(
            "INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at) \
                 SELECT e.shard, e.id, w.id, e.message_id, e.id, now() FROM events e, webhook_endpoints w",
        )
        .await;
    settle_all(&database).await;
    backdate(&database, &id, 40).await;
    let day = Retention { messages: DAYS(1), bodies: DAYS(1) };
    let retired = retire(&database, day).await;
    assert!(retired.failed.is_empty(), "{:?}", retired.failed);
    assert_eq!((retired.dropped, retired.kept), (all("three"), all("first")));
    // Nor is a day dropped of which an endpoint that lags behind was not told yet; one that is disabled holds nothing.
    database
        .execute("DELETE FROM webhook_jobs; UPDATE webhook_positions SET fed_until = now() - interval '41 days'")
        .await;
    assert_eq!(retire(&database, day).await.kept, all("first"));
    database.execute("UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'test'").await;
    assert_eq!(retire(&database, day).await.dropped, all("first"));
}

#[tokio::test]
async fn bodies_may_go_earlier_and_the_answer_says_so() {
    let (database, app) = accepting().await;
    let id = app.send(&message_to("a@example.net")).await;
    let id = backdate(&database, &id, 3).await;
    settle_all(&database).await;
    let path = format!("/v1/messages/{id}/raw");
    assert_eq!(app.get(&path).await.status, 200);
    let retired = retire(&database, Retention { bodies: DAYS(1), ..MONTH }).await;
    assert!(retired.dropped.contains(&"message_bodies_pthree".to_owned()));
    assert!(!retired.dropped.contains(&"messages_pthree".to_owned()));
    assert_eq!(app.message(&id).await["counts"]["delivered"], 1);
    let answer = app.get(&path).await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["type"].as_str().unwrap().ends_with("/body-not-kept"), "{}", answer.text());
    let absent = app.get("/v1/messages/msg_019ab0000000700080000000000000ff/raw").await;
    assert!(absent.json()["type"].as_str().unwrap().ends_with("/not-found"), "{}", absent.text());
}

#[tokio::test]
async fn a_reader_puts_a_detach_off_without_stopping_writers_and_the_next_tick_finishes_it() {
    let (database, app) = accepting().await;
    let mut conn = database.pool.acquire().await.unwrap();
    // A dump holds such a lock for hours.
    let mut tx = conn.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM messages").execute(&mut *tx).await.unwrap();
    let retired = send_while_waiting(&database, &app, async || retire(&database, MONTH).await).await;
    assert_eq!(retired.failed.len(), 1, "{:?}", retired.failed);
    assert!(retired.failed[0].is_away());
    assert_eq!(database.count("SELECT count(*) FROM pg_inherits WHERE inhdetachpending").await, 1);
    tx.rollback().await.unwrap();
    assert_eq!(retire(&database, MONTH).await.dropped, ["messages_pfirst"]);
    assert_eq!(database.count("SELECT count(*) FROM pg_inherits WHERE inhdetachpending").await, 0);
}

#[tokio::test]
async fn what_a_crash_left_detached_is_dropped_and_what_somebody_detached_is_left_alone() {
    let database = Database::new().await;
    make_old_partitions(&database).await;
    database
        .execute(
            "COMMENT ON TABLE events_pfirst IS 'mailwright: past its retention, to be dropped'; \
             ALTER TABLE events DETACH PARTITION events_pfirst; ALTER TABLE attempts DETACH PARTITION attempts_pfirst",
        )
        .await;
    let retired = retire(&database, MONTH).await;
    let wanted: Vec<_> = all("first").into_iter().filter(|name| name != "attempts_pfirst").collect();
    assert_eq!(retired.dropped, wanted);
    assert_eq!(database.count("SELECT count(*) FROM attempts_pfirst").await, 0);
}

#[tokio::test]
async fn upkeep_drops_old_days_by_itself() {
    let database = Arc::new(Database::new().await);
    make_old_partitions(&database).await;
    database
        .execute(
            "CREATE FUNCTION announce_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('changed', ''); END $$; \
             CREATE EVENT TRIGGER announce_drop ON sql_drop EXECUTE FUNCTION announce_drop()",
        )
        .await;
    let _app = Setup::new().set("retention.bodies", "1d").on(&database).start().await;
    let gone = "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_pfirst' AND relkind = 'r'";
    database.until_count(gone, 0).await;
    database.until_count("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_pthree' AND relkind = 'r'", 6).await;
}
