//! What a project reads of its mail: lists that search, numbers, the stream of events, exports.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::process::create_key;
use crate::support::sink::{Do, Sink, Step};

async fn ids(app: &App, query: &str) -> Vec<String> {
    let answer = app.get(&format!("/v1/messages?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_finds_by_every_state_of_messages_and_recipients_and_names_the_first_of_them() {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.starts_with("bad") => Do::Reply("550 5.1.1 No such user"),
            Step::Rcpt(to) if to.starts_with("slow") => Do::Reply("451 4.7.1 Greylisted"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "1h").start().await;
    let mut mixed = message_to("a@example.net");
    mixed["to"] = json!([
        "a@example.net",
        "bad@example.net",
        "slow@example.net",
        "d@example.net",
        "e@example.net",
        "f@example.net"
    ]);
    let mixed = app.send(&mixed).await;
    let good = app.send(&message_to("A@Example.net")).await;
    app.settled(&good).await;
    app.until(&mixed, "all but one", |m| m["counts"]["deferred"] == 1 && m["counts"]["delivered"] == 4).await;
    for (query, wanted) in [
        ("status=deferred", vec![&mixed]),
        ("status=bounced", vec![&mixed]),
        ("status=partially_delivered", vec![&mixed]),
        ("status=delivered&status=bounced", vec![&good, &mixed]),
        ("status=cancelled", vec![]),
        ("to=a@EXAMPLE.NET", vec![&good, &mixed]),
        ("to=e@example.net&status=deferred", vec![&mixed]),
        ("domain=example.net&limit=1", vec![&good]),
        ("q=hELL", vec![&good, &mixed]),
        ("q=nothing", vec![]),
    ] {
        assert_eq!(ids(&app, query).await.iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    let page = app.get("/v1/messages?limit=1").await.json();
    let next = app.get(&format!("/v1/messages?limit=1&cursor={}", page["next_cursor"].as_str().unwrap())).await.json();
    assert_eq!((&next["data"][0]["id"], &next["next_cursor"]), (&json!(mixed), &Value::Null));
    let named = next["data"][0]["recipients"].as_array().unwrap();
    assert_eq!((named.len(), &next["data"][0]["recipient_count"]), (5, &json!(6)));
    assert_eq!((&named[1]["email"], &named[1]["status"]), (&json!("bad@example.net"), &json!("bounced")));
    let message_id = app.message(&good).await["message_id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&app, &format!("message_id=%3C{message_id}%3E")).await, std::slice::from_ref(&good));
    assert_eq!(app.get("/v1/messages?status=odd").await.faults()[0].0, "?status");
    let stranger = create_key(&app.database.url, "stranger", "live", "").await;
    let foreign = app.get_as(&stranger, "/v1/messages?to=a@example.net").await;
    assert_eq!(foreign.json()["data"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn numbers_tell_states_classes_and_latency_group_by_group() {
    let sink = Sink::setup()
        .script(|step, _| {
            if matches!(step, Step::Rcpt(to) if to.starts_with("bad")) { Do::Reply("550 5.1.1 No") } else { Do::Usual }
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).start().await;
    for (to, tags) in
        [("a@one.example", json!(["x", "y"])), ("bad@one.example", json!(["x"])), ("c@two.example", json!([]))]
    {
        let mut message = message_to(to);
        message["tags"] = tags;
        let id = app.send(&message).await;
        app.settled(&id).await;
    }
    let stats = async |query: &str| app.get(&format!("/v1/stats?{query}")).await.json();
    let all = stats("").await;
    let all = &all["data"][0];
    assert_eq!(
        (&all["messages"], &all["counts"]["delivered"], &all["counts"]["bounced"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(all["bounces"].as_object().unwrap().values().collect::<Vec<_>>(), [&json!(1)]);
    assert!(all["latency_seconds"]["p99"].as_f64().unwrap() > 0.0);
    let groups = async |by: &str| {
        let answer = stats(&format!("group_by={by}")).await;
        let groups = answer["data"].as_array().unwrap().clone();
        groups
            .into_iter()
            .map(|g| (g["group"].as_str().unwrap().to_owned(), g["recipients"].as_i64().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(groups("domain").await, [("one.example".to_owned(), 2), ("two.example".to_owned(), 1)]);
    assert_eq!(groups("tag").await, [(String::new(), 1), ("x".to_owned(), 2), ("y".to_owned(), 1)]);
    for by in ["day", "hour", "provider", "template"] {
        assert_eq!(groups(by).await.iter().map(|(_, count)| count).sum::<i64>(), 3, "{by}");
    }
    assert_eq!(app.get("/v1/stats?since=2020-01-01T00:00:00Z").await.faults()[0].0, "?since");
    app.stop().await;
}

#[tokio::test]
async fn the_stream_of_events_gives_each_once_in_order_and_wakes_who_waits() {
    let sink = Sink::start().await;
    let app = Arc::new(Setup::new().route_to(sink.address).start().await);
    let mut sent = HashSet::new();
    for n in 0..20 {
        let id = app.send(&message_to(&format!("u{n}@example.net"))).await;
        app.settled(&id).await;
        sent.insert(id);
    }
    let (mut after, mut seen, mut sequences) = (String::new(), Vec::new(), std::collections::HashMap::new());
    loop {
        let query = if after.is_empty() { String::new() } else { format!("&after={after}") };
        let page = app.get(&format!("/v1/events?limit=7{query}")).await.json();
        after = page["next_cursor"].as_str().unwrap().to_owned();
        let events = page["data"].as_array().unwrap().clone();
        if events.is_empty() {
            break;
        }
        for event in events {
            let data = &event["data"];
            let last = sequences.insert(data["recipient_id"].clone(), data["sequence"].as_i64().unwrap());
            assert!(last.unwrap_or(0) < data["sequence"].as_i64().unwrap(), "a recipient's events are in order");
            assert!(sent.contains(data["message_id"].as_str().unwrap()) && data["email"].is_string());
            seen.push(event["id"].clone());
        }
    }
    assert_eq!(seen.len(), 40);
    assert_eq!(seen.iter().map(ToString::to_string).collect::<HashSet<_>>().len(), 40);
    // Whoever waits is told as soon as there is something.
    let waiting = tokio::spawn({
        let (app, after) = (Arc::clone(&app), after.clone());
        async move { app.get(&format!("/v1/events?after={after}&wait=30s&type=message.delivered")).await.json() }
    });
    let id = app.send(&message_to("later@example.net")).await;
    let told = waiting.await.unwrap();
    assert_eq!(
        (&told["data"][0]["data"]["message_id"], &told["data"][0]["type"]),
        (&json!(id), &json!("message.delivered"))
    );
    let nothing = app.get(&format!("/v1/events?after={}&wait=1ms", told["next_cursor"].as_str().unwrap())).await.json();
    assert_eq!(nothing["data"], json!([]));
    let stranger = create_key(&app.database.url, "stranger", "live", "").await;
    assert_eq!(app.get_as(&stranger, "/v1/events").await.json()["data"], json!([]));
    assert_eq!(
        app.get_as(&app.test, "/v1/events").await.json()["data"],
        json!([]),
        "live events are not a test credential's"
    );
    for (query, place) in [("wait=31s", "?wait"), ("after=x", "?after"), ("type=x", "?type")] {
        assert_eq!(app.get(&format!("/v1/events?{query}")).await.faults()[0].0, place);
    }
    Arc::into_inner(app).unwrap().stop().await;
}

#[tokio::test]
async fn an_export_is_whole_resumable_and_harmless_to_a_spreadsheet() {
    let app = Setup::new().paused().start().await;
    let mut batch = Vec::new();
    for n in 0..450 {
        let mut message = message_to(&format!("u{n}@example.net"));
        message["subject"] = json!(if n == 0 { "=1+1,\"x\"" } else { "plain" });
        batch.push(message);
    }
    assert_eq!(app.post("/v1/send/batch", &json!({"messages": batch})).await.status, 202);
    let mut later = message_to("later@example.net");
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(
        mailwright::domain::clock::Clock::now(&*app.clock) + Duration::from_hours(1)
    ));
    app.send(&later).await;
    let answer = app.get("/v1/messages/export").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 451);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["recipients"][0]["email"]),
        (&json!("scheduled"), &json!("later@example.net"))
    );
    let rest = app.get(&format!("/v1/messages/export?cursor={}", lines[199]["id"].as_str().unwrap())).await;
    assert_eq!(rest.text().lines().count(), 251, "it goes on behind the last line that was received");
    let csv = app.get("/v1/messages/export?format=csv").await.text();
    assert_eq!(csv.matches("\r\n").count(), 452);
    assert!(csv.contains("\"'=1+1,\"\"x\"\"\""));
    let events = app.get("/v1/events/export").await.text();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 450);
    let cursor = events.last().unwrap()["cursor"].as_str().unwrap();
    assert_eq!(app.get(&format!("/v1/events/export?after={cursor}")).await.text(), "");
    assert_eq!(app.get("/v1/events/export?format=csv").await.text().matches("\r\n").count(), 451);
    assert_eq!(app.get("/v1/events/export?format=xml").await.faults()[0].0, "?format");
    app.stop().await;
}
