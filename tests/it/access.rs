//! Who may do what, and what nobody may find out.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use mailwright::domain::access::Scope;
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::contract::{CONTRACT, Operation};
use crate::support::http::Answer;
use crate::support::process::{create_key, run};
use crate::support::receiver::Receiver;
use crate::support::sink::Sink;
use crate::support::within;

const SECRET: &str = "an HS256 secret of at least 32 bytes";

#[tokio::test]
async fn without_a_valid_key_nothing_is_told() {
    let app = Setup::new().paused().start().await;
    for operation in CONTRACT.operations().filter(Operation::is_guarded) {
        let (method, path) = (operation.method.to_uppercase(), CONTRACT.path_with(&operation, absent));
        let (media, body) = CONTRACT.example_body(&operation);
        let missing = app.client().request(&method, &path, &[("content-type", &media)], body.clone()).await.unwrap();
        assert_eq!((missing.status, missing.header("www-authenticate")), (401, "Bearer"), "{method} {path}");
        for wrong in ["mw_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "junk", ""] {
            assert_eq!(call(&app, wrong, &operation, &path).await.status, 401, "{method} {path} {wrong}");
        }
    }
    let basic = [("authorization", "Basic dTpw")];
    assert_eq!(app.client().request("GET", "/v1/messages", &basic, vec![]).await.unwrap().status, 401);
}

#[tokio::test]
async fn each_message_says_by_what_it_was_sent() {
    let jwt = format!(
        "[[auth.jwt]]\nkid = \"k1\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\nissuer = \"i\"\naudience = \"a\"\nscopes = [\"send\"]\n"
    );
    let app = Setup::new().paused().file(&jwt).start().await;
    let made = |scope: &str| {
        let claims = json!({"sub": "ci@example.org", "project": "shop", "scope": scope, "iss": "i", "aud": "a", "exp": get_current_timestamp() + 60});
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    };
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let body = json!({"mode": "live", "scopes": ["send"], "name": "leaked"}).to_string().into_bytes();
    let leaked = app.call_as(&admin, "POST", "/v1/keys", &[], body).await.json();
    let (id, key) = (leaked["id"].as_str().unwrap(), leaked["key"].as_str().unwrap());
    let mut later = message_to("later@example.net");
    later["send_at"] = json!("in 2 hours");
    let sent =
        [app.send_as(key, &message_to("a@example.net")).await, app.send_as(key, &message_to("b@example.net")).await];
    let by_token = app.send_as(&made("send"), &message_to("c@example.net")).await;
    app.send(&message_to("d@example.net")).await;
    for message in &sent {
        assert_eq!(app.message(message).await["credential"], id);
    }
    assert_eq!(app.message(&by_token).await["credential"], "token:ci@example.org");
    let listed = async |credential: &str| {
        let page = app.get(&format!("/v1/messages?credential={credential}")).await.json();
        let mut ids: Vec<_> =
            page["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(listed(id).await, sent.to_vec());
    assert_eq!(listed("token%3Aci%40example.org").await, [by_token]);
    // The key of an issuer that may give one scope alone.
    assert_eq!(app.get_as(&made("send admin"), "/v1/messages").await.status, 401);
}

#[tokio::test]
async fn wrong_credentials_are_counted_and_answered_later_and_later() {
    let app = Setup::new().paused().set("auth.slow_down", "100ms").start().await;
    let mut took = Vec::new();
    for n in 0..14 {
        let began = std::time::Instant::now();
        let key = format!("mw_live_{n:043}");
        assert_eq!(app.get_as(&key, "/v1/messages").await.status, 401);
        took.push(began.elapsed().as_millis());
    }
    assert!(took[10] >= 100 && took[11] >= 200 && took[12] >= 400 && took[13] >= 800, "{took:?}");
    app.until_metric("mailwright_http_auth_failures_total", 14.0).await;
    // Whoever shares the address and has a key waits for nothing.
    let began = std::time::Instant::now();
    assert_eq!(app.get("/v1/messages").await.status, 200);
    assert!(began.elapsed().as_millis() < 1600);
    // A key that is made after somebody tried it is found.
    let key = create_key(&app.database.url, "shop", "live", "").await;
    assert_eq!(app.get_as(&key, "/v1/messages").await.status, 200);
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let app = Setup::new().paused().start().await;
    let reader = create_key(&app.database.url, "shop", "live", "messages:read").await;
    let answer =
        app.call_as(&reader, "POST", "/v1/send", &[], message_to("a@example.net").to_string().into_bytes()).await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["detail"].as_str().unwrap().contains("'send'"));
    let sender = create_key(&app.database.url, "shop", "live", "send").await;
    assert_eq!(app.get_as(&sender, "/v1/messages").await.status, 403);
    assert_eq!(app.get_as(&sender, "/v1/webhooks").await.status, 403);
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    assert_eq!(app.get_as(&admin, "/v1/messages").await.status, 200);
}

/// An id that names nothing.
fn absent(prefix: &str) -> String {
    format!("{prefix}_{}", "0".repeat(32))
}

/// Calls an operation with the example of its body.
async fn call(app: &App, key: &str, operation: &Operation<'_>, path: &str) -> Answer {
    let (media, body) = CONTRACT.example_body(operation);
    let headers = [("authorization", &*format!("Bearer {key}")), ("content-type", &media)];
    let method = operation.method.to_uppercase();
    within(path, async { app.client().request(&method, path, &headers, body).await.unwrap() }).await
}

/// Makes what an id of that prefix names, in the project `shop`; it does not change by itself.
async fn make(app: &App, prefix: &str) -> String {
    match prefix {
        "msg" | "rcp" => {
            let id = app.send(&message_to("a@example.net")).await;
            let message = app.settled(&id).await;
            if prefix == "msg" { id } else { message["recipients"][0]["id"].as_str().unwrap().to_owned() }
        }
        "evt" => {
            let id = app.send(&message_to("a@example.net")).await;
            app.settled(&id).await;
            app.events(&id).await[0]["id"].as_str().unwrap().to_owned()
        }
        "dom" => {
            let admin = create_key(&app.database.url, "shop", "live", "admin").await;
            let body = json!({"name": "own.example"}).to_string().into_bytes();
            let made = app.call_as(&admin, "POST", "/v1/domains", &[], body).await.json();
            // It is looked at by itself, and says so: once that is over, and not again, what it says stays.
            app.database.until_count("SELECT count(*) FROM domains WHERE checked_at IS NULL", 0).await;
            app.database.execute("UPDATE domains SET next_check_at = now() + interval '1 day'").await;
            made["id"].as_str().unwrap().to_owned()
        }
        "tpl" => {
            let made = app.post("/v1/templates", &json!({"starter": "alert"})).await.json();
            assert_eq!(app.post("/v1/templates/alert/publish", &json!({})).await.status, 200);
            made["id"].as_str().unwrap().to_owned()
        }
        "whk" => {
            let hook = app.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:9/x", "enabled": false})).await;
            // It was told of every event that there is.
            app.database
                .execute(
                    "INSERT INTO webhook_deliveries (shard, message_id, id, endpoint_id, event_id, status, attempts, detail, settled_at) \
                     SELECT e.shard, e.message_id, e.id, w.id, e.id, 'succeeded', 1, '', now() FROM events e, webhook_endpoints w",
                )
                .await;
            hook.json()["id"].as_str().unwrap().to_owned()
        }
        "sup" => {
            let entry = app.post("/v1/suppressions", &json!({"email": "nobody@example.net"})).await;
            entry.json()["id"].as_str().unwrap().to_owned()
        }
        "ers" => {
            let admin = create_key(&app.database.url, "shop", "live", "admin").await;
            let body = json!({"address": "nobody@example.net"}).to_string().into_bytes();
            let erasure = app.call_as(&admin, "POST", "/v1/erasures", &[], body).await.json();
            let id = erasure["id"].as_str().unwrap().to_owned();
            app.database.until_count("SELECT count(*) FROM erasures WHERE finished_at IS NOT NULL", 1).await;
            id
        }
        "upl" => {
            let authorization = format!("Bearer {}", app.live);
            let headers = [("authorization", authorization.as_str())];
            let call = app.client().request("POST", "/v1/uploads?filename=a.txt", &headers, b"x".to_vec()).await;
            call.unwrap().json()["id"].as_str().unwrap().to_owned()
        }
        "key" | "prj" => {
            let admin = create_key(&app.database.url, "shop", "live", "admin").await;
            let path = if prefix == "key" { "/v1/keys" } else { "/v1/projects" };
            app.get_as(&admin, path).await.json()["data"][0]["id"].as_str().unwrap().to_owned()
        }
        _ => {
            panic!("an operation takes an id {prefix}_…: say in `make` (tests/it/access.rs) how to make what it names")
        }
    }
}

/// What an answer tells, but for what is another one in every answer.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let request = answer.header("x-request-id");
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.retain(|(name, _)| !["date", "x-request-id"].contains(&&**name));
    (answer.status, headers, answer.text().replace(request, ""))
}

#[tokio::test]
async fn a_foreign_id_is_the_same_404_as_an_absent_one() {
    let app = Setup::new().set("delivery.route", "sandbox").start().await;
    let scopes = Scope::ALL.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",");
    let mut prefixes = BTreeSet::new();
    for operation in CONTRACT.operations() {
        CONTRACT.path_with(&operation, |prefix| {
            prefixes.insert(prefix.to_owned());
            absent(prefix)
        });
    }
    let mut ids = BTreeMap::new();
    for prefix in prefixes {
        let id = make(&app, &prefix).await;
        ids.insert(prefix, id);
    }
    let own = create_key(&app.database.url, "shop", "live", &scopes).await;
    // A name is each project's own (`only_what_may_send_is_chosen` in pools.rs).
    let is_of_id = |path: &str| path.contains('{') && !path.contains("{name}");
    let with_ids: Vec<_> = CONTRACT.operations().filter(|operation| is_of_id(operation.path)).collect();
    let mut before = Vec::new();
    for operation in with_ids.iter().filter(|operation| operation.method == "get") {
        let path = CONTRACT.path_with(operation, |prefix| ids[prefix].clone());
        let answer = call(&app, &own, operation, &path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        before.push((operation, path, answer));
    }
    for mode in ["live", "test"] {
        let neighbour = create_key(&app.database.url, "neighbour", mode, &scopes).await;
        for operation in &with_ids {
            let what = format!("{} {}", operation.method, operation.path);
            let foreign = CONTRACT.path_with(operation, |prefix| ids[prefix].clone());
            let foreign = call(&app, &neighbour, operation, &foreign).await;
            let missing = call(&app, &neighbour, operation, &CONTRACT.path_with(operation, absent)).await;
            assert_eq!(foreign.status, 404, "{what}: {}", foreign.text());
            assert_eq!(told(&foreign), told(&missing), "{what}");
            for junk in ["junk", "%ff", "%00"] {
                let path = CONTRACT.path_with(operation, |_| junk.to_owned());
                let answer = call(&app, &neighbour, operation, &path).await;
                let of = (answer.status, answer.header("content-type"));
                assert_eq!(of, (404, "application/problem+json"), "{what} {junk}");
            }
        }
        for list in CONTRACT.operations().filter(|o| o.method == "get" && o.is_guarded() && !o.path.contains('{')) {
            // It tells what the neighbour itself asked for, above.
            if list.path == "/v1/audit" {
                continue;
            }
            let answer = call(&app, &neighbour, &list, list.path).await;
            let leaked = ids.values().find(|id| answer.text().contains(*id));
            assert_eq!((answer.status, leaked), (200, None), "{}: {}", list.path, answer.text());
        }
    }
    for (operation, path, answer) in before {
        let after = call(&app, &own, operation, &path).await;
        assert_eq!(told(&answer), told(&after), "a neighbour changed {path}");
    }
}

#[tokio::test]
async fn a_token_of_a_configured_issuer_sends_within_its_limits() {
    let file = format!(
        "[auth]\njwt = [{{ kid = \"k1\", algorithm = \"HS256\", secret = \"{SECRET}\", issuer = \"id.example\", audience = \"mailwright\" }}]"
    );
    let app = Setup::new().paused().file(&file).start().await;
    let token = |claims: serde_json::Value| {
        let mut all = json!({"sub": "job", "project": "shop", "scope": "send messages:read", "iss": "id.example",
                             "aud": "mailwright", "exp": get_current_timestamp() + 60});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k1".to_owned());
        encode(&header, &all, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    };
    let send = async |token: String| {
        app.call_as(&token, "POST", "/v1/send", &[], message_to("a@example.net").to_string().into_bytes()).await
    };
    assert_eq!(send(token(json!({}))).await.status, 202);
    assert_eq!(send(token(json!({"from": ["Example.org"]}))).await.status, 202);
    let foreign = send(token(json!({"from": ["other.example"]}))).await;
    assert_eq!((foreign.status, &*foreign.json()["type"].to_string()), (403, "\"/problems/foreign-domain\""));
    assert_eq!(send(token(json!({"scope": "messages:read"}))).await.status, 403);
    assert_eq!(send(token(json!({"project": "nowhere"}))).await.status, 401);
    assert_eq!(send(token(json!({"exp": get_current_timestamp() - 60}))).await.status, 401);
}

#[tokio::test]
async fn a_revoked_key_stops_working() {
    let app = App::start_with_cache("1ms").await;
    let listed = String::from_utf8(run(&app.database.url, &["keys", "list"]).await.stdout).unwrap();
    let line = listed.lines().find(|line| line.contains(" live ")).unwrap();
    let id = line.split_whitespace().next().unwrap();
    assert!(!listed.contains(&app.live), "a key's text is not stored");
    assert_eq!(app.get("/v1/messages").await.status, 200);
    assert!(run(&app.database.url, &["keys", "revoke", id]).await.status.success());
    assert_eq!(app.get("/v1/messages").await.status, 401);
    assert!(!run(&app.database.url, &["keys", "revoke", id]).await.status.success());
}

#[tokio::test]
async fn a_test_credential_sees_and_changes_test_things_only() {
    let receiver = Receiver::start().await;
    let app = Setup::new().route_to(Sink::start().await.address).start().await;
    let live = app.send(&message_to("a@example.net")).await;
    for path in ["", "/events", "/attempts", "/explain", "/raw"] {
        assert_eq!(app.get_as(&app.test, &format!("/v1/messages/{live}{path}")).await.status, 404, "{path}");
    }
    assert_eq!(app.get_as(&app.test, "/v1/messages").await.json()["data"], json!([]));
    let post = async |key: &str, path: &str, body: &Value| {
        app.call_as(key, "POST", path, &[], body.to_string().into_bytes()).await
    };
    // An endpoint of live mail is none of a test credential's business; one of its own hears of test mail alone.
    let hook = post(&app.live, "/v1/webhooks", &json!({"url": "http://127.0.0.1:9/x"})).await.json();
    assert_eq!(hook["mode"], "live");
    let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
    assert_eq!(app.get_as(&app.test, &path).await.status, 404);
    assert_eq!(app.call_as(&app.test, "PATCH", &path, &[], b"{\"enabled\": false}".to_vec()).await.status, 404);
    assert_eq!(app.call_as(&app.test, "DELETE", &path, &[], vec![]).await.status, 404);
    assert_eq!(app.get_as(&app.test, "/v1/webhooks").await.json()["data"], json!([]));
    let stolen = post(&app.test, "/v1/webhooks", &json!({"url": receiver.url(), "mode": "both"})).await;
    assert_eq!((stolen.status, stolen.json()["type"].as_str()), (403, Some("/problems/test-only")));
    let own = post(&app.test, "/v1/webhooks", &json!({"url": receiver.url()})).await.json();
    assert_eq!(own["mode"], "test");
    app.send(&message_to("b@example.net")).await;
    let sent = post(&app.test, "/v1/send", &message_to("c@example.net")).await.json();
    for hook in receiver.until(2).await {
        let body: Value = serde_json::from_slice(&hook.body).unwrap();
        assert_eq!((&body["data"]["message_id"], &body["data"]["mode"]), (&sent["id"], &json!("test")));
    }
}

#[tokio::test]
async fn a_test_credential_sees_and_clears_its_own_part_of_the_inbox() {
    let app = Setup::new().set("delivery.route", "sandbox").start().await;
    let live = app.send(&message_to("a@example.net")).await;
    app.settled(&live).await;
    let copy = app.get("/v1/sandbox/messages").await.json()["data"][0]["id"].as_str().unwrap().to_string();
    let path = format!("/v1/sandbox/messages/{copy}");
    assert_eq!(app.get_as(&app.test, "/v1/sandbox/messages").await.json()["data"], json!([]));
    assert_eq!(app.get_as(&app.test, &path).await.status, 404);
    assert_eq!(app.call_as(&app.test, "DELETE", &path, &[], vec![]).await.status, 404);
    assert_eq!(app.call_as(&app.test, "DELETE", "/v1/sandbox/messages", &[], vec![]).await.status, 204);
    assert_eq!(app.get(&path).await.status, 200);
    assert_eq!(app.call_as(&app.live, "DELETE", "/v1/sandbox/messages", &[], vec![]).await.status, 204);
    assert_eq!(app.get(&path).await.status, 404);
}
