//! Lists: filters, pages, and the one rule of a message's status in both of its forms.

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::sink::{Do, Sink, Step};

async fn ids(app: &App, query: &str) -> Vec<String> {
    let answer = app.get(&format!("/v1/messages?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let body = answer.json();
    body["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn filters_narrow_and_pages_follow_each_other() {
    let app = Setup::new().paused().start().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        let mut message = message_to(&format!("r{n}@d{}.example", n % 2));
        message["subject"] = json!(format!("Order {n}"));
        message["from"] = json!(format!("s{}@example.org", n % 2));
        message["tags"] = json!([format!("t{}", n % 3)]);
        sent.push(app.send(&message).await);
    }
    // Ids made within one millisecond are in no order; the list's own order is by id.
    let mut newest_first = sent.clone();
    newest_first.sort();
    newest_first.reverse();
    assert_eq!(ids(&app, "").await, newest_first);
    assert_eq!(ids(&app, "to=r3%40d1.example").await, [sent[3].clone()]);
    assert_eq!(ids(&app, "domain=d1.example").await.len(), 2);
    assert_eq!(ids(&app, "from=s0%40example.org").await.len(), 3);
    assert_eq!(ids(&app, "tag=t0").await.len(), 2);
    assert_eq!(ids(&app, "q=ORDER%204").await, [sent[4].clone()]);
    assert_eq!(ids(&app, "status=queued").await.len(), 5);
    assert_eq!(ids(&app, "status=delivered").await.len(), 0);
    assert_eq!(ids(&app, "since=2100-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(ids(&app, "until=2100-01-01T00:00:00Z").await.len(), 5);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let body = app.get(&format!("/v1/messages?limit=2{cursor}")).await.json();
        seen.extend(body["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()));
        match &body["next_cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    assert_eq!(seen, newest_first);
    // A page that is exactly full is the last one.
    assert_eq!(app.get("/v1/messages?limit=5").await.json()["next_cursor"], Value::Null);
    assert!(app.get("/v1/messages?limit=4").await.json()["next_cursor"].is_string());
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_named() {
    let app = Setup::new().paused().start().await;
    let answer = app.get("/v1/messages?limit=0&cursor=x&since=soon&status=fine&to=nobody&tga=x&q=a%00b").await;
    let pointers: Vec<_> = answer.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(answer.status, 422);
    for wanted in ["?limit", "?cursor", "?since", "?status", "?to", "?tga", "?q"] {
        assert!(pointers.contains(&wanted.to_owned()), "{wanted} not in {pointers:?}");
    }
    for query in ["since=2026-11-26T10:00:00+08:00", "to=ann+tag@example.net"] {
        let answer = app.get(&format!("/v1/messages?{query}")).await;
        let told = answer.json()["errors"][0]["detail"].to_string();
        assert!(told.ends_with("; a '+' in a query is written %2B\""), "{query}: {told}");
        assert_eq!(app.get(&format!("/v1/messages?{}", query.replace('+', "%2B"))).await.status, 200);
    }
}

#[tokio::test]
async fn the_list_and_the_message_agree_on_every_status() {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.starts_with("no") => Do::Reply("550 5.1.1 no"),
            Step::Rcpt(to) if to.starts_with("later") => Do::Reply("450 later"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "1h").start().await;
    for to in [&["ok"][..], &["no"], &["later"], &["ok", "no"], &["ok", "later"], &["no", "later"]] {
        let mut message = message_to("x@example.net");
        message["to"] = json!(to.iter().map(|name| format!("{name}@example.net")).collect::<Vec<_>>());
        let id = app.send(&message).await;
        app.until(&id, "every recipient to be tried", |m| m["counts"]["queued"] == 0 && m["counts"]["sending"] == 0)
            .await;
    }
    app.database.execute("UPDATE recipients SET status = 'cancelled', settled_at = now() WHERE id IN (SELECT id FROM deliveries LIMIT 1)").await;
    let listed = app.get("/v1/messages").await.json();
    for message in listed["data"].as_array().unwrap() {
        let id = message["id"].as_str().unwrap();
        let status = message["status"].as_str().unwrap();
        let alone = app.message(id).await;
        assert_eq!((&alone["status"], &alone["counts"]), (&message["status"], &message["counts"]));
        assert!(ids(&app, &format!("status={status}")).await.contains(&id.to_owned()), "{status}");
    }
}
