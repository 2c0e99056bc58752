//! One message by all doors.

use serde_json::{Value, json};

use super::service;
use crate::support::app::App;
use crate::support::conversation::Conversation;

/// A message as it was composed, without the signatures before it.
async fn written(app: &App, id: &str) -> String {
    let raw = app.get(&format!("/v1/messages/{id}/raw")).await.text();
    raw[raw.find("From: ").unwrap()..].to_owned()
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
        let raw = written(&app, &id).await;
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
    let raw = written(&app, &format!("msg_{by_resend}")).await;
    let mut smtp = Conversation::open(app.service.submission[0]).await;
    smtp.log_in(&app.live).await;
    let to = ["ann@example.net", "bob@example.net"];
    let reply = smtp.submit("<shop@example.org>", &to, &format!("X-Mailwright-Metadata-kind: receipt\r\n{raw}")).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(written(&app, id).await, raw);
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
