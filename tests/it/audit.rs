//! Who changed what.

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::process::{create_key, create_operator_key, run};

async fn entries(app: &App, key: &str, query: &str) -> Vec<Value> {
    let answer = app.get_as(key, &format!("/v1/audit{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].as_array().unwrap().clone()
}

fn told(entry: &Value) -> (&str, &str, i64) {
    let text = |name: &str| entry[name].as_str().unwrap();
    (text("action"), text("subject"), entry["status"].as_i64().unwrap_or(-1))
}

#[tokio::test]
async fn every_change_says_who_made_it_from_where_and_how_it_was_answered() {
    let app = Setup::new().paused().start().await;
    let url = app.database.url.clone();
    let (admin, other) =
        (create_key(&url, "shop", "live", "admin").await, create_key(&url, "other", "live", "admin").await);
    let call = async |key: &str, method: &str, path: &str, body: Value| {
        app.call_as(key, method, path, &[], body.to_string().into_bytes()).await
    };
    let made = call(&admin, "POST", "/v1/keys", json!({"mode": "live", "scopes": ["send"], "name": "ci"})).await.json();
    let (id, sender) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(call(&admin, "PATCH", &format!("/v1/keys/{id}"), json!({"name": "build"})).await.status, 200);
    // What is refused was tried, too.
    assert_eq!(call(sender, "POST", "/v1/webhooks", json!({"url": "http://127.0.0.1:9/"})).await.status, 403);
    assert_eq!(call(&admin, "PUT", "/v1/retention", json!({"bodies": "nonsense"})).await.status, 422);
    assert_eq!(call(&admin, "DELETE", &format!("/v1/keys/{id}"), json!({})).await.status, 204);
    app.send(&message_to("a@example.net")).await;
    let all = entries(&app, &admin, "").await;
    let changes: Vec<_> = all.iter().filter(|entry| !entry["address"].is_null()).map(told).collect();
    assert_eq!(
        changes,
        [
            ("DELETE /v1/keys/{id}", id, 204),
            ("PUT /v1/retention", "", 422),
            ("POST /v1/webhooks", "", 403),
            ("PATCH /v1/keys/{id}", id, 200),
            ("POST /v1/keys", id, 201),
        ]
    );
    assert!(all.iter().all(|entry| entry["address"].is_null() != entry["actor"].as_str().unwrap().starts_with("key_")));
    assert_eq!(entries(&app, &admin, &format!("?actor={id}")).await.len(), 1, "what that key tried");
    assert!(
        all.iter()
            .any(|entry| entry["action"] == "keys create" && entry["actor"].as_str().unwrap().starts_with("command:"))
    );
    // Another project sees its own, and a key without the right, or of the test mode, nothing.
    assert!(entries(&app, &other, "").await.iter().all(|entry| entry["action"] == "keys create"));
    assert_eq!(app.get("/v1/audit").await.status, 403);
    let tester = create_key(&url, "shop", "test", "admin").await;
    assert!(entries(&app, &tester, "").await.is_empty());
    // An operator's change of a project is told to the project.
    let operator = create_operator_key(&url).await;
    let project = app.get_as(&admin, "/v1/projects").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    let body = json!({"mode": "live", "scopes": ["send"]});
    assert_eq!(call(&operator, "POST", &format!("/v1/keys?project={project}"), body).await.status, 201);
    let last = &entries(&app, &admin, "?limit=1").await[0];
    assert!(told(last).0 == "POST /v1/keys" && last["actor"].as_str().unwrap().starts_with("key_"), "{last}");
    let listed = run(&url, &["audit", "--project", "shop", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(listed.as_array().unwrap().len() >= 6, "{listed}");
}

#[tokio::test]
async fn what_cannot_be_noted_is_not_done() {
    let app = Setup::new().paused().start().await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    app.database.execute("ALTER TABLE audit RENAME TO away").await;
    let count = "SELECT count(*) FROM api_keys";
    let before = app.database.count(count).await;
    let body = json!({"mode": "live", "scopes": ["send"]}).to_string().into_bytes();
    let answer = app.call_as(&admin, "POST", "/v1/keys", &[], body).await;
    assert!(answer.status >= 500, "{}", answer.text());
    assert!(!run(&app.database.url, &["keys", "create", "--project", "shop", "--mode", "live"]).await.status.success());
    assert_eq!(app.database.count(count).await, before);
    app.send(&message_to("a@example.net")).await;
}
