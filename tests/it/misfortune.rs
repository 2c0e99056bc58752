//! Stores that are away, refuse with the wrong word or freeze; leases that run out; mail past its last instant.

use std::sync::Arc;
use std::time::Duration;

use mailwright::app::{Ended, Role};
use serde_json::json;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use crate::support::app::{App, Setup, message_to};
use crate::support::backlog::Backlog;
use crate::support::database::Database;
use crate::support::proxy::{Proxy, Weather};
use crate::support::sink::{Do, Gate, Sink, Step};
use crate::support::within;

/// SQLSTATEs of servers in every kind of trouble, and one that nobody has heard of.
const STATES: [&str; 8] = ["55000", "XX000", "0A000", "26000", "42501", "25006", "72000", "ZZ999"];

/// Every insert into `table` fails with what is set in `trouble`, until it is empty.
async fn troubled(database: &Database, table: &str) {
    database
        .execute(&format!(
            "CREATE TABLE trouble (state text); \
             CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE word text; BEGIN \
                 SELECT state INTO word FROM trouble; \
                 IF word IS NOT NULL THEN RAISE EXCEPTION 'trouble' USING ERRCODE = word; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER trouble BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trouble()"
        ))
        .await;
}

async fn set_trouble(database: &Database, state: Option<&str>) {
    let insert = state.map(|state| format!("INSERT INTO trouble VALUES ('{state}')")).unwrap_or_default();
    database.execute(&format!("TRUNCATE trouble; {insert}")).await;
}

/// Waits until the store has said no so often.
async fn until_refused(app: &App) {
    let errors = || async {
        let text = app.get("/metrics").await.text();
        let lines = text.lines().filter(|line| line.starts_with("mailwright_store_errors_total"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
    };
    let before = errors().await;
    within("the store to refuse", async {
        while errors().await < before + 2.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_outcome_outlives_whatever_a_store_says_to_it_and_makes_no_copy() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    troubled(&database, "attempts").await;
    let app = Setup::new().route_to(sink.address).on(&database).start().await;
    for (n, state) in STATES.into_iter().enumerate() {
        set_trouble(&database, Some(state)).await;
        let id = app.send(&message_to(&format!("r{n}@example.net"))).await;
        sink.until_taken(n + 1).await;
        until_refused(&app).await;
        set_trouble(&database, None).await;
        let message = app.settled(&id).await;
        assert_eq!(message["status"], "delivered", "{state}");
        assert_eq!(app.attempts(&id).await.len(), 1, "{state}");
    }
    assert_eq!(sink.taken_count(), STATES.len(), "each once");
}

#[tokio::test]
async fn one_outcome_that_a_store_never_takes_keeps_no_other() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    database
        .execute(
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$; \
             CREATE TRIGGER poison BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.reply_text LIKE '%poison%') \
             EXECUTE FUNCTION poison()",
        )
        .await;
    let poisonous = Sink::setup()
        .script(|step, _| if matches!(step, Step::Dot(_)) { Do::Reply("250 2.0.0 poison") } else { Do::Usual })
        .start()
        .await;
    let shaping = format!("[[routes]]\ndomain = \"bad.example\"\nvia = \"smtp://{}?tls=none\"\n", poisonous.address);
    let app = Setup::new().route_to(sink.address).shaping(&shaping).on(&database).start().await;
    let bad = app.send(&message_to("a@bad.example")).await;
    poisonous.until_taken(1).await;
    for n in 0..10 {
        let id = app.send(&message_to(&format!("r{n}@example.net"))).await;
        assert_eq!(app.settled(&id).await["status"], "delivered");
    }
    assert_eq!(app.message(&bad).await["status"], "sending", "held until the store takes it");
    let mended = "CREATE OR REPLACE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$";
    database.execute(mended).await;
    assert_eq!(app.settled(&bad).await["status"], "delivered");
    assert_eq!(poisonous.taken_count(), 1);
}

#[tokio::test]
async fn a_server_s_words_that_cannot_be_stored_do_not_cost_the_outcome() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    // As a store in another encoding would say it.
    database
        .execute(
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no such character' \
                 USING ERRCODE = '22P05'; END $$; \
             CREATE TRIGGER poison BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.transcript <> '') \
             EXECUTE FUNCTION poison()",
        )
        .await;
    let app = Setup::new().route_to(sink.address).on(&database).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert_eq!((sink.taken_count(), app.attempts(&id).await.len()), (1, 1));
}

#[tokio::test]
async fn sends_to_a_store_that_refuses_are_told_to_come_again_and_none_is_a_defect() {
    let database = Arc::new(Database::new().await);
    troubled(&database, "messages").await;
    let app = Setup::new().paused().on(&database).start().await;
    for state in STATES {
        set_trouble(&database, Some(state)).await;
        let answer = app.post("/v1/send", &message_to("a@example.net")).await;
        assert_eq!(answer.status, 503, "{state}: {}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
    }
    set_trouble(&database, None).await;
    app.send(&message_to("a@example.net")).await;
    assert_eq!(database.count("SELECT count(*) FROM messages").await, 1);
}

#[tokio::test]
async fn a_database_that_lets_nobody_in_is_away_whatever_its_reason() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    let app = Setup::new().route_to(sink.address).on(&database).start().await;
    let first = app.send(&message_to("a@example.net")).await;
    app.settled(&first).await;
    let name = "SELECT current_database()";
    let name: String = sqlx::query_scalar(name).fetch_one(&database.pool).await.unwrap();
    let admin = Database::new().await;
    admin
        .execute(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    for _ in 0..5 {
        let answer =
            app.call_as(&app.live, "POST", "/v1/send", &[], message_to("b@example.net").to_string().into_bytes());
        assert_eq!(answer.await.status, 503);
    }
    admin.execute(&format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")).await;
    let last = app.send(&message_to("c@example.net")).await;
    assert_eq!(app.settled(&last).await["status"], "delivered");
}

#[tokio::test]
async fn a_store_that_is_frozen_for_longer_than_a_lease_makes_no_second_copies() {
    let gate = Gate::closed();
    let held = gate.held();
    let at_the_dot = move |step: &Step, _| if matches!(step, Step::Dot(_)) { held.clone() } else { Do::Usual };
    let sink = Sink::setup().script(at_the_dot).start().await;
    let database = Arc::new(Database::new().await);
    let proxy = Proxy::start(&database.url).await;
    let slow = |app: Setup| app.set("queue.lease", "2s").set("database.timeout", "500ms").route_to(sink.address);
    // Two that have mail in hand and see the store freeze, and a bystander that would rescue what they hold.
    let behind = || slow(Setup::new()).set("database.url", &proxy.url).on(&database);
    let (one, two) = (behind().start().await, behind().start().await);
    two.until_delivering().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let app = if n % 2 == 0 { &one } else { &two };
        ids.push(app.send(&message_to(&format!("r{n}@example.net"))).await);
    }
    // Some are at their final dot, others wait for a slot.
    sink.until_taken(2).await;
    proxy.set(Weather::Frozen);
    let out = "SELECT count(*) FROM deliveries WHERE lease_until < now() - interval '3 seconds'";
    within("every lease to run out", async {
        while database.count(out).await < 6 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    proxy.set(Weather::Fair);
    for id in &ids {
        assert_eq!(one.settled(id).await["status"], "delivered");
        assert_eq!(one.attempts(id).await.len(), 1, "none is uncertain");
    }
    assert_eq!(sink.taken_count(), 6, "each once");
}

#[tokio::test]
async fn an_aborted_stop_still_writes_the_outcomes_that_are_known() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    troubled(&database, "attempts").await;
    let app = Setup::new().route_to(sink.address).on(&database).start().await;
    set_trouble(&database, Some("55000")).await;
    app.send(&message_to("a@example.net")).await;
    sink.until_taken(1).await;
    until_refused(&app).await;
    let abort = CancellationToken::new();
    abort.cancel();
    let stopping = app.service.stop(&abort);
    let mended = set_trouble(&database, None);
    let (ended, ()) = within("the stop", async { tokio::join!(stopping, mended) }).await;
    assert_eq!(ended, Ended::Aborted);
    assert_eq!(database.count("SELECT count(*) FROM recipients WHERE status = 'delivered'").await, 1);
}

#[tokio::test]
async fn a_thousand_leases_of_a_dead_process_are_rescued_at_once() {
    let database = Arc::new(Database::new().await);
    let app = Setup::new().paused().roles(&[Role::Api]).on(&database).start().await;
    let to: Vec<_> = (0..1000).map(|n| format!("r{n}@example.net")).collect();
    let mut message = message_to("x@example.net");
    message["to"] = json!(to);
    let id = app.send(&message).await;
    database
        .execute(
            "UPDATE deliveries SET attempt = 1, lease_owner = gen_random_uuid(), lease_token = gen_random_uuid(), \
             lease_until = now() - interval '1 second'",
        )
        .await;
    let upkeep = Setup::new().paused().roles(&[Role::Upkeep]).on(&database).start().await;
    database.until_count("SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL", 0).await;
    upkeep.until_metric("mailwright_leases_rescued_total{queue=\"deliveries\"} ", 1000.0).await;
    // What keeps ending its process waits longer each time.
    database
        .execute(
            "UPDATE deliveries SET rescued = 4, attempt = 5, lease_owner = gen_random_uuid(), \
             lease_token = gen_random_uuid(), lease_until = now() - interval '1 second' \
             WHERE id = (SELECT min(id::text)::uuid FROM deliveries)",
        )
        .await;
    database
        .until_count("SELECT count(*) FROM deliveries WHERE due_at > now() + interval '100 seconds' AND NOT ready", 1)
        .await;
    assert_eq!(app.message(&id).await["status"], "queued");
}

#[tokio::test]
async fn mail_ends_at_its_last_instant_although_nothing_is_claimed_for_its_next_hop() {
    let database = Arc::new(Database::new().await);
    let app = Setup::new().paused().on(&database).start().await;
    let mut message = message_to("a@example.net");
    message["ttl_seconds"] = json!(3600);
    let id = app.send(&message).await;
    app.clock.advance(Duration::from_secs(3500));
    assert_eq!(app.message(&id).await["status"], "queued");
    app.clock.advance(Duration::from_secs(101));
    let ended = app.settled(&id).await;
    assert_eq!(ended["recipients"][0]["status"], "expired");
    assert_eq!(database.count("SELECT count(*) FROM deliveries").await, 0);
    assert_eq!(app.events(&id).await.last().unwrap()["type"], "message.expired");
}

#[tokio::test]
async fn who_holds_a_snapshot_is_told() {
    let database = Arc::new(Database::new().await);
    let app = Setup::new().paused().roles(&[Role::Upkeep]).on(&database).start().await;
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let mut dump = sqlx::PgConnection::connect_with(&options.application_name("a dump")).await.unwrap();
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM deliveries";
    sqlx::raw_sql(hold).execute(&mut dump).await.unwrap();
    within("the alarm", async {
        while app.metric("mailwright_store_oldest_snapshot_seconds ").await <= 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let doctor = crate::support::process::run(&database.url, &["doctor"]).await;
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("store snapshots: the oldest is held for") && text.contains("(a dump, "), "{text}");
}

#[tokio::test]
async fn a_backlog_leaves_in_few_claims_when_the_store_is_far_away() {
    let is_nightly = std::env::var_os("MAILWRIGHT_NIGHTLY").is_some();
    let rows = if is_nightly { 20_000 } else { 3_000 };
    let database = Arc::new(Database::new().await);
    Backlog { project: "shop", rows, shard: None, lane: "'smarthost'" }.write(&database).await;
    let far = Proxy::far(&database.url, Duration::from_millis(100)).await;
    let sink = Sink::setup().extensions(&["PIPELINING", "CHUNKING"]).start().await;
    let app = Setup::new().route_to(sink.address).set("database.url", &far.url).on(&database).start().await;
    sink.until_taken(1).await;
    let began = std::time::Instant::now();
    sink.until_taken(rows).await;
    let rate = rows as f64 / began.elapsed().as_secs_f64();
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let claims = app.metric("mailwright_claim_batch_deliveries_count ").await;
    let usual = app.metric("mailwright_claim_batch_deliveries_bucket{le=\"128\"} ").await;
    assert!(claims - usual >= 3.0, "{claims} claims, {usual} of them no larger than those of a near store");
    assert_eq!(sink.taken_count(), rows);
    // A figure to be read, not a bar: `cargo test --release`.
    tracing::info!(rate, "a backlog left with the store 100 ms away");
    if is_nightly {
        std::fs::write(std::env::temp_dir().join("mailwright-far-store"), format!("{rate:.0} messages/s\n")).unwrap();
    }
}
