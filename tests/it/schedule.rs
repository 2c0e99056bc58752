//! Mail for later, and mail that is asked back: sent when its time comes and not before, changed and cancelled as long as it
//! has not begun, and the answer is what happened.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mailwright::app::Role;
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::http::Answer;
use crate::support::process::{Server, create_key};
use crate::support::sink::{Do, Gate, Sink, Step};
use crate::support::{database::Database, within};

fn instant(app: &App, seconds: i64) -> String {
    let at = mailwright::domain::clock::Clock::now(&*app.clock) + time::Duration::seconds(seconds);
    let at = at.replace_millisecond(at.millisecond()).unwrap();
    mailwright::domain::clock::rfc3339(at)
}

fn later(app: &App, to: &str, seconds: i64) -> Value {
    let mut message = message_to(to);
    message["send_at"] = json!(instant(app, seconds));
    message
}

async fn patch(app: &App, id: &str, body: &Value) -> Answer {
    app.call_as(&app.live, "PATCH", &format!("/v1/messages/{id}"), &[], body.to_string().into_bytes()).await
}

async fn cancel(app: &App, id: &str) -> Value {
    let answer = app.post(&format!("/v1/messages/{id}/cancel"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_scheduled_message_waits_keeps_its_ids_and_is_composed_when_its_time_comes() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let mut message = later(&app, "a@example.net", 3600);
    message["cc"] = json!("c@example.net");
    message["tags"] = json!(["t"]);
    message["metadata"] = json!({"k": "v"});
    message["ttl_seconds"] = json!(600);
    let answer = app.post("/v1/send", &message).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let accepted = answer.json();
    assert_eq!((&accepted["status"], &accepted["recipients"][0]["status"]), (&json!("scheduled"), &json!("scheduled")));
    let id = accepted["id"].as_str().unwrap();
    let waiting = app.message(id).await;
    assert_eq!((&waiting["status"], &waiting["counts"]["scheduled"]), (&json!("scheduled"), &json!(2)));
    assert_eq!((&waiting["send_at"], &waiting["metadata"]), (&message["send_at"], &json!({"k": "v"})));
    assert_eq!(app.get("/v1/messages?status=scheduled&to=C@example.net&tag=t").await.json()["data"][0]["id"], id);
    assert_eq!(app.get("/v1/messages").await.json()["data"][0]["recipients"][1]["email"], "c@example.net");
    for part in ["events", "attempts"] {
        assert_eq!(app.get(&format!("/v1/messages/{id}/{part}")).await.json()["data"], json!([]));
    }
    assert_eq!(app.get(&format!("/v1/messages/{id}/raw")).await.status, 404);
    assert_eq!(app.get(&format!("/v1/messages/{id}/explain")).await.status, 200);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0, "it is no backlog");
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(sink.until_taken(2).await.len(), 2);
    let sent = app.settled(id).await;
    assert_eq!((&sent["created_at"], &sent["send_at"]), (&accepted["created_at"], &message["send_at"]));
    let ids =
        |message: &Value| message["recipients"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&accepted), ids(&sent));
    assert_eq!(app.database.count("SELECT count(*) FROM scheduled_messages").await, 0);
    let raw = app.get(&format!("/v1/messages/{id}/raw")).await.text();
    let date = raw.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap();
    let date = time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc2822).unwrap();
    let wanted = mailwright::domain::clock::parse_rfc3339(message["send_at"].as_str().unwrap()).unwrap();
    assert!(date >= wanted - time::Duration::SECOND, "dated when it is sent: {date} {wanted}");
    app.stop().await;
}

#[tokio::test]
async fn an_instant_that_is_no_good_is_refused_and_one_of_the_last_day_is_now() {
    let app = Setup::new().paused().start().await;
    for (send_at, code) in [
        (instant(&app, 91 * 86_400), "too_far"),
        (instant(&app, -90_000), "in_the_past"),
        ("tomorrow".to_owned(), "invalid_time"),
    ] {
        let mut message = message_to("a@example.net");
        message["send_at"] = json!(send_at);
        assert_eq!(app.post("/v1/send", &message).await.faults(), [("/send_at".to_owned(), code.to_owned())]);
    }
    let mut expired = later(&app, "a@example.net", 3600);
    expired["expires_at"] = json!(instant(&app, 1800));
    assert_eq!(app.post("/v1/send", &expired).await.faults()[0], ("/expires_at".to_owned(), "in_the_past".to_owned()));
    assert_eq!(app.post("/v1/send", &later(&app, "a@example.net", -60)).await.json()["status"], "queued");
    assert_eq!(app.post("/v1/send", &later(&app, "a@example.net", 89 * 86_400)).await.json()["status"], "scheduled");
    app.stop().await;
}

#[tokio::test]
async fn a_scheduled_message_is_changed_and_cancelled_and_its_key_names_it_for_a_day_beyond_its_time() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let message = later(&app, "a@example.net", 40 * 86_400);
    let keyed = async || {
        let headers = [("idempotency-key", "later-1")];
        app.call_as(&app.live, "POST", "/v1/send", &headers, message.to_string().into_bytes()).await
    };
    let first = keyed().await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    app.clock.advance(Duration::from_hours(48));
    let again = keyed().await;
    assert_eq!((again.header("idempotent-replayed"), again.text()), ("true", first.text()));
    assert_eq!(app.get("/v1/messages?idempotency_key=later-1").await.json()["data"][0]["id"], id);
    let moved = patch(&app, &id, &json!({"send_at": instant(&app, 3600), "expires_at": instant(&app, 7200)})).await;
    assert_eq!(moved.status, 200, "{}", moved.text());
    let moved = moved.json();
    assert_eq!((&moved["status"], &moved["recipients"][0]["result"]), (&json!("scheduled"), &json!("edited")));
    for (body, pointer) in [
        (json!({}), "/send_at"),
        (json!({"send_at": instant(&app, 8000)}), "/send_at"),
        (json!({"expires_at": instant(&app, -10)}), "/expires_at"),
        (json!({"subject": "x"}), "/subject"),
    ] {
        let faults = patch(&app, &id, &body).await.faults();
        assert!(faults.iter().any(|(at, _)| at == pointer), "{body} {faults:?}");
    }
    // Cancelled, long before the day in which it was to be sent.
    let cancelled = cancel(&app, &id).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["recipients"][0]["result"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(app.events(&id).await.iter().map(|e| e["type"].clone()).collect::<Vec<_>>(), ["message.cancelled"]);
    assert_eq!(keyed().await.text(), first.text(), "the answer stays what it was");
    assert_eq!(cancel(&app, &id).await["recipients"][0]["result"], "too_late");
    assert_eq!(
        patch(&app, &id, &json!({"send_at": instant(&app, 60)})).await.json()["recipients"][0]["result"],
        "too_late"
    );
    // What is wished now is sent now.
    let other = app.send(&later(&app, "b@example.net", 3600)).await;
    let retried = app.post(&format!("/v1/messages/{other}/retry"), &json!({})).await.json();
    assert_eq!(retried["recipients"][0]["result"], "retried");
    assert_eq!(sink.until_taken(1).await[0].recipient, "b@example.net");
    app.stop().await;
}

#[tokio::test]
async fn what_waits_in_the_queue_is_cancelled_edited_and_retried_and_what_ended_is_not() {
    let known = std::sync::Mutex::new(HashSet::new());
    let sink = Sink::setup()
        .script(move |step, _| match step {
            Step::Rcpt(to) if known.lock().unwrap().insert(to.clone()) => Do::Reply("451 4.7.1 Greylisted, try again"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "1h").start().await;
    let deferred = async |to: &str| {
        let id = app.send(&message_to(to)).await;
        app.until(&id, "a deferral", |message| status_of(message, to) == "deferred").await;
        id
    };
    let one = deferred("a@example.net").await;
    let edited = patch(&app, &one, &json!({"expires_at": instant(&app, 60)})).await.json();
    assert_eq!(edited["recipients"][0]["result"], "edited");
    let cancelled = cancel(&app, &one).await;
    assert_eq!(
        cancelled["recipients"][0],
        json!({"id": cancelled["recipients"][0]["id"], "email": "a@example.net", "result": "cancelled", "status": "cancelled"})
    );
    let events: Vec<_> = app.events(&one).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(events, ["message.queued", "message.deferred", "message.cancelled"]);
    let two = deferred("b@example.net").await;
    app.post(&format!("/v1/messages/{two}/retry"), &json!({})).await;
    app.settled(&two).await;
    assert_eq!(status_of(&app.message(&two).await, "b@example.net"), "delivered");
    assert_eq!(cancel(&app, &two).await["recipients"][0]["result"], "too_late");
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn what_a_process_has_in_hand_is_cancelled_before_mail_and_too_late_behind_it_from_any_process() {
    let gate = Gate::closed();
    let held = gate.held();
    // The message is there, and nothing is said about it yet.
    let script = move |step: &Step, _| if matches!(step, Step::Dot(_)) { held.clone() } else { Do::Usual };
    let sink = Sink::setup().script(script).start().await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).start().await;
    // Another process, which delivers nothing, is asked.
    let other = Setup::new().on(&app.database).roles(&[Role::Api]).start().await;
    let begun = app.send(&message_to("begun@example.net")).await;
    sink.until_taken(1).await;
    let waiting = app.send(&message_to("waiting@example.net")).await;
    let here = app.send(&message_to("here@example.net")).await;
    let result = |answer: Value| answer["recipients"][0]["result"].as_str().unwrap().to_owned();
    let there = async |id: &str| {
        let answer = other.call_as(&app.live, "POST", &format!("/v1/messages/{id}/cancel"), &[], b"{}".to_vec()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    assert_eq!(result(there(&waiting).await), "cancelled");
    assert_eq!(result(cancel(&app, &here).await), "cancelled");
    assert_eq!(result(there(&begun).await), "too_late");
    gate.open();
    app.settled(&begun).await;
    assert_eq!(sink.taken_count(), 1);
    assert_eq!(app.message(&waiting).await["status"], "cancelled");
    other.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_greets_nobody_is_no_beginning() {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    within("a connection", async {
        while sink.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(cancel(&app, &id).await["recipients"][0]["result"], "cancelled");
    gate.open();
    let next = app.send(&message_to("b@example.net")).await;
    app.settled(&next).await;
    assert_eq!(sink.taken_count(), 1, "only the other one");
    app.stop().await;
}

#[tokio::test]
async fn many_are_cancelled_by_tag_by_batch_and_by_their_ids() {
    let app = Setup::new().paused().start().await;
    let mut tagged = message_to("a@example.net");
    tagged["tags"] = json!(["night"]);
    let mut later = later(&app, "b@example.net", 600);
    later["tags"] = json!(["night"]);
    let batch =
        app.post("/v1/send/batch", &json!({"messages": [tagged, later, message_to("c@example.net")]})).await.json();
    let single = app.send(&tagged).await;
    let untouched = app.send(&message_to("d@example.net")).await;
    let cancel = async |body: Value| app.post("/v1/messages/cancel", &body).await;
    let done = cancel(json!({"tag": "night"})).await.json();
    assert_eq!((done["data"].as_array().unwrap().len(), &done["next_cursor"]), (3, &json!(null)));
    assert!(done["data"].as_array().unwrap().iter().all(|message| message["status"] == "cancelled"));
    let done = cancel(json!({"batch_id": batch["batch_id"]})).await.json();
    assert_eq!(done["data"][0]["recipients"][0]["email"], "c@example.net");
    let done = cancel(json!({"ids": [single, untouched]})).await.json();
    let results: Vec<_> =
        done["data"].as_array().unwrap().iter().map(|m| m["recipients"][0]["result"].clone()).collect();
    assert_eq!(results, ["cancelled", "too_late"], "newest first");
    for body in [json!({}), json!({"tag": "x", "ids": []}), json!({"ids": ["x"]}), json!({"batch_id": "bat_x"})] {
        assert_eq!(cancel(body).await.status, 422);
    }
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn a_cancellation_that_races_a_release_says_what_happened() {
    // More of them, in more orders: scripts/nightly.
    let count = if std::env::var_os("MAILWRIGHT_NIGHTLY").is_some() { 10_000 } else { 300 };
    let sink = Sink::start().await;
    let app = Arc::new(Setup::new().route_to(sink.address).start().await);
    let mut ids = Vec::new();
    for chunk in 0..count / 100 {
        let messages: Vec<_> = (0..100).map(|n| later(&app, &format!("u{}@example.net", chunk * 100 + n), 2)).collect();
        let answer = app.post("/v1/send/batch", &json!({"messages": messages})).await.json();
        let results = answer["results"].as_array().unwrap().clone();
        ids.extend(results.into_iter().map(|result| result["id"].as_str().unwrap().to_owned()));
    }
    app.clock.advance(Duration::from_secs(2));
    let mut cancelling = tokio::task::JoinSet::new();
    for part in ids.chunks(count / 8 + 1).map(<[_]>::to_vec) {
        let app = Arc::clone(&app);
        cancelling.spawn(async move {
            let mut results = Vec::new();
            for id in part {
                let result = cancel(&app, &id).await["recipients"][0]["result"].as_str().unwrap().to_owned();
                results.push((id, result));
            }
            results
        });
    }
    let results: HashMap<_, _> = cancelling.join_all().await.into_iter().flatten().collect();
    let mut taken = 0;
    for (id, result) in &results {
        let status = app.settled(id).await["status"].as_str().unwrap().to_owned();
        match &**result {
            "cancelled" => assert_eq!(status, "cancelled"),
            "too_late" => {
                assert_eq!(status, "delivered");
                taken += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((results.len(), sink.taken_count()), (count, taken), "each is sent or cancelled, and never both");
    Arc::into_inner(app).unwrap().stop().await;
}

#[tokio::test]
async fn what_is_scheduled_for_one_second_is_sent_once_through_a_kill_and_nothing_early() {
    // A hundred thousand, with a release build: scripts/nightly.
    let count: i64 = std::env::var("MAILWRIGHT_SCHEDULED").map_or(2000, |count| count.parse().unwrap());
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [("delivery.route", route.as_str()), ("queue.lease", "2s"), ("net.allow_private", "127.0.0.0/8")];
    let app = Setup::new().on(&database).paused().roles(&[Role::Api]).start().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let at = mailwright::domain::clock::Clock::now(&*app.clock) + time::Duration::seconds(3 + count / 2000);
    let at = at.replace_millisecond(at.millisecond()).unwrap();
    let send_at = mailwright::domain::clock::rfc3339(at);
    for chunk in 0..count / 500 {
        let messages: Vec<_> = (0..500)
            .map(|n| {
                let mut message = message_to(&format!("u{}@example.net", chunk * 500 + n));
                message["send_at"] = json!(send_at);
                message
            })
            .collect();
        let body = json!({"messages": messages}).to_string().into_bytes();
        assert_eq!(app.call_as(&key, "POST", "/v1/send/batch", &[], body).await.status, 202);
    }
    let first = Server::start(&database.url, &settings).await;
    database.until_count("SELECT least(count(*), 100) FROM messages", 100).await;
    first.kill().await;
    let began = std::time::Instant::now();
    let second = Server::start(&database.url, &settings).await;
    database.until_count("SELECT count(*) FROM scheduled_messages", 0).await;
    let released = began.elapsed();
    tracing::info!(count, ?released, "released after the kill");
    database.until_count("SELECT count(*) FROM recipients WHERE status = 'delivered'", count).await;
    let early = format!("SELECT count(*) FROM attempts WHERE started_at < '{send_at}'");
    assert_eq!(database.count(&early).await, 0, "none is early");
    let copies = i64::try_from(sink.taken_count()).unwrap();
    // A copy more is one whose lease ran out with the process that was killed, and is explained.
    let explained = database.count("SELECT count(*) FROM attempts WHERE outcome = 'uncertain'").await;
    assert!(copies >= count && copies <= count + explained, "{copies} {explained}");
    assert_eq!(database.count("SELECT count(*) FROM messages").await, count, "none is made twice");
    second.kill().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_asked_back_uploaded_or_released_opens_no_session_of_its_own() {
    let app = Setup::new().set("delivery.route", "sandbox").start().await;
    let opened = async || {
        let count = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
        app.database.count(count).await
    };
    // The pool, and what works by itself, have theirs.
    let settled = app.send(&message_to("a@example.net")).await;
    app.settled(&settled).await;
    let before = opened().await;
    for n in 0..40 {
        let id = app.send(&later(&app, &format!("u{n}@example.net"), 600)).await;
        cancel(&app, &id).await;
        cancel(&app, &settled).await;
        app.call_as(&app.live, "POST", "/v1/uploads?filename=a.txt", &[], vec![b'x'; n + 1]).await;
    }
    let due: Vec<_> = (0..64).map(|n| later(&app, &format!("d{n}@example.net"), 600)).collect();
    for message in due {
        app.send(&message).await;
    }
    app.clock.advance(Duration::from_mins(10));
    app.database.until_count("SELECT count(*) FROM scheduled_messages", 0).await;
    let opened = opened().await - before;
    assert!(opened < 30, "{opened} sessions were opened");
    app.stop().await;
}

#[tokio::test]
async fn mail_that_fails_when_its_time_comes_keeps_nobody_elses() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("dkim.cache", "1ms").start().await;
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let send = async |key: &str, domain: &str, n: usize| {
        let mut message = later(&app, &format!("u{n}@example.net"), 600);
        message["from"] = json!(format!("shop@{domain}"));
        let answer = app.call_as(key, "POST", "/v1/send", &[], message.to_string().into_bytes()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    for n in 0..30 {
        send(&app.live, "broken.example", n).await;
        send(&neighbour, "sound.example", n).await;
    }
    // In each shard there is one that cannot even be read.
    let unreadable = "INSERT INTO scheduled_messages (shard, id, project_id, mode, send_at, request, tags, created_at, summary)
        SELECT DISTINCT ON (shard) shard, overlay(id::text placing '0000' from 25 for 4)::uuid, project_id, mode, send_at,
            request, tags, created_at, '{\"size\": \"?\"}' FROM scheduled_messages ORDER BY shard, id";
    app.database.execute(unreadable).await;
    app.database
        .execute(
            "INSERT INTO dkim_keys (id, project_id, domain, selector, algorithm, private_key, created_at, signs_since) \
             SELECT gen_random_uuid(), id, 'broken.example', 's', 'rsa-sha256', 'no key', now(), now() FROM projects WHERE name = 'shop'",
        )
        .await;
    app.clock.advance(Duration::from_mins(10));
    let taken = sink.until_taken(30).await;
    assert!(taken.iter().all(|copy| copy.sender == "shop@sound.example"));
    // Once the key is gone, the others follow.
    app.database.execute("DELETE FROM dkim_keys").await;
    app.clock.advance(Duration::from_secs(6));
    sink.until_taken(60).await;
    let left = app.database.count("SELECT count(*) FROM scheduled_messages WHERE summary <> '{\"size\": \"?\"}'").await;
    assert_eq!(left, 0);
    app.stop().await;
}

#[tokio::test]
async fn whoever_scheduled_much_for_one_instant_keeps_no_neighbours() {
    let database = Arc::new(Database::new().await);
    let api = Setup::new().on(&database).paused().roles(&[Role::Api]).start().await;
    let neighbour = create_key(&database.url, "neighbour", "live", "").await;
    let batch = async |key: &str, range: std::ops::Range<usize>| {
        let messages: Vec<_> = range.map(|n| later(&api, &format!("u{n}@example.net"), 600)).collect();
        let body = json!({"messages": messages}).to_string().into_bytes();
        let answer = api.call_as(key, "POST", "/v1/send/batch", &[], body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    for part in 0..4 {
        batch(&api.live, part * 500..part * 500 + 500).await;
    }
    // The neighbour's is the last of all, in a shard of its own and in one of the noisy project's.
    batch(&neighbour, 0..3).await;
    let beside = "INSERT INTO scheduled_messages (shard, id, project_id, mode, send_at, request, tags, created_at, summary)
        SELECT n.shard, n.id, t.project_id, t.mode, t.send_at + interval '1 second', t.request, t.tags, t.created_at, t.summary
        FROM (SELECT * FROM scheduled_messages ORDER BY send_at DESC LIMIT 1) AS t,
            (SELECT shard, overlay(id::text placing '0000' from 25 for 4)::uuid AS id FROM scheduled_messages
             WHERE shard = (SELECT shard FROM scheduled_messages GROUP BY shard ORDER BY count(*) DESC LIMIT 1)
             ORDER BY id DESC LIMIT 1) AS n";
    database.execute(beside).await;
    assert_eq!(database.count("SELECT count(*) FROM scheduled_messages").await, 2004);
    let upkeep = Setup::new().on(&database).paused().roles(&[Role::Api, Role::Upkeep]).start().await;
    upkeep.clock.advance(Duration::from_mins(11));
    database.until_count("SELECT count(*) FROM scheduled_messages", 0).await;
    let before = "SELECT count(*) FROM events e JOIN projects p ON p.id = e.project_id
        WHERE p.name = 'shop' AND e.xid < (
            SELECT max(n.xid) FROM events n JOIN projects p ON p.id = n.project_id WHERE p.name = 'neighbour')";
    let before = database.count(before).await;
    assert!(before <= 800, "{before} of a neighbour's 2,000 were released before the last of these");
    upkeep.stop().await;
    api.stop().await;
}
