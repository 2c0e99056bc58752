//! The sandbox plays receivers: by scripts of messages, of patterns and of names; time passes when it is told to; what arrives is
//! waited for, and its codes and links are read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::http::Answer;
use crate::support::process::create_key;
use crate::support::receiver::Receiver;
use crate::support::spam;
use crate::support::within;

async fn call(app: &App, method: &str, path: &str, body: &Value) -> Answer {
    app.call_as(&app.test, method, path, &[], body.to_string().into_bytes()).await
}

/// As in production, nothing is tried again within minutes.
fn slow() -> Setup {
    Setup::new().set("delivery.retry", "5m,15m,1h,4h")
}

/// Sends a test message with a script.
async fn send(app: &App, to: &str, script: Option<&str>) -> String {
    let mut message = message_to(to);
    if let Some(script) = script {
        message["sandbox"] = json!({"script": script});
    }
    let answer = call(app, "POST", "/v1/send", &message).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Lets time pass, and gives how much came nearer.
async fn advance(app: &App, seconds: u64) -> Value {
    let answer = call(app, "POST", "/v1/sandbox/clock", &json!({"advance_seconds": seconds})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The types of a message's events, in order.
async fn events(app: &App, id: &str) -> Vec<String> {
    app.events(id)
        .await
        .iter()
        .map(|event| event["type"].as_str().unwrap().trim_start_matches("message.").to_owned())
        .collect()
}

async fn until_event(app: &App, id: &str, kind: &str) -> Vec<String> {
    within(kind, async {
        let mut changes = app.database.watch().await;
        loop {
            let seen = events(app, id).await;
            if seen.iter().any(|seen| seen == kind) {
                return seen;
            }
            changes.changed().await;
        }
    })
    .await
}

async fn until_status(app: &App, id: &str, status: &str) -> Value {
    let message = app.until(id, status, |message| message["recipients"][0]["status"] == status).await;
    message["recipients"][0].clone()
}

#[tokio::test]
async fn a_message_is_greylisted_twice_and_then_taken_with_every_event_and_call() {
    let app = Setup::new().start().await;
    let receiver = Receiver::start().await;
    assert_eq!(call(&app, "POST", "/v1/webhooks", &json!({"url": receiver.url()})).await.status, 201);
    let id = send(&app, "ada@example.com", Some("451 4.7.1 Greylisted*2,250 2.0.0 Taken")).await;
    let waiting = until_status(&app, &id, "deferred").await;
    assert_eq!((&waiting["last_reply"]["code"], &waiting["last_reply"]["text"]), (&json!(451), &json!("Greylisted")));
    assert_eq!(advance(&app, 3 * 86_400).await["deliveries"], 1);
    let taken = until_status(&app, &id, "delivered").await;
    assert_eq!((&taken["attempts"], &taken["last_reply"]["text"]), (&json!(3), &json!("Taken")));
    assert_eq!(events(&app, &id).await, ["queued", "deferred", "deferred", "delivered"]);
    let hooks = receiver.until(4).await;
    let mut told: Vec<_> = hooks.iter().map(|hook| hook.json()["data"]["sequence"].as_i64().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3, 4]);
    assert!(hooks.iter().all(|hook| hook.json()["data"]["mode"] == "test"));
    assert_eq!(app.attempts(&id).await.len(), 3);
    app.stop().await;
}

#[tokio::test]
async fn three_days_of_retries_are_over_in_a_second_each_at_its_own_time() {
    let app = slow().start().await;
    let id = send(&app, "ada@example.com", Some("451 4.7.1 Greylisted")).await;
    until_status(&app, &id, "deferred").await;
    // A day brings some tries, the rest brings the end.
    advance(&app, 86_400).await;
    let waiting = "SELECT count(*) FROM deliveries WHERE due_at > now() + interval '1 minute' AND attempt > 4";
    app.database.until_count(waiting, 1).await;
    let midway = app.message(&id).await["recipients"][0]["attempts"].as_i64().unwrap();
    advance(&app, 30 * 86_400).await;
    let ended = until_status(&app, &id, "expired").await;
    assert!(ended["attempts"].as_i64().unwrap() > midway, "{midway} tries in a day, {ended}");
    app.stop().await;
}

#[tokio::test]
async fn refusals_and_lost_replies_lead_to_what_they_lead_to() {
    let app = Setup::new().start().await;
    let id = send(&app, "gone@example.com", Some("550 5.1.1 No such user")).await;
    assert_eq!(until_status(&app, &id, "bounced").await["last_reply"]["enhanced"], "5.1.1");
    // The address is suppressed, for test mail.
    let again = send(&app, "gone@example.com", None).await;
    until_status(&app, &again, "suppressed").await;
    let live = app.send(&message_to("gone@example.com")).await;
    assert_ne!(app.settled(&live).await["recipients"][0]["status"], "suppressed");
    let lost = send(&app, "lost@example.com", Some("drop after dot, 250")).await;
    until_status(&app, &lost, "deferred").await;
    assert_eq!(app.attempts(&lost).await[0]["outcome"], "uncertain");
    advance(&app, 86_400).await;
    until_status(&app, &lost, "delivered").await;
    app.stop().await;
}

#[tokio::test]
async fn reports_and_complaints_come_back_and_leave_the_delivery_as_it_was() {
    let app = Setup::new().start().await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url(), "events": ["message.bounced_later", "message.complained"]});
    assert_eq!(call(&app, "POST", "/v1/webhooks", &body).await.status, 201);
    let full = send(&app, "full@example.com", Some("250; dsn 5.2.2 after 1h")).await;
    let gone = send(&app, "left@example.com", Some("250; dsn 5.1.1 after 1h")).await;
    let angry = send(&app, "angry@example.com", Some("250; complain after 1h")).await;
    for id in [&full, &gone, &angry] {
        assert_eq!(until_status(&app, id, "delivered").await["status"], "delivered");
        assert_eq!(events(&app, id).await, ["queued", "delivered"]);
    }
    assert_eq!(advance(&app, 3600).await["afterwards"], 3);
    assert_eq!(until_event(&app, &full, "bounced_later").await, ["queued", "delivered", "bounced_later"]);
    assert_eq!(until_event(&app, &gone, "bounced_later").await, ["queued", "delivered", "bounced_later"]);
    assert_eq!(until_event(&app, &angry, "complained").await, ["queued", "delivered", "complained"]);
    assert_eq!(app.message(&angry).await["recipients"][0]["status"], "delivered");
    let told: Vec<_> = receiver.until(3).await.iter().map(crate::support::receiver::Hook::json).collect();
    let report = told.iter().find(|told| told["data"]["message_id"] == json!(full)).unwrap();
    assert_eq!(
        (&report["data"]["reply"]["enhanced"], &report["data"]["reply"]["class"]),
        (&json!("5.2.2"), &json!("mailbox_full"))
    );
    // A full mailbox is no reason to write no more; one that is gone, and a complaint, are.
    let mut suppressed = Vec::new();
    for to in ["full@example.com", "left@example.com", "angry@example.com"] {
        let id = send(&app, to, None).await;
        suppressed.push(app.settled(&id).await["recipients"][0]["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(suppressed, ["delivered", "suppressed", "suppressed"]);
    app.stop().await;
}

#[tokio::test]
async fn addresses_at_test_domains_are_scripts_by_their_name_and_can_be_used_again() {
    let app = Setup::new().start().await;
    for round in 0..2 {
        for (to, status) in [
            ("delivered@shop.test", "delivered"),
            ("bounced+order-7@shop.test", "bounced"),
            ("deferred@shop.test", "deferred"),
            ("suppressed+a@shop.test", "suppressed"),
            ("ada@shop.test", "delivered"),
        ] {
            let id = send(&app, to, None).await;
            assert_eq!(until_status(&app, &id, status).await["email"], to, "round {round}");
        }
    }
    let answer = call(&app, "POST", "/v1/send", &message_to("suppressed@shop.test")).await.json();
    assert_eq!((&answer["status"], &answer["recipients"][0]["status"]), (&json!("failed"), &json!("suppressed")));
    let complained = send(&app, "complained@shop.test", None).await;
    until_status(&app, &complained, "delivered").await;
    advance(&app, 1).await;
    until_event(&app, &complained, "complained").await;
    let slow = send(&app, "slow@shop.test", None).await;
    app.database.until_count("SELECT count(*) FROM deliveries WHERE held = 'scripted'", 1).await;
    assert_eq!(app.message(&slow).await["recipients"][0]["attempts"], 0);
    advance(&app, 10).await;
    assert_eq!(until_status(&app, &slow, "delivered").await["attempts"], 1);
    app.stop().await;
}

#[tokio::test]
async fn patterns_have_scripts_for_those_messages_that_have_none() {
    let app = Setup::new().start().await;
    let rules = json!({"scripts": [
        {"pattern": "vip+*@*", "script": "250 2.0.0 at your service"},
        {"pattern": "*@dead.example", "script": "550 5.1.2 no such domain"},
    ]});
    assert_eq!(call(&app, "PUT", "/v1/sandbox/scripts", &rules).await.json(), rules);
    for (to, script, status) in [
        ("a@DEAD.example", None, "bounced"),
        ("vip+1@dead.example", None, "delivered"),
        ("b@dead.example", Some("250"), "delivered"),
    ] {
        let id = send(&app, to, script).await;
        until_status(&app, &id, status).await;
    }
    // They are the project's own.
    let other = create_key(&app.database.url, "neighbour", "test", "").await;
    assert_eq!(app.get_as(&other, "/v1/sandbox/scripts").await.json(), json!({"scripts": []}));
    for (body, place) in [
        (json!({}), "/scripts"),
        (json!({"scripts": [{"pattern": "*"}]}), "/scripts/0/script"),
        (json!({"scripts": [{"pattern": "", "script": "250"}]}), "/scripts/0/pattern"),
        (json!({"scripts": [{"pattern": "*", "script": "999"}]}), "/scripts/0/script"),
        (json!({"scripts": ["*"]}), "/scripts/0"),
    ] {
        let refused = call(&app, "PUT", "/v1/sandbox/scripts", &body).await;
        assert_eq!((refused.status, &*refused.faults()[0].0), (422, place), "{body}");
    }
    assert_eq!(call(&app, "PUT", "/v1/sandbox/scripts", &json!({"scripts": []})).await.json(), json!({"scripts": []}));
    app.stop().await;
}

#[tokio::test]
async fn a_script_is_for_test_keys_alone_and_its_time_for_its_project_alone() {
    let app = slow().start().await;
    let mut message = message_to("a@example.com");
    message["sandbox"] = json!({"script": "250"});
    let live = app.post("/v1/send", &message).await;
    assert_eq!((live.status, live.faults()[0].clone()), (422, ("/sandbox".to_owned(), "invalid_mode".to_owned())));
    message["sandbox"] = json!({"script": "never"});
    let wrong = call(&app, "POST", "/v1/send", &message).await;
    assert_eq!(
        (wrong.status, wrong.faults()[0].clone()),
        (422, ("/sandbox/script".to_owned(), "invalid_script".to_owned()))
    );
    // Neither live mail nor a neighbour's test mail comes nearer.
    let neighbour = create_key(&app.database.url, "neighbour", "test", "").await;
    let theirs = {
        let mut message = message_to("a@example.com");
        message["sandbox"] = json!({"script": "451 4.7.1 Greylisted"});
        let sent = app.call_as(&neighbour, "POST", "/v1/send", &[], message.to_string().into_bytes()).await.json();
        sent["id"].as_str().unwrap().to_owned()
    };
    app.database.until_count("SELECT count(*) FROM deliveries WHERE due_at > now() AND lease_token IS NULL", 1).await;
    assert_eq!(advance(&app, 86_400).await["deliveries"], 0);
    let path = format!("/v1/messages/{theirs}");
    assert_eq!(app.get_as(&neighbour, &path).await.json()["recipients"][0]["attempts"], 1);
    // What is scheduled comes nearer too.
    let mut later = message_to("later@example.com");
    let at = mailwright::domain::clock::Clock::now(&*app.clock) + Duration::from_hours(48);
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(at));
    let id = call(&app, "POST", "/v1/send", &later).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(advance(&app, 2 * 86_400).await["scheduled"], 1);
    until_status(&app, &id, "delivered").await;
    app.stop().await;
}

#[tokio::test]
async fn a_test_waits_for_its_mail_and_reads_the_code() {
    let app = Setup::new().start().await;
    let nothing = app.get("/v1/sandbox/messages?to=ada@example.com&wait=20ms").await.json();
    assert_eq!(nothing["data"], json!([]));
    let waiting = app.get_as(&app.test, "/v1/sandbox/messages?to=ada@example.com&subject=SIGN&wait=20s");
    let mut message = message_to("ada@example.com");
    message["subject"] = json!("Sign in");
    message["text"] = json!("Your code is 123 456. Or follow https://shop.example/in?t=1.");
    let (found, _) = tokio::join!(waiting, call(&app, "POST", "/v1/send", &message));
    let found = found.json()["data"][0].clone();
    let path = format!("/v1/sandbox/messages/{}", found["id"].as_str().unwrap());
    let read = app.get_as(&app.test, &path).await.json();
    assert_eq!((&read["codes"], &read["links"]), (&json!(["123456"]), &json!(["https://shop.example/in?t=1"])));
    let after = format!("/v1/sandbox/messages?since={}", found["received_at"].as_str().unwrap());
    assert_eq!(app.get_as(&app.test, &after).await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        app.get_as(&app.test, "/v1/sandbox/messages?since=2099-01-01T00:00:00Z").await.json()["data"],
        json!([])
    );
    assert_eq!(app.get_as(&app.test, "/v1/sandbox/messages?wait=31s").await.status, 422);
    app.stop().await;
}

#[tokio::test]
async fn a_spam_filter_is_asked_where_one_is_configured() {
    let app = Setup::new().set("sandbox.rspamd", spam::rspamd().await).start().await;
    let id = send(&app, "ada@example.com", None).await;
    let copy = app.settled(&id).await["recipients"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/sandbox/messages/{copy}/spam-check");
    let verdict = call(&app, "POST", &path, &json!({})).await.json();
    assert_eq!(
        (&verdict["engine"], &verdict["score"], &verdict["is_spam"]),
        (&json!("rspamd"), &json!(6.5), &json!(true))
    );
    assert_eq!(verdict["rules"][0]["name"], "R_LARGE");
    let other = Setup::new().on(&app.database).start().await;
    assert_eq!(call(&other, "POST", &path, &json!({})).await.json()["type"], "/problems/no-spam-filter");
    let dead = Setup::new().on(&app.database).set("sandbox.spamassassin", "127.0.0.1:9").start().await;
    assert_eq!(call(&dead, "POST", &path, &json!({})).await.status, 503);
    dead.stop().await;
    other.stop().await;
    app.stop().await;
}
