//! What endpoints were told is on record, can be told again, and is tried before it matters; secrets are rotated; who does not
//! answer is named.

use std::collections::BTreeSet;
use std::process::Stdio;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::app::{App, Setup, message_to};
use crate::support::process::command;
use crate::support::receiver::{Hook, Receiver};
use crate::support::sink::Sink;
use crate::support::within;

async fn start() -> (App, Sink) {
    let sink = Sink::start().await;
    (Setup::new().route_to(sink.address).start().await, sink)
}

/// Makes an endpoint; gives its path and its secret.
async fn endpoint(app: &App, url: &str, events: Value) -> (String, String) {
    let made = app.post("/v1/webhooks", &json!({"url": url, "events": events})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (format!("/v1/webhooks/{}", made["id"].as_str().unwrap()), made["secret"].as_str().unwrap().to_owned())
}

async fn deliveries(app: &App, path: &str, query: &str) -> Vec<Value> {
    app.get(&format!("{path}/deliveries{query}")).await.json()["data"].as_array().unwrap().clone()
}

/// Answers every call so.
fn failing(answer: impl Fn() -> Response + Send + Sync + 'static) -> impl Fn(usize) -> Option<Response> + Send + Sync {
    move |_| Some(answer())
}

#[tokio::test]
async fn a_call_that_fails_is_on_record_with_what_was_answered_and_when_it_is_tried_next() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("webhooks.retry", "1h").start().await;
    let receiver = Receiver::scripted(failing(|| {
        let words = [b"KeyError: 'order'\0\xff".as_slice(), &[b'x'; 5000]].concat();
        (StatusCode::INTERNAL_SERVER_ERROR, Body::from(words)).into_response()
    }))
    .await;
    let (path, _) = endpoint(&app, &receiver.url(), json!(["message.delivered"])).await;
    let id = app.send(&message_to("a@example.net")).await;
    app.database.until_count("SELECT count(*) FROM webhook_jobs WHERE tries <> '[]' AND lease_token IS NULL", 1).await;
    let listed = deliveries(&app, &path, "?status=pending").await;
    let one = &listed[0];
    assert_eq!((&one["status"], &one["attempts"], &one["response_code"]), (&json!("pending"), &json!(1), &json!(500)));
    assert_eq!((&one["event_type"], &one["message_id"]), (&json!("message.delivered"), &json!(id)));
    assert!(one["next_try_at"].is_string() && one["settled_at"].is_null(), "{one}");
    let made = &one["tries"][0];
    let answer = made["answer"].as_str().unwrap();
    assert!(answer.starts_with("KeyError: 'order'\u{fffd}\u{fffd}x") && answer.len() <= 1024, "{answer}");
    assert_eq!((&made["detail"], &made["response_code"]), (&json!("answered 500"), &json!(500)));
    for query in ["?status=failed", "?status=succeeded"] {
        assert_eq!(deliveries(&app, &path, query).await, Vec::<Value>::new());
    }
    // What was sent is shown byte for byte.
    let event = one["event_id"].as_str().unwrap();
    let shown = app.get(&format!("{path}/deliveries/{event}")).await.json();
    assert_eq!(shown["request"]["body"].as_str().unwrap().as_bytes(), receiver.hooks()[0].body);
    let of_message = app.get(&format!("/v1/messages/{id}/webhooks")).await.json();
    assert_eq!(of_message["data"], json!([one]));
    // A disabled endpoint has no next try.
    app.call_as(&app.live, "PATCH", &path, &[], b"{\"enabled\": false}".to_vec()).await;
    assert_eq!(deliveries(&app, &path, "").await[0]["next_try_at"], Value::Null);
    app.stop().await;
}

#[tokio::test]
async fn an_answer_without_end_neither_holds_the_caller_nor_grows_the_record() {
    let (app, _sink) = start().await;
    let receiver = Receiver::scripted(|n| {
        let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'a'; 16 << 10]));
        let silent = futures_util::StreamExt::chain(
            futures_util::stream::iter([Ok::<_, std::io::Error>(b"first".to_vec())]),
            futures_util::stream::pending(),
        );
        Some(if n == 0 { Body::from_stream(endless) } else { Body::from_stream(silent) }.into_response())
    })
    .await;
    let (path, _) = endpoint(&app, &receiver.url(), json!(["message.queued", "message.delivered"])).await;
    app.send(&message_to("a@example.net")).await;
    app.database.until_count("SELECT count(*) FROM webhook_deliveries WHERE status = 'succeeded'", 2).await;
    let answers: BTreeSet<_> = deliveries(&app, &path, "")
        .await
        .iter()
        .map(|one| one["tries"][0]["answer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(answers, BTreeSet::from(["a".repeat(1024), "first".to_owned()]));
    app.stop().await;
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_sign_and_afterwards_the_new_one_alone() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    let (path, old) = endpoint(&app, &receiver.url(), json!(["message.delivered"])).await;
    let rotate = async |body: Value| app.post(&format!("{path}/rotate-secret"), &body).await;
    let key = app.get(&path).await.json()["public_key"].clone();
    let rotated = rotate(json!({})).await.json();
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert!(
        new != old
            && rotated["public_key"] != key
            && rotated["public_key"] == app.get(&path).await.json()["public_key"]
    );
    app.send(&message_to("a@example.net")).await;
    let hooks = receiver.until(1).await;
    assert!(hooks[0].is_signed_by(&old) && hooks[0].is_signed_by(&new));
    let signatures = hooks[0].headers["webhook-signature"].to_str().unwrap().to_owned();
    let schemes: Vec<_> = signatures.split(' ').map(|one| one.split_once(',').unwrap().0).collect();
    assert_eq!(schemes, ["v1", "v1", "v1a", "v1a"]);
    // The day passes.
    app.database.execute("UPDATE webhook_old_secrets SET until = until - interval '24 hours'").await;
    app.send(&message_to("b@example.net")).await;
    let hooks = receiver.until(2).await;
    assert!(!hooks[1].is_signed_by(&old) && hooks[1].is_signed_by(&new));
    // One that was lost ends at once, and what it replaced with it.
    let third = rotate(json!({"overlap_seconds": 3600})).await.json()["secret"].as_str().unwrap().to_owned();
    let fourth = rotate(json!({"overlap_seconds": 0})).await.json()["secret"].as_str().unwrap().to_owned();
    app.send(&message_to("c@example.net")).await;
    let hooks = receiver.until(3).await;
    assert!(!hooks[2].is_signed_by(&new) && !hooks[2].is_signed_by(&third) && hooks[2].is_signed_by(&fourth));
    // However often it is rotated, the header stays short.
    for _ in 0..9 {
        rotate(json!({})).await;
    }
    assert_eq!(app.database.count("SELECT count(*) FROM webhook_old_secrets").await, 4);
    let refused = rotate(json!({"overlap_seconds": -1})).await;
    assert_eq!((refused.status, &*refused.faults()[0].0), (422, "/overlap_seconds"));
    app.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_tested_before_it_matters() {
    let (app, _sink) = start().await;
    let receiver = Receiver::scripted(|n| match n {
        0 => Some((StatusCode::OK, "thanks").into_response()),
        1 => Some((StatusCode::FOUND, [("location", "/login")], "go").into_response()),
        _ => None,
    })
    .await;
    let (path, secret) = endpoint(&app, &receiver.url(), json!(["message.delivered"])).await;
    app.call_as(&app.live, "PATCH", &path, &[], b"{\"enabled\": false}".to_vec()).await;
    let test = format!("{path}/test");
    let said = app.post(&test, &json!({})).await.json();
    assert_eq!(
        (&said["succeeded"], &said["response_code"], &said["answer"]),
        (&json!(true), &json!(200), &json!("thanks"))
    );
    assert_eq!(said["type"], "webhook.test");
    let said = app.post(&test, &json!({"type": "message.bounced"})).await.json();
    assert_eq!(
        (&said["succeeded"], &said["response_code"], &said["answer"]),
        (&json!(false), &json!(302), &json!("go"))
    );
    let hooks = receiver.until(2).await;
    assert!(hooks.iter().all(|hook| hook.is_signed_by(&secret)));
    assert_eq!((hooks[0].kind(), hooks[1].kind()), ("webhook.test".to_owned(), "message.bounced".to_owned()));
    assert_eq!(hooks[1].json()["data"]["reply"]["code"], 550);
    // One that hangs keeps its project's next test waiting, and nobody else's.
    let body = json!({}).to_string().into_bytes();
    let hanging = app.call_as(&app.live, "POST", &test, &[], body.clone());
    let other = async {
        receiver.until(3).await;
        app.call_as(&app.live, "POST", &test, &[], body.clone()).await
    };
    tokio::select! {
        _ = hanging => panic!("it answered"),
        other = other => assert_eq!((other.status, other.header("retry-after")), (503, "1")),
    }
    let unknown = app.post(&test, &json!({"type": "message.eaten"})).await;
    assert_eq!((unknown.status, unknown.faults()[0].clone()), (422, ("/type".to_owned(), "unknown_event".to_owned())));
    app.stop().await;
}

#[tokio::test]
async fn what_was_told_is_told_again_by_id_by_time_and_by_failure() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("webhooks.retry", "50ms").start().await;
    // The third event's calls fail.
    let receiver = Receiver::scripted(|n| {
        Some(if [2, 3].contains(&n) { StatusCode::BAD_GATEWAY } else { StatusCode::OK }.into_response())
    })
    .await;
    let (path, _) = endpoint(&app, &receiver.url(), json!(["message.delivered"])).await;
    for n in 0..3 {
        app.send(&message_to(&format!("m{n}@example.net"))).await;
        app.database.until_count("SELECT count(*) FROM webhook_deliveries", n + 1).await;
    }
    let told: Vec<_> = receiver.until(4).await.iter().map(|hook| hook.id().to_owned()).collect();
    let replay = async |body: Value| {
        let made = app.post(&format!("{path}/replay"), &body).await;
        assert_eq!(made.status, 202, "{}", made.text());
        app.database.until_count("SELECT count(*) FROM webhook_replays WHERE done_at IS NULL", 0).await;
        app.database.until_count("SELECT count(*) FROM webhook_jobs", 0).await;
        receiver.hooks().iter().map(|hook| hook.id().to_owned()).collect::<Vec<_>>()
    };
    // By id, under the same id and once; what is foreign or unknown is nobody's.
    let all = replay(json!({"event_ids": [told[1], told[1], "evt_0199e4c7a1b27c3d8e9f0a1b2c3d4e5f"]})).await;
    assert_eq!(all[4..], [told[1].clone()]);
    let done = app.get(&format!("{path}/replays")).await.json()["data"][0].clone();
    assert_eq!((&done["status"], &done["events"]), (&json!("done"), &json!(1)));
    // What failed, and nothing else.
    let all = replay(json!({"since": "2026-01-01T00:00:00Z", "status": "failed"})).await;
    assert_eq!(all[5..], [told[2].clone()]);
    assert_eq!(deliveries(&app, &path, "?status=failed").await, Vec::<Value>::new(), "this time it was taken");
    let one = &deliveries(&app, &path, &format!("?event_id={}", told[2])).await[0];
    assert_eq!((&one["attempts"], one["tries"].as_array().unwrap().len()), (&json!(3), 3));
    // A span of time: of the types that are named, also those that the endpoint did not ask for.
    let all = replay(json!({"since": "2026-01-01T00:00:00Z", "types": ["message.queued"]})).await;
    assert_eq!(all.len(), 9);
    let all = replay(json!({"since": "2026-01-01T00:00:00Z"})).await;
    assert_eq!(all[9..].iter().collect::<BTreeSet<_>>(), told.iter().collect(), "as the endpoint hears");
    for (body, place) in [
        (json!({}), "/event_ids"),
        (json!({"event_ids": []}), "/event_ids"),
        (json!({"event_ids": ["evt_1"]}), "/event_ids/0"),
        (json!({"event_ids": [told[0]], "since": "2026-01-01T00:00:00Z"}), "/event_ids"),
        (json!({"since": "yesterday"}), "/since"),
        (json!({"since": "2099-01-01T00:00:00Z"}), "/since"),
        (json!({"since": "2026-01-01T00:00:00Z", "types": ["message.eaten"]}), "/types/0"),
        (json!({"since": "2026-01-01T00:00:00Z", "status": "pending"}), "/status"),
    ] {
        let refused = app.post(&format!("{path}/replay"), &body).await;
        assert_eq!((refused.status, &*refused.faults()[0].0), (422, place), "{body}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_long_replay_leaves_room_for_what_is_new() {
    let database = std::sync::Arc::new(crate::support::database::Database::new().await);
    let accepting = Setup::new().on(&database).paused().start().await;
    let silent = Receiver::scripted(|_| None).await;
    let mut message = message_to("x@example.net");
    message["to"] = json!((0..1000).map(|n| format!("r{n}@example.net")).collect::<Vec<_>>());
    accepting.send(&message).await;
    let (path, _) = endpoint(&accepting, &silent.url(), json!(["*"])).await;
    for _ in 0..5 {
        let made = accepting.post(&format!("{path}/replay"), &json!({"since": "2026-01-01T00:00:00Z"})).await;
        assert_eq!(made.status, 202);
    }
    let sixth = accepting.post(&format!("{path}/replay"), &json!({"since": "2026-01-01T00:00:00Z"})).await;
    assert_eq!((sixth.status, sixth.faults()[0].1.as_str()), (422, "too_many"));
    let webhooks = Setup::new().on(&database).roles(&[mailwright::app::Role::Webhooks]).start().await;
    silent.until(8).await;
    let jobs = database.count("SELECT count(*) FROM webhook_jobs").await;
    assert!(jobs < 500, "{jobs} of 1,000");
    let fresh = accepting.send(&message_to("fresh@example.net")).await;
    let fresh = format!(
        "SELECT count(*) FROM webhook_jobs WHERE message_id = '{}'",
        uuid::Uuid::try_parse(&fresh[4..]).unwrap()
    );
    database.until_count(&fresh, 1).await;
    webhooks.stop().await;
    accepting.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_named_to_those_that_do() {
    let sink = Sink::start().await;
    let app = Setup::new()
        .route_to(sink.address)
        .set("webhooks.retry", "20ms,20ms,20ms,20ms,1h")
        .set("webhooks.stalled_after", "50ms")
        .start()
        .await;
    let dead = Receiver::scripted(failing(|| StatusCode::SERVICE_UNAVAILABLE.into_response())).await;
    let gone = Receiver::scripted(failing(|| StatusCode::GONE.into_response())).await;
    let watching = Receiver::start().await;
    let (stalled, _) = endpoint(&app, &dead.url(), json!(["message.delivered"])).await;
    let (disabled, _) = endpoint(&app, &gone.url(), json!(["message.delivered"])).await;
    endpoint(&app, &watching.url(), json!(["webhook.stalled", "webhook.disabled"])).await;
    app.send(&message_to("a@example.net")).await;
    let hooks = watching.until(2).await;
    let of = |kind: &str| hooks.iter().find(|hook| hook.kind() == kind).unwrap().json()["data"].clone();
    let id = |path: &str| json!(path.rsplit_once('/').unwrap().1);
    assert_eq!(of("webhook.stalled")["webhook_id"], id(&stalled));
    assert_eq!(of("webhook.disabled")["webhook_id"], id(&disabled));
    assert_eq!(of("webhook.disabled")["reason"], "the endpoint answered 410 Gone");
    assert!(app.get(&stalled).await.json()["stalled_since"].is_string());
    app.until_metric("mailwright_webhook_endpoints_stalled", 1.0).await;
    // The log has them, for whoever follows it; and no message's events do.
    let log = app.get("/v1/events?type=webhook.stalled&type=webhook.disabled").await.json();
    assert_eq!(log["data"].as_array().unwrap().len(), 2);
    // It is said once, until it answers again.
    assert_eq!(app.database.count("SELECT count(*) FROM events WHERE type = 'webhook.stalled'").await, 1);
    app.stop().await;
}

#[tokio::test]
async fn what_an_endpoint_is_told_says_whose_message_it_was() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    endpoint(&app, &receiver.url(), json!(["message.delivered"])).await;
    let mut message = message_to("a@example.net");
    message["cc"] = json!("b@example.net");
    let body = message.to_string().into_bytes();
    app.call_as(&app.live, "POST", "/v1/send", &[("idempotency-key", "order-7")], body).await;
    let hooks = receiver.until(2).await;
    let copy = hooks.iter().map(Hook::json).find(|hook| hook["data"]["email"] == "b@example.net").unwrap();
    let data = &copy["data"];
    assert_eq!((&data["kind"], &data["position"], &data["mode"]), (&json!("cc"), &json!(1), &json!("live")));
    assert_eq!((&data["subject"], &data["idempotency_key"]), (&message["subject"], &json!("order-7")));
    assert!(data["from"].as_str().unwrap().contains('@'));
    app.stop().await;
}

#[tokio::test]
async fn a_program_on_this_machine_is_told_without_an_endpoint() {
    let (app, _sink) = start().await;
    let receiver =
        Receiver::scripted(|n| Some(if n == 0 { StatusCode::BAD_REQUEST } else { StatusCode::OK }.into_response()))
            .await;
    app.settled(&app.send(&message_to("before@example.net")).await).await;
    let url = format!("http://{}", app.address);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
    let hook = receiver.url();
    let arguments =
        ["webhooks", "listen", "--forward", &hook, "--event", "message.delivered", "--secret", secret, "--url", &url];
    let mut listening = command(&app.database.url, &arguments);
    let mut child =
        listening.env("MAILWRIGHT_KEY", &app.live).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    within("the command to listen", async { while !said.next_line().await.unwrap().unwrap().contains("secret") {} })
        .await;
    app.send(&message_to("a@example.net")).await;
    app.send(&message_to("b@example.net")).await;
    let hooks = receiver.until(2).await;
    assert!(hooks.iter().all(|hook| hook.is_signed_by(secret) && hook.kind() == "message.delivered"));
    let told: BTreeSet<_> = hooks.iter().map(|hook| hook.json()["data"]["email"].to_string()).collect();
    assert_eq!(told, BTreeSet::from(["\"a@example.net\"".to_owned(), "\"b@example.net\"".to_owned()]));
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within("a line", printed.next_line()).await.unwrap().unwrap();
    assert!(first.starts_with("message.delivered evt_") && first.contains(" 400 in "), "{first}");
    child.kill().await.unwrap();
    app.stop().await;
}
