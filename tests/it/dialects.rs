//! Other services' HTTP APIs, as their official SDKs speak them (tests/dialects), and what becomes of their words here.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::examples::PATIENCE;
use crate::support::app::{App, Setup};
use crate::support::conversation::Conversation;
use crate::support::process::create_key;

/// A service that speaks all dialects, and keeps its mail in the inbox.
async fn service() -> App {
    let setup = Setup::new().set("delivery.route", "sandbox").set("submission.listen", "plain://127.0.0.1:0");
    setup.set("compat.dialects", "resend").start().await
}

/// What an SDK gave for each call of a program in tests/dialects.
async fn run(app: &App, program: &str, base: (&str, &str)) -> HashMap<String, Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/dialects");
    let mut command = if Path::new(program).extension().is_some_and(|ending| ending == "mjs") {
        let mut command = Command::new("node");
        command.arg(root.join("tests/dialects/node").join(program)).arg(tools.join("node"));
        command
    } else {
        let mut command = Command::new(tools.join("python/bin/python"));
        command.arg(root.join("tests/dialects/python").join(program));
        command
    };
    let reader = create_key(&app.database.url, "shop", "live", "messages:read").await;
    let all = create_key(&app.database.url, "shop", "live", "admin").await;
    command.env(base.0, base.1).env("MAILWRIGHT_KEY", &all).env("MAILWRIGHT_READER", reader);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("an SDK did not end");
    let output = output.expect("run the tests by scripts/test");
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {printed}\n{said}");
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.map(|line| (line["call"].as_str().unwrap().to_owned(), line)).collect()
}

/// The message with that subject, as our API shows it.
async fn message(app: &App, subject: &str) -> Value {
    let found = app.get("/v1/messages?limit=500").await.json();
    let row = found["data"].as_array().unwrap().iter().find(|row| row["subject"] == subject);
    let id = row.unwrap_or_else(|| panic!("{subject} is not there: {found}"))["id"].as_str().unwrap().to_owned();
    app.message(&id).await
}

async fn publish_template(app: &App) {
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let template = json!({"alias": "welcome", "name": "Welcome", "locales": {"en": {"subject": "Welcome, {{ name }}", "text": "Hello {{ name }}"}}});
    let made = app.call_as(&admin, "POST", "/v1/templates", &[], template.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/v1/templates/{}/publish", made.json()["id"].as_str().unwrap());
    let published = app.call_as(&admin, "POST", &path, &[], b"{}".to_vec()).await;
    assert_eq!(published.status, 200, "{}", published.text());
}

#[tokio::test]
async fn resends_sdk_for_node_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    let base = format!("http://{}/compat/resend", app.address);
    let said = run(&app, "resend.mjs", ("RESEND_BASE_URL", &base)).await;
    let data = |call: &str| {
        let line = said.get(call).unwrap_or_else(|| panic!("{call} is missing"));
        assert!(line["error"].is_null(), "{line}");
        line["data"].clone()
    };
    // Sending: the same message as by our own words.
    let id = data("send")["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(data("send again")["id"], id);
    let whole = message(&app, "Resend whole").await;
    assert_eq!(whole["id"], format!("msg_{}", id.replace('-', "")));
    assert_eq!((&whole["metadata"], whole["recipients"].as_array().unwrap().len()), (&json!({"kind": "receipt"}), 4));
    let email = data("get");
    assert_eq!((&email["object"], &email["to"]), (&json!("email"), &json!(["ann@example.net", "bob@example.net"])));
    assert_eq!((&email["cc"], &email["bcc"]), (&json!(["cyd@example.net"]), &json!(["dan@example.net"])));
    assert_eq!(
        (&email["html"], &email["reply_to"]),
        (&json!("<p>Hello <img src=\"cid:logo\"></p>"), &json!(["help@example.org"]))
    );
    assert_eq!((&email["text"], &email["tags"]), (&json!("Hello"), &json!([{"name": "kind", "value": "receipt"}])));
    // Times.
    assert!(
        data("later")["id"].is_string() && data("update")["object"] == "email" && data("cancel")["object"] == "email"
    );
    assert_eq!(data("get cancelled")["last_event"], "canceled");
    assert_eq!(message(&app, "Welcome, Ann").await["template"], "welcome");
    // A time from now is another instant when it is said again, and the same request.
    assert_eq!(data("relative")["id"], data("relative again")["id"]);
    // Batches.
    assert_eq!(data("batch")["data"].as_array().unwrap().len(), 2);
    let permissive = data("batch permissive");
    assert_eq!(permissive["data"].as_array().unwrap().len(), 1);
    let errors = permissive["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["index"], &errors[1]["index"]), (2, &json!(0), &json!(2)));
    assert!(
        errors[0]["message"].as_str().unwrap().starts_with("`emails[0].to[0]`")
            || errors[0]["message"].as_str().unwrap().starts_with("`emails[0].to`"),
        "{errors:?}"
    );
    let (page, on) = (data("list"), data("list on"));
    assert_eq!(
        (&page["object"], &page["has_more"], page["data"].as_array().unwrap().len()),
        (&json!("list"), &json!(true), 2)
    );
    let ids = |page: &Value| page["data"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert!(ids(&on).iter().all(|id| !ids(&page).contains(id)) && ids(&on).len() == 2);
    // Refusals, by the names that the SDK's types have.
    for (call, status, name, words) in [
        ("send another", 409, "invalid_idempotent_request", "Idempotency-Key"),
        ("cancel sent", 422, "validation_error", "too late"),
        ("batch strict", 422, "validation_error", "`emails[1].to"),
        ("no from", 422, "missing_required_field", "`from`"),
        ("bad to", 422, "validation_error", "`to"),
        ("topic", 422, "validation_error", "`topic_id`"),
        ("path", 422, "invalid_attachment", "`attachments[0].path`"),
        ("bad attachment", 422, "invalid_attachment", "`attachments[0].content`"),
        ("bad key", 400, "invalid_idempotency_key", "visible ASCII"),
        ("bad time", 422, "validation_error", "`scheduled_at`"),
        ("get nobody", 404, "not_found", ""),
        ("wrong key", 403, "invalid_api_key", "API key"),
        ("reader", 401, "restricted_api_key", "scope"),
        ("suppressed no more", 404, "not_found", ""),
    ] {
        let error = &said.get(call).unwrap_or_else(|| panic!("{call} is missing"))["error"];
        assert_eq!((&error["statusCode"], &error["name"]), (&json!(status), &json!(name)), "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{call}: {error}");
    }
    // Suppressions.
    assert_eq!(data("suppress")["object"], "suppression");
    assert_eq!(data("suppress many")["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&data("suppressed")["email"], &data("suppressed")["origin"]),
        (&json!("gone@example.net"), &json!("manual"))
    );
    assert_eq!(data("suppressions")["data"].as_array().unwrap().len(), 3);
    assert_eq!(message(&app, "Suppressed").await["recipients"][0]["status"], "suppressed");
    assert_eq!(data("unsuppress")["deleted"], true);
    assert_eq!(data("unsuppress many")["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn resends_sdk_for_python_gets_what_it_knows() {
    let app = service().await;
    // At the root, too.
    let base = format!("http://{}", app.address);
    let said = run(&app, "resend_sdk.py", ("RESEND_API_URL", &base)).await;
    let data = |call: &str| {
        let line = said.get(call).unwrap_or_else(|| panic!("{call} is missing"));
        assert!(line["error"].is_null(), "{line}");
        line["data"].clone()
    };
    let whole = message(&app, "Python whole").await;
    assert_eq!((&whole["metadata"], whole["recipients"].as_array().unwrap().len()), (&json!({"kind": "receipt"}), 2));
    assert_eq!((&data("get")["subject"], &data("get")["html"]), (&json!("Python whole"), &json!("<p>Hello</p>")));
    assert_eq!(data("cancel")["object"], "email");
    assert_eq!(data("batch")["data"].as_array().unwrap().len(), 2);
    assert_eq!(data("list")["data"].as_array().unwrap().len(), 2);
    for (call, class) in
        [("no from", "MissingRequiredFieldsError"), ("bad to", "ValidationError"), ("wrong key", "InvalidApiKeyError")]
    {
        assert_eq!(said[call]["error"], class, "{}", said[call]);
    }
}

#[tokio::test]
async fn docs_for_who_comes_from_resend_are_true() {
    let app = service().await;
    publish_template(&app).await;
    let guide = include_str!("../../docs/migrating/resend.md");
    let mut rows = 0;
    for line in guide.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [field, example, outcome, ..] = cells[..] else { continue };
        let (field, example) = (field.trim_matches('`'), example.trim_matches('`'));
        let Ok(value) = serde_json::from_str::<Value>(example) else { continue };
        rows += 1;
        let mut email = json!({"from": "shop@example.org", "to": "ann@example.net", "subject": "s"});
        if field != "template" {
            email["text"] = json!("t");
        }
        email[field] = value;
        let answer = app.post("/compat/resend/emails", &email).await;
        match outcome {
            "sent" => assert_eq!(answer.status, 200, "{line}: {}", answer.text()),
            "refused" => {
                assert_eq!(answer.status, 422, "{line}: {}", answer.text());
                assert!(answer.json()["message"].as_str().unwrap().contains(&format!("`{field}")), "{}", answer.text());
            }
            other => panic!("{other}: {line}"),
        }
    }
    assert_eq!(rows, 17);
    let unknown =
        json!({"from": "shop@example.org", "to": "ann@example.net", "subject": "s", "text": "t", "sned_at": "x"});
    let answer = app.post("/emails", &unknown).await;
    assert!(answer.status == 422 && answer.text().contains("`sned_at`"), "{}", answer.text());
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(closed.post("/emails", &unknown).await.status, 404);
    let answer = app.call_as(&app.live, "PUT", "/emails", &[], b"{}".to_vec()).await;
    assert_eq!((answer.status, &answer.json()["name"]), (405, &json!("method_not_allowed")));
    let answer =
        app.client().request("POST", "/emails", &[("content-type", "application/json")], b"{}".to_vec()).await.unwrap();
    assert_eq!((answer.status, &answer.json()["name"]), (401, &json!("missing_api_key")));
    // What cannot be read, and whom a key may be used by, is told in the same form.
    let answer = app.call_as(&app.live, "POST", "/emails", &[], b"{".to_vec()).await;
    assert_eq!((answer.status, &answer.json()["name"]), (400, &json!("validation_error")));
}

#[tokio::test]
async fn one_message_by_each_door_is_the_same_in_the_store() {
    let app = service().await;
    let ours = json!({"from": "Shop <shop@example.org>", "to": ["ann@example.net"], "cc": ["bob@example.net"], "subject": "Same",
        "text": "Hello", "html": "<p>Hello</p>", "metadata": {"kind": "receipt"}, "reply_to": "help@example.org"});
    let theirs = json!({"from": "Shop <shop@example.org>", "to": ["ann@example.net"], "cc": "bob@example.net", "subject": "Same",
        "text": "Hello", "html": "<p>Hello</p>", "tags": [{"name": "kind", "value": "receipt"}], "reply_to": ["help@example.org"]});
    let mine = app.post("/v1/send", &ours).await.json()["id"].as_str().unwrap().to_owned();
    let by_resend = app.post("/emails", &theirs).await.json()["id"].as_str().unwrap().replace('-', "");
    let (mut seen, mut words) = (Vec::new(), Vec::new());
    for id in [mine, format!("msg_{by_resend}")] {
        let mut message = app.settled(&id).await;
        let raw = app.get(&format!("/v1/messages/{id}/raw")).await.text();
        // What is one message's own: ids, times, boundaries.
        let own = id.trim_start_matches("msg_");
        let lines = raw.lines().filter(|line| !line.starts_with("Date:"));
        words.push(lines.map(|line| line.replace(own, "ID")).collect::<Vec<_>>().join("\n"));
        for name in ["id", "created_at", "message_id"] {
            message.as_object_mut().unwrap().remove(name);
        }
        for recipient in message["recipients"].as_array_mut().unwrap() {
            for name in ["id", "settled_at"] {
                recipient.as_object_mut().unwrap().remove(name);
            }
        }
        seen.push(message);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(words[0], words[1]);
    // By SMTP the words are the program's own: here those that the API wrote.
    let raw = app.get(&format!("/v1/messages/msg_{by_resend}/raw")).await.text();
    let mut smtp = Conversation::open(app.service.submission[0]).await;
    smtp.log_in(&app.live).await;
    let to = ["ann@example.net", "bob@example.net"];
    let reply = smtp.submit("<shop@example.org>", &to, &format!("X-Mailwright-Metadata-kind: receipt\r\n{raw}")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(app.get(&format!("/v1/messages/{id}/raw")).await.text(), raw);
    let submitted = app.settled(id).await;
    for name in ["from", "subject", "metadata", "tags", "priority", "size", "status", "message_id"] {
        let known =
            if name == "message_id" { &app.message(&format!("msg_{by_resend}")).await[name] } else { &seen[1][name] };
        assert_eq!(&submitted[name], known, "{name}");
    }
    let kinds = |message: &Value| -> Vec<(Value, Value)> {
        message["recipients"].as_array().unwrap().iter().map(|to| (to["email"].clone(), to["kind"].clone())).collect()
    };
    assert_eq!(kinds(&submitted), kinds(&seen[1]));
}
