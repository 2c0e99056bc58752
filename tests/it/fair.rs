//! No backlog delays anybody else: whose turn it is, by the order in which the sink took the messages.

use std::sync::Arc;

use mailwright::domain::shard::Shard;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::{App, Setup, message_to};
use crate::support::backlog::Backlog;
use crate::support::database::Database;
use crate::support::process::create_key;
use crate::support::sink::{Do, Gate, Sink, Step};

const SMARTHOST: &str = "'smarthost'";

/// A database with a backlog, whose project `shop` is there.
async fn database_with(backlogs: &[Backlog<'_>]) -> Arc<Database> {
    let database = Database::new().await;
    create_key(&database.url, "shop", "live", "").await;
    for backlog in backlogs {
        backlog.write(&database).await;
    }
    Arc::new(database)
}

/// Sends a message whose rows lie in `shard`.
async fn send_in(app: &App, shard: Shard, message: &Value) -> String {
    let sql = "SELECT id FROM projects WHERE name = 'shop'";
    let project: Uuid = sqlx::query_scalar(sql).fetch_one(&app.database.pool).await.unwrap();
    let key = (0..10_000).map(|n| format!("k{n}")).find(|key| Shard::of_key(project, &format!("live:{key}")) == shard);
    let headers = [("idempotency-key", &*key.unwrap())];
    let answer = app.call_as(&app.live, "POST", "/v1/send", &headers, message.to_string().into_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// A destination that never answers: recipients at `stuck….example`.
async fn sink_with_stuck_destinations() -> Sink {
    let script = |step: &Step, _| match step {
        Step::Rcpt(to) if to.contains("@stuck") => Do::Stall,
        _ => Do::Usual,
    };
    Sink::setup().script(script).start().await
}

/// Lets 3,000 rows of `project` wait, in all shards or in one, sends a message of `shop` with that priority into each
/// of `shards`, and opens the destination; gives how many were taken before each of them.
async fn overtaken_by(project: &str, backlog: Option<Shard>, priority: &str, shards: &[u8]) -> Vec<usize> {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let database = database_with(&[Backlog { project, rows: 3_000, shard: backlog, lane: SMARTHOST }]).await;
    let app = Setup::new().route_to(sink.address).on(&database).start().await;
    for n in shards {
        let mut message = message_to(&format!("r{n}@example.net"));
        message["priority"] = json!(priority);
        send_in(&app, Shard::of_low_bits(*n), &message).await;
    }
    gate.open();
    let ledger = sink.until_taken(3_000 + shards.len()).await;
    let place = |n| ledger.iter().position(|taken| taken.recipient == format!("r{n}@example.net")).unwrap();
    shards.iter().map(place).collect()
}

#[tokio::test]
async fn a_projects_backlog_does_not_delay_anothers_first_attempt_in_its_shard() {
    let places = overtaken_by("bulk", Some(Shard::of_low_bits(7)), "normal", &[7]).await;
    assert!(places[0] < 500, "{places:?}");
}

#[tokio::test]
async fn what_a_person_waits_for_overtakes_the_rest_of_its_project_in_its_shard() {
    let places = overtaken_by("shop", Some(Shard::of_low_bits(7)), "high", &[7]).await;
    assert!(places[0] < 500, "{places:?}");
}

#[tokio::test]
async fn a_projects_backlog_does_not_delay_anothers_first_attempt() {
    let places = overtaken_by("bulk", None, "normal", &[0, 31, 63]).await;
    assert!(places.iter().all(|place| *place < 500), "{places:?}");
}

#[tokio::test]
async fn what_a_person_waits_for_overtakes_the_rest_of_its_project() {
    let places = overtaken_by("shop", None, "high", &[0, 31, 63]).await;
    assert!(places.iter().all(|place| *place < 500), "{places:?}");
}

#[tokio::test]
async fn a_stuck_destination_keeps_nobody_from_being_born_leased() {
    let sink = sink_with_stuck_destinations().await;
    let database = database_with(&[Backlog { project: "shop", rows: 5_000, shard: None, lane: "'stuck'" }]).await;
    let app = Setup::new().route_to(sink.address).shaping("[limits.domain.stuck]").on(&database).start().await;
    let stuck = "SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL AND next_hop = 'stuck'";
    database.until_count(stuck, 5).await;
    for n in 0..100 {
        app.settled(&app.send(&message_to(&format!("r{n}@example.net"))).await).await;
    }
    assert_eq!(sink.taken_count(), 100);
    assert_eq!(database.count(stuck).await, 5, "as much as a lane may try that has shown nothing");
    let claimed = "mailwright_claim_batch_deliveries_sum";
    assert!((app.metric(claimed).await - 5.0).abs() < 0.1, "only what is stuck was claimed");
}

#[tokio::test]
async fn a_retry_is_made_while_another_lane_is_full() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let sink = Sink::setup()
        .script(move |step, _| match step {
            Step::Rcpt(to) if to.contains("@stuck") => Do::Stall,
            Step::Rcpt(_) if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 => {
                Do::Reply("451 4.7.1 later")
            }
            _ => Do::Usual,
        })
        .start()
        .await;
    let database = database_with(&[Backlog { project: "shop", rows: 5_000, shard: None, lane: "'stuck'" }]).await;
    let app = Setup::new().route_to(sink.address).shaping("[limits.domain.stuck]").on(&database).start().await;
    database.until_count("SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL", 5).await;
    let message = app.settled(&app.send(&message_to("a@example.net")).await).await;
    assert_eq!((&message["status"], &message["recipients"][0]["attempts"]), (&json!("delivered"), &json!(3)));
}

#[tokio::test]
async fn groups_behind_hundreds_that_are_stuck_are_served() {
    let sink = sink_with_stuck_destinations().await;
    let shard = Some(Shard::of_low_bits(5));
    // In the order of the walk: 450 lanes that are full with two of their three rows, then 250 healthy ones.
    let backlogs = [
        Backlog { project: "shop", rows: 1_350, shard, lane: "'stuck' || lpad((n % 450)::text, 3, '0')" },
        Backlog { project: "shop", rows: 250, shard, lane: "'well' || lpad(n::text, 3, '0')" },
    ];
    let database = database_with(&backlogs).await;
    // Each a next hop of its own, though all lead to one smarthost.
    let stuck = (0..450).map(|n| format!("[limits.domain.stuck{n:03}]\n"));
    let well = (0..=250).map(|n| format!("[limits.domain.well{n:03}]\n"));
    let shaping: String = stuck.chain(well).collect();
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).shaping(&shaping).on(&database);
    let _app = app.start().await;
    sink.until_taken(250).await;
    let left = "SELECT count(*) FROM deliveries WHERE next_hop LIKE 'well%'";
    database.until_count(left, 0).await;
    let untouched = "SELECT count(DISTINCT next_hop) FROM deliveries WHERE attempt = 1 AND next_hop LIKE 'stuck%'";
    // Those that are stuck have their turn as well.
    database.until_count(untouched, 450).await;
}

#[tokio::test]
async fn two_services_share_a_backlog_and_fresh_mail_and_deliver_each_once() {
    let sink = Sink::start().await;
    let database = database_with(&[Backlog { project: "bulk", rows: 1_000, shard: None, lane: SMARTHOST }]).await;
    let setup = || Setup::new().route_to(sink.address).on(&database);
    let (one, two) = tokio::join!(setup().start(), setup().start());
    let send = async |app: &App, name: &str| {
        for n in 0..500 {
            app.send(&message_to(&format!("{name}{n}@example.net"))).await;
        }
    };
    tokio::join!(send(&one, "one"), send(&two, "two"));
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let recipients: std::collections::HashSet<_> = sink.ledger().into_iter().map(|taken| taken.recipient).collect();
    assert_eq!((sink.taken_count(), recipients.len()), (2_000, 2_000));
    let once = "SELECT count(*) FROM recipients WHERE status = 'delivered' AND attempts = 1";
    assert_eq!(database.count(once).await, 2_000);
}
