//! `openapi.yaml` and the code say the same: the routes, every answer, and the names of every closed set.

use std::collections::BTreeSet;

use mailwright::api::ProblemKind;
use mailwright::domain::access::{KeyState, Mode, Scope};
use mailwright::domain::clock::Clock;
use mailwright::domain::draft::{AutoReplies, Disposition, Priority, TlsDemand};
use mailwright::domain::event::EventType;
use mailwright::domain::fault::FaultCode;
use mailwright::domain::hold::HoldReason;
use mailwright::domain::message::MessageStatus;
use mailwright::domain::outcome::OutcomeKind;
use mailwright::domain::quota::{MailFate, Quota, Subject};
use mailwright::domain::recipient::{Counts, RecipientKind, RecipientStatus};
use mailwright::domain::suppression::{ListFormat, SuppressionReason};
use mailwright::domain::template::{Decision, TemplateAction, TemplateKind, VersionState};
use mailwright::domain::webhook::{EndpointMode, WebhookStatus};
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::contract::CONTRACT;
use crate::support::http::Answer;
use crate::support::receiver::Receiver;
use crate::support::spam;

fn set<T: ToString>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

#[test]
fn openapi_yaml_describes_exactly_the_routes() {
    let described = set(CONTRACT.operations().map(|operation| format!("{} {}", operation.method, operation.path)));
    let served = set(mailwright::api::operations().into_iter().map(|(method, path)| format!("{method} {path}")));
    assert_eq!(described, served);
}

/// Answers of what asks a message back.
async fn asked_back(app: &App, id: &str) -> Vec<Answer> {
    let message = format!("/v1/messages/{id}");
    let mut answers = Vec::new();
    let later = json!({"send_at": mailwright::domain::clock::rfc3339(Clock::now(&*app.clock) + time::Duration::HOUR)});
    answers.push(app.call_as(&app.test, "PATCH", &message, &[], bytes(&later)).await);
    for (path, body) in [
        (&*format!("{message}/cancel"), json!({})),
        (&format!("{message}/retry"), json!({})),
        ("/v1/messages/cancel", json!({"ids": [id]})),
        ("/v1/messages/retry", json!({"tag": "none"})),
    ] {
        answers.push(app.call_as(&app.test, "POST", path, &[], bytes(&body)).await);
    }
    answers
}

/// How the answers begin: with what names them.
const STARTS: [&str; 17] = [
    "{\"name\":\"",
    "{\"id\":\"",
    "{\"batch_id\":\"",
    "{\"event_id\":\"",
    "{\"scripts\":[",
    "{\"advanced_seconds\":",
    "{\"engine\":\"",
    "{\"data\":[",
    "{\"status\":\"",
    "{\"body_bytes\":",
    "{\"since\":\"",
    "{\"added\":",
    "{\"deleted\":",
    "{\"format\":",
    "{\"review_required\":",
    "{\"since\":",
    "{\"bodies\":",
];

/// What is asked of an endpoint that was told of a message.
async fn answers_of_endpoint(app: &App, endpoint: &str, message: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (path, body) in [
        ("rotate-secret", json!({"overlap_seconds": 60})),
        ("test", json!({"type": "message.bounced"})),
        ("replay", json!({"since": "2026-01-01T00:00:00Z"})),
    ] {
        answers.push(app.call_as(&app.test, "POST", &format!("{endpoint}/{path}"), &[], bytes(&body)).await);
    }
    let event = app.events(message).await[0]["id"].as_str().unwrap().to_owned();
    for path in [
        &format!("{endpoint}/deliveries"),
        &format!("{endpoint}/deliveries/{event}"),
        &format!("{endpoint}/replays"),
        &format!("/v1/messages/{message}/webhooks"),
        "/v1/sandbox/scripts",
    ] {
        answers.push(app.get(path).await);
    }
    let copy = app.message(message).await["recipients"][0]["id"].as_str().unwrap().to_owned();
    let scripts = json!({"scripts": [{"pattern": "*@slow.example", "script": "250"}]});
    for (method, path, body) in [
        ("POST", &*format!("/v1/sandbox/messages/{copy}/spam-check"), json!({})),
        ("POST", "/v1/sandbox/clock", json!({"advance_seconds": 1})),
        ("PUT", "/v1/sandbox/scripts", scripts),
    ] {
        answers.push(app.call_as(&app.test, method, path, &[], bytes(&body)).await);
    }
    answers
}

#[tokio::test]
async fn an_answer_of_every_operation_is_as_openapi_yaml_says() {
    let app = Setup::new().set("sandbox.rspamd", spam::rspamd().await).start().await;
    let receiver = Receiver::start().await;
    let hook = app.call_as(&app.test, "POST", "/v1/webhooks", &[], bytes(&json!({"url": receiver.url()}))).await;
    let endpoint = format!("/v1/webhooks/{}", hook.json()["id"].as_str().unwrap());
    let mut message = message_to("ann@example.net");
    message["attachments"] = json!([{"filename": "a.txt", "content": "YQ=="}]);
    let sent = app.call_as(&app.test, "POST", "/v1/send", &[], bytes(&message)).await;
    let id = sent.json()["id"].as_str().unwrap().to_owned();
    let settled = app.settled(&id).await;
    let copy = format!("/v1/sandbox/messages/{}", settled["recipients"][0]["id"].as_str().unwrap());
    for hook in receiver.until(2).await {
        let body = String::from_utf8(hook.body).unwrap();
        assert!(body.starts_with("{\"type\":\"message.") && body.contains("\"data\":{\"event_id\":"), "{body}");
    }
    app.database.until_count("SELECT count(*) FROM webhook_deliveries", 2).await;
    let asked = answers_of_endpoint(&app, &endpoint, &id).await;
    let mut other = message_to("ann@example.net");
    (other["subject"], other["text"]) = (json!("Other"), json!("Words"));
    other["attachments"] = json!([{"upload_id": null, "filename": "b.txt", "content": "Yg=="}]);
    let batch = json!({"messages": [other, {"from": "nobody"}], "mode": "permissive"});
    let batch = app.call_as(&app.test, "POST", "/v1/send/batch", &[], bytes(&batch)).await;
    assert_eq!(batch.status, 207);
    let upload = app.call_as(&app.test, "POST", "/v1/uploads?filename=a.txt", &[], b"x".to_vec()).await;
    let upload_path = format!("/v1/uploads/{}", upload.json()["id"].as_str().unwrap());
    let mut answers = vec![hook, sent, batch, upload];
    let message = format!("/v1/messages/{id}");
    answers.push(app.post("/v1/suppressions", &json!({"email": "bob@example.net"})).await);
    let suppression = format!("/v1/suppressions/{}", answers[4].json()["id"].as_str().unwrap());
    let addresses = json!({"addresses": ["eve@example.net"]});
    answers.push(app.post("/v1/suppressions", &json!({"suppressions": [{"email": "eve@example.net"}]})).await);
    answers.push(app.post("/v1/suppressions/check", &addresses).await);
    answers.push(app.post("/v1/suppressions/delete", &addresses).await);
    answers.push(app.call_as(&app.live, "POST", "/v1/suppressions/import", &[], b"eve@example.net\n".to_vec()).await);
    for path in [
        "/v1/messages",
        &message,
        &format!("{message}/events"),
        &format!("{message}/attempts"),
        &format!("{message}/explain"),
        &format!("{message}/raw"),
        "/v1/stats?group_by=day",
        "/v1/events?limit=2",
        "/v1/events/export",
        "/v1/messages/export?format=csv",
        "/v1/uploads",
        &upload_path,
        "/v1/webhooks",
        &endpoint,
        "/v1/sandbox/messages",
        &copy,
        "/v1/suppressions",
        &suppression,
        "/v1/suppressions/export",
        "/v1/limits",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.yaml",
        "/llms.txt",
    ] {
        answers.push(app.get(path).await);
    }
    answers.extend(asked);
    answers.extend(of_accounts(&app).await);
    answers.extend(of_domains(&app).await);
    answers.push(app.get(&format!("{message}/reports")).await);
    let operator = crate::support::process::create_operator_key(&app.database.url).await;
    let letter = b"Subject: Returned\r\n\r\nno such user\r\n".to_vec();
    answers.push(app.call_as(&operator, "POST", "/v1/inbound/raw", &[], letter).await);
    answers.extend(answers_of_templates(&app).await);
    assert_eq!(app.get("/v1/sandbox/messages?q=HELLO").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("/v1/sandbox/messages").await.json()["data"][0]["has_attachments"], true);
    assert_eq!(app.get("/v1/sandbox/messages?q=no-such-word").await.json()["data"], json!([]));
    answers.push(app.call_as(&app.live, "PATCH", &endpoint, &[], bytes(&json!({"enabled": false}))).await);
    answers.extend(asked_back(&app, &id).await);
    for path in [&*upload_path, &endpoint, &copy, &suppression, "/v1/sandbox/messages", &message] {
        answers.push(app.call_as(&app.live, "DELETE", path, &[], Vec::new()).await);
    }
    for answer in answers.iter().filter(|answer| answer.header("content-type") == "application/json") {
        assert!(
            STARTS.iter().any(|start| answer.text().starts_with(start)),
            "what names it comes first: {}",
            answer.text()
        );
    }
    let is_success = |answer: &Answer| (200..300).contains(&answer.status);
    let checked = set(answers.into_iter().filter(is_success).filter_map(|answer| answer.operation));
    let described = set(CONTRACT.operations().map(|operation| operation.id().to_owned()));
    assert_eq!(checked, described, "an operation gave no 2xx that was checked");
}

/// Answers of every operation on sending domains.
async fn of_domains(app: &App) -> Vec<Answer> {
    let admin = crate::support::process::create_key(&app.database.url, "shop", "live", "admin").await;
    let call = async |method: &str, path: &str, body: &Value| app.call_as(&admin, method, path, &[], bytes(body)).await;
    let made = call("POST", "/v1/domains", &json!({"name": "own.example"})).await;
    let (at, none) = (format!("/v1/domains/{}", made.json()["id"].as_str().unwrap()), &json!({}));
    vec![
        made,
        call("GET", "/v1/domains", none).await,
        call("GET", &at, none).await,
        call("PATCH", &at, &json!({"rotate_days": 30})).await,
        call("GET", &format!("{at}/records?format=zone"), none).await,
        call("GET", &format!("{at}/readiness"), none).await,
        call("GET", &format!("{at}/reports?kind=dmarc"), none).await,
        call("POST", &format!("{at}/verify"), none).await,
        call("POST", &format!("{at}/rotate-dkim"), none).await,
        call("PUT", "/v1/domain-pools/codes", &json!({"members": [{"domain": "own.example", "warmup": true}]})).await,
        call("PUT", "/v1/domain-pools/codes", &json!({"members": [{"domain": "own.example"}]})).await,
        call("PUT", "/v1/domain-pools/codes", &json!({"members": [{"domain": "else.example"}]})).await,
        call("GET", "/v1/domain-pools", none).await,
        call("GET", "/v1/domain-pools/codes", none).await,
        call("DELETE", "/v1/domain-pools/codes", none).await,
        call("DELETE", &at, none).await,
    ]
}

/// Answers of every operation on projects and keys.
async fn of_accounts(app: &App) -> Vec<Answer> {
    let operator = crate::support::process::create_operator_key(&app.database.url).await;
    let call =
        async |method: &str, path: &str, body: &Value| app.call_as(&operator, method, path, &[], bytes(body)).await;
    let project = call("POST", "/v1/projects", &json!({"name": "new", "limits": {"recipients_per_day": 5}})).await;
    let path = format!("/v1/projects/{}", project.json()["id"].as_str().unwrap());
    let of = format!("?project={}", project.json()["id"].as_str().unwrap());
    let key = call("POST", &format!("/v1/keys{of}"), &json!({"mode": "live", "scopes": ["send"]})).await;
    let at = format!("/v1/keys/{}", key.json()["id"].as_str().unwrap());
    let none = &json!({});
    let erased = call("POST", &format!("/v1/erasures{of}"), &json!({"address": "ann@example.net"})).await;
    let erasure = format!("/v1/erasures/{}", erased.json()["id"].as_str().unwrap());
    vec![
        erased,
        call("GET", "/v1/projects", none).await,
        call("GET", &path, none).await,
        call("PATCH", &path, &json!({"suspended": true})).await,
        call("GET", &format!("/v1/keys{of}"), none).await,
        call("GET", &format!("{at}{of}"), none).await,
        call("PATCH", &format!("{at}{of}"), &json!({"name": "k"})).await,
        call("POST", &format!("{at}/rotate{of}"), none).await,
        call("DELETE", &format!("{at}{of}"), none).await,
        call("PUT", &format!("/v1/retention{of}"), &json!({"bodies": "7d", "events": 10})).await,
        call("GET", &format!("/v1/retention{of}"), none).await,
        call("GET", &format!("{erasure}{of}"), none).await,
        call("GET", &format!("/v1/erasures{of}"), none).await,
        call("GET", &format!("/v1/audit{of}"), none).await,
        app.get_as(key.json()["key"].as_str().unwrap(), "/v1/limits").await,
        project,
        key,
    ]
}

#[tokio::test]
async fn every_operation_refuses_a_parameter_that_does_not_exist_and_one_that_is_given_twice() {
    let app = App::start().await;
    for operation in CONTRACT.operations().filter(|operation| operation.path.starts_with("/v1/")) {
        let path = CONTRACT.path_with(&operation, |prefix| format!("{prefix}_{}", "0".repeat(32)));
        for query in ["no_such=1", "limit=1&limit=2"] {
            let method = operation.method.to_uppercase();
            let body = message_to("a@example.net").to_string().into_bytes();
            let answer = app.call_as(&app.live, &method, &format!("{path}?{query}"), &[], body).await;
            assert_eq!(answer.status, 422, "{method} {path}?{query}: {}", answer.text());
            let name = query.split('=').next().unwrap();
            assert_eq!(answer.json()["errors"][0]["pointer"], format!("?{name}"), "{}", answer.text());
        }
    }
}

/// An answer of every operation of templates.
async fn answers_of_templates(app: &App) -> Vec<Answer> {
    let admin = crate::support::process::create_key(&app.database.url, "shop", "live", "admin").await;
    let mut answers = vec![app.post("/v1/templates", &json!({"starter": "receipt"})).await];
    let calls = [
        ("PATCH", "/settings", json!({"review_required": true})),
        ("POST", "/receipt/publish", json!({})),
        ("POST", "/receipt/review", json!({"decision": "approve"})),
        ("PATCH", "/receipt", json!({"locales": {"zh-Hans": null}})),
        ("POST", "/receipt/render", json!({})),
    ];
    for (method, path, body) in calls {
        answers.push(app.call_as(&admin, method, &format!("/v1/templates{path}"), &[], bytes(&body)).await);
    }
    for path in ["", "/starters", "/settings", "/receipt"] {
        answers.push(app.get(&format!("/v1/templates{path}")).await);
    }
    for path in ["versions", "versions/draft", "diff", "audit"] {
        answers.push(app.get(&format!("/v1/templates/receipt/{path}")).await);
    }
    answers.push(app.call_as(&app.live, "DELETE", "/v1/templates/receipt", &[], Vec::new()).await);
    answers
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

#[tokio::test]
async fn every_operation_asks_for_the_scope_that_openapi_yaml_names() {
    let app = App::start().await;
    let mut keys: Vec<(Scope, String)> = Vec::new();
    for operation in CONTRACT.operations() {
        let Some(scope) = operation.description["security"][0]["bearer"][0].as_str() else { continue };
        let scope = Scope::parse(scope).unwrap_or_else(|| panic!("there is no scope {scope}"));
        if keys.iter().all(|(of, _)| *of != scope) {
            let others: Vec<_> = Scope::ALL.iter().filter(|other| ![&scope, &Scope::Admin].contains(other)).collect();
            let others = others.iter().map(|other| other.name()).collect::<Vec<_>>().join(",");
            let key = crate::support::process::create_key(&app.database.url, "shop", "live", &others).await;
            keys.push((scope, key));
        }
        let key = &keys.iter().find(|(of, _)| *of == scope).unwrap().1;
        let path = CONTRACT.path_with(&operation, |prefix| format!("{prefix}_{}", "0".repeat(32)));
        let answer = app.call_as(key, &operation.method.to_uppercase(), &path, &[], b"{}".to_vec()).await;
        assert_eq!(answer.status, 403, "{} {path}", operation.method);
        assert!(answer.text().contains(&format!("'{}'", scope.name())), "{}", answer.text());
    }
}

#[test]
fn closed_sets_have_the_same_names_in_openapi_yaml() {
    assert_eq!(CONTRACT.names("ProblemType"), set(ProblemKind::ALL.map(|kind| format!("/problems/{}", kind.name()))));
    assert_eq!(CONTRACT.names("EventType"), set(EventType::ALL));
    assert_eq!(CONTRACT.names("WebhookEventType"), &set(EventType::ALL) | &set(["*"]));
    assert_eq!(CONTRACT.names("RecipientStatus"), set(RecipientStatus::ALL));
    assert_eq!(CONTRACT.names("MessageStatus"), message_states());
    assert_eq!(CONTRACT.names("AnyStatus"), &message_states() | &set(RecipientStatus::ALL));
    assert_eq!(CONTRACT.names("Priority"), set(Priority::ALL.map(Priority::name)));
    assert_eq!(CONTRACT.names("TlsDemand"), set(TlsDemand::ALL.map(TlsDemand::name)));
    assert_eq!(CONTRACT.names("FaultCode"), set(FaultCode::ALL));
    assert_eq!(CONTRACT.names("HoldReason"), set(HoldReason::ALL));
    assert_eq!(CONTRACT.names("RecipientKind"), set(RecipientKind::ALL));
    assert_eq!(CONTRACT.names("Outcome"), set(OutcomeKind::ALL));
    assert_eq!(CONTRACT.names("Mode"), set(Mode::ALL));
    assert_eq!(CONTRACT.names("SuppressionReason"), set(SuppressionReason::ALL));
    assert_eq!(CONTRACT.names("SuppressionFormat"), set(ListFormat::ALL));
    assert_eq!(CONTRACT.names("WebhookMode"), set(EndpointMode::ALL));
    assert_eq!(CONTRACT.names("AutoReplies"), set(AutoReplies::ALL));
    assert_eq!(CONTRACT.names("Disposition"), set(Disposition::ALL));
    assert_eq!(CONTRACT.names("Scope"), set(Scope::ALL));
    assert_eq!(CONTRACT.names("KeyState"), set(KeyState::ALL));
    assert_eq!(CONTRACT.names("MailFate"), set(MailFate::ALL));
    assert_eq!(CONTRACT.names("Quota"), set(Quota::ALL));
    assert_eq!(CONTRACT.names("QuotaSubject"), set(Subject::ALL));
    assert_eq!(CONTRACT.names("WebhookDeliveryStatus"), set(WebhookStatus::ALL));
    assert_eq!(CONTRACT.names("TemplateKind"), set(TemplateKind::ALL));
    assert_eq!(CONTRACT.names("TemplateVersionStateName"), set(VersionState::ALL));
    assert_eq!(CONTRACT.names("TemplateAction"), set(TemplateAction::ALL));
    assert_eq!(CONTRACT.names("TemplateDecision"), set(Decision::ALL));
}

/// Every state that a message of up to two recipients can be in.
fn message_states() -> BTreeSet<String> {
    let mut states = BTreeSet::new();
    for first in RecipientStatus::ALL.iter().copied() {
        for second in RecipientStatus::ALL.iter().copied() {
            let mut counts = Counts::default();
            counts.count(first, 1);
            counts.count(second, 1);
            states.insert(json!(MessageStatus::of(&counts)).as_str().unwrap().to_owned());
        }
    }
    states
}

#[test]
fn problems_have_the_status_that_the_table_of_openapi_yaml_gives() {
    let table = CONTRACT.document()["info"]["description"].as_str().unwrap();
    let rows: BTreeSet<_> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once("` |")).collect();
    let described =
        set(rows.iter().map(|(start, _)| start.replace('`', "")).filter(|start| start.contains("/problems/")));
    assert_eq!(
        described,
        set(ProblemKind::ALL.map(|kind| format!("{} | /problems/{}", kind.status().as_u16(), kind.name())))
    );
}

#[test]
fn generators_can_name_every_member_of_an_enum_that_has_names() {
    for (name, schema) in CONTRACT.document()["components"]["schemas"].as_object().unwrap() {
        for names in ["x-enum-varnames", "x-enumNames"] {
            let count = schema[names].as_array().map(Vec::len);
            assert!(count.is_none() || count == schema["enum"].as_array().map(Vec::len), "{name}: {names}");
        }
    }
}

#[test]
fn the_examples_of_openapi_yaml_are_as_their_schemas_say() {
    let faulty = CONTRACT.faulty_examples();
    assert!(faulty.is_empty(), "{faulty:#?}");
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = include_str!("../../README.md");
    for (name, _) in mailwright::config::SETTINGS {
        assert!(readme.contains(&format!("| `{name}` |")), "README.md lacks {name}");
    }
}

#[tokio::test]
async fn what_llms_txt_names_is_there_and_its_example_is_taken() {
    let app = App::start().await;
    let text = app.get("/llms.txt").await.text();
    let operations = set(CONTRACT.operations().map(|o| format!("{} {}", o.method.to_uppercase(), o.path)));
    let named = regex_lite::Regex::new(r"\b(GET|POST|PUT|PATCH|DELETE) /[^\s`]*").unwrap();
    let named = set(named.find_iter(&text).map(|found| found.as_str()));
    assert!(named.len() > 5 && named.is_subset(&operations), "{:?}", &named - &operations);
    let links = regex_lite::Regex::new(r"\]\((/[^)]*)\)").unwrap();
    for link in links.captures_iter(&text) {
        assert_eq!(app.get(&link[1]).await.status, 200, "{}", &link[1]);
    }
    let body = text.split_once("    {\"from\"").unwrap().1.split_once("\n\n").unwrap().0;
    let body: Value = serde_json::from_str(&format!("{{\"from\"{body}")).unwrap();
    let answer = app.post("/v1/send", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}
