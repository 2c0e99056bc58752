//! What many do at once, while processes die under them: one key makes one message, and what is large delays nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::app::{Setup, message_to};
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, create_key};

/// Asks until there is an answer that says what became of the request.
async fn send_until_answered(address: &mut watch::Receiver<String>, key: &str, number: usize, batch: bool) -> String {
    let mut message = message_to(&format!("u{number}@example.net"));
    let idempotency = format!("race-{number}");
    let (path, body) = if batch {
        message["idempotency_key"] = json!(idempotency);
        ("/v1/send/batch", json!({"messages": [message]}))
    } else {
        ("/v1/send", message)
    };
    let authorization = format!("Bearer {key}");
    loop {
        let to = address.borrow().clone();
        let mut headers = vec![("authorization", authorization.as_str()), ("content-type", "application/json")];
        if !batch {
            headers.push(("idempotency-key", &idempotency));
        }
        let asked = Client::new(&to).request("POST", path, &headers, body.to_string().into_bytes()).await;
        match asked {
            Ok(answer) if answer.status == 202 => {
                let answer: Value = answer.json();
                let id = if batch { &answer["results"][0]["id"] } else { &answer["id"] };
                return id.as_str().unwrap().to_owned();
            }
            Ok(answer) => assert!([409, 429, 503].contains(&answer.status), "{}", answer.text()),
            // The process died; another one is on its way.
            Err(_) => {
                let _ = address.wait_for(|now| *now != to).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn racers_through_five_kills_get_one_message_for_each_key() {
    let keys: usize = if std::env::var_os("MAILWRIGHT_NIGHTLY").is_some() { 300 } else { 60 };
    let database = Arc::new(Database::new().await);
    let app = Setup::new().on(&database).paused().start().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    app.stop().await;
    let settings = [("delivery.route", "sandbox")];
    let mut server = Server::start(&database.url, &settings).await;
    let (address, moved) = watch::channel(server.address.clone());
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..8 {
        let (mut address, key) = (moved.clone(), key.clone());
        racers.spawn(async move {
            let mut ids = HashMap::new();
            for number in 0..keys {
                // Each in an order of its own; one of them by batches.
                let number = (number * 7 + racer) % keys;
                ids.insert(number, send_until_answered(&mut address, &key, number, racer == 7).await);
            }
            ids
        });
    }
    for kill in 1..=5 {
        let so_far = i64::try_from(keys * kill / 7).unwrap();
        database.until_count(&format!("SELECT least(count(*), {so_far}) FROM messages"), so_far).await;
        server.kill().await;
        server = Server::start(&database.url, &settings).await;
        address.send_replace(server.address.clone());
    }
    let mut ids: HashMap<usize, HashSet<String>> = HashMap::new();
    for (number, id) in racers.join_all().await.into_iter().flatten() {
        ids.entry(number).or_default().insert(id);
    }
    assert_eq!(ids.len(), keys);
    assert!(ids.values().all(|ids| ids.len() == 1), "one id each: {ids:?}");
    assert_eq!(database.count("SELECT count(*) FROM messages").await, i64::try_from(keys).unwrap());
    server.kill().await;
}

/// Of a release build, at night: `MAILWRIGHT_NIGHTLY=1 cargo test --release … beside_four_batches`.
#[tokio::test]
async fn beside_four_batches_of_a_thousand_others_are_answered_soon() {
    let bound = match std::env::var_os("MAILWRIGHT_NIGHTLY") {
        Some(_) => Duration::from_millis(200),
        // No measurement: that nothing hangs.
        None => Duration::from_secs(30),
    };
    let app = Arc::new(Setup::new().paused().start().await);
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let messages: Vec<_> = (0..1000).map(|n| message_to(&format!("u{n}@example.net"))).collect();
    let batch = json!({"messages": messages}).to_string().into_bytes();
    let mut batches = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (app, batch) = (Arc::clone(&app), batch.clone());
        batches.spawn(async move { app.call_as(&app.live, "POST", "/v1/send/batch", &[], batch).await.status });
    }
    let mut took = Vec::new();
    let body = message_to("a@example.org").to_string().into_bytes();
    while !batches.is_empty() {
        let began = Instant::now();
        let answer = app.call_as(&neighbour, "POST", "/v1/send", &[], body.clone()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        took.push(began.elapsed());
        while let Some(status) = batches.try_join_next() {
            assert_eq!(status.unwrap(), 202);
        }
    }
    took.sort();
    let p99 = took[(took.len() * 99 / 100).min(took.len() - 1)];
    assert!(p99 <= bound, "{p99:?} of {} sends", took.len());
    assert_eq!(app.database.count("SELECT count(*) FROM messages WHERE batch_id IS NOT NULL").await, 4000);
    Arc::into_inner(app).unwrap().stop().await;
}
