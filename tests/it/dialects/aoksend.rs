//! AokSend's API, as programs in the open use it.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};
use uuid::Uuid;

use super::sendcloud::post;
use super::{count, message, publish_template, raw, rows, service};
use crate::support::app::App;
use crate::support::http::Answer;
use crate::support::process::create_key;

const ONE: &str = "/index/api/send_email";
const MANY: &str = "/index/api/send_email_batch";
const ACCOUNT: &str = "/index/api/check_account";

/// A key of the shop that may send as example.org alone, with more rights or limits.
async fn key_with(app: &App, more: &Value) -> String {
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let mut wanted = json!({"mode": "live", "scopes": ["send"], "from_domains": ["example.org"]});
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = app.call_as(&admin, "POST", "/v1/keys", &[], wanted.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().unwrap().to_owned()
}

/// A whole message of that key, with these fields instead of its own; an empty one is not given.
fn mail(key: &str, own: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let whole = [
        ("app_key", json!(key)),
        ("template_id", json!("welcome")),
        ("to", json!("ann@example.net")),
        ("data", json!("{\"name\": \"Ann\"}")),
    ];
    let kept = whole.into_iter().filter(|(name, _)| own.iter().all(|(other, _)| other != name));
    kept.chain(own.iter().filter(|(_, value)| *value != "").cloned()).collect()
}

/// What a success tells.
fn accepted(answer: &Answer) -> Value {
    let told = answer.json();
    // A number: programs compare it with 200.
    let words = (answer.status, &told["code"], &told["message"]);
    assert_eq!(words, (200, &json!(200), &json!("请求成功")), "{told}");
    told
}

fn assert_of(id: &Value, stored: &Value) {
    let uuid = Uuid::parse_str(id.as_str().unwrap_or_else(|| panic!("{id}"))).unwrap();
    assert_eq!(format!("msg_{}", uuid.simple()), stored["id"]);
}

fn assert_refused(answer: &Answer, code: u16, words: &str) {
    let told = answer.json();
    assert_eq!((answer.status, &told["code"]), (200, &json!(code)), "{told}");
    assert!(told["message"].as_str().unwrap().contains(words), "{words}: {told}");
}

#[tokio::test]
async fn all_that_a_form_says_is_in_the_message() {
    let app = service().await;
    publish_template(&app).await;
    let own = [
        ("from", json!("shop@example.org")),
        ("alias", json!("Läden & Co")),
        ("reply_to", json!("help@example.org")),
        ("is_random", json!("0")),
        ("attachment", json!({"filename": "a.txt", "content": "hello"})),
    ];
    let told = accepted(&post(&app, "/compat/aoksend/index/api/send_email", &mail(&app.live, &own)).await);
    let whole = message(&app, "Welcome, Ann").await;
    assert_of(&told["msg_id"], &whole);
    assert_eq!((&whole["template"], &whole["recipients"][0]["email"]), (&json!("welcome"), &json!("ann@example.net")));
    let octets = raw(&app, &whole).await;
    let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
    let (from, reply_to) = (letter.from().unwrap().first().unwrap(), letter.reply_to().unwrap().first().unwrap());
    assert_eq!((from.name(), from.address()), (Some("Läden & Co"), Some("shop@example.org")));
    assert_eq!(reply_to.address(), Some("help@example.org"));
    assert_eq!(letter.body_text(0).unwrap().trim_end(), "Hello Ann");
    let file = letter.attachments().next().unwrap();
    assert_eq!((file.attachment_name(), file.contents()), (Some("a.txt"), &b"hello"[..]));
}

#[tokio::test]
async fn who_has_a_key_of_one_domain_need_not_say_who_the_sender_is() {
    let app = service().await;
    publish_template(&app).await;
    let key = key_with(&app, &json!({})).await;
    let told = accepted(&post(&app, ONE, &mail(&key, &[("alias", json!("Shop"))])).await);
    let sent = message(&app, "Welcome, Ann").await;
    assert_of(&told["msg_id"], &sent);
    let octets = raw(&app, &sent).await;
    let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
    let from = letter.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Shop"), Some("noreply@example.org")));
    // Whose key may send as any domain must say it.
    assert_refused(&post(&app, ONE, &mail(&app.live, &[])).await, 40000, "`from`");
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn each_of_many_has_a_message_with_data_of_their_own() {
    let app = service().await;
    publish_template(&app).await;
    let key = key_with(&app, &json!({})).await;
    let data = |name: &str| json!(json!({"name": name}).to_string());
    // As PHP writes lists, with numbers and without, as other programs do, and with one data for all.
    for (path, names, lists) in [
        (
            MANY,
            ["Ann", "Bob"],
            vec![
                ("to[]", json!(["ann@example.net", "bob@example.net"])),
                ("data[]", json!([data("Ann"), data("Bob")])),
            ],
        ),
        (
            MANY,
            ["Cyd", "Dan"],
            vec![
                ("to[0]", json!("ann@example.net")),
                ("to[1]", json!("bob@example.net")),
                ("data[0]", data("Cyd")),
                ("data[1]", data("Dan")),
            ],
        ),
        (
            "/compat/aoksend/index/api/send_email_batch",
            ["Eve", "Fay"],
            vec![
                ("to", json!(["ann@example.net", "bob@example.net"])),
                ("data", json!([data("Eve"), data("Fay")])),
                ("attachment", json!({"filename": "a.txt", "content": "hello"})),
            ],
        ),
    ] {
        let mut fields = mail(&key, &[("to", json!("")), ("data", json!(""))]);
        fields.extend(lists);
        let told = accepted(&post(&app, path, &fields).await);
        assert_eq!(told["message_ids"].as_array().unwrap().len(), 2, "{told}");
        for (at, (name, email)) in names.into_iter().zip(["ann@example.net", "bob@example.net"]).enumerate() {
            let own = message(&app, &format!("Welcome, {name}")).await;
            assert_of(&told["message_ids"][at], &own);
            assert_eq!(
                (&own["recipients"][0]["email"], own["recipients"].as_array().unwrap().len()),
                (&json!(email), 1)
            );
        }
    }
    let before = count(&app).await;
    let to = [("to[]", json!(["ann@example.net", "bob@example.net"])), ("to", json!("")), ("data", data("Gil"))];
    assert_eq!(accepted(&post(&app, MANY, &mail(&key, &to)).await)["message_ids"].as_array().unwrap().len(), 2);
    assert_eq!(count(&app).await, before + 2);
    // One who is wrong keeps all from being sent.
    for (code, words, own) in [
        (40005, "`to[1]", vec![("to", json!(["ann@example.net", "nobody"]))]),
        (
            40008,
            "`data",
            vec![
                ("to", json!(["a@example.net", "b@example.net", "c@example.net"])),
                ("data", json!([data("Ann"), data("Bob")])),
            ],
        ),
        (
            40008,
            "`data",
            vec![("to", json!(["a@example.net", "b@example.net"])), ("data", json!([data("Ann"), json!("{}")]))],
        ),
        (40008, "`data", vec![("to", json!(["a@example.net", "b@example.net"])), ("data", json!(""))]),
        (40004, "`to", vec![("to", json!(""))]),
    ] {
        assert_refused(&post(&app, MANY, &mail(&key, &own)).await, code, words);
    }
    assert_eq!(count(&app).await, before + 2);
}

#[tokio::test]
async fn an_account_is_what_is_left_to_send() {
    let app = service().await;
    publish_template(&app).await;
    let free = accepted(&post(&app, ACCOUNT, &[("app_key", json!(app.live))]).await);
    assert_eq!(free.get("account"), Some(&Value::Null), "{free}");
    let key = key_with(&app, &json!({"limits": {"recipients_per_day": 2}})).await;
    for left in [2, 1] {
        let told = accepted(&post(&app, ACCOUNT, &[("app_key", json!(key))]).await);
        assert_eq!(told["account"], left, "{told}");
        accepted(&post(&app, ONE, &mail(&key, &[])).await);
    }
    assert_eq!(accepted(&post(&app, ACCOUNT, &[("app_key", json!(key))]).await)["account"], 0);
    assert_refused(&post(&app, ONE, &mail(&key, &[])).await, 40007, "");
    assert_refused(&post(&app, ACCOUNT, &[]).await, 40001, "");
    assert_refused(&post(&app, ACCOUNT, &[("app_key", json!("mw_live_wrong"))]).await, 40002, "");
}

#[tokio::test]
async fn what_aoksend_refuses_has_its_numbers() {
    let app = service().await;
    publish_template(&app).await;
    let key = key_with(&app, &json!({})).await;
    let long = json!({"filename": "x".repeat(300), "content": "hello"});
    for (code, words, own) in [
        (40001, "", vec![("app_key", json!(""))]),
        (40002, "", vec![("app_key", json!("mw_live_wrong"))]),
        (40003, "`template_id`", vec![("template_id", json!(""))]),
        (40003, "`template_id`", vec![("template_id", json!("nobody"))]),
        (40003, "`template_id`", vec![("template_id", json!("E_118221062853"))]),
        (40004, "`to`", vec![("to", json!(""))]),
        (40005, "`to", vec![("to", json!("nobody"))]),
        (40006, "`reply_to", vec![("reply_to", json!("nobody"))]),
        (40007, "", vec![("from", json!("shop@example.com"))]),
        (40008, "`data`", vec![("data", json!("{"))]),
        (40008, "`data`", vec![("data", json!("[]"))]),
        (40008, "`data", vec![("data", json!(""))]),
        (40009, "`attachment", vec![("attachment", long)]),
        (40000, "`is_random`", vec![("is_random", json!("1"))]),
        (40000, "`template`", vec![("template", json!("welcome"))]),
    ] {
        assert_refused(&post(&app, ONE, &mail(&key, &own)).await, code, words);
    }
    let reader = create_key(&app.database.url, "shop", "live", "messages:read").await;
    assert_refused(&post(&app, ONE, &mail(&reader, &[("from", json!("shop@example.org"))])).await, 40002, "scope");
    // A form is what it must be.
    let object: Value = mail(&key, &[]).into_iter().collect();
    let (headers, body) = ([("content-type", "application/json")], object.to_string().into_bytes());
    let answer = app.client().request("POST", ONE, &headers, body).await.unwrap();
    assert_refused(&answer, 40000, "form");
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn docs_for_who_comes_from_aoksend_are_true() {
    let app = service().await;
    publish_template(&app).await;
    let key = key_with(&app, &json!({})).await;
    let table = rows(include_str!("../../../docs/migrating/aoksend.md"));
    assert_eq!(table.len(), 14);
    for (field, example, is_sent) in &table {
        let mut fields: Vec<(&str, Value)> = mail(&key, &[]);
        fields.retain(|(name, _)| name != field);
        let file = serde_json::from_str(example).ok().filter(|_| field == "attachment");
        fields.push((field.as_str(), file.unwrap_or_else(|| json!(example))));
        let answer = post(&app, ONE, &fields).await;
        let told = answer.json();
        assert_eq!((answer.status, told["code"] == 200), (200, *is_sent), "{field} {example}: {told}");
        assert!(*is_sent || answer.text().contains(&format!("`{field}")), "{field} {example}: {told}");
    }
    // What is no call is told in its form, too.
    for path in [ONE, MANY, ACCOUNT, "/compat/aoksend/index/api/send_email"] {
        let asked = app.client().request("GET", &format!("{path}?app_key=a"), &[], Vec::new()).await.unwrap();
        assert_eq!((asked.status, &asked.json()["code"]), (405, &json!(405)), "{path}: {}", asked.text());
        assert!(asked.json()["message"].is_string(), "{path}: {}", asked.text());
    }
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(post(&closed, ONE, &mail(&closed.live, &[])).await.status, 404);
}
