//! Rules that only a database can check.

use std::time::Duration;

use mailwright::ambient::SystemRng;
use mailwright::domain::access::Mode;
use mailwright::domain::dkim::Algorithm;
use mailwright::domain::draft::TlsDemand;
use mailwright::domain::hold::HoldReason;
use mailwright::domain::lane::LanePhase;
use mailwright::domain::outcome::OutcomeKind;
use mailwright::domain::quota::{MailFate, Quota};
use mailwright::domain::recipient::{RecipientKind, RecipientStatus};
use mailwright::domain::shard::{SHARDS, Shard};
use mailwright::domain::tls_result::{TlsPolicyType, TlsResult};
use mailwright::domain::webhook::{EndpointMode, WebhookStatus};
use mailwright::store::{Spared, Window};
use uuid::Uuid;

use crate::support::app::{Setup, message_to};
use crate::support::database::{Database, store};

#[tokio::test]
async fn shards_fall_one_into_each_part_of_the_hash_ring() {
    let database = Database::new().await;
    let values = SHARDS.map(|value| format!("({value})")).join(", ");
    let sql = format!(
        "SELECT count(DISTINCT ((hashint4(v)::bigint + 2147483648) / 67108864)) FROM (VALUES {values}) AS s (v)"
    );
    assert_eq!(database.count(&sql).await, 64);
}

#[tokio::test]
async fn hot_tables_are_keyed_by_shard_and_bound_to_nothing() {
    let database = Database::new().await;
    let hot = "('messages', 'message_bodies', 'recipients', 'deliveries', 'attempts', 'events', 'webhook_jobs', \
                'webhook_deliveries', 'idempotency_keys', 'sandbox_messages', 'suppressions')";
    // The tables, and the partitions of those that have them.
    let all = format!(
        "(SELECT c.oid FROM pg_class c WHERE c.relname IN {hot} AND c.relkind IN ('r', 'p') \
          UNION SELECT i.inhrelid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent WHERE p.relname IN {hot})"
    );
    let unique_without_shard = format!(
        "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid IN {all} AND i.indisunique AND a.attname <> 'shard'"
    );
    assert_eq!(database.count(&unique_without_shard).await, 0);
    let keyless = format!(
        "SELECT count(*) FROM {all} AS t (oid) WHERE NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary)"
    );
    assert_eq!(database.count(&keyless).await, 0);
    let foreign_keys = format!("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid IN {all}");
    assert_eq!(database.count(&foreign_keys).await, 0);
    let triggers = format!("SELECT count(*) FROM pg_trigger WHERE tgname <> 'announce' AND tgrelid IN {all}");
    assert_eq!(database.count(&triggers).await, 0);
    assert_eq!(database.count("SELECT count(*) FROM pg_class WHERE relkind = 'S'").await, 0, "no sequences");
}

#[tokio::test]
async fn the_database_refuses_what_the_state_law_forbids() {
    let app = Setup::new().paused().start().await;
    app.send(&message_to("a@example.net")).await;
    for (sql, constraint) in [
        ("UPDATE recipients SET status = 'delivered'", "recipients_settled_has_time"),
        ("UPDATE recipients SET settled_at = now()", "recipients_settled_has_time"),
        ("UPDATE recipients SET status = 'sent', settled_at = now()", "recipients_status"),
        ("UPDATE deliveries SET lease_token = gen_random_uuid()", "deliveries_lease_is_whole"),
        (
            "UPDATE deliveries SET lease_token = gen_random_uuid(), lease_owner = gen_random_uuid(), lease_until = now()",
            "deliveries_leased_was_counted",
        ),
    ] {
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&app.database.pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(constraint), "{sql}");
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_is_rescued_and_its_try_is_recorded_as_uncertain() {
    let app = Setup::new().paused().start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let lease = "UPDATE deliveries SET attempt = 1, lease_owner = gen_random_uuid(), lease_token = gen_random_uuid(), lease_until = now() + interval";
    app.database.execute(&format!("{lease} '1 hour'")).await;
    let mut connection = store(&app.database.url).connection();
    assert!(connection.shards_with_expired_deliveries().await.unwrap().is_empty(), "a lease in force is left alone");
    app.database.execute(&format!("{lease} '-1 second'")).await;
    let shards = connection.shards_with_expired_deliveries().await.unwrap();
    assert_eq!(shards.len(), 1);
    let (shard, from) = shards[0];
    let window = Window { skip: 0, limit: 10, from };
    let row = "SELECT lease_owner, id FROM deliveries";
    let (owner, row): (Uuid, Uuid) = sqlx::query_as(row).fetch_one(&app.database.pool).await.unwrap();
    let alive = Spared { owners: vec![owner], grace: Duration::from_hours(1), ..Spared::default() };
    assert_eq!(connection.rescue_deliveries(shard, window, &alive, &SystemRng).await.unwrap(), 0, "it will renew it");
    let holds_it = Spared { own: owner, in_hand: vec![row], ..alive.clone() };
    assert_eq!(
        connection.rescue_deliveries(shard, window, &holds_it, &SystemRng).await.unwrap(),
        0,
        "it is in hand here"
    );
    let lost_it = Spared { own: owner, ..alive };
    assert_eq!(connection.rescue_deliveries(shard, window, &lost_it, &SystemRng).await.unwrap(), 1);
    assert_eq!(app.message(&id).await["status"], "queued");
    let attempts = app.attempts(&id).await;
    assert_eq!(
        (attempts[0]["outcome"].as_str(), attempts[0]["class"].as_str()),
        (Some("uncertain"), Some("lease_expired"))
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_rescued_does_not_keep_the_others() {
    let app = Setup::new().paused().start().await;
    for n in 0..10 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    app.database
        .execute(
            "UPDATE deliveries SET attempt = 1, lease_owner = gen_random_uuid(), lease_token = gen_random_uuid(), \
                 lease_until = now() - interval '1 hour'; \
             CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$; \
             CREATE TRIGGER poison BEFORE UPDATE ON deliveries FOR EACH ROW WHEN (OLD.id = NEW.id AND OLD.size < 0) EXECUTE FUNCTION poison(); \
             UPDATE deliveries SET size = -1 WHERE id = (SELECT min(id::text)::uuid FROM deliveries)",
        )
        .await;
    let database = std::sync::Arc::clone(&app.database);
    app.stop().await;
    let _again = Setup::new().paused().on(&database).start().await;
    database.until_count("SELECT count(*) FROM deliveries WHERE lease_token IS NULL", 9).await;
}

#[tokio::test]
async fn a_due_shard_is_found_and_a_deferred_one_is_not() {
    let app = Setup::new().paused().start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let shard = mailwright::domain::id::MessageId::parse(&id).unwrap().shard();
    let mut connection = store(&app.database.url).connection();
    assert_eq!(connection.ready_shards(10).await.unwrap(), [shard]);
    app.database.execute("UPDATE deliveries SET ready = false, due_at = now() + interval '1 hour'").await;
    assert_eq!(connection.ready_shards(10).await.unwrap(), Vec::<Shard>::new());
    app.database.execute("UPDATE deliveries SET due_at = now()").await;
    assert_eq!(connection.ready_shards(10).await.unwrap(), [shard], "what is due becomes ready");
}

/// The names of all members of a closed set.
macro_rules! names {
    ($set:ty) => {
        <$set>::ALL.iter().map(|member| member.name()).collect::<Vec<_>>()
    };
}

#[tokio::test]
async fn the_checks_of_the_tables_know_the_words_of_the_vocabulary_and_no_others() {
    let database = Database::new().await;
    let modes = || names!(Mode);
    // `sending` is a delivery under a lease: no row has the word.
    let mut statuses = names!(RecipientStatus);
    let stored_elsewhere = [RecipientStatus::Sending.name(), RecipientStatus::Scheduled.name()];
    statuses.retain(|name| !stored_elsewhere.contains(name));
    // A rate by the second is kept in memory.
    let mut counted = names!(Quota);
    counted.retain(|name| *name != Quota::MessagesPerSecond.name());
    // What is pending is a job.
    let mut ended = names!(WebhookStatus);
    ended.retain(|name| *name != WebhookStatus::Pending.name());
    for (constraint, mut words) in [
        ("api_keys_mode", modes()),
        ("attempts_outcome", names!(OutcomeKind)),
        ("deliveries_held", names!(HoldReason)),
        ("deliveries_mode", modes()),
        ("deliveries_tls", names!(TlsDemand)),
        ("dkim_keys_algorithm", names!(Algorithm)),
        ("events_mode", modes()),
        ("lane_states_phase", names!(LanePhase)),
        ("messages_mode", modes()),
        ("messages_tls", names!(TlsDemand)),
        ("projects_suspended_mail", names!(MailFate)),
        ("quota_usage_mode", modes()),
        ("quota_usage_quota", counted),
        ("recipients_kind", names!(RecipientKind)),
        ("recipients_status", statuses),
        ("scheduled_messages_mode", modes()),
        ("tls_reports_policy_type", names!(TlsPolicyType)),
        ("tls_reports_result", names!(TlsResult)),
        ("webhook_deliveries_status", ended),
        ("webhook_endpoints_mode", names!(EndpointMode)),
    ] {
        let mut listed: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT m[1] FROM pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([^'']*)''', 'g') m \
             WHERE c.conname = $1 AND c.convalidated",
        )
        .bind(constraint)
        .fetch_all(&database.pool)
        .await
        .unwrap();
        listed.sort_unstable();
        words.sort_unstable();
        assert_eq!(listed, words, "{constraint}");
    }
}

#[tokio::test]
async fn what_the_fleet_remembers_is_removed_when_it_is_of_no_use() {
    let database = Database::new().await;
    let store = store(&database.url);
    for age in [0, 29, 31, 400] {
        database
            .execute(&format!(
                "INSERT INTO tls_reports VALUES (CURRENT_DATE - {age}, 'a.example', 'sts', 'mx.example', 'successful', 1); \
                 INSERT INTO warmup_days VALUES (CURRENT_DATE - {age}, 'a', 'other', 1, 'address'); \
                 INSERT INTO quota_usage VALUES (gen_random_uuid(), 'recipients_per_day', 'live', CURRENT_DATE - {age} - 1, 1)"
            ))
            .await;
    }
    for (domain, age) in [("a.example", -1), ("b.example", 6), ("c.example", 8)] {
        database
            .execute(&format!(
                "INSERT INTO mta_sts_policies VALUES ('{domain}', '1', 'x', now() - interval '{age} days')"
            ))
            .await;
    }
    assert_eq!(store.prune_tls_counts().await.unwrap(), 2);
    assert_eq!(store.prune_warmups().await.unwrap(), 2);
    assert_eq!(store.prune_sts_policies().await.unwrap(), 1);
    assert_eq!(store.prune_quota_usage().await.unwrap(), 1);
    assert_eq!(store.prune_tls_counts().await.unwrap(), 0, "and nothing twice");
}
