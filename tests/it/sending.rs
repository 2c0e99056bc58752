//! What one request may ask for beside one message now: many, one for each, composed already, uploaded before, or nothing yet.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::http::Answer;
use crate::support::sink::Sink;

async fn post_with(app: &App, path: &str, key: &str, body: &Value) -> Answer {
    app.call_as(&app.live, "POST", path, &[("idempotency-key", key)], body.to_string().into_bytes()).await
}

async fn upload(app: &App, key: &str, query: &str, bytes: &[u8]) -> Answer {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/pdf")];
    app.client().request("POST", &format!("/v1/uploads?{query}"), &headers, bytes.to_vec()).await.unwrap()
}

async fn count(app: &App, table: &str) -> i64 {
    app.database.count(&format!("SELECT count(*) FROM {table}")).await
}

#[tokio::test]
async fn a_strict_batch_is_all_or_nothing_and_names_every_fault_by_its_place() {
    let app = Setup::new().paused().start().await;
    let mut faulty = message_to("b@example.net");
    faulty["subjet"] = json!("x");
    let body = json!({"messages": [message_to("a@example.net"), faulty, {"from": "nobody", "to": "c@example.net"}, 7]});
    let answer = app.post("/v1/send/batch", &body).await;
    assert_eq!(answer.status, 422);
    let faults = answer.faults();
    for (pointer, code) in [
        ("/messages/1/subjet", "unknown_field"),
        ("/messages/2/from", "invalid_address"),
        ("/messages/2/subject", "required"),
        ("/messages/3", "wrong_type"),
    ] {
        assert!(faults.contains(&(pointer.to_owned(), code.to_owned())), "{pointer} {code}: {faults:?}");
    }
    assert_eq!(count(&app, "messages").await, 0);
    let body = json!({"messages": [message_to("a@example.net"), message_to("b@example.net")]});
    let accepted = app.post("/v1/send/batch", &body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let accepted = accepted.json();
    assert_eq!(accepted["results"][1]["recipients"][0]["email"], "b@example.net");
    let batches: i64 = app.database.count("SELECT count(DISTINCT batch_id) FROM messages").await;
    assert_eq!((count(&app, "messages").await, batches), (2, 1));
    for (body, pointer) in [
        (json!({"messages": []}), "/messages"),
        (json!({}), "/messages"),
        (json!({"messages": [message_to("a@example.net")], "mode": "lax"}), "/mode"),
        (json!({"messages": [message_to("a@example.net")], "extra": 1}), "/extra"),
    ] {
        assert_eq!(app.post("/v1/send/batch", &body).await.faults()[0].0, pointer);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_permissive_batch_takes_what_it_can_and_answers_the_same_again() {
    let app = Setup::new().paused().start().await;
    let body = json!({"mode": "permissive", "messages": [
        message_to("a@example.net"), {"from": "nobody"}, message_to("c@example.net"), "no message"]});
    let first = post_with(&app, "/v1/send/batch", "b-1", &body).await;
    assert_eq!(first.status, 207);
    let results = first.json()["results"].clone();
    assert!(results[0]["id"].is_string() && results[2]["id"].is_string());
    assert_eq!(results[1]["error"]["type"], "/problems/validation");
    assert_eq!(results[3]["error"]["errors"][0]["pointer"], "/messages/3");
    let again = post_with(&app, "/v1/send/batch", "b-1", &body).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (207, "true"));
    let (first, again) = (first.json(), again.json());
    assert_eq!(first["batch_id"], again["batch_id"]);
    for at in [0, 2] {
        assert_eq!(first["results"][at]["id"], again["results"][at]["id"]);
        assert_eq!(again["results"][at]["replayed"], true);
    }
    assert!(again["results"][1]["error"].is_object());
    assert_eq!(count(&app, "messages").await, 2);
    let other = json!({"mode": "permissive", "messages": [message_to("a@example.net")]});
    assert_eq!(
        post_with(&app, "/v1/send/batch", "b-1", &other).await.json()["type"],
        "/problems/idempotency-key-reused"
    );
    app.stop().await;
}

#[tokio::test]
async fn each_message_of_a_batch_may_have_a_key_of_its_own_in_whichever_request_it_comes() {
    let app = Setup::new().paused().start().await;
    let keyed = |to: &str, key: &str| {
        let mut message = message_to(to);
        message["idempotency_key"] = json!(key);
        message
    };
    let alone = post_with(&app, "/v1/send", "k-1", &message_to("a@example.net")).await.json()["id"].clone();
    let batch = json!({"messages": [keyed("a@example.net", "k-1"), keyed("b@example.net", "k-2")]});
    let first = app.post("/v1/send/batch", &batch).await;
    assert_eq!(first.status, 202, "{}", first.text());
    let first = first.json();
    assert_eq!((&first["results"][0]["id"], &first["results"][0]["replayed"]), (&alone, &json!(true)));
    assert_eq!(first["results"][1]["replayed"], false);
    assert_eq!(count(&app, "messages").await, 2);
    // Another body under a known key: a strict batch stores nothing, and none of its new keys is burnt.
    let strict = json!({"messages": [keyed("n@example.net", "k-3"), keyed("other@example.net", "k-2")]});
    let refused = app.post("/v1/send/batch", &strict).await;
    assert_eq!((refused.status, refused.json()["type"].clone()), (422, json!("/problems/idempotency-key-reused")));
    assert_eq!((count(&app, "messages").await, count(&app, "idempotency_keys").await), (2, 2));
    let mut permissive = strict.clone();
    permissive["mode"] = json!("permissive");
    let taken = app.post("/v1/send/batch", &permissive).await;
    assert_eq!((taken.status, count(&app, "messages").await), (207, 3));
    assert_eq!(taken.json()["results"][1]["error"]["type"], "/problems/idempotency-key-reused");
    let twice = json!({"messages": [keyed("a@example.net", "k-9"), keyed("b@example.net", "k-9")]});
    assert_eq!(app.post("/v1/send/batch", &twice).await.faults()[0].0, "/messages/1/idempotency_key");
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_messages_are_one_batch_and_one_more_is_refused() {
    let app = Setup::new().paused().start().await;
    let batch = |count: usize| {
        let messages: Vec<_> = (0..count).map(|n| message_to(&format!("u{n}@example.net"))).collect();
        json!({"messages": messages})
    };
    let answer = app.post("/v1/send/batch", &batch(1000)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(count(&app, "messages").await, 1000);
    let transactions = app.database.count("SELECT count(DISTINCT xid::text) FROM events").await;
    assert_eq!(transactions, 1);
    assert_eq!(app.post("/v1/send/batch", &batch(1001)).await.faults()[0].1, "too_many");
    app.stop().await;
}

#[tokio::test]
async fn one_request_makes_a_message_of_its_own_for_each_recipient() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let mut message = message_to("a@example.net");
    message["to"] = json!(["Ann <a@example.net>", "b@example.net", "a@example.net"]);
    message["metadata"] = json!({"campaign": "x", "user": "all"});
    message["headers"] = json!({"X-User": "all", "X-Same": "1"});
    message["per_recipient"] =
        json!([{"metadata": {"user": "1"}, "headers": {"x-user": "1"}}, {}, {"metadata": {"user": "3"}}]);
    let accepted = app.post("/v1/send", &message).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let accepted = accepted.json();
    let recipients = accepted["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 3);
    assert_eq!(recipients[1]["pointers"], json!(["/to/1"]));
    assert_eq!(accepted["id"], recipients[0]["message_id"]);
    let taken = sink.until_taken(3).await;
    for copy in &taken {
        let text = String::from_utf8(copy.data.clone()).unwrap();
        assert_eq!(
            text.matches("example.net").count(),
            text.matches(&*copy.recipient).count(),
            "sees only itself: {text}"
        );
        assert!(text.contains("X-Same: 1"));
    }
    for (at, user) in ["1", "all", "3"].into_iter().enumerate() {
        let stored = app.message(recipients[at]["message_id"].as_str().unwrap()).await;
        assert_eq!(stored["metadata"], json!({"campaign": "x", "user": user}));
    }
    for (name, value) in [("per_recipient", json!([{}])), ("cc", json!("c@example.net")), ("message_id", json!("x@y"))]
    {
        let mut wrong = message.clone();
        wrong[name] = value;
        assert_eq!(app.post("/v1/send", &wrong).await.faults()[0].1, "conflict", "{name}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_composed_message_is_sent_as_it_is_to_its_envelope() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let raw = "From: \"Shop\" <shop@example.org>\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\nX-Odd:\tvalue \r\n\
               Subject: =?utf-8?q?caf=C3=A9?=\r\nMessage-ID: <own@example.org>\r\n\r\n.dot\r\n\r\nlast line";
    let request = |raw: &str| json!({"from": "shop@example.org", "bcc": "a@example.net", "raw": STANDARD.encode(raw), "tags": ["t"]});
    let id = app.send(&request(raw)).await;
    let taken = &sink.until_taken(1).await[0];
    assert_eq!((&*taken.recipient, &*taken.sender), ("a@example.net", "shop@example.org"));
    assert_eq!(taken.data, format!("{raw}\r\n").into_bytes());
    let stored = app.settled(&id).await;
    assert_eq!(
        (&stored["subject"], &stored["message_id"], &stored["tags"]),
        (&json!("café"), &json!("own@example.org"), &json!(["t"]))
    );
    assert_eq!(app.get(&format!("/v1/messages/{id}/raw")).await.bytes, raw.as_bytes());
    for (raw, code) in [
        (raw.replace("\r\n", "\n"), "invalid_message"),
        (raw.replace("shop@", "ceo@"), "conflict"),
        (raw.replace("X-Odd", "Bcc: x@example.net\r\nX-Odd"), "invalid_message"),
        (raw.replace("Date", "Dated"), "invalid_message"),
        (raw.replace("From", "From: x@example.org\r\nFrom"), "invalid_message"),
        (raw.replace("From", "Fro"), "invalid_message"),
        ("x".to_owned(), "invalid_message"),
    ] {
        let answer = app.post("/v1/send", &request(&raw)).await;
        assert_eq!(answer.faults(), [("/raw".to_owned(), code.to_owned())], "{raw}");
    }
    let mut both = request(raw);
    both["subject"] = json!("x");
    assert_eq!(app.post("/v1/send", &both).await.faults()[0], ("/subject".to_owned(), "conflict".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn a_file_is_uploaded_once_and_named_by_many_messages_of_its_project_and_mode() {
    let app = App::start().await;
    let bytes = b"%PDF-1.7 \x00\xff";
    let first = upload(&app, &app.test, "filename=terms.pdf", bytes).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let again = upload(&app, &app.test, "filename=terms.pdf", bytes).await;
    let other_name = upload(&app, &app.test, "filename=copy.pdf", bytes).await;
    let live = upload(&app, &app.live, "filename=live.pdf", bytes).await;
    let id = |answer: &Answer| answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&first), id(&again));
    assert_ne!(id(&first), id(&other_name));
    assert_eq!(count(&app, "upload_contents").await, 1, "the bytes are kept once");
    let mut message = message_to("a@example.net");
    message["attachments"] = json!([{"upload_id": id(&first)}, {"upload_id": id(&other_name), "filename": "mine.pdf"}]);
    let batch = json!({"messages": [message, message]});
    let sent = app.call_as(&app.test, "POST", "/v1/send/batch", &[], batch.to_string().into_bytes()).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let sent = sent.json()["results"][1]["id"].as_str().unwrap().to_owned();
    let settled = app.settled(&sent).await;
    let copy = format!("/v1/sandbox/messages/{}", settled["recipients"][0]["id"].as_str().unwrap());
    let files = app.get_as(&app.test, &copy).await.json()["attachments"].clone();
    assert_eq!((&files[0]["filename"], &files[1]["filename"]), (&json!("terms.pdf"), &json!("mine.pdf")));
    assert_eq!(files[0]["content_type"], "application/pdf");
    // What is live is not a test credential's, and what is another project's is nobody's.
    let stranger = crate::support::process::create_key(&app.database.url, "stranger", "live", "").await;
    for (key, upload) in [(&app.test, id(&live)), (&stranger, id(&first)), (&app.live, "upl_0".to_owned())] {
        message["attachments"] = json!([{"upload_id": upload}]);
        let answer = app.call_as(key, "POST", "/v1/send", &[], message.to_string().into_bytes()).await;
        assert_eq!(answer.faults(), [("/attachments/0/upload_id".to_owned(), "unknown_upload".to_owned())]);
        assert_eq!(app.get_as(key, &format!("/v1/uploads/{upload}")).await.status, 404);
    }
    // A key of an upload is bound to its file.
    let keyed = async |bytes: &[u8]| {
        let headers = [("content-type", "text/plain"), ("idempotency-key", "u-1")];
        app.call_as(&app.live, "POST", "/v1/uploads?filename=a.txt", &headers, bytes.to_vec()).await
    };
    let one = keyed(b"one").await;
    let replayed = keyed(b"one").await;
    assert_eq!((id(&one), replayed.header("idempotent-replayed")), (id(&replayed), "true"));
    assert_eq!(keyed(b"two").await.json()["type"], "/problems/idempotency-key-reused");
    // Removed, it is gone with its bytes when nobody else has them; what was sent stays.
    for path in [id(&first), id(&other_name), id(&live)] {
        assert_eq!(app.call_as(&app.live, "DELETE", &format!("/v1/uploads/{path}"), &[], vec![]).await.status, 204);
    }
    assert_eq!(count(&app, "upload_contents").await, 1, "only that of a.txt");
    assert_eq!(app.get_as(&app.test, &copy).await.status, 200);
    assert_eq!(upload(&app, &app.live, "filename=", b"x").await.status, 422);
    assert_eq!(upload(&app, &app.live, "filename=x", b"").await.status, 422);
    app.stop().await;
}

#[tokio::test]
async fn an_upload_that_nobody_names_for_long_is_retired_and_one_in_use_is_not() {
    let app = App::start().await;
    let unused = upload(&app, &app.live, "filename=old.pdf", b"old").await.json()["id"].clone();
    let used = upload(&app, &app.live, "filename=used.pdf", b"used").await.json()["id"].clone();
    sqlx::query("UPDATE uploads SET last_used_at = now() - interval '29 days'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let mut message = message_to("a@example.net");
    message["attachments"] = json!([{"upload_id": used}]);
    assert_eq!(app.post("/v1/send?dry_run=true", &message).await.status, 200);
    let now = mailwright::domain::clock::Clock::now(&*app.clock);
    let mut connection = app.service.store.connection();
    connection.retire_uploads(now - time::Duration::days(28), 100).await.unwrap();
    assert_eq!(app.get(&format!("/v1/uploads/{}", unused.as_str().unwrap())).await.status, 404);
    assert_eq!(app.get(&format!("/v1/uploads/{}", used.as_str().unwrap())).await.status, 200);
    assert_eq!(count(&app, "upload_contents").await, 1);
    app.stop().await;
}

#[tokio::test]
async fn a_rehearsal_checks_composes_and_routes_and_stores_nothing() {
    let app = App::start().await;
    let mut message = message_to("a@example.net");
    message["tags"] = json!(["t"]);
    let rehearsed = post_with(&app, "/v1/send?dry_run=true", "k", &message).await;
    assert_eq!(rehearsed.status, 200, "{}", rehearsed.text());
    let first = rehearsed.json()["messages"][0].clone();
    assert_eq!(first["next_hops"], json!(["example.net"]));
    assert_eq!(rehearsed.json()["recipients"][0]["status"], "queued");
    assert!(first["raw"].as_str().unwrap().contains("Subject: "));
    message["to"] = json!("nobody");
    assert_eq!(post_with(&app, "/v1/send?dry_run=true", "k", &message).await.status, 422);
    let batch = json!({"mode": "permissive", "messages": [message_to("a@example.net"), message]});
    let batch = app.post("/v1/send/batch?dry_run=true", &batch).await;
    assert_eq!(batch.status, 200, "{}", batch.text());
    assert!(batch.json()["results"][0]["messages"].is_array() && batch.json()["results"][1]["error"].is_object());
    assert_eq!((count(&app, "messages").await, count(&app, "idempotency_keys").await), (0, 0));
    assert_eq!(app.post("/v1/send?dry_run=yes", &message).await.faults()[0].0, "?dry_run");
    app.stop().await;
}

#[tokio::test]
async fn a_template_gives_the_content_and_a_missing_variable_is_a_fault_now() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let template = json!({"alias": "welcome", "name": "Welcome", "locales": {
        "en": {"subject": "Hello {{ name }}", "text": "Code {{ code }}", "html": "<p>{{ name }} {{ code }}</p>"},
        "zh-Hans": {"subject": "你好 {{ name }}", "text": "验证码 {{ code }}"}}});
    assert_eq!(app.post("/v1/templates", &template).await.status, 201);
    let message = |template: Value| json!({"from": "shop@example.org", "to": "a@example.net", "template": template});
    let never_published = message(json!({"alias": "welcome", "variables": {"name": "A", "code": "1"}}));
    assert_eq!(app.post("/v1/send", &never_published).await.faults()[0].0, "/template");
    assert_eq!(app.post("/v1/templates/welcome/publish", &json!({})).await.status, 200);
    let id = app.send(&message(json!({"alias": "welcome", "variables": {"name": "<A>", "code": "1"}}))).await;
    let text = String::from_utf8(sink.until_taken(1).await[0].data.clone()).unwrap();
    assert!(
        text.contains("Subject: Hello <A>\r\n") && text.contains("Code 1") && text.contains("<p>&lt;A&gt; 1</p>"),
        "{text}"
    );
    assert_eq!(app.message(&id).await["template"], "welcome");
    let chinese = app
        .send(&message(json!({"alias": "welcome", "locale": "zh-CN", "variables": {"name": "A", "code": "1"}})))
        .await;
    assert_eq!(app.message(&chinese).await["subject"], "你好 A");
    // All faults at once, of the template and of the rest.
    let mut faulty = message(json!({"alias": "welcome", "variables": {}}));
    faulty["to"] = json!("nobody");
    let faults: Vec<_> = app.post("/v1/send", &faulty).await.faults().into_iter().map(|(at, _)| at).collect();
    assert_eq!(faults, ["/template/variables/name", "/template/variables/code", "/to"]);
    for (template, place) in [
        (json!({"alias": "none"}), "/template"),
        (json!({"alias": "welcome", "id": "tpl_0"}), "/template/alias"),
        (json!({"alias": "welcome", "extra": 1}), "/template/extra"),
        (json!("welcome"), "/template"),
    ] {
        let faults = app.post("/v1/send", &message(template.clone())).await.faults();
        assert!(faults.iter().any(|(at, _)| at == place), "{template} {faults:?}");
    }
    // One for each recipient, with variables of its own; and a batch.
    let mut each = message(json!({"alias": "welcome", "variables": {"code": "0"}}));
    each["to"] = json!(["a@example.net", "b@example.net"]);
    each["per_recipient"] = json!([{"variables": {"name": "A"}}, {"variables": {"name": "B", "code": "7"}}]);
    let accepted = app.post("/v1/send", &each).await.json();
    let second = app.message(accepted["recipients"][1]["message_id"].as_str().unwrap()).await;
    assert_eq!(second["subject"], "Hello B");
    each["per_recipient"][0] = json!({});
    let batch = json!({"mode": "permissive", "messages": [message(json!({"alias": "welcome", "variables": {"name": "C", "code": "2"}})), each]});
    let batch = app.post("/v1/send/batch", &batch).await;
    assert_eq!(batch.status, 207);
    let fault = &batch.json()["results"][1]["error"]["errors"][0];
    assert_eq!(fault["pointer"], "/messages/1/per_recipient/0/variables/name");
    // For later: what it says is decided now, whatever becomes of the template.
    let mut later = message(json!({"alias": "welcome", "variables": {"name": "L", "code": "3"}}));
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(
        mailwright::domain::clock::Clock::now(&*app.clock) + std::time::Duration::from_hours(1)
    ));
    let later = app.send(&later).await;
    assert_eq!(app.call_as(&app.live, "DELETE", "/v1/templates/welcome", &[], vec![]).await.status, 204);
    app.clock.advance(std::time::Duration::from_hours(1));
    let sent = app.settled(&later).await;
    assert_eq!((&sent["subject"], &sent["template"]), (&json!("Hello L"), &json!("welcome")));
    app.stop().await;
}
