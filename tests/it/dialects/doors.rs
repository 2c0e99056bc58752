//! One message by all doors.

use serde_json::{Value, json};

use super::{alicloud, mailgun, publish, sendcloud, service, ses, signing_key};
use crate::support::app::App;
use crate::support::conversation::Conversation;
use crate::support::http::Answer;

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

/// What a message is to whoever gets it and to whoever asks for it, without what is its own: ids, times.
async fn known(app: &App, id: &str) -> (String, Value) {
    let message = app.settled(id).await;
    let own = id.trim_start_matches("msg_");
    let raw = written(app, id).await;
    let lines = raw.lines().filter(|line| !line.starts_with("Date:")).map(|line| line.replace(own, "ID"));
    let recipients: Vec<_> = message["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|to| json!([to["email"], to["kind"], to["status"], to["attempts"]]))
        .collect();
    let fields = ["from", "subject", "tags", "metadata", "priority", "mode", "status", "size", "send_at", "counts"];
    let mut known = json!({"recipients": recipients});
    for name in fields {
        known[name] = message[name].clone();
    }
    (lines.collect::<Vec<_>>().join("\n"), known)
}

#[tokio::test]
async fn by_the_ten_doors_one_message_comes_to_one_message() {
    let app = service().await;
    publish(&app, "same", &json!({"subject": "Same", "text": "Hello", "html": "<p>Hello</p>"})).await;
    let (text, html, from, to, reply_to) =
        ("Hello", "<p>Hello</p>", "Shop <shop@example.org>", "ann@example.net", "help@example.org");
    let newest = async |answer: Answer| {
        assert!((200..300).contains(&answer.status), "{}", answer.text());
        app.get("/v1/messages?limit=1").await.json()["data"][0]["id"].as_str().unwrap().to_owned()
    };
    let ours = json!({"from": from, "to": to, "subject": "Same", "text": text, "html": html, "reply_to": reply_to});
    let api = newest(app.post("/v1/send", &ours).await).await;
    let wanted = known(&app, &api).await;
    let mut doors = Vec::new();
    doors.push(("resend", newest(app.post("/emails", &ours).await).await));
    let email =
        json!({"From": from, "To": to, "Subject": "Same", "TextBody": text, "HtmlBody": html, "ReplyTo": reply_to});
    let headers = [("x-postmark-server-token", app.live.as_str()), ("content-type", "application/json")];
    let sent = app.client().request("POST", "/email", &headers, email.to_string().into_bytes()).await.unwrap();
    doors.push(("postmark", newest(sent).await));
    let mail = json!({"personalizations": [{"to": [{"email": to}]}], "from": {"email": "shop@example.org", "name": "Shop"}, "subject": "Same",
        "reply_to": {"email": reply_to}, "content": [{"type": "text/plain", "value": text}, {"type": "text/html", "value": html}]});
    doors.push(("sendgrid", newest(app.post("/v3/mail/send", &mail).await).await));
    let form =
        [("from", from), ("to", to), ("subject", "Same"), ("text", text), ("html", html), ("h:Reply-To", reply_to)];
    let form = form.map(|(name, value)| (name.to_owned(), json!(value)));
    doors.push(("mailgun", newest(mailgun::send(&app, &app.live, "/v3/example.org/messages", &form).await).await));
    let words = |data: &str| json!({"Data": data});
    let email = json!({"FromEmailAddress": from, "Destination": {"ToAddresses": [to]}, "ReplyToAddresses": [reply_to],
        "Content": {"Simple": {"Subject": words("Same"), "Body": {"Text": words(text), "Html": words(html)}}}});
    doors.push(("ses", newest(ses::Signer::new(&app).await.post(ses::SEND, &email).await).await));
    let (id, secret) = signing_key(&app, "admin").await;
    let form = [
        ("Action", "SingleSendMail"),
        ("AccountName", "shop@example.org"),
        ("FromAlias", "Shop"),
        ("AddressType", "1"),
        ("ReplyToAddress", "true"),
        ("ReplyAddress", reply_to),
        ("ToAddress", to),
        ("Subject", "Same"),
        ("TextBody", text),
        ("HtmlBody", html),
    ];
    doors.push(("alicloud", newest(alicloud::post(&app, (&id, &secret), &form).await).await));
    let form = [
        ("apiUser", json!("shop")),
        ("apiKey", json!(app.live)),
        ("from", json!(from)),
        ("to", json!(to)),
        ("replyTo", json!(reply_to)),
        ("subject", json!("Same")),
        ("plain", json!(text)),
        ("html", json!(html)),
    ];
    doors.push(("sendcloud", newest(sendcloud::post(&app, "/apiv2/mail/send", &form).await).await));
    let form = [
        ("app_key", json!(app.live)),
        ("template_id", json!("same")),
        ("from", json!("shop@example.org")),
        ("alias", json!("Shop")),
        ("to", json!(to)),
        ("reply_to", json!(reply_to)),
    ];
    doors.push(("aoksend", newest(sendcloud::post(&app, "/index/api/send_email", &form).await).await));
    for (door, id) in doors {
        let known = known(&app, &id).await;
        assert_eq!(known, wanted, "{door}");
        // One that has a template says so.
        assert_eq!(app.message(&id).await["template"] == "same", door == "aoksend", "{door}");
    }
    // By SMTP a program writes its own words: here those of the API, whose id then is the message's.
    let raw = written(&app, &api).await;
    let mut smtp = Conversation::open(app.service.submission[0]).await;
    smtp.log_in(&app.live).await;
    let reply = smtp.submit("<shop@example.org>", &[to], &raw).await;
    let id = reply.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(written(&app, id).await, raw);
    assert_eq!(known(&app, id).await.1, wanted.1);
}
