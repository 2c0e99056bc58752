//! What a 202 means, and what every other answer says.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::database::Database;
use crate::support::process::create_key;
use crate::support::proxy::{Proxy, Weather};
use crate::support::within;

/// A message in which one field is another value.
fn with(name: &str, value: Value) -> Value {
    let mut message = message_to("a@example.net");
    message[name] = value;
    message
}

#[tokio::test]
async fn a_202_means_that_the_message_is_stored_and_readable() {
    let app = Setup::new().paused().start().await;
    let mut message = with("tags", json!(["welcome"]));
    message["metadata"] = json!({"user": "u-1"});
    message["cc"] = json!([{"email": "c@example.net", "name": "C"}]);
    message["bcc"] = json!("a@example.net");
    let answer = app.post("/v1/send", &message).await;
    assert_eq!(answer.status, 202);
    let accepted = answer.json();
    let id = accepted["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/messages/{id}"));
    assert_eq!(accepted["recipients"].as_array().unwrap().len(), 2, "a duplicate is sent once");
    let stored = app.message(id).await;
    assert_eq!(stored["status"], "queued");
    assert_eq!(stored["tags"], json!(["welcome"]));
    assert_eq!(stored["metadata"], json!({"user": "u-1"}));
    assert_eq!(stored["created_at"], accepted["created_at"]);
    assert_eq!(stored["recipients"][1]["kind"], "cc");
    assert_eq!(app.events(id).await.iter().filter(|e| e["type"] == "message.queued").count(), 2);
}

#[tokio::test]
async fn every_fault_of_a_request_comes_at_once() {
    let app = Setup::new().paused().set("limits.recipients", 3).start().await;
    let faulty = json!({
        "from": "nobody", "to": [1, "a@b", "ok@example.net"], "cc": {"email": "x\u{0}@example.net"},
        "subject": "a\r\nBcc: evil@example.net", "sned_at": "now", "priority": "urgent", "ttl_seconds": "5",
        "headers": {"From": "x@example.net", "X-Ok": "a\nb", "Bad Name": "v", "X-Number": 5},
        "attachments": [{"filename": "a.txt", "content": "***", "extra": 1}, 7, {"content_type": "text"}],
        "tags": ["", "fine"], "metadata": {"k": 1, "n": "\u{0}"}, "text": 5
    });
    let answer = app.post("/v1/send", &faulty).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let found: Vec<(String, String)> = answer.faults();
    for (pointer, code) in [
        ("/from", "invalid_address"),
        ("/to/0", "wrong_type"),
        ("/to/1", "invalid_address"),
        ("/cc", "invalid_address"),
        ("/subject", "control_character"),
        ("/sned_at", "unknown_field"),
        ("/priority", "invalid_priority"),
        ("/ttl_seconds", "wrong_type"),
        ("/headers/From", "reserved_header"),
        ("/headers/X-Ok", "control_character"),
        ("/headers/Bad Name", "invalid_header"),
        ("/headers/X-Number", "wrong_type"),
        ("/attachments/0/content", "invalid_base64"),
        ("/attachments/0/extra", "unknown_field"),
        ("/attachments/1", "wrong_type"),
        ("/attachments/2/filename", "required"),
        ("/attachments/2/content", "required"),
        ("/attachments/2/content_type", "invalid_content_type"),
        ("/tags/0", "invalid_tag"),
        ("/metadata/k", "wrong_type"),
        ("/metadata/n", "control_character"),
        ("/text", "wrong_type"),
    ] {
        assert!(found.contains(&(pointer.to_owned(), code.to_owned())), "{pointer} {code} not in {found:#?}");
    }
    let empty = app.post("/v1/send", &json!({})).await.faults();
    for pointer in ["/from", "/to", "/subject", "/text"] {
        assert!(empty.contains(&(pointer.to_owned(), "required".to_owned())), "{empty:?}");
    }
    let many: Vec<_> = (0..4).map(|n| format!("r{n}@example.net")).collect();
    assert_eq!(app.post("/v1/send", &with("to", json!(many))).await.faults()[0].1, "too_many_recipients");
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 0, "nothing was stored");
}

#[tokio::test]
async fn header_bound_fields_refuse_line_breaks_and_nul() {
    let app = Setup::new().paused().start().await;
    for bad in ["a\rb", "a\nb", "a\r\nb", "a\0b"] {
        let attachment = json!([{"filename": bad, "content": "eA=="}]);
        for (name, value) in [
            ("subject", json!(bad)),
            ("from", json!(format!("{bad} <a@example.org>"))),
            ("from", json!({"email": "a@example.org", "name": bad})),
            ("to", json!(format!("{bad}@example.org"))),
            ("reply_to", json!(format!("{bad} <a@example.org>"))),
            ("headers", json!({"X-A": bad})),
            ("headers", json!({ format!("X-{bad}"): "v" })),
            ("attachments", attachment),
            ("attachments", json!([{"filename": "f", "content": "eA==", "content_id": bad}])),
            (
                "attachments",
                json!([{"filename": "f", "content": "eA==", "content_type": format!("text/plain; x={bad}")}]),
            ),
            ("tags", json!([bad])),
        ] {
            let answer = app.post("/v1/send", &with(name, value.clone())).await;
            assert_eq!(answer.status, 422, "{name} = {value}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn what_is_no_request_gets_its_own_answer() {
    let app = Setup::new().paused().set("http.body_limit", "64KiB").start().await;
    let send = async |headers: &[(&str, &str)], body: &[u8]| {
        app.call_as(&app.live, "POST", "/v1/send", headers, body.to_vec()).await
    };
    for body in [&b"{"[..], b"", b"[]", b"\"x\"", b"{\"from\": \"\xff\"}"] {
        let answer = send(&[], body).await;
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
        assert_eq!(answer.json()["type"], "/problems/malformed");
    }
    for (body, pointer, code) in [
        (&b"{\"subject\": \"\\ud800\"}"[..], "/subject", "invalid_text"),
        (b"{\"from\": \"a@example.org\", \"to\": \"b@x.test\", \"to\": \"c@x.test\"}", "/to", "duplicate_field"),
    ] {
        let answer = send(&[], body).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.faults(), [(pointer.to_owned(), code.to_owned())]);
    }
    let deep = format!("{{\"metadata\": {}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(send(&[], deep.as_bytes()).await.status, 400);
    let large = with("text", json!("x".repeat(70_000))).to_string();
    assert_eq!(send(&[], large.as_bytes()).await.status, 413);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(large.as_bytes()).unwrap();
    assert_eq!(send(&[("content-encoding", "gzip")], &bomb.finish().unwrap()).await.status, 413);
    assert_eq!(send(&[("content-encoding", "gzip")], b"not gzip").await.status, 400);
    assert_eq!(send(&[("content-encoding", "br")], b"{}").await.status, 415);
    let key = format!("Bearer {}", app.live);
    let headers = [("authorization", &*key), ("content-type", "text/plain")];
    assert_eq!(app.client().request("POST", "/v1/send", &headers, b"{}".to_vec()).await.unwrap().status, 415);
    assert_eq!(app.get("/v1/nowhere").await.status, 404);
    let wrong_method = app.call_as(&app.live, "DELETE", "/v1/send", &[], vec![]).await;
    assert_eq!((wrong_method.status, wrong_method.header("content-type")), (405, "application/problem+json"));
    assert!(wrong_method.header("x-request-id").starts_with("req_"));
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn a_body_of_countless_values_is_refused_for_little() {
    let app = Setup::new().paused().start().await;
    let zeros = format!("{{\"to\":[{}0]}}", "0,".repeat(1_000_000));
    let answer = app.call_as(&app.live, "POST", "/v1/send", &[], zeros.into_bytes()).await;
    assert_eq!((answer.status, answer.bytes.len() < 1000), (400, true), "{} bytes", answer.bytes.len());
    let many: Vec<_> = (0..5000).collect();
    let answer = app.post("/v1/send", &json!({"to": many, "attachments": many, "tags": many})).await;
    assert_eq!((answer.status, answer.bytes.len() < 5000), (422, true), "{} bytes", answer.bytes.len());
}

#[tokio::test]
async fn instants_at_the_end_of_time_are_faults() {
    let app = Setup::new().paused().start().await;
    for at in ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00+23:59"] {
        assert_eq!(app.post("/v1/send", &with("expires_at", json!(at))).await.status, 422, "{at}");
    }
    assert_eq!(app.get("/v1/messages?since=9999-12-31T23:59:59-23:59").await.status, 422);
    assert_eq!(app.post("/v1/send", &with("ttl_seconds", json!(i64::MAX))).await.status, 422);
}

#[tokio::test]
async fn a_thousand_recipients_are_one_message() {
    let app = Setup::new().paused().start().await;
    let many: Vec<_> = (0..1000).map(|n| format!("r{n}@example.net")).collect();
    let id = app.send(&with("to", json!(many))).await;
    assert_eq!(app.message(&id).await["counts"]["queued"], 1000);
}

#[tokio::test]
async fn a_gzip_body_is_a_body() {
    let app = Setup::new().paused().start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(message_to("a@example.net").to_string().as_bytes()).unwrap();
    let answer =
        app.call_as(&app.live, "POST", "/v1/send", &[("content-encoding", "gzip")], gzip.finish().unwrap()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test]
async fn racers_with_one_idempotency_key_get_one_message() {
    for shards in [1, 64] {
        let app = Setup::new().paused().set("database.max_shards_per_tx", shards).start().await;
        let mut racers = tokio::task::JoinSet::new();
        for key in 0..20 {
            for _ in 0..5 {
                let (address, live) = (app.address, app.live.clone());
                racers.spawn(async move {
                    let mut client = crate::support::http::Client::new(address);
                    let key = format!("order-{key}");
                    let authorization = format!("Bearer {live}");
                    let headers = [
                        ("authorization", &*authorization),
                        ("content-type", "application/json"),
                        ("idempotency-key", &*key),
                    ];
                    let body = message_to("a@example.net").to_string().into_bytes();
                    let answer = client.request("POST", "/v1/send", &headers, body).await.unwrap();
                    assert_eq!(answer.status, 202, "{}", answer.text());
                    (key, answer.text(), answer.header("idempotent-replayed") == "true")
                });
            }
        }
        let answers = within("the racers", racers.join_all()).await;
        let mut by_key = std::collections::HashMap::<_, std::collections::HashSet<_>>::new();
        for (key, text, _) in &answers {
            by_key.entry(key).or_default().insert(text);
        }
        assert!(by_key.values().all(|texts| texts.len() == 1), "one answer per key");
        assert_eq!(answers.iter().filter(|(_, _, replayed)| !replayed).count(), 20);
        assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 20);
    }
}

#[tokio::test]
async fn a_key_is_bound_to_its_body_and_its_project_and_not_burnt_by_a_refusal() {
    let app = Setup::new().paused().start().await;
    let send = async |key: &str, message: &Value| {
        app.call_as(key, "POST", "/v1/send", &[("idempotency-key", "k-1")], message.to_string().into_bytes()).await
    };
    assert_eq!(send(&app.live, &with("from", json!("nobody"))).await.status, 422);
    let first = send(&app.live, &message_to("a@example.net")).await;
    assert_eq!(first.status, 202, "a refused request does not burn its key");
    let reordered: Value = serde_json::from_str(
        r#"{"text":"It works.\n","to":"a@example.net","subject":"Hello","from":"Shop <shop@example.org>"}"#,
    )
    .unwrap();
    let again = send(&app.live, &reordered).await;
    assert_eq!((again.text(), again.header("idempotent-replayed")), (first.text(), "true"));
    let other = send(&app.live, &message_to("b@example.net")).await;
    assert_eq!((other.status, &*other.json()["type"].to_string()), (422, "\"/problems/idempotency-key-reused\""));
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let foreign = send(&neighbour, &message_to("b@example.net")).await;
    assert_eq!(foreign.status, 202, "another project's key is another key");
    assert_ne!(foreign.json()["id"], first.json()["id"]);
    let test = send(&app.test, &message_to("a@example.net")).await;
    assert_eq!((test.status, test.header("idempotent-replayed")), (202, ""), "test mail has keys of its own");
    let mut short = message_to("s@example.net");
    short["ttl_seconds"] = json!(1);
    let short_lived = async || {
        let body = short.to_string().into_bytes();
        app.call_as(&app.live, "POST", "/v1/send", &[("idempotency-key", "k-2")], body).await
    };
    assert_eq!(short_lived().await.text(), short_lived().await.text());
    for bad in ["", "has space", &"k".repeat(256)] {
        let body = message_to("a@example.net").to_string().into_bytes();
        assert_eq!(
            app.call_as(&app.live, "POST", "/v1/send", &[("idempotency-key", bad)], body).await.status,
            422,
            "{bad}"
        );
    }
    app.database.execute("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'").await;
    let later = send(&app.live, &message_to("b@example.net")).await;
    assert_eq!(later.status, 202, "after its day a key is new");
    assert_ne!(later.json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn an_unreachable_store_is_a_503_in_time_and_never_a_202() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url).await;
    let app =
        Setup::new().paused().set("database.url", &proxy.url).set("database.timeout", "2s").set("auth.cache", "10m");
    let app = app.on(&std::sync::Arc::new(database)).start().await;
    app.send(&message_to("before@example.net")).await;
    for weather in [Weather::Frozen, Weather::Cut] {
        proxy.set(weather);
        let started = std::time::Instant::now();
        for _ in 0..3 {
            let answer = app.post("/v1/send", &message_to("during@example.net")).await;
            assert_eq!(answer.status, 503, "{weather:?}: {}", answer.text());
            assert!(!answer.header("retry-after").is_empty());
        }
        let stranger = app.get_as("mw_live_unknown", "/v1/messages").await;
        assert_eq!(stranger.status, 503, "a key that cannot be looked up is neither right nor wrong");
        assert!(started.elapsed().as_secs() < 40, "each answer within 10 s");
        assert_eq!(app.get("/healthz").await.status, 200);
        assert_eq!(app.get("/readyz").await.status, 503);
        proxy.set(Weather::Fair);
        within("the store to be used again", async {
            while app.post("/v1/send", &message_to("after@example.net")).await.status != 202 {}
        })
        .await;
    }
    // What was answered with 503 after its statements had been sent may be stored; nothing else.
    let stored = app.database.count("SELECT count(*) FROM messages m JOIN recipients r ON r.message_id = m.id WHERE r.address = 'before@example.net'").await;
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn html_alone_gets_a_text_part_and_a_large_message_is_refused() {
    let app = Setup::new().paused().set("limits.message", "100KiB").start().await;
    let mut message = with("html", json!("<p>Your code is <b>123456</b></p>"));
    message.as_object_mut().unwrap().remove("text");
    let id = app.send(&message).await;
    let raw = app.get(&format!("/v1/messages/{id}/raw")).await;
    assert_eq!(raw.header("content-type"), "message/rfc822");
    assert!(raw.text().contains("multipart/alternative"), "{}", raw.text());
    let content = "QUJD".repeat(40_000);
    let large = with("attachments", json!([{"filename": "a.bin", "content": content}]));
    assert_eq!(
        app.post("/v1/send", &large).await.faults(),
        [("/attachments/0".to_owned(), "message_too_large".to_owned())]
    );
}

#[tokio::test]
async fn limits_health_and_metrics_are_readable() {
    let app = App::start().await;
    assert_eq!(app.get("/v1/limits").await.json()["recipients"], 1000);
    assert_eq!(app.get("/readyz").await.json()["status"], "ready");
    app.settled(&app.send(&message_to("a@example.invalid")).await).await;
    assert!(app.metric("mailwright_messages_accepted_total{mode=\"live\"}").await >= 1.0);
    let metrics = app.get("/metrics").await.text();
    assert!(metrics.contains("process_resident_memory_bytes"));
    assert!(!metrics.contains("example.invalid"), "no domain becomes a label");
}

#[tokio::test]
async fn a_queue_at_its_limit_answers_with_back_pressure_and_keeps_its_word() {
    let app = Setup::new().paused().set("limits.project_backlog", 2).set("limits.backlog", 3).start().await;
    let key = [("idempotency-key", "k1")];
    let first = message_to("a@example.net").to_string().into_bytes();
    let kept = app.call_as(&app.live, "POST", "/v1/send", &key, first.clone()).await;
    assert_eq!(kept.status, 202);
    app.send(&message_to("b@example.net")).await;
    let refused = app.post("/v1/send", &message_to("c@example.net")).await;
    assert_eq!((refused.status, refused.json()["type"].as_str().unwrap()), (429, "/problems/backlog"));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    let again = app.call_as(&app.live, "POST", "/v1/send", &key, first).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"), "what was accepted stays accepted");
    let neighbour = super::support::process::create_key(&app.database.url, "neighbour", "live", "").await;
    let send =
        |body: serde_json::Value| app.call_as(&neighbour, "POST", "/v1/send", &[], body.to_string().into_bytes());
    assert_eq!(send(message_to("d@example.net")).await.status, 202, "another project is not meant");
    let busy = send(message_to("e@example.net")).await;
    assert_eq!(
        (busy.status, busy.json()["type"].as_str().unwrap()),
        (503, "/problems/busy"),
        "the whole queue is full"
    );
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 3);
    // Others took them: it does not stick.
    app.database.execute("DELETE FROM deliveries").await;
    within("the next count", async {
        while app.post("/v1/send", &message_to("f@example.net")).await.status != 202 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
