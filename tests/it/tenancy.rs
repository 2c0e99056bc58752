//! Projects, keys, quotas and suspension: what an operator may do, what a project may not, and what processes share.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use mailwright::app::Role;
use mailwright::domain::access::{Caller, Mode, Scope};
use mailwright::domain::address::{Address, NamedAddress};
use mailwright::domain::clock::{Clock, rfc3339};
use mailwright::domain::draft::{Options, RawDraft, RawParts, Recipient};
use mailwright::domain::id::ProjectId;
use mailwright::domain::recipient::RecipientKind;
use mailwright::domain::reverse_path::ReversePath;
use mailwright::submit::{Content, Submission};
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::database::Database;
use crate::support::http::{Answer, Client};
use crate::support::process::{Server, create_key, create_operator_key, run};
use crate::support::receiver::Receiver;
use crate::support::sink::Sink;
use crate::support::within;

/// An operator of a running service.
struct Operator<'a> {
    app: &'a App,
    key: String,
}

impl<'a> Operator<'a> {
    async fn of(app: &'a App) -> Self {
        Self { app, key: create_operator_key(&app.database.url).await }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.app.call_as(&self.key, method, path, &[], body.to_string().into_bytes()).await
    }

    /// The id of the project of that name.
    async fn project(&self, name: &str) -> String {
        let all = self.app.get_as(&self.key, "/v1/projects?limit=500").await.json();
        let found = all["data"].as_array().unwrap().iter().find(|project| project["name"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    }

    async fn change(&self, name: &str, change: Value) -> Value {
        let path = format!("/v1/projects/{}", self.project(name).await);
        let answer = self.call("PATCH", &path, &change).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

async fn send_as(app: &App, key: &str, message: &Value) -> Answer {
    app.call_as(key, "POST", "/v1/send", &[], message.to_string().into_bytes()).await
}

fn kind(answer: &Answer) -> String {
    answer.json()["type"].as_str().unwrap_or_default().to_owned()
}

fn to_many(count: usize) -> Value {
    let mut message = message_to("x@example.net");
    message["to"] = (0..count).map(|n| json!(format!("r{n}@example.net"))).collect();
    message
}

async fn eager() -> App {
    App::start_with_cache("0s").await
}

// --- Projects and operators ------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_operator_makes_a_project_its_first_key_and_its_endpoints() {
    let app = eager().await;
    let operator = Operator::of(&app).await;
    let made =
        operator.call("POST", "/v1/projects", &json!({"name": "new", "limits": {"recipients_per_day": 7}})).await;
    assert_eq!(made.status, 201);
    let project = made.json();
    assert_eq!(made.header("location"), format!("/v1/projects/{}", project["id"].as_str().unwrap()));
    assert_eq!(
        (&project["limits"]["recipients_per_day"], &project["limits"]["bytes_per_month"]),
        (&json!(7), &Value::Null)
    );
    let of = format!("?project={}", project["id"].as_str().unwrap());
    let key =
        operator.call("POST", &format!("/v1/keys{of}"), &json!({"mode": "live", "scopes": ["admin"]})).await.json();
    assert_eq!((&key["project_id"], &key["is_operator"]), (&project["id"], &json!(false)));
    let hook = operator.call("POST", &format!("/v1/webhooks{of}"), &json!({"url": "http://127.0.0.1:9/x"})).await;
    assert_eq!(hook.status, 201);
    let path = format!("/v1/webhooks/{}", hook.json()["id"].as_str().unwrap());
    // The project's own key sees its project and its endpoint; the operator sees the endpoint there, and nowhere else.
    let own = key["key"].as_str().unwrap();
    assert_eq!(app.get_as(own, "/v1/projects").await.json()["data"], json!([project]));
    assert_eq!(app.get_as(own, &path).await.status, 200);
    assert_eq!(app.get_as(&operator.key, &path).await.status, 404);
    assert_eq!(app.get_as(&operator.key, &format!("{path}/deliveries{of}")).await.status, 200);
    let disabled = operator.call("PATCH", &format!("{path}{of}"), &json!({"enabled": false})).await;
    assert_eq!(disabled.json()["enabled"], false);
    assert_eq!(operator.call("DELETE", &format!("{path}{of}"), &json!({})).await.status, 204);
    let taken = operator.call("POST", "/v1/projects", &json!({"name": "new"})).await;
    assert_eq!(taken.faults(), [("/name".to_owned(), "conflict".to_owned())]);
    for name in ["", "a b", "-x", &"x".repeat(65), project["id"].as_str().unwrap()] {
        let refused = operator.call("POST", "/v1/projects", &json!({"name": name})).await;
        assert_eq!(refused.faults(), [("/name".to_owned(), "invalid_text".to_owned())], "{name}");
    }
    let wrong = json!({"name": "y", "limits": {"messages_per_second": 0, "bytes_per_month": -1, "per_day": 1}});
    let refused = operator.call("POST", "/v1/projects", &wrong).await;
    assert_eq!(
        refused.faults(),
        [
            ("/limits/messages_per_second".to_owned(), "invalid_limit".to_owned()),
            ("/limits/bytes_per_month".to_owned(), "invalid_limit".to_owned()),
            ("/limits/per_day".to_owned(), "unknown_field".to_owned()),
        ]
    );
}

#[tokio::test]
async fn an_admin_of_a_project_is_an_admin_of_that_project_alone() {
    let app = eager().await;
    let operator = Operator::of(&app).await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    create_key(&app.database.url, "neighbour", "live", "admin").await;
    let (own, foreign) = (operator.project("shop").await, operator.project("neighbour").await);
    let absent = format!("prj_{}", "0".repeat(32));
    assert_eq!(app.get_as(&admin, "/v1/projects").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(app.get_as(&admin, &format!("/v1/projects/{own}")).await.status, 200);
    let strip = |answer: Answer| (answer.status, kind(&answer), answer.json()["detail"].clone());
    for path in ["/v1/keys", "/v1/webhooks"] {
        assert_eq!(app.get_as(&admin, &format!("{path}?project={own}")).await.status, 200);
        let there = strip(app.get_as(&admin, &format!("{path}?project={foreign}")).await);
        assert_eq!(there.0, 404);
        assert_eq!(there, strip(app.get_as(&admin, &format!("{path}?project={absent}")).await));
        assert_eq!(there, strip(app.get_as(&operator.key, &format!("{path}?project={absent}")).await));
        let refused = app.get_as(&admin, &format!("{path}?project=shop")).await;
        assert_eq!(refused.faults(), [("?project".to_owned(), "invalid_parameter".to_owned())]);
    }
    let there = strip(app.get_as(&admin, &format!("/v1/projects/{foreign}")).await);
    assert_eq!(there, strip(app.get_as(&admin, &format!("/v1/projects/{absent}")).await));
    assert_eq!(there.0, 404);
    // Nor may it make projects, or change even its own.
    for (method, path, expected) in [
        ("POST", "/v1/projects".to_owned(), (403, "/problems/operator-only")),
        ("PATCH", format!("/v1/projects/{own}"), (403, "/problems/operator-only")),
        ("PATCH", format!("/v1/projects/{foreign}"), (404, "/problems/not-found")),
        ("PATCH", format!("/v1/projects/{absent}"), (404, "/problems/not-found")),
    ] {
        let answer = app.call_as(&admin, method, &path, &[], b"{\"name\": \"z\"}".to_vec()).await;
        assert_eq!((answer.status, &*kind(&answer)), expected, "{method} {path}");
    }
    // Nobody becomes an operator over HTTP, and no test key does at all.
    let asked = json!({"mode": "live", "scopes": ["admin"], "is_operator": true});
    let refused = operator.call("POST", "/v1/keys", &asked).await;
    assert_eq!(refused.faults(), [("/is_operator".to_owned(), "unknown_field".to_owned())]);
    let output = run(&app.database.url, &["keys", "create", "--project", "x", "--mode", "test", "--operator"]).await;
    assert!(!output.status.success());
}

#[tokio::test]
async fn an_operators_key_is_seen_rotated_and_revoked_by_operators_alone() {
    let app = eager().await;
    let operator = Operator::of(&app).await;
    let admin = create_key(&app.database.url, "operators", "live", "admin").await;
    let all = app.get_as(&operator.key, "/v1/keys").await.json();
    let id = all["data"].as_array().unwrap().iter().find(|key| key["is_operator"] == true).unwrap()["id"].clone();
    let path = format!("/v1/keys/{}", id.as_str().unwrap());
    let seen = app.get_as(&admin, "/v1/keys").await.json();
    assert!(seen["data"].as_array().unwrap().iter().all(|key| key["is_operator"] == false), "{seen:#}");
    for (method, tail) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")] {
        let answer = app.call_as(&admin, method, &format!("{path}{tail}"), &[], b"{}".to_vec()).await;
        assert_eq!(answer.status, 404, "{method} {path}{tail}");
    }
    let rotated = operator.call("POST", &format!("{path}/rotate"), &json!({"overlap_seconds": 0})).await.json();
    assert_eq!(rotated["is_operator"], true);
    assert_eq!(app.get_as(&operator.key, "/v1/projects").await.status, 401, "the old one is over");
    let all = app.get_as(rotated["key"].as_str().unwrap(), "/v1/projects").await.json();
    assert!(all["data"].as_array().unwrap().len() >= 2, "{all:#}");
}

// --- Keys ------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_key_is_made_shown_changed_and_revoked_and_its_text_is_told_once() {
    let app = eager().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let call = async |method: &str, path: &str, body: Value| {
        app.call_as(&admin, method, path, &[], body.to_string().into_bytes()).await
    };
    let wanted = json!({"name": "orders", "mode": "live", "scopes": ["send", "messages:read", "send"],
        "from_domains": ["Example.org", "bücher.example"], "expires_at": "2099-01-01T00:00:00Z",
        "limits": {"recipients_per_day": 3}});
    let made = call("POST", "/v1/keys", wanted).await;
    assert_eq!(made.status, 201);
    let key = made.json();
    let text = key["key"].as_str().unwrap();
    assert!(text.starts_with("mw_live_") && text.starts_with(key["prefix"].as_str().unwrap()));
    assert_eq!(key["from_domains"], json!(["example.org", "xn--bcher-kva.example"]));
    assert_eq!((&key["scopes"], &key["state"]), (&json!(["send", "messages:read"]), &json!("valid")));
    let path = made.header("location").to_owned();
    let shown = call("GET", &path, json!({})).await;
    assert!(!shown.text().contains(text) && shown.json().get("key").is_none());
    assert!(!call("GET", "/v1/keys", json!({})).await.text().contains(text));
    assert_eq!(send_as(&app, text, &message_to("a@example.net")).await.status, 202);
    let mut foreign = message_to("a@example.net");
    foreign["from"] = json!("x@sub.example.org");
    assert_eq!(kind(&send_as(&app, text, &foreign).await), "/problems/foreign-domain");
    let changed = call("PATCH", &path, json!({"name": "old", "limits": {}})).await.json();
    assert_eq!((&changed["name"], &changed["limits"]["recipients_per_day"]), (&json!("old"), &Value::Null));
    assert_eq!(changed["from_domains"], key["from_domains"], "what is not given stays");
    assert_eq!(call("DELETE", &path, json!({})).await.status, 204);
    assert_eq!(call("DELETE", &path, json!({})).await.status, 204, "it stays revoked");
    assert_eq!(send_as(&app, text, &message_to("a@example.net")).await.status, 401);
    assert_eq!(call("GET", &path, json!({})).await.json()["state"], "revoked");
    assert_eq!(call("PATCH", &path, json!({"name": "x"})).await.status, 404);
    let refused = call("POST", &format!("{path}/rotate"), json!({})).await;
    assert_eq!(refused.faults(), [(String::new(), "conflict".to_owned())]);
    let wrong = json!({"mode": "both", "scopes": ["send", "fly"], "expires_at": "2020-01-01T00:00:00Z",
        "from_domains": [], "allowed_ips": ["10.0.0.0/33"], "limits": {"recipients_per_month": 1}});
    let mut codes = call("POST", "/v1/keys", wrong).await.faults();
    codes.sort();
    let expected = [
        ("/allowed_ips/0", "invalid_network"),
        ("/expires_at", "in_the_past"),
        ("/from_domains", "required"),
        ("/limits/recipients_per_month", "unknown_field"),
        ("/mode", "invalid_mode"),
        ("/scopes/1", "unknown_scope"),
    ];
    assert_eq!(codes, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
}

#[tokio::test]
async fn nobody_gives_or_takes_over_more_than_they_have() {
    let app = eager().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let keeper = create_key(&app.database.url, "shop", "live", "keys,send").await;
    let tester = create_key(&app.database.url, "shop", "test", "keys,send").await;
    let post = async |key: &str, path: &str, body: Value| {
        app.call_as(key, "POST", path, &[], body.to_string().into_bytes()).await
    };
    let more = post(&keeper, "/v1/keys", json!({"mode": "live", "scopes": ["send", "webhooks"]})).await;
    assert_eq!((more.status, &*kind(&more)), (403, "/problems/missing-scope"));
    let live = post(&tester, "/v1/keys", json!({"mode": "live", "scopes": ["send"]})).await;
    assert_eq!((live.status, &*kind(&live)), (403, "/problems/test-only"));
    // A key that is narrowed gives only what is as narrow.
    let narrow = json!({"mode": "live", "scopes": ["keys", "send"], "from_domains": ["example.org"],
        "allowed_ips": ["127.0.0.0/8"], "limits": {"messages_per_second": 5}});
    let narrow = post(&admin, "/v1/keys", narrow).await.json();
    let narrow = narrow["key"].as_str().unwrap();
    let child = post(narrow, "/v1/keys", json!({"mode": "test", "scopes": ["send"], "limits": {}})).await.json();
    assert_eq!(child["from_domains"], json!(["example.org"]));
    assert_eq!(child["allowed_ips"], json!(["127.0.0.0/8"]));
    assert_eq!(child["limits"]["messages_per_second"], 5);
    let wide = json!({"mode": "test", "scopes": ["send"], "from_domains": ["example.com"],
        "allowed_ips": ["0.0.0.0/0"], "limits": {"messages_per_second": 6}});
    let mut faults = post(narrow, "/v1/keys", wide).await.faults();
    faults.sort();
    let expected = ["/allowed_ips/0", "/from_domains/0", "/limits/messages_per_second"];
    assert_eq!(faults, expected.map(|pointer| (pointer.to_owned(), "beyond_own".to_owned())));
    // Whoever rotates a key has it: so a key that may do more is not rotated, and one that is limited less neither.
    let all = app.get_as(&admin, "/v1/keys").await.json();
    let with = |scope: &str| {
        let keys = all["data"].as_array().unwrap().iter();
        let found = keys.rev().find(|key| key["scopes"].as_array().unwrap().contains(&json!(scope))).unwrap();
        format!("/v1/keys/{}/rotate", found["id"].as_str().unwrap())
    };
    assert_eq!(kind(&post(&keeper, &with("admin"), json!({})).await), "/problems/missing-scope");
    let own = app.get_as(&keeper, "/v1/keys").await.json();
    let keepers =
        own["data"].as_array().unwrap().iter().find(|key| {
            key["scopes"] == json!(["keys", "send"]) && key["mode"] == "live" && key["from_domains"].is_null()
        });
    let keepers = format!("/v1/keys/{}", keepers.unwrap()["id"].as_str().unwrap());
    assert_eq!(
        post(narrow, &format!("{keepers}/rotate"), json!({})).await.faults(),
        [(String::new(), "beyond_own".to_owned())]
    );
    let raised = app.call_as(narrow, "PATCH", &keepers, &[], b"{\"limits\": {}}".to_vec()).await;
    assert_eq!(raised.status, 422);
    assert_eq!(post(&keeper, &format!("{keepers}/rotate"), json!({})).await.status, 201, "its own it may");
    // A test credential sees test keys alone.
    let seen = app.get_as(&tester, "/v1/keys").await.json();
    assert!(seen["data"].as_array().unwrap().iter().all(|key| key["mode"] == "test"));
    assert_eq!(app.get_as(&tester, &keepers).await.status, 404);
}

#[tokio::test]
async fn a_rotated_key_and_its_heir_both_work_until_the_overlap_is_over() {
    let app = eager().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let rights = json!({"name": "n", "mode": "live", "scopes": ["send"], "limits": {"recipients_per_day": 9}});
    let old = app.call_as(&admin, "POST", "/v1/keys", &[], rights.to_string().into_bytes()).await.json();
    let path = format!("/v1/keys/{}/rotate", old["id"].as_str().unwrap());
    let refused = app.call_as(&admin, "POST", &path, &[], b"{\"overlap_seconds\": -1}".to_vec()).await;
    assert_eq!(refused.faults(), [("/overlap_seconds".to_owned(), "invalid_limit".to_owned())]);
    let new = app.call_as(&admin, "POST", &path, &[], b"{\"overlap_seconds\": 3600}".to_vec()).await.json();
    for name in ["name", "mode", "scopes", "limits", "expires_at"] {
        assert_eq!(new[name], old[name], "{name}");
    }
    let (old, new) = (old["key"].as_str().unwrap(), new["key"].as_str().unwrap());
    assert_ne!(old, new);
    let message = message_to("a@example.net");
    assert_eq!((send_as(&app, old, &message).await.status, send_as(&app, new, &message).await.status), (202, 202));
    app.clock.advance(std::time::Duration::from_mins(61));
    assert_eq!((send_as(&app, old, &message).await.status, send_as(&app, new, &message).await.status), (401, 202));
}

#[tokio::test]
async fn a_key_works_from_its_networks_and_only_a_trusted_proxy_says_where_a_request_comes_from() {
    for (trusted, from, expected) in [
        ("", "", 403),
        ("", "192.0.2.7", 403),
        ("127.0.0.0/8", "192.0.2.7", 200),
        ("127.0.0.0/8", "192.0.2.7, 198.51.100.1", 403),
        ("127.0.0.0/8", "198.51.100.1, 192.0.2.7", 200),
        ("127.0.0.0/8", "nonsense", 403),
    ] {
        let app = Setup::new().paused().set("http.trusted_proxies", trusted).start().await;
        let admin = create_key(&app.database.url, "shop", "live", "admin").await;
        let rights = json!({"mode": "live", "scopes": ["messages:read"], "allowed_ips": ["192.0.2.0/24"]});
        let key = app.call_as(&admin, "POST", "/v1/keys", &[], rights.to_string().into_bytes()).await.json();
        let key = key["key"].as_str().unwrap();
        let headers: &[(&str, &str)] = if from.is_empty() { &[] } else { &[("x-forwarded-for", from)] };
        let answer = app.call_as(key, "GET", "/v1/messages", headers, vec![]).await;
        assert_eq!(answer.status, expected, "{trusted:?} {from:?}");
        if expected == 403 {
            assert_eq!(kind(&answer), "/problems/address-not-allowed");
        }
    }
}

// --- Quotas ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_quota_of_a_day_ends_with_429_stores_nothing_and_begins_anew_the_next_day() {
    let app = eager().await;
    let operator = Operator::of(&app).await;
    operator.change("shop", json!({"limits": {"recipients_per_day": 5, "recipients_per_month": 8}})).await;
    let key = [("idempotency-key", "k1")];
    let first = app.call_as(&app.live, "POST", "/v1/send", &key, to_many(3).to_string().into_bytes()).await;
    assert_eq!(first.status, 202);
    let whole = app.post("/v1/send", &to_many(3)).await;
    assert_eq!((whole.status, &*kind(&whole)), (429, "/problems/quota-exceeded"), "all or nothing");
    assert!(whole.json()["detail"].as_str().unwrap().contains("5 recipients_per_day"), "{}", whole.text());
    let wait: u64 = whole.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    assert_eq!(app.post("/v1/send", &to_many(2)).await.status, 202);
    assert_eq!(app.post("/v1/send", &message_to("a@example.net")).await.status, 429);
    // What was accepted once keeps its answer, and costs nothing.
    let again = app.call_as(&app.live, "POST", "/v1/send", &key, to_many(3).to_string().into_bytes()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"));
    assert_eq!(again.json(), first.json());
    // Test mail is counted apart.
    assert_eq!(send_as(&app, &app.test, &to_many(5)).await.status, 202);
    assert_eq!(app.database.count("SELECT count(*) FROM messages WHERE mode = 'live'").await, 2);
    let usage = app.get("/v1/limits").await.json()["usage"].clone();
    let used: Vec<_> = usage.as_array().unwrap().iter().map(|u| (u["quota"].clone(), u["used"].clone())).collect();
    assert_eq!(used, [(json!("recipients_per_day"), json!(5)), (json!("recipients_per_month"), json!(5))]);
    app.clock.advance(std::time::Duration::from_secs(wait));
    let is_new_month = app.get("/v1/limits").await.json()["usage"][1]["used"] == 0;
    assert_eq!(app.post("/v1/send", &to_many(3)).await.status, 202);
    if !is_new_month {
        let of_month = app.post("/v1/send", &message_to("a@example.net")).await;
        assert!(of_month.json()["detail"].as_str().unwrap().contains("recipients_per_month"), "{}", of_month.text());
    }
}

#[tokio::test]
async fn two_processes_together_never_pass_a_quota_and_use_up_all_of_it() {
    let database = Arc::new(Database::new().await);
    let one = Setup::new().paused().on(&database).start().await;
    let two = Setup::new().paused().on(&database).start().await;
    Operator::of(&one).await.change("shop", json!({"limits": {"recipients_per_day": 120}})).await;
    let live = one.live.clone();
    let many = async |app: &App, count: usize| {
        let mut client = app.client();
        let authorization = format!("Bearer {live}");
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        let mut taken = 0;
        for _ in 0..count {
            let body = message_to("a@example.net").to_string().into_bytes();
            let answer = client.request("POST", "/v1/send", &headers, body).await.unwrap();
            assert!([202, 429].contains(&answer.status), "{}", answer.text());
            taken += usize::from(answer.status == 202);
        }
        taken
    };
    let tasks = [&one, &two, &one, &two].map(|app| many(app, 50));
    let taken: usize = within("sends", futures_util::future::join_all(tasks)).await.into_iter().sum();
    assert!(taken <= 120, "{taken}");
    // What one holds and does not use comes back, at the latest when it stops.
    one.stop().await;
    let rest = many(&two, 121 - taken).await;
    assert_eq!(taken + rest, 120);
    assert_eq!(database.count("SELECT count(*) FROM messages").await, 120);
    assert_eq!(database.count("SELECT used FROM quota_usage").await, 120);
    two.stop().await;
    assert_eq!(database.count("SELECT count(*) FROM accepting_processes").await, 0);
}

#[tokio::test]
async fn a_process_that_is_killed_takes_at_most_its_slice_along() {
    let database = Arc::new(Database::new().await);
    let two = Setup::new().paused().on(&database).start().await;
    Operator::of(&two).await.change("shop", json!({"limits": {"recipients_per_day": 200}})).await;
    let one = Server::start(&database.url, &[]).await;
    let mut client = Client::new(&one.address);
    let authorization = format!("Bearer {}", two.live);
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    for _ in 0..60 {
        let body = message_to("a@example.net").to_string().into_bytes();
        assert_eq!(client.request("POST", "/v1/send", &headers, body).await.unwrap().status, 202);
    }
    one.kill().await;
    let mut rest = 0;
    while two.post("/v1/send", &message_to("a@example.net")).await.status == 202 {
        rest += 1;
    }
    assert!((60 + rest) <= 200, "{rest}");
    assert!((60 + rest) >= 200 - 200 / 16, "a slice is a sixteenth of what is left at most: {rest}");
    let usage = two.get("/v1/limits").await.json()["usage"].clone();
    assert_eq!((&usage[0]["used"], &usage[0]["limit"]), (&json!(200), &json!(200)));
}

#[tokio::test]
async fn a_rate_is_a_429_with_the_time_to_wait_and_nobody_elses() {
    let app = eager().await;
    let operator = Operator::of(&app).await;
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    assert_eq!(app.post("/v1/send", &message_to("a@example.net")).await.header("ratelimit-policy"), "", "no limit");
    operator.change("shop", json!({"limits": {"messages_per_second": 1, "recipients_per_day": 1000}})).await;
    let mut answers = Vec::new();
    while answers.last().is_none_or(|answer: &Answer| answer.status == 202) {
        answers.push(app.post("/v1/send", &message_to("a@example.net")).await);
    }
    let policy = "\"project.messages_per_second\";q=1;w=1, \"project.recipients_per_day\";q=1000;w=86400";
    for answer in &answers {
        assert_eq!(answer.header("ratelimit-policy"), policy);
        assert!(answer.header("ratelimit").starts_with("\"project.messages_per_second\";r="), "{answer:?}");
    }
    let refused = answers.last().unwrap();
    assert_eq!((refused.status, &*kind(refused), refused.header("retry-after")), (429, "/problems/rate-limited", "1"));
    let left = format!("\"project.recipients_per_day\";r={};", 1000 - (answers.len() - 1));
    assert!(refused.header("ratelimit").contains(&left), "a refusal costs nothing: {}", refused.header("ratelimit"));
    assert_eq!(send_as(&app, &neighbour, &message_to("a@example.net")).await.status, 202);
    // A key has limits of its own.
    operator.change("shop", json!({"limits": {}})).await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let rights = json!({"mode": "live", "scopes": ["send"], "limits": {"recipients_per_day": 2}});
    let key = app.call_as(&admin, "POST", "/v1/keys", &[], rights.to_string().into_bytes()).await.json();
    let key = key["key"].as_str().unwrap();
    assert_eq!(
        send_as(&app, key, &to_many(2)).await.header("ratelimit-policy"),
        "\"key.recipients_per_day\";q=2;w=86400"
    );
    let spent = send_as(&app, key, &message_to("a@example.net")).await;
    assert_eq!(spent.status, 429);
    assert!(spent.json()["detail"].as_str().unwrap().contains("the key's limit of 2"), "{}", spent.text());
    assert_eq!(app.post("/v1/send", &message_to("a@example.net")).await.status, 202, "another key");
}

#[tokio::test]
async fn processes_divide_a_rate() {
    let database = Arc::new(Database::new().await);
    let one = Setup::new().paused().on(&database).start().await;
    Operator::of(&one).await.change("shop", json!({"limits": {"messages_per_second": 10_000}})).await;
    let left = async || {
        let answer = one.post("/v1/send", &message_to("a@example.net")).await;
        let header = answer.header("ratelimit").to_owned();
        let left = header.split("r=").nth(1).and_then(|rest| rest.split(';').next()?.parse::<u64>().ok());
        left.unwrap_or_else(|| panic!("{header}"))
    };
    assert!(left().await > 5_000);
    let two = Setup::new().paused().on(&database).start().await;
    within("the other to be counted", async { while left().await > 5_000 {} }).await;
    two.stop().await;
    within("the other to be counted no more", async { while left().await <= 5_000 {} }).await;
}

#[tokio::test]
async fn bytes_and_recipients_of_one_message_are_limited_too() {
    let app = eager().await;
    let operator = Operator::of(&app).await;
    let limits = json!({"recipients_per_message": 3, "bytes_per_month": 20_000, "recipients_per_month": 100});
    operator.change("shop", json!({"limits": limits})).await;
    assert_eq!(
        app.post("/v1/send", &to_many(4)).await.faults(),
        [("/to".to_owned(), "too_many_recipients".to_owned())]
    );
    assert_eq!(app.get("/v1/limits").await.json()["recipients"], 3);
    let mut large = message_to("a@example.net");
    large["text"] = json!("x\n".repeat(6_000));
    assert_eq!(app.post("/v1/send", &large).await.status, 202);
    let refused = app.post("/v1/send", &large).await;
    assert_eq!((refused.status, &*kind(&refused)), (429, "/problems/quota-exceeded"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("bytes_per_month"), "{}", refused.text());
    assert_eq!(app.post("/v1/send", &message_to("a@example.net")).await.status, 202, "a small one has room");
    let usage = app.get("/v1/limits").await.json()["usage"].clone();
    assert_eq!((&usage[0]["quota"], &usage[0]["used"]), (&json!("recipients_per_month"), &json!(2)));
    let stored = app.database.count("SELECT sum(octet_length(raw))::bigint FROM message_bodies").await;
    assert_eq!((&usage[1]["quota"], &usage[1]["used"]), (&json!("bytes_per_month"), &json!(stored)));
}

#[tokio::test]
async fn a_batch_is_charged_for_what_it_stores() {
    let app = eager().await;
    Operator::of(&app).await.change("shop", json!({"limits": {"recipients_per_day": 6}})).await;
    let used = async || app.get("/v1/limits").await.json()["usage"][0]["used"].clone();
    let item = |key: &str, count: usize| {
        let mut message = to_many(count);
        message["idempotency_key"] = json!(key);
        message
    };
    let batch = json!({"mode": "permissive", "messages": [item("a", 2), {"from": "nobody"}, item("b", 1)]});
    assert_eq!(app.post("/v1/send/batch", &batch).await.status, 207);
    assert_eq!(used().await, 3, "what cannot be read is not charged");
    // What was accepted before is not charged again; all that is new is.
    let again = json!({"mode": "permissive", "messages": [item("a", 2), item("c", 1)]});
    let answer = app.post("/v1/send/batch", &again).await;
    assert_eq!((answer.status, used().await), (202, json!(4)), "{}", answer.text());
    // Together it is too much, and so nothing of it is taken.
    let many = json!({"messages": [to_many(2), to_many(1)]});
    let refused = app.post("/v1/send/batch", &many).await;
    assert_eq!((refused.status, &*kind(&refused), used().await), (429, "/problems/quota-exceeded", json!(4)));
    assert!(refused.header("ratelimit").contains("r=2;"), "{}", refused.header("ratelimit"));
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 3);
    let mut later = to_many(2);
    later["send_at"] = json!(rfc3339(app.clock.now() + std::time::Duration::from_hours(24)));
    let scheduled = app.post("/v1/send", &later).await;
    assert_eq!((scheduled.status, used().await), (202, json!(6)), "{}", scheduled.text());
}

#[tokio::test]
async fn a_quota_that_cannot_be_asked_for_is_a_503_for_those_who_are_under_it() {
    let app = Setup::new().paused().set("auth.cache", "0s").set("database.timeout", "1s").start().await;
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    Operator::of(&app).await.change("shop", json!({"limits": {"recipients_per_day": 100}})).await;
    assert_eq!(app.post("/v1/send", &message_to("a@example.net")).await.status, 202);
    let mut held = app.database.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM quota_usage FOR UPDATE").execute(&mut *held).await.unwrap();
    let away = app.post("/v1/send", &to_many(50)).await;
    assert_eq!((away.status, &*kind(&away)), (503, "/problems/store-unavailable"));
    assert!(!away.header("retry-after").is_empty());
    assert_eq!(send_as(&app, &neighbour, &message_to("a@example.net")).await.status, 202);
    held.rollback().await.unwrap();
    within("the quota to be asked for again", async {
        while app.post("/v1/send", &to_many(50)).await.status != 202 {}
    })
    .await;
    assert_eq!(app.get("/v1/limits").await.json()["usage"][0]["used"], 51);
}

// --- Suspension ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_suspended_project_sends_nothing_in_any_process_and_reads_as_before() {
    let database = Arc::new(Database::new().await);
    let one = Setup::new().paused().on(&database).set("auth.cache", "1ms").start().await;
    let two = Setup::new().paused().on(&database).set("auth.cache", "1ms").start().await;
    let operator = Operator::of(&one).await;
    let key = [("idempotency-key", "k1")];
    let body = message_to("a@example.net").to_string().into_bytes();
    let first = two.call_as(&one.live, "POST", "/v1/send", &key, body.clone()).await;
    let changed = operator.change("shop", json!({"suspended": true, "reason": "Too many complaints"})).await;
    assert_eq!(
        (&changed["suspension"]["mail"], &changed["suspension"]["reason"]),
        (&json!("keep"), &json!("Too many complaints"))
    );
    for app in [&one, &two] {
        for key in [&one.live, &one.test] {
            let refused = send_as(app, key, &message_to("a@example.net")).await;
            assert_eq!((refused.status, &*kind(&refused)), (403, "/problems/project-suspended"));
            assert!(refused.json()["detail"].as_str().unwrap().contains("Too many complaints"));
        }
        assert_eq!(app.get_as(&one.live, "/v1/messages").await.status, 200);
        let again = app.call_as(&one.live, "POST", "/v1/send", &key, body.clone()).await;
        assert_eq!((again.status, again.json()), (202, first.json()), "what was accepted once keeps its answer");
    }
    let path = format!("/v1/messages/{}/explain", first.json()["id"].as_str().unwrap());
    let reason = one.get(&path).await.json()["recipients"][0]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("suspended"), "{reason}");
    let since = changed["suspension"]["since"].clone();
    let kept = operator.change("shop", json!({"mail": "cancel"})).await;
    assert_eq!((&kept["suspension"]["since"], &kept["suspension"]["reason"]), (&since, &json!("Too many complaints")));
    assert_eq!(operator.change("shop", json!({"suspended": false})).await["suspension"], Value::Null);
    assert_eq!(two.call_as(&one.live, "POST", "/v1/send", &[], body).await.status, 202);
    let project = operator.project("shop").await;
    let late =
        operator.call("PATCH", &format!("/v1/projects/{project}"), &json!({"reason": "x", "mail": "keep"})).await;
    let conflict = |pointer: &str| (pointer.to_owned(), "conflict".to_owned());
    assert_eq!(late.faults(), [conflict("/reason"), conflict("/mail")]);
}

#[tokio::test]
async fn kept_mail_waits_while_others_mail_goes_and_goes_on_when_the_project_does() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    let accepting = Setup::new().paused().on(&database).route_to(sink.address).start().await;
    let operator = Operator::of(&accepting).await;
    let neighbour = create_key(&database.url, "neighbour", "live", "").await;
    let mut kept = Vec::new();
    for n in 0..5 {
        kept.push(accepting.send(&message_to(&format!("kept{n}@d{n}.example"))).await);
    }
    operator.change("shop", json!({"suspended": true})).await;
    let app = Setup::new().on(&database).route_to(sink.address).start().await;
    app.until_delivering().await;
    for n in 1..=5 {
        let sent = send_as(&accepting, &neighbour, &message_to("other@example.net")).await;
        assert_eq!(sent.status, 202);
        sink.until_taken(n).await;
    }
    assert!(sink.ledger().iter().all(|taken| taken.recipient == "other@example.net"), "{:?}", sink.ledger());
    assert_eq!(database.count("SELECT count(*) FROM recipients WHERE address LIKE 'kept%' AND attempts > 0").await, 0);
    operator.change("shop", json!({"suspended": false})).await;
    for id in &kept {
        let message = app.settled(id).await;
        assert_eq!((&message["status"], &message["recipients"][0]["attempts"]), (&json!("delivered"), &json!(1)));
    }
    assert_eq!(sink.taken_count(), 10);
}

#[tokio::test]
async fn what_was_born_leased_is_let_go_before_it_is_begun_and_expires_on_time() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    let setup = Setup::new().paused().on(&database).start().await;
    let operator = Operator::of(&setup).await;
    operator.change("shop", json!({"suspended": true})).await;
    let app = Setup::new().on(&database).route_to(sink.address).start().await;
    app.until_delivering().await;
    // A process that has not heard of it yet: its door takes the message in.
    let row: (uuid::Uuid,) =
        sqlx::query_as("SELECT id FROM projects WHERE name = 'shop'").fetch_one(&database.pool).await.unwrap();
    let caller = Caller::new(ProjectId::from_uuid(row.0), Mode::Live, vec![Scope::Send]);
    let recipient =
        Recipient { kind: RecipientKind::To, address: Address::parse("a@example.net").unwrap(), places: vec![] };
    let parts = RawParts {
        senders: Vec::new(),
        from: NamedAddress::parse("shop@example.org").unwrap(),
        reverse_path: Some(ReversePath::Null),
        message_id: None,
        recipients: vec![recipient],
        subject: "s".to_owned(),
        bytes: Arc::new(b"From: shop@example.org\r\nSubject: s\r\n\r\nt\r\n".to_vec()),
        options: Options::default(),
    };
    let content = Content::Raw(Box::new(RawDraft::new(parts, 10).unwrap()));
    let accepted = app.service.door.accept(&caller, Submission::one(content, None)).await;
    let id = accepted.unwrap().items[0].as_ref().unwrap().messages[0].id.to_string();
    database
        .until_count("SELECT count(*) FROM deliveries WHERE lease_token IS NULL AND ready AND attempt = 0", 1)
        .await;
    assert_eq!((sink.connections(), app.attempts(&id).await.len()), (0, 0));
    app.clock.advance(std::time::Duration::from_hours(73));
    let message = app.settled(&id).await;
    assert_eq!(message["recipients"][0]["status"], "expired");
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn cancelled_mail_ends_whether_it_is_ready_or_waits_and_its_endpoints_hear_of_it() {
    let receiver = Receiver::start().await;
    let database = Arc::new(Database::new().await);
    let app = Setup::new().paused().on(&database).start().await;
    let operator = Operator::of(&app).await;
    let neighbour = create_key(&database.url, "neighbour", "live", "").await;
    app.post("/v1/webhooks", &json!({"url": receiver.url(), "events": ["message.cancelled"]})).await;
    let first = app.send(&to_many(3)).await;
    let second = app.send(&message_to("b@example.net")).await;
    let held = app.send(&message_to("c@example.net")).await;
    let mut later = message_to("e@example.net");
    later["send_at"] = json!(rfc3339(app.clock.now() + std::time::Duration::from_hours(48)));
    let later = app.send(&later).await;
    let other = send_as(&app, &neighbour, &message_to("d@example.net")).await.json()["id"].clone();
    let hex = |id: &str| id.strip_prefix("msg_").unwrap().to_owned();
    database
        .execute(&format!(
            "UPDATE deliveries SET ready = false, due_at = now() + interval '1 day' WHERE message_id = '{}';
             UPDATE deliveries SET attempt = 1, lease_owner = id, lease_token = id, lease_until = now() + interval '1 hour'
             WHERE message_id = '{}'",
            hex(&second),
            hex(&held)
        ))
        .await;
    operator.change("shop", json!({"suspended": true, "mail": "cancel"})).await;
    for id in [&first, &second] {
        let message = app.settled(id).await;
        assert_eq!(message["status"], "cancelled", "{message:#}");
        let events = app.events(id).await;
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["sequence"]), (&json!("message.cancelled"), &json!(2)));
    }
    let scheduled = app.settled(&later).await;
    assert_eq!(scheduled["status"], "cancelled", "{scheduled:#}");
    let events = app.events(&later).await;
    assert_eq!((events.len(), &events[0]["type"], &events[0]["sequence"]), (1, &json!("message.cancelled"), &json!(1)));
    assert_eq!(app.message(&held).await["recipients"][0]["status"], "sending", "somebody has it in hand");
    // It is put off, and ends then.
    database
        .execute("UPDATE deliveries SET lease_owner = NULL, lease_token = NULL, lease_until = NULL WHERE lease_token IS NOT NULL")
        .await;
    assert_eq!(app.settled(&held).await["status"], "cancelled");
    let path = format!("/v1/messages/{}", other.as_str().unwrap());
    assert_eq!(app.get_as(&neighbour, &path).await.json()["status"], "queued");
    assert_eq!(database.count("SELECT count(*) FROM deliveries").await, 1);
    let _webhooks = Setup::new().on(&database).roles(&[Role::Webhooks]).start().await;
    let hooks = receiver.until(6).await;
    assert!(hooks.iter().all(|hook| hook.kind() == "message.cancelled"));
}

// --- Tokens ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_token_is_under_its_projects_limits_and_a_key_that_leaves_the_file_is_believed_no_more() {
    let pair =
        aws_lc_rs::signature::EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signing = pair.to_pkcs8v1().unwrap();
    let signing = EncodingKey::from_ec_der(signing.as_ref());
    let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref().to_vec();
    let part = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "2026-11", "use": "sig", "alg": "ES256",
        "x": part(&public[1..33]), "y": part(&public[33..])});
    let path = crate::support::app::temporary("jwks", &json!({"keys": [jwk]}).to_string());
    let file = format!(
        "[auth]\njwt = [{{ algorithm = \"ES256\", jwks_file = \"{}\", issuer = \"id.example\", audience = \"mailwright\" }}]",
        path.display()
    );
    let app = Setup::new().paused().file(&file).start().await;
    Operator::of(&app).await.change("shop", json!({"limits": {"recipients_per_day": 1}})).await;
    let claims = json!({"sub": "job", "project": "shop", "scope": "send messages:read", "iss": "id.example",
        "aud": ["other", "mailwright"], "exp": get_current_timestamp() + 600});
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("2026-11".to_owned());
    let token = encode(&header, &claims, &signing).unwrap();
    let sent = send_as(&app, &token, &message_to("a@example.net")).await;
    assert_eq!((sent.status, sent.header("ratelimit-policy")), (202, "\"project.recipients_per_day\";q=1;w=86400"));
    assert_eq!(send_as(&app, &token, &message_to("a@example.net")).await.status, 429);
    std::fs::write(&path, "{\"keys\": []}").unwrap();
    within("the key to be believed no more", async { while app.get_as(&token, "/v1/messages").await.status != 401 {} })
        .await;
}
