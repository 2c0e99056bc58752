//! Webhooks: signed so that the public verifier takes them, at least once, and never to where they must not go.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use mailwright::app::Role;
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::process::create_key;
use crate::support::receiver::Receiver;
use crate::support::sink::Sink;

async fn endpoint(app: &App, receiver: &Receiver, more: Value) -> Value {
    let mut body = json!({"url": receiver.url()});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = app.post("/v1/webhooks", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn start() -> (App, Sink) {
    let sink = Sink::start().await;
    (Setup::new().route_to(sink.address).start().await, sink)
}

#[tokio::test]
async fn every_step_comes_back_signed_and_in_sequence() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    let created = endpoint(&app, &receiver, json!({})).await;
    let secret = created["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let mut message = message_to("a@example.net");
    message["tags"] = json!(["welcome"]);
    message["metadata"] = json!({"user": "u-1"});
    let id = app.send(&message).await;
    let hooks = receiver.until(2).await;
    assert!(hooks.iter().all(|hook| hook.is_signed_by(secret)), "the public verifier takes them");
    let mut forged = hooks[0].clone();
    forged.body.push(b' ');
    assert!(!forged.is_signed_by(secret));
    let delivered = hooks.iter().find(|hook| hook.kind() == "message.delivered").unwrap().json();
    let data = &delivered["data"];
    assert_eq!(data["message_id"], id.as_str());
    assert_eq!((&data["email"], &data["sequence"], &data["attempt"]), (&json!("a@example.net"), &json!(2), &json!(1)));
    assert_eq!((&data["tags"], &data["metadata"]), (&json!(["welcome"]), &json!({"user": "u-1"})));
    assert_eq!(data["reply"]["code"], 250);
    let queued = hooks.iter().find(|hook| hook.kind() == "message.queued").unwrap();
    assert_eq!(queued.json()["data"]["sequence"], 1);
    assert_eq!(queued.id(), queued.json()["data"]["event_id"].as_str().unwrap());
    let path = format!("/v1/webhooks/{}", created["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.json().get("secret"), None, "the secret is shown once");
    app.database.until_count("SELECT count(*) FROM webhook_deliveries WHERE status = 'succeeded'", 2).await;
    assert_eq!(app.get(&format!("{path}/deliveries")).await.json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_failing_endpoint_is_tried_again_with_the_same_id_and_body() {
    let (app, _sink) = start().await;
    let receiver = Receiver::scripted(|n| {
        Some(if n < 2 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }.into_response())
    })
    .await;
    let created = endpoint(&app, &receiver, json!({"events": ["message.delivered"]})).await;
    app.send(&message_to("a@example.net")).await;
    let hooks = receiver.until(3).await;
    assert!(hooks.iter().all(|hook| hook.id() == hooks[0].id() && hook.body == hooks[0].body));
    assert!(hooks.iter().all(|hook| hook.is_signed_by(created["secret"].as_str().unwrap())));
    app.database
        .until_count("SELECT count(*) FROM webhook_deliveries WHERE status = 'succeeded' AND attempts = 3", 1)
        .await;
}

#[tokio::test]
async fn after_its_schedule_a_webhook_is_given_up_and_recorded() {
    let (app, _sink) = start().await;
    let receiver =
        Receiver::scripted(|_| Some((StatusCode::FOUND, [("location", "/elsewhere")]).into_response())).await;
    endpoint(&app, &receiver, json!({"events": ["message.delivered"]})).await;
    app.send(&message_to("a@example.net")).await;
    app.database
        .until_count(
            "SELECT count(*) FROM webhook_deliveries WHERE status = 'failed' AND attempts = 4 AND response_code = 302",
            1,
        )
        .await;
    assert_eq!(receiver.hooks().len(), 4, "a redirect is a failure and is not followed");
    assert_eq!(app.database.count("SELECT count(*) FROM webhook_jobs").await, 0);
}

#[tokio::test]
async fn a_410_disables_the_endpoint_until_it_is_enabled_again() {
    let (app, _sink) = start().await;
    let receiver =
        Receiver::scripted(|n| Some(if n == 0 { StatusCode::GONE } else { StatusCode::OK }.into_response())).await;
    let created = endpoint(&app, &receiver, json!({"events": ["message.delivered"]})).await;
    let path = format!("/v1/webhooks/{}", created["id"].as_str().unwrap());
    app.send(&message_to("a@example.net")).await;
    app.database.until_count("SELECT count(*) FROM webhook_endpoints WHERE NOT enabled", 1).await;
    assert!(app.get(&path).await.json()["disabled_reason"].as_str().unwrap().contains("410"));
    app.settled(&app.send(&message_to("b@example.net")).await).await;
    assert_eq!(receiver.hooks().len(), 1, "a disabled endpoint gets nothing");
    let enabled = app.call_as(&app.live, "PATCH", &path, &[], b"{\"enabled\": true}".to_vec()).await;
    assert_eq!((enabled.json()["enabled"].as_bool(), enabled.json()["disabled_reason"].is_null()), (Some(true), true));
    app.send(&message_to("c@example.net")).await;
    assert_eq!(receiver.until(2).await.len(), 2);
}

#[tokio::test]
async fn an_endpoint_hears_only_what_it_asked_for() {
    let (app, _sink) = start().await;
    let all = Receiver::start().await;
    let tagged = Receiver::start().await;
    endpoint(&app, &all, json!({})).await;
    endpoint(&app, &tagged, json!({"events": ["message.delivered"], "tags": ["vip"]})).await;
    app.settled(&app.send(&message_to("a@example.net")).await).await;
    let mut vip = message_to("b@example.net");
    vip["tags"] = json!(["vip", "x"]);
    app.send(&vip).await;
    all.until(4).await;
    let hooks = tagged.until(1).await;
    assert_eq!(
        (hooks.len(), hooks[0].json()["data"]["email"].as_str().unwrap().to_owned()),
        (1, "b@example.net".to_owned())
    );
}

#[tokio::test]
async fn a_silent_endpoint_does_not_hold_up_another() {
    let sink = Sink::start().await;
    let app = Setup::new()
        .route_to(sink.address)
        .set("webhooks.per_endpoint", 2)
        .set("webhooks.concurrency", 16)
        .start()
        .await;
    let silent = Receiver::scripted(|_| None).await;
    let good = Receiver::start().await;
    endpoint(&app, &silent, json!({})).await;
    endpoint(&app, &good, json!({})).await;
    for n in 0..20 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    good.until(40).await;
    assert!(silent.hooks().len() < 16, "{} calls to an endpoint that never answers", silent.hooks().len());
}

#[tokio::test]
async fn urls_that_must_not_be_called_are_refused() {
    let app = Setup::new().paused().set("net.allow_private", "").start().await;
    for (url, code) in [
        ("ftp://example.org/x", "invalid_url"),
        ("not a url", "invalid_url"),
        ("https://user:pass@example.org/", "invalid_url"),
        ("http://127.0.0.1/", "forbidden_address"),
        ("http://[::1]/", "forbidden_address"),
        ("http://[::ffff:127.0.0.1]/", "forbidden_address"),
        ("http://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("http://10.0.0.1/", "forbidden_address"),
        ("http://0x7f000001/", "invalid_url"),
        ("http://2130706433/", "invalid_url"),
        ("http://localhost/", "forbidden_address"),
        // Azure's host agent, by address and as IPv6 has it; an address that is public, at ports that are somebody's own.
        ("http://168.63.129.16/machine", "forbidden_address"),
        ("http://[::ffff:168.63.129.16]/", "forbidden_address"),
        ("http://[fd00:ec2::254]/", "forbidden_address"),
        ("http://100.100.100.200/", "forbidden_address"),
        ("https://1.1.1.1:22/", "forbidden_address"),
        ("http://8.8.8.8:25/", "forbidden_address"),
        ("http://8.8.8.8:5432/", "forbidden_address"),
        ("http://8.8.8.8:99999/", "invalid_url"),
        ("http://8.8.8.8:+80/", "invalid_url"),
        ("http://8.8.8.8:0/", "invalid_url"),
        ("http://8.8.8.8:/", "invalid_url"),
    ] {
        let faults = app.post("/v1/webhooks", &json!({"url": url})).await.faults();
        assert_eq!(faults, [("/url".to_owned(), code.to_owned())], "{url}");
    }
    let faults = app.post("/v1/webhooks", &json!({"events": ["message.sned"], "nmae": 1})).await.faults();
    for fault in [("/events/0", "unknown_event"), ("/nmae", "unknown_field")] {
        assert!(faults.contains(&(fault.0.to_owned(), fault.1.to_owned())), "{faults:?}");
    }
    assert_eq!(app.post("/v1/webhooks", &json!({"events": ["*"]})).await.faults()[0].0, "/url");
}

#[tokio::test]
async fn what_mail_may_go_to_webhooks_may_not() {
    for (setting, status) in
        [("net.allow_private", 201), ("net.allow_private_web", 201), ("net.allow_private_mail", 422)]
    {
        let setup = Setup::new().paused().set("net.allow_private", "").set(setting, "127.0.0.0/8");
        let app = setup.start().await;
        let answer = app.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:9/x"})).await;
        assert_eq!(answer.status, status, "{setting}: {}", answer.text());
    }
    let setup = Setup::new().paused().set("net.deny", "127.0.0.0/16");
    let app = setup.start().await;
    for (url, status) in [("http://127.0.0.1:9/x", 422), ("http://127.1.0.1:9/x", 201)] {
        assert_eq!(app.post("/v1/webhooks", &json!({"url": url})).await.status, status, "{url}");
    }
}

#[tokio::test]
async fn a_project_has_a_bounded_number_of_endpoints() {
    let app = Setup::new().paused().set("limits.webhooks", 2).start().await;
    let body = json!({"url": "http://127.0.0.1:9/x"});
    for status in [201, 201, 422] {
        assert_eq!(app.post("/v1/webhooks", &body).await.status, status);
    }
}

#[tokio::test]
async fn an_address_is_judged_again_when_it_is_called() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    endpoint(&app, &receiver, json!({"events": ["message.delivered"]})).await;
    let database = std::sync::Arc::clone(&app.database);
    app.stop().await;
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("net.allow_private", "").on(&database).start().await;
    app.send(&message_to("a@example.net")).await;
    database
        .until_count("SELECT count(*) FROM webhook_deliveries WHERE status = 'failed' AND detail LIKE '%private%'", 1)
        .await;
    assert_eq!(receiver.hooks().len(), 0);
}

#[tokio::test]
async fn endpoints_are_listed_changed_and_deleted() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    let first = endpoint(&app, &receiver, json!({"description": "one"})).await;
    endpoint(&app, &receiver, json!({"description": "two"})).await;
    let page = app.get("/v1/webhooks?limit=1").await.json();
    assert_eq!(page["data"][0]["description"], "two");
    let next = page["next_cursor"].as_str().unwrap();
    let page = app.get(&format!("/v1/webhooks?limit=1&cursor={next}")).await.json();
    assert_eq!(page["data"][0]["description"], "one");
    let path = format!("/v1/webhooks/{}", first["id"].as_str().unwrap());
    let change = b"{\"events\": [\"message.bounced\"]}".to_vec();
    let changed = app.call_as(&app.live, "PATCH", &path, &[], change).await.json();
    assert_eq!((&changed["events"], &changed["description"]), (&json!(["message.bounced"]), &json!("one")));
    assert_eq!(app.call_as(&app.live, "DELETE", &path, &[], vec![]).await.status, 204);
    assert_eq!(app.get(&path).await.status, 404);
    assert_eq!(app.call_as(&app.live, "DELETE", &path, &[], vec![]).await.status, 404);
}

#[tokio::test]
async fn a_webhook_host_has_whatever_name_its_zone_gives_it() {
    let receiver = Receiver::start().await;
    let dns =
        crate::support::dns::Dns::start(&[("hook_host.test", crate::support::dns::Zone::A([127, 0, 0, 1].into()))])
            .await;
    let sink = crate::support::sink::Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("dns.servers", dns.address).start().await;
    let url = format!("http://hook_host.test:{}/x", receiver.address.port());
    assert_eq!(app.post("/v1/webhooks", &json!({"url": url})).await.status, 201);
    app.send(&message_to("a@example.net")).await;
    receiver.until(1).await;
}

#[tokio::test]
async fn what_is_accepted_writes_nothing_for_endpoints_and_what_they_hold_is_bounded() {
    let receiver = Receiver::scripted(|_| None).await;
    let database = std::sync::Arc::new(crate::support::database::Database::new().await);
    let accepting = Setup::new().on(&database).paused().start().await;
    for _ in 0..50 {
        endpoint(&accepting, &receiver, json!({"events": ["*"]})).await;
    }
    let mut message = message_to("x@example.net");
    message["to"] = json!((0..1000).map(|n| format!("r{n}@example.net")).collect::<Vec<_>>());
    accepting.send(&message).await;
    accepting.send(&message).await;
    assert_eq!(database.count("SELECT count(*) FROM webhook_jobs").await, 0);
    // All of them hang: each holds a little, and has its place in the log.
    let webhooks = Setup::new().on(&database).roles(&[Role::Webhooks]).start().await;
    let endpoints = "SELECT count(DISTINCT endpoint_id) FROM webhook_jobs";
    database.until_count(endpoints, 50).await;
    receiver.until(50).await;
    let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM webhook_jobs GROUP BY endpoint_id) AS e";
    let most = database.count(most).await;
    assert!(most < 1000, "{most} of 2,000");
    // A neighbour's endpoint hears at once, whatever they hold.
    let neighbour = create_key(&database.url, "neighbour", "live", "").await;
    let quiet = Receiver::start().await;
    let body = json!({"url": quiet.url(), "events": ["message.queued"]}).to_string().into_bytes();
    assert_eq!(accepting.call_as(&neighbour, "POST", "/v1/webhooks", &[], body).await.status, 201);
    for n in 0..20 {
        let message = message_to(&format!("n{n}@example.net")).to_string().into_bytes();
        assert_eq!(accepting.call_as(&neighbour, "POST", "/v1/send", &[], message).await.status, 202);
        quiet.until(n + 1).await;
    }
    webhooks.stop().await;
    accepting.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_enabled_again_hears_of_what_happened_meanwhile() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&app, &receiver, json!({"events": ["message.delivered"]})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let enable = async |enabled: bool| {
        let body = json!({"enabled": enabled}).to_string().into_bytes();
        assert_eq!(app.call_as(&app.live, "PATCH", &path, &[], body).await.status, 200);
    };
    // As a process of an earlier version makes one.
    app.database.execute("DELETE FROM webhook_positions").await;
    app.database.until_count("SELECT count(*) FROM webhook_positions", 1).await;
    let before = app.send(&message_to("a@example.net")).await;
    receiver.until(1).await;
    enable(false).await;
    let mut ids = vec![before];
    for n in 0..5 {
        let id = app.send(&message_to(&format!("m{n}@example.net"))).await;
        app.settled(&id).await;
        ids.push(id);
    }
    enable(true).await;
    let hooks = receiver.until(6).await;
    let told: std::collections::BTreeSet<_> =
        hooks.iter().map(|hook| hook.json()["data"]["message_id"].to_string()).collect();
    assert_eq!(told, ids.iter().map(|id| json!(id).to_string()).collect());
    assert_eq!(hooks.len(), 6);
    app.stop().await;
}

#[tokio::test]
async fn a_connection_that_an_endpoint_keeps_open_is_used_again() {
    let (app, _sink) = start().await;
    let receiver = Receiver::start().await;
    endpoint(&app, &receiver, json!({"events": ["message.queued"]})).await;
    for n in 0..10 {
        app.send(&message_to(&format!("m{n}@example.net"))).await;
        receiver.until(n + 1).await;
        app.database.until_count("SELECT count(*) FROM webhook_jobs", 0).await;
    }
    assert!(receiver.connections() < 4, "{} connections for ten calls", receiver.connections());
    app.stop().await;
}
