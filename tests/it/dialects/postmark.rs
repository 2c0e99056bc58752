//! Postmark's words: its SDKs for Node and Python, and the guide.

use serde_json::{Value, json};

use super::{message, publish_template, rows, run, service};
use crate::support::app::App;
use crate::support::http::Answer;
use crate::support::process::create_key;

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A request in Postmark's form, with that server token.
async fn call(app: &App, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let headers = [("x-postmark-server-token", token), ("content-type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    app.client().request(method, path, &headers, body).await.unwrap()
}

fn id_of(answer: &Value) -> String {
    format!("msg_{}", answer["MessageID"].as_str().unwrap().replace('-', ""))
}

/// The recipients of a message as we store it: address and kind.
fn recipients(message: &Value) -> Vec<(&str, &str)> {
    let list = message["recipients"].as_array().unwrap();
    let mut list: Vec<_> =
        list.iter().map(|to| (to["email"].as_str().unwrap(), to["kind"].as_str().unwrap())).collect();
    list.sort_unstable();
    list
}

fn codes(answers: &Value) -> Vec<u64> {
    answers.as_array().unwrap().iter().map(|answer| answer["ErrorCode"].as_u64().unwrap()).collect()
}

fn of_each<'v>(list: &'v Value, name: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|item| item[name].as_str().unwrap()).collect()
}

/// What an SDK said of a whole email stands in the store.
async fn assert_whole(app: &App, subject: &str, sent: &Value) {
    let whole = message(app, subject).await;
    assert_eq!(whole["id"], id_of(sent));
    assert_eq!((&whole["tags"], &whole["metadata"]), (&json!(["receipt"]), &json!({"order": "7"})));
    let wanted =
        [("ann@example.net", "to"), ("bob@example.net", "to"), ("cyd@example.net", "cc"), ("dan@example.net", "bcc")];
    assert_eq!(recipients(&whole), wanted);
    let raw = app.get(&format!("/v1/messages/{}/raw", whole["id"].as_str().unwrap())).await.text();
    for words in [
        "From: Shop <shop@example.org>",
        "Reply-To: help@example.org",
        "X-Entity-Ref-ID: 7",
        "text/plain",
        "text/html",
        "image/png",
        "<logo>",
        "aGVsbG8=",
        "iVBORw0KGgo=",
    ] {
        assert!(raw.contains(words), "{words}: {raw}");
    }
}

#[tokio::test]
async fn postmarks_sdk_for_node_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    let base = format!("http://{}/compat/postmark", app.address);
    let said = run(&app, "postmark.mjs", &base).await;
    // Sending: the same message as by our own words.
    let sent = said.data("send");
    assert_eq!((&sent["ErrorCode"], &sent["Message"]), (&json!(0), &json!("OK")));
    assert_eq!((&sent["Cc"], &sent["Bcc"]), (&json!("cyd@example.net"), &json!("dan@example.net")));
    assert!(sent["SubmittedAt"].is_string() && sent["To"].as_str().unwrap().contains("bob@example.net"), "{sent}");
    assert_whole(&app, "Postmark whole", &sent).await;
    for (call, subject) in [("class", "Postmark class"), ("nulls", "Postmark nulls"), ("empty", "Postmark empty")] {
        let stored = message(&app, subject).await;
        assert_eq!(stored["id"], id_of(&said.data(call)));
        assert_eq!((recipients(&stored), &stored["tags"]), (vec![("ann@example.net", "to")], &json!([])), "{call}");
    }
    let mut tags = of_texts(&message(&app, "Postmark stream").await["tags"]);
    tags.sort();
    assert_eq!(tags, ["news", "stream:broadcast"]);
    // Opens are an image, clicks are links that lead by here.
    for (name, has_image) in [("tracked", true), ("clicks", false)] {
        let path = format!("/messages/outbound/{}/details", said.data(name)["MessageID"].as_str().unwrap());
        let html =
            call(&app, &app.live, "GET", &path, Value::Null).await.json()["HtmlBody"].as_str().unwrap().to_owned();
        assert!(html.contains("/c/") && !html.contains("\"https://shop.example.org/7"), "{name}: {html}");
        assert_eq!(html.contains("<img"), has_image, "{name}: {html}");
    }
    // Batches: an answer for each, in order, and those that are sound are sent.
    let batch = said.data("batch");
    assert_eq!(codes(&batch), [0, 300, 0]);
    assert_eq!(message(&app, "Batch three").await["id"], id_of(&batch[2]));
    // The SDK for Python reads these of a failure, too.
    assert_eq!((&batch[1]["To"], &batch[1]["MessageID"]), (&json!("nobody"), &json!(NOBODY)));
    assert!(batch[1]["SubmittedAt"].is_string() && batch[1]["Message"].as_str().unwrap().contains("`To"), "{batch}");
    // Templates.
    let welcome = message(&app, "Welcome, Ann").await;
    assert_eq!((&welcome["id"], &welcome["template"]), (&json!(id_of(&said.data("template"))), &json!("welcome")));
    assert_eq!(welcome["tags"], json!(["hello"]));
    assert_eq!(message(&app, "Welcome, Bob").await["id"], id_of(&said.data("template class")));
    let templates = said.data("templates");
    assert_eq!(codes(&templates), [0, 1101]);
    assert_eq!(message(&app, "Welcome, Cyd").await["id"], id_of(&templates[0]));
}

fn of_texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn postmarks_sdk_for_node_reads_back_what_was_sent() {
    let app = service().await;
    publish_template(&app).await;
    let said = run(&app, "postmark.mjs", &format!("http://{}", app.address)).await;
    let details = said.data("details");
    assert_eq!(
        (&details["MessageID"], &details["Subject"]),
        (&said.data("send")["MessageID"], &json!("Postmark whole"))
    );
    assert_eq!((&details["Tag"], &details["Metadata"]), (&json!("receipt"), &json!({"order": "7"})));
    assert_eq!((&details["MessageStream"], &details["TrackLinks"]), (&json!("outbound"), &json!("None")));
    assert_eq!(of_each(&details["To"], "Email"), ["ann@example.net", "bob@example.net"]);
    assert_eq!(
        (of_each(&details["Cc"], "Email"), of_each(&details["Bcc"], "Email")),
        (vec!["cyd@example.net"], vec!["dan@example.net"])
    );
    assert_eq!(details["Recipients"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&details["TextBody"], &details["HtmlBody"]),
        (&json!("Hello"), &json!("<p>Hello <img src=\"cid:logo\"></p>"))
    );
    let mut files = of_texts(&details["Attachments"]);
    files.sort();
    assert_eq!(files, ["Grüße.txt", "logo.png"]);
    assert_eq!((&details["Sandboxed"], &details["TrackOpens"]), (&json!(false), &json!(false)));
    assert_eq!(details["Body"], said.data("dump")["Body"]);
    assert!(details["Body"].as_str().unwrap().contains("Subject: Postmark whole"));
    // Lists: names of parameters are written in either case.
    let (list, page) = (said.data("list"), said.data("page"));
    assert_eq!(list["TotalCount"].as_u64().unwrap(), list["Messages"].as_array().unwrap().len() as u64);
    assert_eq!((&page["TotalCount"], page["Messages"].as_array().unwrap().len()), (&list["TotalCount"], 2));
    assert_eq!(page["Messages"][0]["MessageID"], list["Messages"][1]["MessageID"]);
    assert_eq!(of_each(&said.data("by tag")["Messages"], "Subject"), ["Postmark whole"]);
    assert_eq!(of_each(&said.data("by recipient")["Messages"], "Subject"), ["Welcome, Bob", "Postmark whole"]);
    assert_eq!(said.data("by time"), json!({"TotalCount": 0, "Messages": []}));
    let of_status = said.data("by status");
    assert!(of_status["Messages"].as_array().unwrap().iter().all(|one| one["Status"] == "Sent"), "{of_status}");
    // When it has arrived.
    let settled = app.settled(&id_of(&said.data("send"))).await;
    let path = format!("/messages/outbound/{}/details", said.data("send")["MessageID"].as_str().unwrap());
    let details = call(&app, &app.live, "GET", &path, Value::Null).await.json();
    assert_eq!(details["Status"], "Sent");
    let events = details["MessageEvents"].as_array().unwrap();
    assert_eq!(events.len(), settled["recipients"].as_array().unwrap().len(), "{details}");
    for event in events {
        assert_eq!(event["Type"], "Delivered", "{event}");
        assert!(event["ReceivedAt"].is_string() && event["Details"]["DeliveryMessage"].is_string(), "{event}");
    }
}

#[tokio::test]
async fn postmarks_sdk_for_node_raises_the_classes_that_its_users_catch() {
    let app = service().await;
    publish_template(&app).await;
    let said = run(&app, "postmark.mjs", &format!("http://{}", app.address)).await;
    for (call, class, status, code, words) in [
        ("no to", "InvalidEmailRequestError", 422, 300, "`To`"),
        ("bad to", "InvalidEmailRequestError", 422, 300, "`To"),
        ("no body", "InvalidEmailRequestError", 422, 300, "Body`"),
        ("tracked many", "InvalidEmailRequestError", 422, 300, "`Track"),
        ("text only", "InvalidEmailRequestError", 422, 300, "`TrackLinks`"),
        ("unknown", "InvalidEmailRequestError", 422, 300, "`Sbuject`"),
        ("bad attachment", "InvalidEmailRequestError", 422, 300, "`Attachments[0].Content`"),
        ("template number", "InvalidEmailRequestError", 422, 300, "`TemplateId`"),
        ("inline css", "InvalidEmailRequestError", 422, 300, "`InlineCss`"),
        ("too many", "InvalidEmailRequestError", 422, 300, "`count`"),
        ("too many in a batch", "ApiInputError", 422, 410, "500"),
        ("template nowhere", "ApiInputError", 422, 1101, "emplate"),
        ("no details", "ApiInputError", 422, 701, ""),
        ("wrong key", "InvalidAPIKeyError", 401, 10, "API key"),
        ("reader", "InvalidAPIKeyError", 401, 10, "scope"),
        ("to suppressed", "InactiveRecipientsError", 422, 406, "Found inactive addresses: "),
    ] {
        let error = said.error(call);
        assert_eq!(
            (&error["class"], &error["status"], &error["code"]),
            (&json!(class), &json!(status), &json!(code)),
            "{call}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains(words), "{call}: {error}");
        assert_eq!(error["known"], true, "{call}: {error}");
    }
    // What is not here says where it is.
    for call in ["bulk", "bounce counts", "templates of postmark", "server", "stats", "streams", "webhooks"] {
        let error = said.error(call);
        assert_eq!((&error["class"], &error["status"]), (&json!("PostmarkError"), &json!(404)), "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains("/v1/"), "{call}: {error}");
    }
    // Suppressions, and the addresses that the SDK reads out of the words.
    let statuses = |call: &str| {
        let list = said.data(call)["Suppressions"].clone();
        of_each(&list, "Status").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(statuses("suppress"), ["Suppressed", "Suppressed", "Failed"]);
    let list = said.data("suppressions")["Suppressions"].clone();
    let mut emails = of_each(&list, "EmailAddress");
    emails.sort_unstable();
    assert_eq!(emails, ["away@example.net", "gone@example.net"]);
    assert_eq!((&list[0]["SuppressionReason"], &list[0]["Origin"]), (&json!("ManualSuppression"), &json!("Customer")));
    assert!(list[0]["CreatedAt"].is_string(), "{list}");
    assert_eq!(of_each(&said.data("suppression")["Suppressions"], "EmailAddress"), ["gone@example.net"]);
    assert_eq!(said.data("complaints"), json!({"Suppressions": []}));
    let mut inactive = of_texts(&said.error("to suppressed")["recipients"]);
    inactive.sort();
    assert_eq!(inactive, ["away@example.net", "gone@example.net"]);
    assert_eq!(said.data("parsed"), json!(["gone@example.net"]));
    let partly = message(&app, "Partly suppressed").await;
    assert_eq!(partly["id"], id_of(&said.data("partly suppressed")));
    let gone = partly["recipients"].as_array().unwrap().iter().find(|to| to["email"] == "gone@example.net").unwrap();
    assert_eq!(gone["status"], "suppressed");
    assert_eq!(codes(&said.data("batch suppressed")), [406, 0]);
    assert_eq!(statuses("unsuppress"), ["Deleted", "Deleted"]);
    assert_eq!(said.data("suppressions left"), json!({"Suppressions": []}));
}

#[tokio::test]
async fn postmarks_sdk_for_python_gets_what_it_knows() {
    let app = service().await;
    publish_template(&app).await;
    // At the root, too.
    let said = run(&app, "postmark_sdk.py", &format!("http://{}", app.address)).await;
    assert_whole(&app, "Python whole", &said.data("send")).await;
    assert_eq!(message(&app, "Python class").await["id"], id_of(&said.data("class")));
    assert_eq!(message(&app, "").await["id"], id_of(&said.data("no subject")));
    assert_eq!(message(&app, "Python tracked").await["id"], id_of(&said.data("tracked")));
    assert_eq!(codes(&said.data("batch")), [0, 300, 0]);
    assert_eq!(message(&app, "Welcome, Ann").await["id"], id_of(&said.data("template")));
    assert_eq!(codes(&said.data("templates")), [0, 1101]);
    let get = said.data("get");
    assert_eq!((&get["Subject"], &get["HtmlBody"]), (&json!("Python whole"), &json!("<p>Hello</p>")));
    assert_eq!((&get["Tag"], &get["Metadata"]), (&json!("receipt"), &json!({"order": "7"})));
    assert!(said.data("dump")["Body"].as_str().unwrap().contains("Subject: Python whole"));
    let list = said.data("list");
    assert_eq!(list["total"].as_u64().unwrap(), list["items"].as_array().unwrap().len() as u64);
    // By pages of two, to the end, each once.
    let ids = |items: &Value| of_each(items, "MessageID").into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(ids(&said.data("stream")), ids(&list["items"]));
    for call in ["by tag", "by metadata"] {
        let found = said.data(call);
        assert!(
            of_each(&found["items"], "Subject").iter().all(|subject| *subject == "Python whole"),
            "{call}: {found}"
        );
    }
    assert_eq!(said.data("by tag")["total"], 1);
    assert_eq!(said.data("by time"), json!({"total": 0, "items": []}));
    for (call, class, status, code) in [
        ("get nobody", "ValidationException", 422, 701),
        ("bad to", "ValidationException", 422, 300),
        ("text only", "ValidationException", 422, 300),
        ("template number", "ValidationException", 422, 300),
        ("template nowhere", "ValidationException", 422, 1101),
        ("wrong key", "InvalidAPIKeyException", 401, 10),
        ("reader", "InvalidAPIKeyException", 401, 10),
        ("to suppressed", "InactiveRecipientException", 422, 406),
    ] {
        let error = said.error(call);
        assert_eq!(
            (&error["class"], &error["status"], &error["code"]),
            (&json!(class), &json!(status), &json!(code)),
            "{call}: {error}"
        );
    }
    let error = said.error("bounce counts");
    assert_eq!((&error["class"], &error["status"]), (&json!("PostmarkAPIException"), &json!(404)), "{error}");
    let mut inactive = of_texts(&said.error("to suppressed")["recipients"]);
    inactive.sort();
    assert_eq!(inactive, ["away@example.net", "gone@example.net"]);
    assert_eq!(of_each(&said.data("suppress"), "Status"), ["Suppressed", "Suppressed"]);
    assert_eq!(said.data("suppressions").as_array().unwrap().len(), 2);
    assert_eq!(of_each(&said.data("suppression"), "EmailAddress"), ["gone@example.net"]);
    assert!(said.data("partly suppressed")["Message"].as_str().unwrap().contains("gone@example.net"));
    assert_eq!(codes(&said.data("batch suppressed")), [406, 0]);
    assert_eq!(of_each(&said.data("unsuppress"), "Status"), ["Deleted", "Deleted"]);
    assert_eq!(said.data("suppressions left"), json!([]));
}

#[tokio::test]
async fn docs_for_who_comes_from_postmark_are_true() {
    let app = service().await;
    publish_template(&app).await;
    let table = rows(include_str!("../../../docs/migrating/postmark.md"));
    assert_eq!(table.len(), 25);
    for (field, example, is_sent) in table {
        let value = serde_json::from_str::<Value>(&example).unwrap();
        let mut email = json!({"From": "shop@example.org", "To": "ann@example.net"});
        let is_of_templates = field.starts_with("Template") || field == "InlineCss";
        let more = if is_of_templates {
            json!({"TemplateAlias": "welcome", "TemplateModel": {"name": "Bob"}})
        } else {
            json!({"Subject": "s", "TextBody": "t"})
        };
        email.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        if field == "TemplateId" {
            email.as_object_mut().unwrap().remove("TemplateAlias");
        }
        email[&field] = value;
        let path = if is_of_templates { "/email/withTemplate" } else { "/email" };
        let answer = call(&app, &app.live, "POST", &format!("/compat/postmark{path}"), email).await;
        let wanted = if is_sent { (200, json!(0)) } else { (422, json!(300)) };
        assert_eq!((answer.status, answer.json()["ErrorCode"].clone()), wanted, "{field} {example}: {}", answer.text());
        assert!(is_sent || answer.text().contains(&format!("`{field}")), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_postmark_refuses_by_a_code_of_its_own_has_that_code() {
    let app = service().await;
    let email = json!({"From": "shop@example.org", "To": "ann@example.net", "Subject": "s", "TextBody": "t"});
    // A key that may send as another domain only.
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let narrow = json!({"name": "narrow", "mode": "live", "scopes": ["send"], "from_domains": ["example.com"]});
    let made = app.call_as(&admin, "POST", "/v1/keys", &[], narrow.to_string().into_bytes()).await.json();
    let refused = call(&app, made["key"].as_str().unwrap(), "POST", "/email", email.clone()).await;
    assert_eq!((refused.status, &refused.json()["ErrorCode"]), (422, &json!(400)), "{}", refused.text());
    let headers = [("x-postmark-server-token", app.live.as_str()), ("content-type", "application/json")];
    let broken = app.client().request("POST", "/email", &headers, b"{".to_vec()).await.unwrap();
    assert_eq!((broken.status, &broken.json()["ErrorCode"]), (422, &json!(402)), "{}", broken.text());
    let headers = [("x-postmark-server-token", app.live.as_str()), ("content-type", "text/plain")];
    let typed = app.client().request("POST", "/email", &headers, email.to_string().into_bytes()).await.unwrap();
    assert_eq!((typed.status, &typed.json()["ErrorCode"]), (422, &json!(409)), "{}", typed.text());
    let headers = [("content-type", "application/json")];
    let nameless = app.client().request("POST", "/email", &headers, email.to_string().into_bytes()).await.unwrap();
    assert_eq!((nameless.status, &nameless.json()["ErrorCode"]), (401, &json!(10)), "{}", nameless.text());
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(call(&closed, &closed.live, "POST", "/email", email).await.status, 404);
}
