//! Mailgun's API, as its SDKs speak it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{MessageParser, MimeHeaders};
use mailwright::domain::clock::Clock;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc2822;

use super::{Said, message, of_kind, publish_template, raw, rows, run, service};
use crate::support::app::App;
use crate::support::http::Answer;
use crate::support::process::create_key;

const BOUNDARY: &str = "7MA4YWxkTrZu0gW";

/// The stored message that an SDK was told of.
async fn stored(app: &App, said: &Said, call: &str, subject: &str) -> Value {
    let (told, stored) = (said.data(call), message(app, subject).await);
    let id = |value: &Value| value.as_str().unwrap().trim_matches(['<', '>']).to_owned();
    assert_eq!(
        (id(&told["id"]), &told["message"]),
        (id(&stored["message_id"]), &json!("Queued. Thank you.")),
        "{call}"
    );
    assert!(told["id"].as_str().unwrap().starts_with('<'), "{told}");
    stored
}

/// Names and contents of the files that travel with a message.
fn files(raw: &str) -> Vec<(String, Vec<u8>)> {
    let parsed = MessageParser::default().parse(raw.as_bytes()).unwrap();
    let named =
        parsed.parts.iter().filter_map(|part| Some((part.attachment_name()?.to_owned(), part.contents().to_vec())));
    named.collect()
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap_or_else(|| panic!("{page}"))
}

fn addresses(page: &Value) -> Vec<&str> {
    items(page).iter().map(|item| item["address"].as_str().unwrap()).collect()
}

/// A call with Mailgun's authorization.
async fn call(app: &App, key: &str, (method, path): (&str, &str), media: &str, body: Vec<u8>) -> Answer {
    let authorization = format!("Basic {}", STANDARD.encode(format!("api:{key}")));
    let headers = [("authorization", authorization.as_str()), ("content-type", media)];
    app.client().request(method, path, &headers, body).await.unwrap()
}

/// The parts of a form, as SDKs write them: an object is a file, a list is one name several times.
fn form(fields: &[(String, Value)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for value in values {
            body.push_str(&format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\""));
            if let Some(filename) = value["filename"].as_str() {
                body.push_str(&format!("; filename=\"{filename}\"\r\nContent-Type: text/plain"));
            }
            let content = value["content"].as_str().or(value.as_str()).unwrap();
            body.push_str(&format!("\r\n\r\n{content}\r\n"));
        }
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body.into_bytes()
}

pub(super) async fn send(app: &App, key: &str, path: &str, fields: &[(String, Value)]) -> Answer {
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    call(app, key, ("POST", path), &media, form(fields)).await
}

/// The same under an idempotency key of ours.
pub(super) async fn send_once(app: &App, once: &str, path: &str, fields: &[(String, Value)]) -> Answer {
    let authorization = format!("Basic {}", STANDARD.encode(format!("api:{}", app.live)));
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers =
        [("authorization", authorization.as_str()), ("content-type", media.as_str()), ("idempotency-key", once)];
    app.client().request("POST", path, &headers, form(fields)).await.unwrap()
}

#[tokio::test]
async fn mailguns_sdk_for_node_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    let base = format!("http://{}/compat/mailgun", app.address);
    let said = run(&app, "mailgun.mjs", &base).await;
    // Sending: by the form of the `form-data` package, and by the one that is built in.
    for (call, subject) in [("send", "Mailgun whole"), ("send by form", "Mailgun form")] {
        let whole = stored(&app, &said, call, subject).await;
        assert_eq!(of_kind(&whole, "to"), ["ann@example.net", "bob@example.net"]);
        assert_eq!(of_kind(&whole, "cc"), ["cyd@example.net", "eve@example.net"]);
        assert_eq!(of_kind(&whole, "bcc"), ["dan@example.net"]);
        assert_eq!(
            (&whole["tags"], &whole["metadata"]),
            (&json!(["receipt", "spring"]), &json!({"kind": "receipt", "order": "{\"id\": 7}"}))
        );
        let raw = raw(&app, &whole).await;
        for words in ["X-Entity-Ref-ID: 7", "help@example.org", "text/x-amp-html", "<logo.png>"] {
            assert!(raw.contains(words), "{words} is missing: {raw}");
        }
        assert!(!raw.contains("dan@example.net"), "{raw}");
        let parsed = MessageParser::default().parse(raw.as_bytes()).unwrap();
        let html = "<p>Hello <img src=\"cid:logo.png\"></p>";
        assert_eq!(parsed.body_text(0).unwrap().trim_end(), "Hello");
        assert_eq!(parsed.body_html(0).unwrap().trim_end(), html);
        let files = files(&raw);
        for (name, content) in [("Grüße.txt", "hello"), ("a.csv", "1,2")] {
            let file = files.iter().find(|(named, _)| named == name).unwrap_or_else(|| panic!("{name}: {files:?}"));
            assert_eq!(file.1, content.as_bytes(), "{name}");
        }
    }
    assert_eq!(stored(&app, &said, "send by fetch", "Mailgun fetch").await["tags"], json!(["fetched"]));
    stored(&app, &said, "switches", "Mailgun switches").await;
    for (call, subject) in [("later", "Mailgun later"), ("later by number", "Mailgun later by number")] {
        assert!(stored(&app, &said, call, subject).await["send_at"].is_string(), "{call}");
    }
    for (call, subject) in [
        ("template", "Welcome, Ann"),
        ("template by header", "Welcome, Bob"),
        ("template by value", "Welcome, Cyd"),
        ("template with subject", "Mailgun templated"),
    ] {
        assert!(said.data(call)["id"].is_string());
        assert_eq!(message(&app, subject).await["template"], "welcome", "{call}");
    }
    // Each recipient of a batch gets a message of its own.
    assert_eq!(said.data("batch")["message"], "Queued. Thank you.");
    for (name, email, number) in [("Ann", "ann@example.net", "1"), ("Bob", "bob@example.net", "2")] {
        let own = message(&app, &format!("Batch for {name}")).await;
        assert_eq!((of_kind(&own, "to"), &own["metadata"]), (vec![email.to_owned()], &json!({"number": number})));
        let raw = raw(&app, &own).await;
        assert!(
            raw.contains(&format!("Your number is {number}.")) && raw.contains(&format!("X-Number: {number}")),
            "{raw}"
        );
        assert!(raw.contains(&format!("<p>Your number is {number}.</p>")), "{raw}");
    }
    let mime = stored(&app, &said, "mime", "Mailgun MIME").await;
    assert_eq!((of_kind(&mime, "to"), &mime["tags"]), (vec!["ann@example.net".to_owned()], &json!(["raw"])));
    assert_eq!(mime["metadata"], json!({"kind": "raw"}));
    let words = raw(&app, &mime).await;
    assert!(words.contains("To: team@example.net") && words.contains("X-Entity-Ref-ID: 8"), "{words}");
    stored(&app, &said, "mime as file", "Mailgun MIME file").await;
    // Refusals, by the status and by the words that name the parameter.
    for (call, status, words) in [
        ("no from", 400, "`from`"),
        ("no to", 400, "`to`"),
        ("no body", 400, "text"),
        ("bad to", 400, "`to"),
        ("bad cc", 400, "`cc"),
        ("many tags", 400, "`o:tag"),
        ("bad time", 400, "`o:deliverytime`"),
        ("bad tracking", 400, "`o:tracking`"),
        ("version", 400, "`t:version`"),
        ("template text", 400, "`t:text`"),
        ("unknown template", 400, "`template`"),
        ("bad variables", 400, "`t:variables`"),
        ("test mode", 400, "`o:testmode`"),
        ("no dkim", 400, "`o:dkim`"),
        ("not verified", 400, "`o:skip-verification`"),
        ("optimized", 400, "`o:deliverytime-optimize-period`"),
        ("zone", 400, "`o:time-zone-localize`"),
        ("archive", 400, "`o:archive-to`"),
        ("misspelt", 400, "`o:tags`"),
        ("bad batch", 400, "`recipient-variables`"),
        ("mime to nobody", 400, "`to`"),
        ("wrong key", 401, "Invalid private key"),
        ("reader", 403, "scope"),
        ("events too many", 400, "`limit`"),
        ("bad address", 400, "address"),
        ("bounce is gone", 404, "Address not found in bounces table"),
        ("complaint is gone", 404, "No spam complaints found for this address"),
        ("unsubscribe is gone", 404, "Address not found in unsubscribers table"),
        ("not a bounce", 404, "Address not found in bounces table"),
    ] {
        let error = said.error(call);
        assert_eq!((&error["class"], &error["status"]), (&json!("MailgunAPIError"), &json!(status)), "{call}: {error}");
        assert!(error["details"].as_str().unwrap().contains(words), "{call}: {error}");
    }
    for call in ["delete all", "allow", "allowed"] {
        let error = said.error(call);
        assert!(error["status"].as_u64().unwrap() < 500 && error["details"] != "", "{call}: {error}");
    }
    events_are_those_of_the_message(&said);
    suppressions_are_kept_apart(&app, &said).await;
}

fn events_are_those_of_the_message(said: &Said) {
    let id = said.data("send")["id"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
    for (call, event, count) in
        [("accepted", "accepted", 5), ("delivered", "delivered", 5), ("delivered to bob", "delivered", 1)]
    {
        let page = said.data(call);
        assert_eq!(items(&page).len(), count, "{call}: {page}");
        for item in items(&page) {
            assert_eq!(
                (&item["event"], &item["message"]["headers"]["message-id"]),
                (&json!(event), &json!(id)),
                "{item}"
            );
            assert!(
                item["timestamp"].is_f64() && item["id"].is_string() && item["recipient-domain"] == "example.net",
                "{item}"
            );
            assert_eq!(item["message"]["headers"]["subject"], "Mailgun whole");
            assert_eq!(
                (&item["tags"], &item["user-variables"]["kind"]),
                (&json!(["receipt", "spring"]), &json!("receipt"))
            );
        }
    }
    assert_eq!(items(&said.data("delivered to bob"))[0]["recipient"], "bob@example.net");
    assert!(!items(&said.data("batch events")).is_empty());
    // Pages: the SDK takes what stands behind the last slash of a link for the page.
    let ids = |call: &str| items(&said.data(call)).iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    let (first, second) = (ids("events"), ids("events on"));
    assert_eq!((first.len(), second.len(), ids("events back")), (2, 2, first.clone()));
    assert!(second.iter().all(|id| !first.contains(id)), "{first:?} {second:?}");
    let times: Vec<_> = ["events", "events on"].iter().flat_map(|call| items(&said.data(call)).clone()).collect();
    assert!(times.is_sorted_by_key(|item| item["timestamp"].as_f64().unwrap()), "{times:?}");
    assert_eq!((items(&said.data("events by time")).len(), items(&said.data("events none")).len()), (5, 0));
    assert_eq!(items(&said.data("events by reader")).len(), 1);
}

async fn suppressions_are_kept_apart(app: &App, said: &Said) {
    for (call, words) in [
        ("bounce", "added to the bounces table"),
        ("bounces", "2 addresses have been added to the bounces table"),
        ("complaint", "added to the complaints table"),
        ("unsubscribe", "Address has been added to the unsubscribes table"),
        ("unsubscribes", "2 addresses have been added to the unsubscribes table"),
        ("delete bounce", "Bounced address has been removed"),
        ("delete complaint", "Spam complaint has been removed"),
        ("delete unsubscribe", "Unsubscribe event has been removed"),
    ] {
        assert!(said.data(call)["message"].as_str().unwrap().contains(words), "{call}: {}", said.data(call));
    }
    for (call, address) in [
        ("get bounce", "gone@example.net"),
        ("get complaint", "angry@example.net"),
        ("get unsubscribe", "tired@example.net"),
    ] {
        let entry = said.data(call);
        // A time that JavaScript cannot read is null.
        assert!(entry["address"] == address && entry["created_at"].is_string(), "{entry}");
    }
    assert_eq!(said.data("get bounce")["code"], 550);
    assert_eq!(said.data("get unsubscribe")["tags"], json!(["*"]));
    for call in ["delete bounce", "delete complaint", "delete unsubscribe"] {
        assert!(said.data(call)["address"].as_str().unwrap().ends_with("@example.net"), "{call}");
    }
    let (page, on) = (said.data("list bounces"), said.data("list bounces on"));
    let mut all = [addresses(&page), addresses(&on)].concat();
    all.sort_unstable();
    assert_eq!((addresses(&page).len(), all), (2, vec!["a@example.net", "b@example.net", "gone@example.net"]));
    assert_eq!(addresses(&said.data("list bounces by term")), ["gone@example.net"]);
    assert_eq!(addresses(&said.data("list complaints")), ["angry@example.net"]);
    assert_eq!(items(&said.data("list unsubscribes")).len(), 3);
    assert_eq!(message(app, "Suppressed").await["recipients"][0]["status"], "suppressed");
    let failed = said.data("failed");
    let item = &items(&failed)[0];
    assert_eq!((&item["event"], &item["severity"]), (&json!("failed"), &json!("permanent")), "{item}");
    assert_eq!(
        (&item["reason"], &item["recipient"]),
        (&json!("suppress-bounce"), &json!("gone@example.net")),
        "{item}"
    );
}

#[tokio::test]
async fn mailguns_sdk_for_python_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    // At the root, too.
    let base = format!("http://{}", app.address);
    let said = run(&app, "mailgun_sdk.py", &base).await;
    let whole = stored(&app, &said, "send", "Python whole").await;
    assert_eq!(of_kind(&whole, "to"), ["ann@example.net", "bob@example.net"]);
    assert_eq!((of_kind(&whole, "cc").len(), of_kind(&whole, "bcc").len()), (1, 1));
    assert_eq!((&whole["tags"], &whole["metadata"]), (&json!(["receipt", "spring"]), &json!({"kind": "receipt"})));
    let files = files(&raw(&app, &whole).await);
    for (name, content) in [("Grüße.txt", &b"hello"[..]), ("a.bin", b"\x00\x01"), ("logo.png", b"PNG")] {
        let file = files.iter().find(|(named, _)| named == name).unwrap_or_else(|| panic!("{name}: {files:?}"));
        assert_eq!(file.1, content, "{name}");
    }
    // What `requests` writes for True, without files.
    let plain = stored(&app, &said, "send by form", "Python form").await;
    assert_eq!((&plain["tags"], &plain["metadata"]), (&json!(["receipt", "spring"]), &json!({"kind": "receipt"})));
    assert!(stored(&app, &said, "later", "Python later").await["send_at"].is_string());
    assert!(said.data("template")["id"].is_string());
    assert_eq!(message(&app, "Welcome, Ann").await["template"], "welcome");
    assert!(said.data("batch")["id"].is_string());
    assert_eq!(of_kind(&message(&app, "Python for Bob").await, "to"), ["bob@example.net"]);
    assert_eq!(stored(&app, &said, "mime", "Python MIME").await["tags"], json!(["raw"]));
    let built = stored(&app, &said, "built", "Python built").await;
    assert_eq!((of_kind(&built, "to").len(), &built["metadata"]), (2, &json!({"order": "{\"id\":7}"})));
    assert!(raw(&app, &built).await.contains("<logo>"));
    assert_eq!(stored(&app, &said, "async", "Python async").await["tags"], json!(["receipt", "spring"]));
    // The SDK raises nothing for what is refused, but in `stream`.
    for (call, class, status, words) in [
        ("no from", json!(null), 400, "`from`"),
        ("bad to", json!(null), 400, "`to"),
        ("test mode", json!(null), 400, "`o:testmode`"),
        ("wrong key", json!(null), 401, "Invalid private key"),
        ("reader", json!(null), 403, "scope"),
        ("stream with wrong key", json!("ApiError"), 401, "Invalid private key"),
        ("bounce is gone", json!(null), 404, "Address not found in bounces table"),
    ] {
        let error = said.error(call);
        assert_eq!((&error["class"], &error["status"]), (&class, &json!(status)), "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{call}: {error}");
    }
    for call in ["delete all", "allowed"] {
        assert!(said.error(call)["message"].is_string(), "{call}");
    }
    // Events, and all pages of them.
    assert_eq!(items(&said.data("delivered")).len(), 4);
    let streamed = said.data("stream");
    let mut ids: Vec<_> = streamed.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), streamed.as_array().unwrap().len()), (4, 4));
    assert_eq!(
        said.data("bounce"),
        json!({"message": "Address has been added to the bounces table", "address": "gone@example.net"})
    );
    assert_eq!(said.data("bounces"), json!({"message": "2 addresses have been added to the bounces table"}));
    assert!(said.data("bounce as JSON")["message"].is_string());
    let entry = said.data("get bounce");
    assert_eq!(
        (&entry["address"], &entry["code"], &entry["error"]),
        (&json!("gone@example.net"), &json!("550"), &json!("No such user"))
    );
    let paging = said.data("list bounces")["paging"].clone();
    for link in ["first", "next", "previous", "last"] {
        let link = paging[link].as_str().unwrap_or_else(|| panic!("{link}: {paging}"));
        assert!(link.starts_with(&format!("{base}/v3/example.org/bounces?")), "{link}");
    }
    assert_eq!(said.data("stream bounces").as_array().unwrap().len(), 4);
    assert_eq!(said.data("get unsubscribe")["tags"], json!(["*"]));
    for call in ["complaint", "unsubscribe", "delete bounce", "delete complaint", "delete unsubscribe"] {
        assert!(said.data(call)["address"].is_string(), "{call}");
    }
}

#[tokio::test]
async fn docs_for_who_comes_from_mailgun_are_true() {
    let app = service().await;
    publish_template(&app).await;
    let table = rows(include_str!("../../../docs/migrating/mailgun.md"));
    assert_eq!(table.len(), 47);
    for (field, example, is_sent) in &table {
        let (field, mut value) = (field.as_str(), serde_json::from_str::<Value>(example).unwrap());
        // An instant in a guide passes.
        let soon = app.clock.now() + Duration::from_hours(1);
        match value.as_str() {
            Some("1798135200") => value = soon.unix_timestamp().to_string().into(),
            Some(text) if text.ends_with("GMT") => {
                value = soon.format(&Rfc2822).unwrap().replace("+0000", "GMT").into();
            }
            _ => {}
        }
        let mut fields = vec![("from", json!("shop@example.org")), ("to", json!("ann@example.net"))];
        if field == "template" || field.starts_with("t:") || field == "h:X-Mailgun-Variables" {
            fields.push(("template", json!("welcome")));
            fields.push(("t:variables", json!("{\"name\": \"Ann\"}")));
        } else {
            fields.extend([("subject", json!("s")), ("text", json!("t"))]);
        }
        let stands_for = if field == "h:X-Mailgun-Variables" { "t:variables" } else { field };
        fields.retain(|(name, _)| *name != field && *name != stands_for);
        fields.push((field, value));
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let answer = send(&app, &app.live, "/compat/mailgun/v3/example.org/messages", &fields).await;
        assert_eq!(answer.status, if *is_sent { 200 } else { 400 }, "{field} {example}: {}", answer.text());
        assert!(*is_sent || answer.text().contains(&format!("`{field}")), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_mailgun_does_not_know_is_told_in_its_form() {
    let app = service().await;
    let path = "/v3/example.org/messages";
    let form = "application/x-www-form-urlencoded";
    let plain = "from=shop%40example.org&to=ann%40example.net&subject=s&text=t";
    let sent = call(&app, &app.live, ("POST", path), form, plain.into()).await;
    assert_eq!((sent.status, &sent.json()["message"]), (200, &json!("Queued. Thank you.")), "{}", sent.text());
    // What is empty was not given; switches are read in letters of either case.
    for more in ["&cc=&o:tag=&t:version=&h:Reply-To=", "&o%3Atracking=False&o%3Arequire-tls=True&o%3Adkim=YES"] {
        let answer = call(&app, &app.live, ("POST", path), form, format!("{plain}{more}").into_bytes()).await;
        assert_eq!(answer.status, 200, "{more}: {}", answer.text());
    }
    for (path, media, body) in [
        (path, form, format!("{plain}&sned=x")),
        (path, "multipart/form-data; boundary=b", "--b\r\nnothing".to_owned()),
        ("/v3/not%20a%20domain/messages", form, plain.to_owned()),
    ] {
        let answer = call(&app, &app.live, ("POST", path), media, body.into_bytes()).await;
        assert!((400..500).contains(&answer.status), "{path} {media}: {}", answer.text());
        assert!(answer.json()["message"].is_string(), "{path} {media}: {}", answer.text());
    }
    let headers = [("content-type", form)];
    let answer = app.client().request("POST", path, &headers, plain.into()).await.unwrap();
    assert_eq!((answer.status, &answer.json()["message"]), (401, &json!("Invalid private key")));
    let answer = call(&app, &app.live, ("PUT", path), form, plain.into()).await;
    assert!(answer.status == 405 && answer.json()["message"].is_string(), "{}", answer.text());
    // A key that may send as another domain only.
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let narrow = json!({"mode": "live", "scopes": ["send"], "from_domains": ["example.com"]});
    let made = app.call_as(&admin, "POST", "/v1/keys", &[], narrow.to_string().into_bytes()).await.json();
    let answer = call(&app, made["key"].as_str().unwrap(), ("POST", path), form, plain.into()).await;
    assert!(answer.status == 403 && answer.json()["message"].is_string(), "{}", answer.text());
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(call(&closed, &closed.live, ("POST", path), form, plain.into()).await.status, 404);
}
