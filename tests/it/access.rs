//! Who may do what, and what nobody may find out.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::process::{create_key, run};
use crate::support::receiver::Receiver;
use crate::support::sink::Sink;

const SECRET: &str = "an HS256 secret of at least 32 bytes";

#[tokio::test]
async fn without_a_valid_key_nothing_is_told() {
    let app = Setup::new().paused().start().await;
    for path in ["/v1/messages", "/v1/webhooks", "/v1/sandbox/messages", "/v1/limits"] {
        let missing = app.client().request("GET", path, &[], vec![]).await.unwrap();
        assert_eq!((missing.status, missing.header("www-authenticate")), (401, "Bearer"), "{path}");
        for wrong in ["mw_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "junk", ""] {
            assert_eq!(app.get_as(wrong, path).await.status, 401, "{path} {wrong}");
        }
    }
    let basic = [("authorization", "Basic dTpw")];
    assert_eq!(app.client().request("GET", "/v1/messages", &basic, vec![]).await.unwrap().status, 401);
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

#[tokio::test]
async fn a_foreign_id_is_the_same_404_as_an_absent_one() {
    let app = Setup::new().paused().start().await;
    let id = app.send(&message_to("a@example.net")).await;
    let hook = app.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:9/x"})).await.json();
    let hook = hook["id"].as_str().unwrap();
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let absent = format!("msg_{}", "0".repeat(32));
    let strip = |text: String| text.replace(text.split("req_").nth(1).unwrap().split('"').next().unwrap(), "");
    for tail in ["", "/events", "/attempts", "/raw"] {
        let foreign = app.get_as(&neighbour, &format!("/v1/messages/{id}{tail}")).await;
        let missing = app.get_as(&neighbour, &format!("/v1/messages/{absent}{tail}")).await;
        assert_eq!((foreign.status, missing.status), (404, 404), "{tail}");
        assert_eq!(strip(foreign.text()), strip(missing.text()));
        for junk in ["junk", "%ff", "%00"] {
            let answer = app.get_as(&neighbour, &format!("/v1/messages/{junk}{tail}")).await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (404, "application/problem+json"),
                "{junk}{tail}"
            );
        }
    }
    for (method, body) in [("GET", ""), ("PATCH", "{\"enabled\":false}"), ("DELETE", "")] {
        let path = format!("/v1/webhooks/{hook}");
        assert_eq!(app.call_as(&neighbour, method, &path, &[], body.into()).await.status, 404, "{method}");
    }
    assert_eq!(app.get_as(&neighbour, &format!("/v1/webhooks/{hook}/deliveries")).await.status, 404);
    assert_eq!(app.get_as(&neighbour, "/v1/messages").await.json()["data"], json!([]));
    assert_eq!(app.get(&format!("/v1/webhooks/{hook}")).await.json()["enabled"], true);
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
