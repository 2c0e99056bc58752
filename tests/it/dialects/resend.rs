//! Resend's SDKs.

use std::time::Duration;

use mailwright::domain::clock::{Clock, rfc3339};
use serde_json::{Value, json};

use super::{message, publish_template, rows, run, service};
use crate::support::app::App;

#[tokio::test]
async fn resends_sdk_for_node_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    let base = format!("http://{}/compat/resend", app.address);
    let said = run(&app, "resend.mjs", &base).await;
    let data = |call: &str| said.data(call);
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
    assert_eq!((ids(&data("list back")), &data("list back")["has_more"]), (ids(&page), &json!(false)));
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
        ("list before nobody", 404, "not_found", ""),
        ("wrong key", 403, "invalid_api_key", "API key"),
        ("reader", 401, "restricted_api_key", "scope"),
        ("suppressed no more", 404, "not_found", ""),
    ] {
        let error = said.error(call);
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
    let said = run(&app, "resend_sdk.py", &base).await;
    let data = |call: &str| said.data(call);
    let whole = message(&app, "Python whole").await;
    assert_eq!((&whole["metadata"], whole["recipients"].as_array().unwrap().len()), (&json!({"kind": "receipt"}), 2));
    assert_eq!((&data("get")["subject"], &data("get")["html"]), (&json!("Python whole"), &json!("<p>Hello</p>")));
    assert_eq!(data("cancel")["object"], "email");
    assert_eq!(data("batch")["data"].as_array().unwrap().len(), 2);
    assert_eq!(data("list")["data"].as_array().unwrap().len(), 2);
    for (call, class) in
        [("no from", "MissingRequiredFieldsError"), ("bad to", "ValidationError"), ("wrong key", "InvalidApiKeyError")]
    {
        assert_eq!(said.error(call), class);
    }
}

#[tokio::test]
async fn docs_for_who_comes_from_resend_are_true() {
    let app = service().await;
    publish_template(&app).await;
    let table = rows(include_str!("../../../docs/migrating/resend.md"));
    assert_eq!(table.len(), 17);
    for (field, example, is_sent) in table {
        let value = serde_json::from_str::<Value>(&example).unwrap();
        let mut email = json!({"from": "shop@example.org", "to": "ann@example.net", "subject": "s"});
        if field != "template" {
            email["text"] = json!("t");
        }
        // An instant in a guide passes.
        let is_instant = example.starts_with("\"20");
        email[&field] = if is_instant { rfc3339(app.clock.now() + Duration::from_hours(1)).into() } else { value };
        let answer = app.post("/compat/resend/emails", &email).await;
        assert_eq!(answer.status, if is_sent { 200 } else { 422 }, "{field} {example}: {}", answer.text());
        assert!(is_sent || answer.text().contains(&format!("`{field}")), "{}", answer.text());
    }
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
