//! Suppressions: what is stopped, and what is not; who may see and change them; and the lists of other services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::http::Answer;
use crate::support::process::{create_key, run};
use crate::support::receiver::Receiver;
use crate::support::sink::{Do, Sink, Step};
use crate::support::within;

const LIST: &str = "/v1/suppressions";

async fn post_as(app: &App, key: &str, path: &str, body: &Value) -> Answer {
    app.call_as(key, "POST", path, &[], body.to_string().into_bytes()).await
}

async fn suppress(app: &App, entry: Value) -> Value {
    let answer = app.post(LIST, &entry).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn import_as(app: &App, key: &str, query: &str, list: &str) -> Value {
    let path = format!("{LIST}/import{query}");
    let answer = app.call_as(key, "POST", &path, &[("content-type", "text/plain")], list.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn list(app: &App, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("{LIST}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].as_array().unwrap().clone()
}

fn emails(entries: &[Value]) -> BTreeSet<&str> {
    entries.iter().map(|entry| entry["email"].as_str().unwrap()).collect()
}

/// How often the store was asked what is suppressed.
async fn lookups(app: &App) -> u32 {
    let line = "mailwright_store_statement_seconds_count{statement=\"suppressions.find\"}";
    format!("{}", app.metric(line).await).parse().unwrap()
}

async fn with_sink() -> (App, Sink) {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.to_lowercase().starts_with("unknown") => Do::Reply("550 5.1.1 No such user"),
            Step::Rcpt(to) if to.starts_with("full") => Do::Reply("552 5.2.2 Mailbox full"),
            Step::Rcpt(to) if to.starts_with("blocked") => Do::Reply("550 5.7.1 Blocked using zen.spamhaus.org"),
            Step::Rcpt(to) if to.starts_with("busy") => Do::Reply("450 4.2.1 You send too much, slow down"),
            Step::Rcpt(to) if to.starts_with("gone") => Do::Reply("450 4.1.1 No such user yet"),
            _ => Do::Usual,
        })
        .start()
        .await;
    (Setup::new().route_to(sink.address).start().await, sink)
}

#[tokio::test]
async fn a_suppressed_recipient_is_accepted_and_nothing_is_sent_to_it() {
    let (app, sink) = with_sink().await;
    let receiver = Receiver::start().await;
    app.post("/v1/webhooks", &json!({"url": receiver.url(), "events": ["message.suppressed"]})).await;
    let entry =
        suppress(&app, json!({"email": "Ada@Example.NET", "reason": "complaint", "evidence": "by letter"})).await;
    assert_eq!((&entry["email"], &entry["expires_at"]), (&json!("ada@example.net"), &Value::Null));
    let mut message = message_to("ADA@example.net");
    message["cc"] = json!(["grace@example.net"]);
    let answer = app.post("/v1/send", &message).await;
    let accepted = answer.json();
    assert_eq!((answer.status, &accepted["status"]), (202, &json!("queued")));
    let statuses: Vec<_> = accepted["recipients"].as_array().unwrap().iter().map(|r| &r["status"]).collect();
    assert_eq!(statuses, ["suppressed", "queued"]);
    let id = accepted["id"].as_str().unwrap();
    let settled = app.settled(id).await;
    assert_eq!(status_of(&settled, "ADA@example.net"), "suppressed");
    assert_eq!(settled["counts"]["suppressed"], 1);
    let reply = &settled["recipients"][0]["last_reply"];
    assert_eq!((&reply["class"], &reply["code"]), (&json!("suppressed"), &Value::Null));
    assert!(reply["text"].as_str().unwrap().contains("complaint"), "{reply}");
    assert_eq!(sink.until_taken(1).await[0].recipient, "grace@example.net");
    let events = app.events(id).await;
    let first = events.iter().find(|event| event["email"] == "ADA@example.net").unwrap();
    assert_eq!((&first["type"], &first["sequence"]), (&json!("message.suppressed"), &json!(1)));
    assert_eq!((&first["suppression"]["id"], &first["suppression"]["reason"]), (&entry["id"], &json!("complaint")));
    assert_eq!(first["attempt"], Value::Null);
    let hook = receiver.until(1).await[0].json();
    assert_eq!((&hook["type"], &hook["data"]["suppression"]["id"]), (&json!("message.suppressed"), &entry["id"]));
    let why = app.get(&format!("/v1/messages/{id}/explain")).await.json();
    assert!(why["recipients"][0]["reason"].as_str().unwrap().contains("complaint"), "{why}");
    assert!(app.attempts(id).await.iter().all(|attempt| attempt["email"] == "grace@example.net"));
}

#[tokio::test]
async fn a_message_without_another_recipient_has_failed_and_a_repetition_says_the_same() {
    let app = Setup::new().paused().start().await;
    suppress(&app, json!({"email": "ada@example.net"})).await;
    let body = message_to("ada@example.net").to_string().into_bytes();
    let key = [("idempotency-key", "once")];
    let first = app.call_as(&app.live, "POST", "/v1/send", &key, body.clone()).await;
    assert_eq!(
        (&first.json()["status"], &first.json()["recipients"][0]["status"]),
        (&json!("failed"), &json!("suppressed"))
    );
    assert_eq!(app.message(first.json()["id"].as_str().unwrap()).await["status"], "failed");
    let entry = list(&app, "").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.call_as(&app.live, "DELETE", &format!("{LIST}/{entry}"), &[], vec![]).await.status, 204);
    let again = app.call_as(&app.live, "POST", "/v1/send", &key, body).await;
    assert_eq!((again.text(), again.header("idempotent-replayed")), (first.text(), "true"));
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
}

#[tokio::test]
async fn a_scope_stops_the_mail_of_its_tag_alone() {
    let app = Setup::new().paused().start().await;
    suppress(&app, json!({"email": "ada@example.net", "scope": "tag:news", "reason": "unsubscribe"})).await;
    let status = async |tags: Value| {
        let mut message = message_to("ada@example.net");
        message["tags"] = tags;
        app.post("/v1/send", &message).await.json()["recipients"][0]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(json!(["x", "news"])).await, "suppressed");
    assert_eq!(status(json!(["x"])).await, "queued");
    let check = async |tags: Value| {
        let body = json!({"addresses": ["ADA@example.net", "b@example.net"], "tags": tags});
        app.post(&format!("{LIST}/check"), &body).await.json()["data"].clone()
    };
    let found = check(json!(["news"])).await;
    assert_eq!((&found[0]["suppressed"], &found[1]["suppressed"]), (&json!(true), &json!(false)));
    let found = check(json!([])).await;
    assert_eq!((&found[0]["suppressed"], &found[0]["suppressions"][0]["scope"]), (&json!(false), &json!("tag:news")));
}

#[tokio::test]
async fn an_address_that_a_server_refuses_is_suppressed_with_the_reply_as_evidence() {
    let (app, sink) = with_sink().await;
    let id = app.send(&message_to("Unknown@example.net")).await;
    assert_eq!(app.settled(&id).await["recipients"][0]["status"], "bounced");
    let entries = list(&app, "").await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&entry["email"], &entry["reason"]), (&json!("unknown@example.net"), &json!("bounce")));
    assert_eq!((&entry["class"], &entry["scope"]), (&json!("bad_mailbox"), &json!("project")));
    let evidence = &entry["evidence"];
    assert_eq!(
        (&evidence["source"], &evidence["code"], &evidence["enhanced"]),
        (&json!("reply"), &json!(550), &json!("5.1.1"))
    );
    assert_eq!((&evidence["message_id"], &evidence["text"]), (&json!(id), &json!("No such user")));
    assert!(evidence["rule"].is_string() && evidence["host"].is_string());
    assert!(!entry["expires_at"].is_null(), "what a server said may change");
    let second = app.send(&message_to("unknown@example.net")).await;
    assert_eq!(app.settled(&second).await["recipients"][0]["status"], "suppressed");
    let asked = sink
        .steps()
        .iter()
        .filter(|(_, step)| matches!(step, Step::Rcpt(to) if to.to_lowercase().starts_with("unknown")))
        .count();
    assert_eq!(asked, 1, "the server is not asked again");
    app.until_metric("mailwright_suppressions_total{reason=\"bounce\"}", 1.0).await;
}

#[tokio::test]
async fn a_full_mailbox_a_block_and_a_limit_suppress_nobody() {
    let (app, _sink) = with_sink().await;
    for local in ["full", "gone", "busy", "blocked"] {
        let id = app.send(&message_to(&format!("{local}@example.net"))).await;
        app.until(&id, "a first refusal", |message| message["recipients"][0]["attempts"].as_i64() > Some(0)).await;
        app.until(&id, "its record", |message| !message["recipients"][0]["last_reply"].is_null()).await;
    }
    assert_eq!(list(&app, "").await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_was_suppressed_since_it_was_accepted_is_not_tried_again() {
    let (app, sink) = with_sink().await;
    let id = app.send(&message_to("busy@example.net")).await;
    app.until(&id, "a first refusal", |message| message["recipients"][0]["status"] == "deferred").await;
    let entry = suppress(&app, json!({"email": "busy@example.net", "reason": "unsubscribe"})).await;
    let settled = app.settled(&id).await;
    assert_eq!((&settled["status"], &settled["recipients"][0]["status"]), (&json!("failed"), &json!("suppressed")));
    let last = app.attempts(&id).await.into_iter().max_by_key(|attempt| attempt["number"].as_i64()).unwrap();
    assert_eq!(
        (&last["outcome"], &last["stage"], &last["class"]),
        (&json!("suppressed"), &json!("suppression"), &json!("suppressed"))
    );
    let event = app.events(&id).await.pop().unwrap();
    assert_eq!((&event["type"], &event["suppression"]["id"]), (&json!("message.suppressed"), &entry["id"]));
    assert_eq!(sink.taken_count(), 0);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
}

#[tokio::test]
async fn what_another_process_stored_is_heeded_here() {
    let database = std::sync::Arc::new(crate::support::database::Database::new().await);
    let here = Setup::new().paused().on(&database).start().await;
    let there = Setup::new().paused().on(&database).start().await;
    assert_eq!(here.post("/v1/send", &message_to("ada@example.net")).await.json()["status"], "queued");
    suppress(&there, json!({"email": "ada@example.net"})).await;
    within("the other process to heed it", async {
        while here.post("/v1/send", &message_to("ada@example.net")).await.json()["status"] != "failed" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_that_is_not_suppressed_costs_no_lookup() {
    let app = Setup::new().paused().start().await;
    let other = create_key(&app.database.url, "other", "live", "").await;
    within("the filter to be filled", async {
        loop {
            let before = lookups(&app).await;
            app.send(&message_to("nobody@example.net")).await;
            if lookups(&app).await == before {
                break;
            }
        }
    })
    .await;
    suppress(&app, json!({"email": "ada@example.net"})).await;
    let before = lookups(&app).await;
    app.send(&message_to("grace@example.net")).await;
    assert_eq!(post_as(&app, &other, "/v1/send", &message_to("ada@example.net")).await.json()["status"], "queued");
    assert_eq!(lookups(&app).await, before);
    assert_eq!(app.post("/v1/send", &message_to("ada@example.net")).await.json()["status"], "failed");
    assert_eq!(lookups(&app).await, before + 1);
}

#[tokio::test]
async fn live_and_test_mail_have_lists_of_their_own_and_a_foreign_entry_is_absent() {
    let app = Setup::new().paused().start().await;
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let tested = post_as(&app, &app.test, LIST, &json!({"email": "ada@example.net"})).await.json();
    assert_eq!(tested["mode"], "test");
    assert_eq!(app.post("/v1/send", &message_to("ada@example.net")).await.json()["status"], "queued");
    let stopped = post_as(&app, &app.test, "/v1/send", &message_to("ada@example.net")).await.json();
    assert_eq!(stopped["status"], "failed");
    let lived = suppress(&app, json!({"email": "grace@example.net"})).await;
    for (key, entry) in [(&app.live, &tested), (&app.test, &lived), (&neighbour, &lived), (&neighbour, &tested)] {
        let path = format!("{LIST}/{}", entry["id"].as_str().unwrap());
        assert_eq!(app.get_as(key, &path).await.status, 404);
        assert_eq!(app.call_as(key, "DELETE", &path, &[], vec![]).await.status, 404);
        let body = json!({"addresses": [entry["email"]]});
        assert_eq!(post_as(&app, key, &format!("{LIST}/delete"), &body).await.json()["deleted"], 0);
        let checked = post_as(&app, key, &format!("{LIST}/check"), &body).await.json();
        assert_eq!(checked["data"][0]["suppressions"], json!([]));
        assert!(
            !app.get_as(key, &format!("{LIST}/export?format=ndjson"))
                .await
                .text()
                .contains(entry["id"].as_str().unwrap())
        );
    }
    assert_eq!(app.get_as(&neighbour, LIST).await.json()["data"], json!([]));
    assert_eq!(
        post_as(&app, &neighbour, "/v1/send", &message_to("grace@example.net")).await.json()["status"],
        "queued"
    );
    let path = format!("{LIST}/{}", lived["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.json(), lived);
    for junk in ["junk", "%ff", "sup_0"] {
        assert_eq!(app.get(&format!("{LIST}/{junk}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_reason_of_more_weight_stays_and_nothing_ends_earlier() {
    let app = Setup::new().paused().start().await;
    let first = suppress(&app, json!({"email": "ada@example.net", "reason": "complaint", "note": "a"})).await;
    let again = app.post(LIST, &json!({"email": "ada@example.net", "reason": "manual", "note": "b"})).await;
    assert_eq!((again.status, again.json()), (200, first));
    suppress(&app, json!({"email": "b@example.net", "reason": "bounce", "expires_at": "2100-01-01T00:00:00Z"})).await;
    let shorter = json!({"email": "b@example.net", "reason": "manual", "expires_at": "2099-01-01T00:00:00Z"});
    let renewed = app.post(LIST, &shorter).await.json();
    assert_eq!((&renewed["reason"], &renewed["expires_at"]), (&json!("manual"), &json!("2100-01-01T00:00:00.000000Z")));
    let many = json!({"suppressions": [{"email": "c@example.net"}, {"email": "C@example.net", "reason": "complaint"},
        {"email": "ada@example.net"}, {"email": "ada@example.net", "scope": "tag:x"}]});
    let added = app.post(LIST, &many).await.json();
    assert_eq!(added, json!({"added": 2, "updated": 0, "unchanged": 1}));
    assert_eq!(list(&app, "?q=C@").await[0]["reason"], "complaint");
}

#[tokio::test]
async fn what_has_expired_stops_nothing_and_is_gone() {
    let app = Setup::new().paused().start().await;
    suppress(&app, json!({"email": "ada@example.net", "reason": "bounce"})).await;
    app.database.execute("UPDATE suppressions SET expires_at = now() - interval '1 minute'").await;
    assert_eq!(app.post("/v1/send", &message_to("ada@example.net")).await.json()["status"], "queued");
    assert_eq!(list(&app, "").await, [] as [Value; 0]);
    let again = app.post(LIST, &json!({"email": "ada@example.net", "reason": "bounce"})).await;
    assert_eq!(again.status, 200);
    assert_eq!(app.post("/v1/send", &message_to("ada@example.net")).await.json()["status"], "failed");
    app.database.execute("UPDATE suppressions SET expires_at = now() - interval '1 minute'").await;
    clear(&app).await;
    assert_eq!(app.database.count("SELECT count(*) FROM suppressions").await, 0);
}

/// Clears away what has expired, as upkeep does.
async fn clear(app: &App) {
    app.service.store.connection().prune_suppressions(1).await.unwrap();
}

#[tokio::test]
async fn a_list_is_narrowed_and_paged_newest_first() {
    let app = Setup::new().paused().start().await;
    for n in 0..7 {
        let reason = if n % 2 == 0 { "manual" } else { "complaint" };
        suppress(&app, json!({"email": format!("user{n}@example.net"), "reason": reason})).await;
    }
    let before = list(&app, "?limit=1").await[0]["updated_at"].as_str().unwrap().to_owned();
    suppress(&app, json!({"email": "vip@example.net", "scope": "tag:news"})).await;
    assert_eq!(
        emails(&list(&app, "?reason=complaint").await),
        ["user1@example.net", "user3@example.net", "user5@example.net"].into()
    );
    assert_eq!(emails(&list(&app, "?scope=tag:news").await), ["vip@example.net"].into());
    assert_eq!(emails(&list(&app, "?q=User6").await), ["user6@example.net"].into());
    assert_eq!(emails(&list(&app, &format!("?since={before}")).await), ["user6@example.net", "vip@example.net"].into());
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = app.get(&format!("{LIST}{query}")).await.json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|e| e["email"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=3&cursor={cursor}");
    }
    let wanted: Vec<_> = ["vip".to_owned()].into_iter().chain((0..7).rev().map(|n| format!("user{n}"))).collect();
    assert_eq!(seen, wanted.iter().map(|local| format!("{local}@example.net")).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_its_place() {
    let app = Setup::new().paused().start().await;
    let many = json!({"suppressions": [{"email": "a"}, {"email": "a@example.net", "reason": "x", "scope": "y"}, 1,
        {"email": "a@example.net", "expires_at": "2020-01-01T00:00:00Z", "nope": 1}, {}]});
    let faults = app.post(LIST, &many).await.faults();
    let wanted = [
        ("/suppressions/0/email", "invalid_address"),
        ("/suppressions/1/reason", "invalid_reason"),
        ("/suppressions/1/scope", "invalid_scope"),
        ("/suppressions/2", "wrong_type"),
        ("/suppressions/3/expires_at", "in_the_past"),
        ("/suppressions/3/nope", "unknown_field"),
        ("/suppressions/4/email", "required"),
    ];
    assert_eq!(faults, wanted.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    assert_eq!(list(&app, "").await, [] as [Value; 0]);
    let check = app.post(&format!("{LIST}/check"), &json!({"addresses": ["a@example.net", "b"]})).await;
    assert_eq!(check.faults(), [("/addresses/1".to_owned(), "invalid_address".to_owned())]);
    let large = json!({"suppressions": vec![json!({"email": "a@example.net"}); 1001]});
    assert_eq!(app.post(LIST, &large).await.faults(), [("/suppressions".to_owned(), "too_many".to_owned())]);
    assert_eq!(app.call_as(&app.live, "POST", &format!("{LIST}/import?format=x"), &[], vec![]).await.status, 422);
    assert_eq!(app.get(&format!("{LIST}/export?format=x")).await.status, 422);
}

#[tokio::test]
async fn a_list_that_is_exported_and_imported_elsewhere_is_the_same_list() {
    let app = Setup::new().paused().start().await;
    let (mut keys, mut exported) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let entry = json!({"email": format!("user{n}@example.net"), "evidence": "=1+1, \"said\"\nhe", "note": "+1",
            "scope": if n % 3 == 0 { "tag:a,b" } else { "project" }, "reason": if n % 2 == 0 { "bounce" } else { "unsubscribe" }});
        suppress(&app, entry).await;
    }
    suppress(&app, json!({"email": "=cmd|x@example.net"})).await;
    suppress(&app, json!({"email": "'+x@example.net"})).await;
    let of = async |key: &str| {
        let page = app.get_as(key, &format!("{LIST}?limit=500")).await.json();
        let mut entries = page["data"].as_array().unwrap().clone();
        for entry in &mut entries {
            let entry = entry.as_object_mut().unwrap();
            entry.remove("id");
            entry.remove("updated_at");
        }
        entries.sort_by_key(|entry| entry["email"].as_str().unwrap().to_owned());
        entries
    };
    let ours = of(&app.live).await;
    assert_eq!(ours.len(), 42);
    for format in ["csv", "ndjson"] {
        let list = app.get(&format!("{LIST}/export?format={format}")).await.text();
        let key = create_key(&app.database.url, format, "live", "").await;
        let done = import_as(&app, &key, "", &list).await;
        assert_eq!(
            (&done["format"], &done["added"], &done["refused"]),
            (&json!(format), &json!(42), &json!(0)),
            "{done}"
        );
        assert_eq!(done["ignored_fields"], json!([]));
        assert_eq!(of(&key).await, ours, "{format}");
        let again = import_as(&app, &key, &format!("?format={format}"), &list).await;
        assert_eq!((&again["added"], &again["updated"], &again["unchanged"]), (&json!(0), &json!(0), &json!(42)));
        keys.push(key);
        exported.push(list);
    }
    // After a break one goes on behind the last that came.
    let lines: Vec<_> = exported[1].lines().collect();
    let cursor: Value = serde_json::from_str(lines[9]).unwrap();
    let rest = app.get(&format!("{LIST}/export?format=ndjson&cursor={}", cursor["id"].as_str().unwrap())).await.text();
    assert_eq!(rest.lines().collect::<Vec<_>>(), lines[10..]);
}

#[tokio::test]
async fn a_list_of_another_service_says_what_was_not_taken_and_why() {
    let app = Setup::new().paused().start().await;
    let blocks = r#"[{"created": 1795000000, "email": "a@example.net", "reason": "550 5.1.1 user unknown", "status": "5.1.1"},
        {"created": 1795000000, "email": "b@example.net", "reason": "550 5.7.1 blocked using zen.spamhaus.org", "status": "5.7.1"},
        {"created": 1795000000, "email": "nonsense", "reason": "550 5.1.1 user unknown", "status": "5.1.1"}]"#;
    let done = import_as(&app, &app.live, "?format=auto", blocks).await;
    assert_eq!((&done["format"], &done["added"]), (&json!("sendgrid"), &json!(1)));
    assert_eq!((&done["skipped"], &done["refused"], &done["complete"]), (&json!(1), &json!(1), &json!(true)));
    let told: Vec<_> = done["lines"].as_array().unwrap().iter().map(|line| (&line["line"], &line["outcome"])).collect();
    assert_eq!(told, [(&json!(2), &json!("skipped")), (&json!(3), &json!("refused"))]);
    assert_eq!(emails(&list(&app, "").await), ["a@example.net"].into());
    let broken =
        import_as(&app, &app.live, "", "[{\"address\": \"c@example.net\", \"code\": \"550\", \"error\": \"\"}, {")
            .await;
    assert_eq!((&broken["added"], &broken["complete"]), (&json!(1), &json!(false)));
    let extra = import_as(&app, &app.live, "", "email,colour\nd@example.net,red\n").await;
    assert_eq!((&extra["added"], &extra["ignored_fields"]), (&json!(1), &json!(["colour"])));
    let blank = import_as(&app, &app.live, "", "\n\n").await;
    assert_eq!((&blank["format"], &blank["added"]), (&Value::Null, &json!(0)));
    let empty = app.call_as(&app.live, "POST", &format!("{LIST}/import"), &[], vec![]).await;
    assert_eq!((empty.status, empty.faults()), (422, vec![(String::new(), "required".to_owned())]));
}

#[tokio::test]
async fn a_long_list_is_imported_and_exported_whole() {
    let app = Setup::new().paused().start().await;
    let lines = (0..5_000).map(|n| format!("user{n}@example.net")).collect::<Vec<_>>().join("\n");
    let done = import_as(&app, &app.live, "?reason=unsubscribe", &lines).await;
    assert_eq!((&done["added"], &done["refused"]), (&json!(5_000), &json!(0)), "{done}");
    for (format, marks) in
        [("csv", "@example.net,unsubscribe,"), ("postmark", "\"ManualSuppression\""), ("ses", "\"COMPLAINT\"")]
    {
        let text = app.get(&format!("{LIST}/export?format={format}")).await.text();
        assert_eq!(text.matches(marks).count(), 5_000, "{format}");
        if format != "csv" {
            serde_json::from_str::<Value>(&text).unwrap();
        }
    }
    let addresses: Vec<_> = (0..1000).map(|n| format!("user{n}@example.net")).collect();
    let deleted = app.post(&format!("{LIST}/delete"), &json!({"addresses": addresses})).await.json();
    assert_eq!(deleted["deleted"], 1000);
    assert_eq!(app.post("/v1/send", &message_to("user5@example.net")).await.json()["status"], "queued");
    assert_eq!(app.post("/v1/send", &message_to("user4999@example.net")).await.json()["status"], "failed");
}

#[tokio::test]
async fn a_refusal_that_is_already_known_bounces_again_after_a_lost_record() {
    let (app, _sink) = with_sink().await;
    // As it is when a process stops between the suppression and the record of the try that led to it.
    let id = app.send(&message_to("gone@example.net")).await;
    app.until(&id, "a first refusal", |message| message["recipients"][0]["status"] == "deferred").await;
    let evidence = json!({"email": "gone@example.net", "reason": "bounce", "evidence": {"source": "reply", "code": 550, "message_id": id}});
    import_as(&app, &app.live, "?format=ndjson", &format!("{evidence}\n")).await;
    let message = app.until(&id, "more tries", |message| message["recipients"][0]["attempts"].as_i64() > Some(2)).await;
    assert_ne!(
        message["recipients"][0]["status"], "suppressed",
        "it is about to be refused again, and recorded as that"
    );
}

#[tokio::test]
async fn the_command_line_adds_looks_up_exports_and_imports() {
    let app = Setup::new().paused().start().await;
    let url = format!("http://{}", app.address);
    let with = async |args: &[&str]| {
        let connection = ["--url", &url, "--key", &app.live];
        run(&app.database.url, &[&["suppressions"], args, &connection].concat()).await
    };
    let added = with(&["add", "ada@example.net", "--reason", "complaint", "--scope", "tag:news"]).await;
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    assert!(with(&["add", "bob@example.net"]).await.status.success());
    assert_eq!(with(&["check", "bob@example.net"]).await.status.code(), Some(1));
    assert!(with(&["check", "ada@example.net"]).await.status.success(), "mail without the tag is not stopped");
    let list = String::from_utf8(with(&["export", "--reason", "complaint"]).await.stdout).unwrap();
    assert!(list.starts_with("id,email,") && list.contains("ada@example.net") && !list.contains("bob@"), "{list}");
    let file = crate::support::app::temporary("suppressions", &list);
    assert!(with(&["remove", "ada@example.net"]).await.status.success());
    assert!(with(&["import", file.to_str().unwrap()]).await.status.success());
    assert_eq!(emails(&super::suppressions::list(&app, "?scope=tag:news").await), ["ada@example.net"].into());
    let refused = with(&["add", "nonsense"]).await;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("invalid_address"));
}
