//! What is kept no longer: by the spans of a project, by the erasure of an address, and by that of a message.

use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::database::Database;
use crate::support::http::{Answer, Client};
use crate::support::process::{Server, command, create_key};
use crate::support::receiver::Receiver;
use crate::support::sink::{Do, Sink, Step};
use crate::support::within;

const ADDRESS: &str = "forget.me@gone.example";

async fn admin(app: &App, project: &str) -> String {
    create_key(&app.database.url, project, "live", "admin").await
}

async fn call(app: &App, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    app.call_as(key, method, path, &[], body.to_string().into_bytes()).await
}

/// Has the address erased; gives the erasure's id.
async fn erase(app: &App, key: &str, address: &str) -> String {
    let answer = call(app, key, "POST", "/v1/erasures", &json!({"address": address})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("pending")), "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/erasures/{id}"));
    id
}

/// Waits until all that is to be erased is; gives the proof.
async fn done(app: &App, key: &str, id: &str) -> Value {
    app.database.until_count("SELECT count(*) FROM erasures WHERE finished_at IS NULL", 0).await;
    let proof = app.get_as(key, &format!("/v1/erasures/{id}")).await.json();
    assert_eq!(proof["status"], "done");
    assert!(!proof.to_string().contains(ADDRESS), "{proof}");
    proof
}

/// Where the whole store names the address, in whatever form.
fn named_in_dump(url: &str, address: &str) -> Vec<String> {
    let on_path =
        ["/usr/lib/postgresql", "/usr/local/pgsql"].iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let programs = on_path.flatten().map(|entry| entry.unwrap().path().join("bin/pg_dump"));
    let program = programs.filter(|path| path.exists()).max().unwrap_or_else(|| "pg_dump".into());
    let dumped = std::process::Command::new(program).arg(url).output().expect("pg_dump, of postgresql-client");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let text = String::from_utf8_lossy(&dumped.stdout).to_lowercase();
    let hex = address.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let names = |line: &&str| line.contains(address) || line.contains(&hex);
    text.lines().filter(names).map(|line| line.chars().take(300).collect()).collect()
}

/// Names the address in every place that a message has.
fn messages_that_name_it() -> Vec<Value> {
    let with = |field: &str, value: Value| {
        let mut message = message_to("other@example.net");
        message[field] = value;
        message
    };
    vec![
        message_to(ADDRESS),
        with("cc", json!(["Forget.Me@Gone.Example"])),
        with("from", json!(format!("Forget <{ADDRESS}>"))),
        with("reply_to", json!(ADDRESS)),
        with("metadata", json!({"who": ADDRESS})),
        with("subject", json!(format!("About {ADDRESS}"))),
        with("text", json!(format!("Write to {ADDRESS}.\n"))),
        with("html", json!(format!("<a href=\"mailto:{ADDRESS}\">x</a>"))),
        with("tags", json!(["t"])),
    ]
}

#[tokio::test]
async fn an_erased_address_is_nowhere_in_the_store_and_the_proof_does_not_name_it() {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.to_lowercase() == ADDRESS => {
                Do::Reply("550 5.1.1 <forget.me@gone.example>: no such user here")
            }
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).start().await;
    let echo = Receiver::scripted(|_| Some((StatusCode::BAD_REQUEST, format!("not {ADDRESS}")).into_response())).await;
    app.post("/v1/webhooks", &json!({"url": echo.url(), "events": ["message.bounced"]})).await;
    let mut ids = Vec::new();
    for message in messages_that_name_it() {
        ids.push(app.send(&message).await);
        // The first is refused, and leaves a suppression.
        app.settled(ids.last().unwrap()).await;
    }
    let key = [("idempotency-key", "welcome:forget.me@gone.example")];
    let body = message_to("other@example.net").to_string().into_bytes();
    app.call_as(&app.live, "POST", "/v1/send", &key, body).await;
    let copy = call(&app, &app.test, "POST", "/v1/send", &message_to(ADDRESS)).await.json();
    app.settled(copy["id"].as_str().unwrap()).await;
    let mut later = message_to(ADDRESS);
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(
        mailwright::domain::clock::Clock::now(&*app.clock) + Duration::from_hours(2)
    ));
    let scheduled = app.send(&later).await;
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let theirs = call(&app, &neighbour, "POST", "/v1/send", &message_to(ADDRESS)).await.json();
    app.database.until_count("SELECT count(*) FROM recipients WHERE settled_at IS NULL", 0).await;
    app.database.until_count("SELECT count(*) FROM webhook_jobs", 0).await;
    assert!(named_in_dump(&app.database.url, ADDRESS).len() > 9);

    let ours = admin(&app, "shop").await;
    let id = erase(&app, &ours, "Forget.Me@gone.example").await;
    let proof = done(&app, &ours, &id).await;
    for (what, least) in [("recipients", 3), ("message_bodies", 8), ("scheduled_messages", 1), ("idempotency_keys", 1)]
    {
        assert!(proof["counts"][what].as_i64().unwrap_or(0) >= least, "{what}: {proof}");
    }
    assert_eq!(app.get(&format!("/v1/messages/{scheduled}")).await.status, 404);
    // States and counts stay; what named the address does not.
    let bounced = app.message(&ids[0]).await;
    let place = bounced["recipients"][0]["email"].as_str().unwrap().to_owned();
    assert!(place.starts_with("erased-") && place.ends_with("@erased.invalid"), "{place}");
    assert_eq!(status_of(&bounced, &place), "bounced");
    assert_eq!(app.get(&format!("/v1/messages/{}/raw", ids[0])).await.json()["type"], "/problems/body-not-kept");
    assert_eq!(app.message(&ids[2]).await["from"], place);
    assert_eq!(
        (&app.message(&ids[4]).await["metadata"], &app.message(&ids[5]).await["subject"]),
        (&json!({}), &json!(""))
    );
    // What does not name it is as it was.
    assert_eq!(app.get(&format!("/v1/messages/{}/raw", ids[8])).await.status, 200);
    // A neighbour's mail is the neighbour's.
    let their_path = format!("/v1/messages/{}", theirs["id"].as_str().unwrap());
    assert_eq!(app.get_as(&neighbour, &their_path).await.json()["recipients"][0]["email"], ADDRESS);
    assert!(app.get_as(&neighbour, &format!("{their_path}/raw")).await.text().contains(ADDRESS));
    let their_admin = admin(&app, "neighbour").await;
    assert_eq!(app.get_as(&their_admin, &format!("/v1/erasures/{id}")).await.status, 404);
    let theirs = erase(&app, &their_admin, ADDRESS).await;
    let their_proof = done(&app, &their_admin, &theirs).await;
    assert_ne!(their_proof["address_hash"], proof["address_hash"], "the salt is the project's");
    assert_eq!(named_in_dump(&app.database.url, ADDRESS), [""; 0]);

    // It stays suppressed, by its hash.
    let listed = app.get("/v1/suppressions").await.json();
    assert_eq!((&listed["data"][0]["email"], &listed["data"][0]["reason"]), (&proof["address_hash"], &json!("bounce")));
    let again = app.post("/v1/send", &message_to(ADDRESS)).await.json();
    assert_eq!(again["recipients"][0]["status"], "suppressed");
    let deleted = app.post("/v1/suppressions/delete", &json!({"addresses": [ADDRESS]})).await.json();
    assert_eq!(deleted["deleted"], 1);
}

#[tokio::test]
async fn what_is_not_settled_is_cancelled_for_the_address_and_waited_for_otherwise() {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.starts_with("slow") || to == ADDRESS => Do::Reply("450 4.3.0 later"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "1h").start().await;
    let deferred = |message: &Value, email: &str| status_of(message, email) == "deferred";
    let own = app.send(&message_to(ADDRESS)).await;
    app.until(&own, "the first try", |message| deferred(message, ADDRESS)).await;
    let mut shared = message_to("slow@example.net");
    shared["reply_to"] = json!(ADDRESS);
    let shared = app.send(&shared).await;
    app.until(&shared, "the first try", |message| deferred(message, "slow@example.net")).await;
    let longer = app.send(&message_to("x-forget.me@gone.example")).await;
    let tagged = app.send(&message_to("forget.me+tag@gone.example")).await;
    app.settled(&longer).await;
    app.settled(&tagged).await;
    let ours = admin(&app, "shop").await;
    let id = erase(&app, &ours, ADDRESS).await;
    app.database.until_count("SELECT count(*) FROM erasures_waiting w JOIN erasures e ON e.id = w.erasure_id", 1).await;
    let cancelled = app.until(&own, "the erasure", |message| message["status"] != "processing").await;
    assert_eq!(cancelled["recipients"][0]["status"], "cancelled");
    assert!(app.get(&format!("/v1/messages/{shared}/raw")).await.text().contains(ADDRESS), "it is still owed");
    assert_eq!(app.get_as(&ours, &format!("/v1/erasures/{id}")).await.json()["status"], "pending");
    app.post(&format!("/v1/messages/{shared}/cancel"), &json!({})).await;
    let proof = done(&app, &ours, &id).await;
    assert_eq!(proof["counts"]["cancelled"], 1);
    assert_eq!(app.get(&format!("/v1/messages/{shared}/raw")).await.status, 404);
    for (message, email) in [(&longer, "x-forget.me@gone.example"), (&tagged, "forget.me+tag@gone.example")] {
        assert_eq!(app.message(message).await["recipients"][0]["email"], email);
        assert!(app.get(&format!("/v1/messages/{message}/raw")).await.text().contains(email));
    }
}

#[tokio::test]
async fn an_erasure_whose_process_was_killed_is_finished_by_another_and_no_log_names_the_address() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "send,admin").await;
    let path = std::env::temp_dir().join(format!("mailwright-erasure-{}.log", std::process::id()));
    let start = async || {
        let log = std::fs::File::options().create(true).append(true).open(&path).unwrap();
        let arguments = ["http.listen=127.0.0.1:0", "log.level=debug", "delivery.route=sandbox"];
        let arguments: Vec<_> = ["serve"].into_iter().chain(arguments.iter().flat_map(|s| ["--set", s])).collect();
        let mut serve = command(&database.url, &arguments);
        serve.stderr(Stdio::from(log));
        Server::from_command(serve).await
    };
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let server = start().await;
    let mut client = Client::new(&server.address);
    for _ in 0..3 {
        let body = message_to(ADDRESS).to_string().into_bytes();
        assert_eq!(client.request("POST", "/v1/send", &headers, body).await.unwrap().status, 202);
    }
    database.until_count("SELECT count(*) FROM recipients WHERE status = 'delivered'", 3).await;
    let mut holder = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM recipients FOR UPDATE").execute(&mut *lock).await.unwrap();
    let body = json!({"address": ADDRESS}).to_string().into_bytes();
    assert_eq!(client.request("POST", "/v1/erasures", &headers, body).await.unwrap().status, 202);
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    within("the erasure to be in the middle", async {
        while database.count(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.kill().await;
    lock.rollback().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM erasures WHERE address IS NOT NULL").await, 1);
    // The turn of the process that was killed is over.
    database.execute("UPDATE erasures SET look_at = 'epoch'").await;
    let server = start().await;
    database.until_count("SELECT count(*) FROM erasures WHERE finished_at IS NOT NULL", 1).await;
    assert_eq!(named_in_dump(&database.url, ADDRESS), [""; 0]);
    server.kill().await;
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(log.contains("an address was erased"));
    let named: Vec<_> = log.lines().filter(|line| line.contains(ADDRESS)).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[tokio::test]
async fn a_settled_message_is_erased_and_a_repetition_sends_nothing() {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.starts_with("slow") => Do::Reply("450 4.3.0 later"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "1h").start().await;
    let erase = async |id: &str, query: &str| {
        app.call_as(&app.live, "DELETE", &format!("/v1/messages/{id}{query}"), &[], vec![]).await
    };
    let key = [("idempotency-key", "once")];
    let body = message_to("a@example.net").to_string().into_bytes();
    let sent = app.call_as(&app.live, "POST", "/v1/send", &key, body.clone()).await.json();
    let id = sent["id"].as_str().unwrap();
    app.settled(id).await;
    assert_eq!(erase(id, "").await.status, 204);
    for path in ["", "/raw", "/events", "/attempts", "/explain"] {
        assert_eq!(app.get(&format!("/v1/messages/{id}{path}")).await.status, 404, "{path}");
    }
    assert_eq!(erase(id, "").await.status, 404);
    assert_eq!(named_in_dump(&app.database.url, "a@example.net"), [""; 0]);
    let again = app.call_as(&app.live, "POST", "/v1/send", &key, body).await;
    assert_eq!((again.status, again.header("idempotent-replayed"), &again.json()["id"]), (202, "true", &sent["id"]));
    assert!(!again.text().contains("a@example.net"));
    assert_eq!(sink.taken_count(), 1);
    // What is not settled is cancelled first, if that is wished.
    let slow = app.send(&message_to("slow@example.net")).await;
    app.until(&slow, "the first try", |message| status_of(message, "slow@example.net") == "deferred").await;
    let mut later = message_to("a@example.net");
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(
        mailwright::domain::clock::Clock::now(&*app.clock) + Duration::from_hours(2)
    ));
    let scheduled = app.send(&later).await;
    for id in [slow, scheduled] {
        let refused = erase(&id, "").await;
        assert_eq!((refused.status, &refused.json()["type"]), (409, &json!("/problems/unsettled")));
        assert_eq!(app.message(&id).await["id"], id);
        assert_eq!(erase(&id, "?cancel=true").await.status, 204);
        assert_eq!(app.get(&format!("/v1/messages/{id}")).await.status, 404);
    }
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
}

#[tokio::test]
async fn what_a_project_keeps_no_longer_is_purged_and_nothing_unsettled_ever() {
    let app = Setup::new().set("delivery.route", "sandbox").start().await;
    let ours = admin(&app, "shop").await;
    let spans = json!({"bodies": "24h", "metadata": 1, "transcripts": "1d", "events": "24h"});
    let put = call(&app, &ours, "PUT", "/v1/retention", &spans).await;
    assert_eq!((put.status, &put.json()["bodies"]), (200, &json!("1d")), "{}", put.text());
    let mut message = message_to("a@example.net");
    message["metadata"] = json!({"k": "v"});
    let (old, open, told) = (app.send(&message).await, app.send(&message).await, app.send(&message).await);
    for id in [&old, &open, &told] {
        app.settled(id).await;
    }
    let uuid = |id: &str| id.strip_prefix("msg_").unwrap().to_owned();
    let mut later = message.clone();
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(
        mailwright::domain::clock::Clock::now(&*app.clock) + Duration::from_hours(30)
    ));
    let scheduled = app.send(&later).await;
    // One is owed again, and of another an endpoint is still to be told.
    let endpoint = json!({"url": "http://127.0.0.1:9/", "events": ["message.expired"]});
    assert_eq!(app.post("/v1/webhooks", &endpoint).await.status, 201);
    app.database
        .execute(&format!(
            "UPDATE recipients SET status = 'queued', settled_at = NULL WHERE message_id = '{}'; \
             INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at) \
             SELECT e.shard, gen_random_uuid(), w.id, e.message_id, e.id, 'infinity' FROM events e, webhook_endpoints w \
             WHERE message_id = '{}' AND e.type = 'message.queued'; \
             UPDATE attempts SET transcript = 'said'",
            uuid(&open),
            uuid(&told),
        ))
        .await;
    // What was not turned into jobs yet is owed as well: the feeder has to have come past these.
    app.clock.advance(Duration::from_mins(10));
    let fed = "SELECT count(*) FROM webhook_positions WHERE fed_until > now() + interval '6 minutes'";
    app.database.until_count(fed, 1).await;
    app.clock.advance(Duration::from_hours(25));
    let young = app.send(&message).await;
    app.settled(&young).await;
    app.database
        .until_count(
            &format!("SELECT count(*) FROM events WHERE message_id IN ('{}', '{}')", uuid(&old), uuid(&told)),
            1,
        )
        .await;
    let kinds = format!(
        "SELECT (SELECT count(*) FROM message_bodies WHERE message_id = '{0}') \
         + (SELECT count(*) FROM sandbox_messages WHERE message_id = '{0}') \
         + (SELECT count(*) FROM attempts WHERE message_id = '{0}' AND transcript <> '') \
         + (SELECT count(*) FROM messages WHERE id = '{0}' AND metadata <> '{{}}') \
         + (SELECT count(*) FROM events WHERE message_id = '{0}')",
        uuid(&old)
    );
    app.database.until_count(&kinds, 0).await;
    assert_eq!(app.message(&old).await["recipients"][0]["status"], "delivered");
    assert_eq!(app.get(&format!("/v1/messages/{old}/raw")).await.json()["type"], "/problems/body-not-kept");
    for id in [&open, &young] {
        assert_eq!(app.get(&format!("/v1/messages/{id}/raw")).await.status, 200);
        assert_eq!(app.message(id).await["metadata"], json!({"k": "v"}));
        assert!(!app.events(id).await.is_empty());
    }
    // What waits in the schedule leaves it whole, although its id is old by then.
    app.clock.advance(Duration::from_hours(6));
    let sent = app.settled(&scheduled).await;
    assert_eq!((&sent["metadata"], &sent["recipients"][0]["status"]), (&json!({"k": "v"}), &json!("delivered")));
    // Settled for long enough, what was put aside is purged too.
    app.database
        .execute(&format!(
            "UPDATE recipients SET status = 'delivered', settled_at = now() WHERE message_id = '{}'; \
             DELETE FROM webhook_jobs; UPDATE retention_held SET look_at = 'epoch'; UPDATE retention SET look_at = 'epoch'",
            uuid(&open)
        ))
        .await;
    let left = "SELECT count(*) FROM events WHERE message_id IN";
    app.database.until_count(&format!("{left} ('{}', '{}')", uuid(&open), uuid(&told)), 0).await;
    assert!(!app.events(&scheduled).await.is_empty(), "it was settled a moment ago");
}

#[tokio::test]
async fn a_span_is_bounded_by_the_installation_and_set_by_live_admins_alone() {
    let app = Setup::new().paused().start().await;
    let ours = admin(&app, "shop").await;
    let wrong = json!({"bodies": "31d", "metadata": "59m", "transcripts": "soon", "events": true, "body": "1d"});
    let answer = call(&app, &ours, "PUT", "/v1/retention", &wrong).await;
    let faults = answer.faults();
    let codes: Vec<_> = faults.iter().map(|(at, code)| (at.as_str(), code.as_str())).collect();
    assert_eq!(answer.status, 422);
    for fault in [
        ("/bodies", "invalid_limit"),
        ("/metadata", "invalid_limit"),
        ("/transcripts", "invalid_limit"),
        ("/events", "wrong_type"),
        ("/body", "unknown_field"),
    ] {
        assert!(codes.contains(&fault), "{fault:?} in {codes:?}");
    }
    let shown = app.get_as(&ours, "/v1/retention").await.json();
    assert_eq!((&shown["bodies"], &shown["installation"]["bodies"]), (&Value::Null, &json!("30d")));
    assert_eq!(call(&app, &ours, "PUT", "/v1/retention", &json!({"bodies": "7d"})).await.json()["bodies"], "7d");
    assert_eq!(call(&app, &ours, "PUT", "/v1/retention", &json!({})).await.json()["bodies"], Value::Null);
    assert_eq!(app.get("/v1/retention").await.status, 403);
    let test = create_key(&app.database.url, "shop", "test", "admin").await;
    assert_eq!(call(&app, &test, "PUT", "/v1/retention", &json!({})).await.json()["type"], "/problems/test-only");
    let refused = call(&app, &test, "POST", "/v1/erasures", &json!({"address": ADDRESS})).await;
    assert_eq!(refused.json()["type"], "/problems/test-only");
    let faults = call(&app, &ours, "POST", "/v1/erasures", &json!({"address": "nobody"})).await.faults();
    assert_eq!(faults, [("/address".to_owned(), "invalid_address".to_owned())]);
    let faults = call(&app, &ours, "POST", "/v1/erasures", &json!({})).await.faults();
    assert_eq!(faults, [("/address".to_owned(), "required".to_owned())]);
}
