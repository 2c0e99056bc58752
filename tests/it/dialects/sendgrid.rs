//! SendGrid's API, as its SDKs speak it.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use mailwright::domain::clock::Clock;
use serde_json::{Value, json};

use super::{Said, message, publish_template, rows, run, service};
use crate::support::app::App;
use crate::support::process::create_key;

/// Publishes the template once more, under the only kind of name that SendGrid's SDK for Node sends variables with.
async fn publish_as_they_name_it(app: &App) {
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let en = json!({"subject": "Welcome, {{ name }}", "text": "Hello {{ name }}"});
    let template = json!({"alias": "d-welcome", "name": "Welcome", "locales": {"en": en}});
    let made = app.call_as(&admin, "POST", "/v1/templates", &[], template.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/v1/templates/{}/publish", made.json()["id"].as_str().unwrap());
    let published = app.call_as(&admin, "POST", &path, &[], b"{}".to_vec()).await;
    assert_eq!(published.status, 200, "{}", published.text());
}

/// Addresses that bounced, and one that complained.
async fn suppress(app: &App) {
    let entries = [("bounced", "bounce"), ("second", "bounce"), ("third", "bounce"), ("angry", "complaint")];
    let entries = entries.map(|(name, reason)| json!({"email": format!("{name}@example.net"), "reason": reason}));
    let added = app.post("/v1/suppressions", &json!({"suppressions": entries})).await;
    assert!(added.status < 300, "{}", added.text());
}

/// What was sent with that subject, as our API lists it.
async fn with_subject(app: &App, subject: &str) -> Vec<Value> {
    let listed = app.get("/v1/messages?limit=500").await.json();
    listed["data"].as_array().unwrap().iter().filter(|row| row["subject"] == subject).cloned().collect()
}

async fn raw(app: &App, message: &Value) -> Vec<u8> {
    app.get(&format!("/v1/messages/{}/raw", message["id"].as_str().unwrap())).await.bytes.to_vec()
}

/// The id that our API has for a message of theirs.
fn ours(id: &Value) -> String {
    let id = id.as_str().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    format!("msg_{}", id.replace('-', ""))
}

fn recipients(message: &Value) -> Vec<(&str, &str)> {
    let recipients = message["recipients"].as_array().unwrap().iter();
    let mut found: Vec<_> =
        recipients.map(|one| (one["kind"].as_str().unwrap(), one["email"].as_str().unwrap())).collect();
    found.sort_unstable();
    found
}

/// Names and contents of a message's files, in the order of the names.
fn files(raw: &[u8]) -> Vec<(String, Vec<u8>)> {
    let parsed = MessageParser::default().parse(raw).unwrap();
    let named = parsed.parts.iter().filter_map(|part| Some((part.attachment_name()?, part.contents())));
    let mut files: Vec<_> = named.map(|(name, contents)| (name.to_owned(), contents.to_vec())).collect();
    files.sort();
    files
}

/// Each call was refused with this status, for a field whose name begins so.
fn assert_refused(said: &Said, class: impl Fn(u16) -> &'static str, calls: &[(&str, u16, &str)]) {
    for (call, status, field) in calls {
        let error = said.error(call);
        assert_eq!((&error["class"], &error["status"]), (&json!(class(*status)), &json!(status)), "{call}: {error}");
        assert!(error["field"].as_str().unwrap_or_default().starts_with(field), "{call}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{call}: {error}");
    }
}

#[tokio::test]
async fn sendgrids_sdk_for_node_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    publish_as_they_name_it(&app).await;
    suppress(&app).await;
    let said = run(&app, "sendgrid.mjs", &format!("http://{}/compat/sendgrid", app.address)).await;
    // Sending: the same messages as by our own words.
    assert_eq!((&said.data("send")["status"], &said.data("send")["body"]), (&json!(202), &json!("")));
    assert_whole(&app, &said).await;
    assert_eq!((with_subject(&app, "SendGrid each").await.len(), said.data("list").as_array().unwrap().len()), (2, 2));
    let replies = raw(&app, &message(&app, "SendGrid replies").await).await;
    let parsed = MessageParser::default().parse(&replies).unwrap();
    let addresses: Vec<_> = parsed.reply_to().unwrap().iter().filter_map(|one| one.address.as_deref()).collect();
    assert_eq!(addresses, ["a@example.org", "b@example.org"]);
    let tracked = raw(&app, &message(&app, "SendGrid tracked").await).await;
    let parsed = MessageParser::default().parse(&tracked).unwrap();
    let html = parsed.body_html(0).unwrap();
    assert!(html.contains("/c/") && html.contains(".gif") && !html.contains("\"https://example.org/\""), "{html}");
    let group = raw(&app, &message(&app, "SendGrid group").await).await;
    assert!(String::from_utf8_lossy(&group).contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"));
    assert!(said.data("pool")["id"].is_string());
    assert_eq!(said.data("sandbox")["status"], 200);
    for unsent in ["SendGrid sandbox", "SendGrid none"] {
        assert!(with_subject(&app, unsent).await.is_empty(), "{unsent}");
    }
    // Templates.
    assert_eq!(message(&app, "Welcome, Ann").await["template"], "d-welcome");
    assert_eq!(ours(&said.data("templates")["id"]), message(&app, "Welcome, Bob").await["id"]);
    assert!(!with_subject(&app, "Welcome, Cyd").await.is_empty());
    let without = said.error("template of another name");
    assert!(without["status"] == 400 && without["message"].as_str().unwrap().contains("name"), "{without}");
    // Once.
    assert_eq!(said.data("once again")["id"], said.data("once")["id"]);
    assert_eq!(with_subject(&app, "SendGrid once").await.len(), 1);
    // For later.
    let batch = said.data("batch");
    let id = batch["body"]["batch_id"].as_str().unwrap().to_owned();
    assert_eq!((&batch["status"], &said.data("batch is there")["body"]), (&json!(201), &json!({"batch_id": id})));
    let cancelled = json!({"batch_id": id, "status": "cancel"});
    assert_eq!((&said.data("cancel")["status"], &said.data("cancel")["body"]), (&json!(201), &cancelled));
    for subject in ["SendGrid later", "SendGrid later by one"] {
        let later = message(&app, subject).await;
        assert_eq!(
            (&later["tags"], &later["recipients"][0]["status"]),
            (&json!([format!("batch:{id}")]), &json!("cancelled"))
        );
    }
    assert_suppressions(&app, &said).await;
    assert_activity(&app, &said).await;
    let refused = [
        ("once another", 400, ""),
        ("pause", 400, "status"),
        ("no from", 400, "from"),
        ("no subject", 400, "subject"),
        ("no content", 400, "content"),
        ("bad from", 400, "from"),
        ("bad to", 400, "personalizations.0.to.1"),
        ("one bad of two", 400, "personalizations.1.cc.0"),
        ("substitutions", 400, "personalizations.0.substitutions"),
        ("sections", 400, "sections"),
        ("groups", 400, "asm.groups_to_display"),
        ("bypass", 400, "mail_settings.bypass_list_management"),
        ("footer", 400, "mail_settings.footer"),
        ("spam check", 400, "mail_settings.spam_check"),
        ("open tag", 400, "tracking_settings.open_tracking.substitution_tag"),
        ("subscription", 400, "tracking_settings.subscription_tracking"),
        ("analytics", 400, "tracking_settings.ganalytics"),
        ("bad attachment", 400, "attachments.0.content"),
        ("no template", 400, "template_id"),
        ("no pool", 400, "ip_pool_name"),
        ("far", 400, "send_at"),
        ("put", 405, ""),
        ("no key", 401, ""),
        ("wrong key", 401, ""),
        ("reader", 403, ""),
        ("unsubscribes on", 400, "offset"),
        ("remove bounce again", 404, ""),
        ("remove all bounces", 400, "delete_all"),
        ("activity by another", 400, "query"),
        ("no message", 404, ""),
    ];
    assert_refused(&said, |_| "ResponseError", &refused);
    let wrong = said.error("wrong key");
    assert_eq!(wrong["message"], "The provided authorization grant is invalid, expired, or revoked");
    assert!(said.error("bad to")["errors"][0]["help"].is_null());
}

async fn assert_whole(app: &App, said: &Said) {
    let whole = message(app, "SendGrid whole").await;
    assert_eq!(whole["id"], ours(&said.data("whole")["id"]));
    assert_eq!(
        recipients(&whole),
        [("bcc", "dan@example.net"), ("cc", "cyd@example.net"), ("to", "ann@example.net"), ("to", "bob@example.net")]
    );
    assert_eq!(whole["tags"], json!(["receipts", "shop"]));
    assert_eq!(whole["metadata"], json!({"kind": "receipt", "order": "7"}));
    let bytes = raw(app, &whole).await;
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for line in
        ["From: Shop <shop@example.org>", "Reply-To: Help <help@example.org>", "X-Entity-Ref-ID: 7", "X-Order: 7"]
    {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(parsed.body_text(0).is_some_and(|text| text.trim_end() == "Hello"));
    assert!(parsed.body_html(0).is_some_and(|html| html.trim_end() == "<p>Hello <img src=\"cid:logo\"></p>"));
    assert!(parsed.parts.iter().any(|part| part.content_id() == Some("logo")));
    assert!(text.contains("text/calendar"), "{text}");
    let png = b"\x89PNG\r\n\x1a\n".to_vec();
    assert_eq!(files(&bytes), [("Grüße.txt".to_owned(), b"hello".to_vec()), ("logo.png".to_owned(), png)]);
    // Another personalization is another message, with what it says for itself and what all have.
    let second = message(app, "SendGrid second").await;
    assert_eq!(
        (recipients(&second), &second["metadata"]),
        (vec![("to", "eve@example.net")], &json!({"kind": "reminder"}))
    );
    let bytes = raw(app, &second).await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\r\nX-Entity-Ref-ID: 7\r\n") && !text.contains("X-Order"), "{text}");
    assert!(text.contains("From: second@example.org\r\n"), "{text}");
}

async fn assert_suppressions(app: &App, said: &Said) {
    let body = |call: &str| said.data(call)["body"].clone();
    let emails = |call: &str| -> Vec<String> {
        let body = body(call);
        let entries = body.as_array().unwrap_or_else(|| panic!("{call}: {body}")).iter();
        let mut emails: Vec<_> = entries.map(|entry| entry["email"].as_str().unwrap().to_owned()).collect();
        emails.sort();
        emails
    };
    assert_eq!(said.data("unsubscribe")["status"], 201);
    assert_eq!(body("unsubscribe"), json!({"recipient_emails": ["gone@example.net", "went@example.net"]}));
    assert_eq!(body("unsubscribed"), json!({"recipient_email": "gone@example.net"}));
    assert_eq!((body("not unsubscribed"), body("resubscribed")), (json!({}), json!({})));
    assert_eq!(emails("unsubscribes"), ["gone@example.net", "went@example.net"]);
    assert_eq!(message(app, "SendGrid unsubscribed").await["recipients"][0]["status"], "suppressed");
    assert_eq!(emails("bounces"), ["bounced@example.net", "second@example.net", "third@example.net"]);
    let bounce = &body("bounce")[0];
    assert!(bounce["created"].is_u64() && bounce["reason"].is_string() && bounce["status"].is_string(), "{bounce}");
    assert_eq!(emails("bounce"), ["bounced@example.net"]);
    assert_eq!(emails("spam reports"), ["angry@example.net"]);
    for call in ["unsubscribes before", "no bounce", "blocks", "invalid emails", "bounces left"] {
        assert_eq!(body(call), json!([]), "{call}");
    }
    for call in ["resubscribe", "remove bounce", "remove bounces"] {
        assert_eq!((&said.data(call)["status"], &said.data(call)["body"]), (&json!(204), &json!("")), "{call}");
    }
}

async fn assert_activity(app: &App, said: &Said) {
    let listed = |call: &str| said.data(call)["body"]["messages"].as_array().unwrap().clone();
    assert_eq!(listed("activity").len(), 10);
    let id = ours(&said.data("lone")["id"]);
    for call in ["activity of one", "activity by id"] {
        let rows = listed(call);
        assert_eq!(rows.len(), 1, "{call}");
        let row = &rows[0];
        assert_eq!((&row["from_email"], &row["to_email"]), (&json!("shop@example.org"), &json!("lone@example.net")));
        assert_eq!(
            (&row["subject"], &row["opens_count"], &row["clicks_count"]),
            (&json!("SendGrid lone"), &json!(0), &json!(0))
        );
        assert!(["processed", "delivered"].contains(&row["status"].as_str().unwrap()), "{row}");
    }
    let row = listed("activity by id").remove(0);
    assert_eq!((&said.data("message")["body"]["msg_id"], ours(&row["msg_id"])), (&row["msg_id"], id.clone()));
    app.settled(&id).await;
    let path = format!("/v3/messages/{}", row["msg_id"].as_str().unwrap());
    let told = app.get(&path).await.json();
    assert_eq!((&told["status"], &told["to_email"]), (&json!("delivered"), &json!("lone@example.net")));
    let events: Vec<_> = told["events"].as_array().unwrap().iter().map(|event| event["event_name"].clone()).collect();
    assert_eq!(events, ["processed", "delivered"], "{told}");
}

#[tokio::test]
async fn sendgrids_sdk_for_python_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    suppress(&app).await;
    // At the root, too.
    let said = run(&app, "sendgrid_sdk.py", &format!("http://{}", app.address)).await;
    let whole = message(&app, "Python whole").await;
    assert_eq!(whole["id"], ours(&said.data("whole")["id"]));
    assert_eq!(
        recipients(&whole),
        [("bcc", "dan@example.net"), ("cc", "cyd@example.net"), ("to", "ann@example.net"), ("to", "bob@example.net")]
    );
    // This SDK puts what is added last before what was there.
    assert_eq!(whole["tags"], json!(["shop", "receipts"]));
    assert_eq!(whole["metadata"], json!({"kind": "receipt", "order": "7"}));
    let bytes = raw(&app, &whole).await;
    assert_eq!(files(&bytes).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a.bin", "logo.png"]);
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    assert!(parsed.body_text(0).is_some_and(|text| text.trim_end() == "Hello"));
    let is_theirs = |body: &PartType<'_>| matches!(body, PartType::Html(html) if html.trim_end() == "<p>Hello</p>");
    assert!(parsed.parts.iter().any(|part| is_theirs(&part.body)));
    assert!(String::from_utf8_lossy(&bytes).contains("text/x-amp-html"));
    for subject in ["Python each", "Python for Bob", "Python replies", "Python group", "Python pool", "Python tracked"]
    {
        assert_eq!(with_subject(&app, subject).await.len(), 1, "{subject}");
    }
    assert_eq!(said.data("sandbox")["status"], 200);
    assert!(with_subject(&app, "Python sandbox").await.is_empty());
    assert_eq!(message(&app, "Welcome, Ann").await["template"], "welcome");
    assert_eq!(said.data("once again")["id"], said.data("once")["id"]);
    let id = said.data("batch")["body"]["batch_id"].as_str().unwrap().to_owned();
    assert_eq!(said.data("batch is there")["body"], json!({"batch_id": id}));
    assert_eq!(said.data("cancel")["status"], 201);
    for subject in ["Python later", "Python later by one"] {
        assert_eq!(message(&app, subject).await["recipients"][0]["status"], "cancelled", "{subject}");
    }
    assert_eq!(said.data("unsubscribed")["body"], json!({"recipient_email": "gone@example.net"}));
    assert_eq!(said.data("resubscribed")["body"], json!({}));
    assert_eq!(said.data("bounces")["body"].as_array().unwrap().len(), 3);
    assert_eq!(said.data("bounce")["body"][0]["email"], "bounced@example.net");
    assert_eq!(
        (&said.data("remove bounce")["status"], &said.data("remove bounces")["status"]),
        (&json!(204), &json!(204))
    );
    assert_eq!(said.data("blocks")["body"], json!([]));
    let lone = said.data("lone")["id"].clone();
    assert_eq!(said.data("activity by id")["body"]["messages"][0]["to_email"], "lone@example.net");
    assert_eq!(ours(&said.data("message")["body"]["msg_id"]), ours(&lone));
    let class = |status| match status {
        400 => "BadRequestsError",
        401 => "UnauthorizedError",
        403 => "ForbiddenError",
        404 => "NotFoundError",
        405 => "MethodNotAllowedError",
        _ => "HTTPError",
    };
    let refused = [
        ("once another", 400, ""),
        ("pause", 400, "status"),
        ("no from", 400, "from"),
        ("bad to", 400, "personalizations.0.to.0"),
        ("footer", 400, "mail_settings.footer"),
        ("bcc setting", 400, "mail_settings.bcc"),
        ("substitutions", 400, "personalizations.0.substitutions"),
        ("groups", 400, "asm.groups_to_display"),
        ("put", 405, ""),
        ("wrong key", 401, ""),
        ("reader", 403, ""),
        ("remove bounce again", 404, ""),
    ];
    assert_refused(&said, class, &refused);
}

#[tokio::test]
async fn docs_for_who_comes_from_sendgrid_are_true() {
    let app = service().await;
    publish_as_they_name_it(&app).await;
    let table = rows(include_str!("../../../docs/migrating/sendgrid.md"));
    assert_eq!(table.len(), 42);
    for (field, example, is_sent) in table {
        let mut value = serde_json::from_str::<Value>(&example).unwrap();
        // An instant in a guide passes.
        if field.ends_with("send_at") {
            value = json!(app.clock.now().unix_timestamp() + 3600);
        }
        let answer = app.post("/compat/sendgrid/v3/mail/send", &mail(&field, value)).await;
        let status = match (is_sent, field.as_str()) {
            (true, "mail_settings.sandbox_mode") => 200,
            (true, _) => 202,
            (false, _) => 400,
        };
        assert_eq!(answer.status, status, "{field} {example}: {}", answer.text());
        if !is_sent {
            let told = answer.json();
            let mut names = told["errors"].as_array().unwrap().iter().filter_map(|error| error["field"].as_str());
            assert!(names.any(|name| name.starts_with(&field)), "{field} {example}: {told}");
        }
    }
    // What stands in no row.
    let answer = app.post("/v3/mail/send", &mail("sned_at", json!(1))).await;
    assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (400, &json!("sned_at")), "{}", answer.text());
    // What cannot be read, and who has no key, is told in the same form.
    let answer = app.call_as(&app.live, "POST", "/v3/mail/send", &[], b"{".to_vec()).await;
    assert!(answer.status == 400 && answer.json()["errors"][0]["message"].is_string(), "{}", answer.text());
    let headers = [("content-type", "application/json")];
    let answer = app.client().request("POST", "/v3/mail/send", &headers, b"{}".to_vec()).await.unwrap();
    assert!(answer.status == 401 && answer.json()["errors"][0]["message"].is_string(), "{}", answer.text());
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(closed.post("/v3/mail/send", &mail("subject", json!("s"))).await.status, 404);
}

/// A mail that has everything that must be, and that field.
fn mail(field: &str, value: Value) -> Value {
    let mut mail = json!({
        "personalizations": [{"to": [{"email": "ann@example.net"}]}],
        "from": {"email": "shop@example.org"},
        "subject": "s",
        "content": [{"type": "text/plain", "value": "t"}],
    });
    if field == "template_id" || field.ends_with("dynamic_template_data") {
        mail.as_object_mut().unwrap().remove("content");
        mail["template_id"] = json!("d-welcome");
        mail["personalizations"][0]["dynamic_template_data"] = json!({"name": "Ann"});
    }
    let mut place = &mut mail;
    for name in field.split('.') {
        place = match name.parse::<usize>() {
            Ok(at) => &mut place[at],
            Err(_) => &mut place[name],
        };
    }
    *place = value;
    mail
}
