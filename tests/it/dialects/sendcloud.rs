//! SendCloud's API v2, as its documentation and its SDKs for Python, Go and Java speak it.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{count, message, of_kind, publish_template, raw, rows, service};
use crate::support::app::App;
use crate::support::http::Answer;
use crate::support::process::create_key;

const BOUNDARY: &str = "7MA4YWxkTrZu0gW";
const SEND: &str = "/apiv2/mail/send";
const BY_TEMPLATE: &str = "/apiv2/mail/sendtemplate";
const FORM: &str = "application/x-www-form-urlencoded";

/// Posts a form, in parts if there is a file: an object is a file, a list is one name several times.
pub(super) async fn post(app: &App, path: &str, fields: &[(&str, Value)]) -> Answer {
    let listed = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let pairs: Vec<_> =
        fields.iter().flat_map(|(name, value)| listed(value).into_iter().map(move |value| (*name, value))).collect();
    let (media, body) = if pairs.iter().any(|(_, value)| value.is_object()) {
        (format!("multipart/form-data; boundary={BOUNDARY}"), parts(&pairs))
    } else {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(pairs.iter().map(|(name, value)| (name, value.as_str().unwrap())));
        (FORM.to_owned(), form.finish())
    };
    app.client().request("POST", path, &[("content-type", &media)], body.into_bytes()).await.unwrap()
}

/// The parts of a form. A name stands without quotes, as in the documentation's program for PHP, and a file's type is the one that
/// SDKs say.
fn parts(pairs: &[(&str, Value)]) -> String {
    let mut body = String::new();
    for (name, value) in pairs {
        body.push_str(&format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name={name}"));
        if let Some(filename) = value["filename"].as_str() {
            body.push_str(&format!("; filename=\"{filename}\"\r\nContent-Type: application/octet-stream"));
        }
        let content = value["content"].as_str().or(value.as_str()).unwrap();
        body.push_str(&format!("\r\n\r\n{content}\r\n"));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body
}

/// A whole message of that key, with these fields instead of its own; an empty one is not given.
fn mail(key: &str, own: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let whole = [
        ("apiUser", json!("shop_trigger")),
        ("apiKey", json!(key)),
        ("from", json!("shop@example.org")),
        ("to", json!("ann@example.net")),
        ("subject", json!("SendCloud")),
        ("html", json!("<p>Hello</p>")),
    ];
    let kept = whole.into_iter().filter(|(name, _)| own.iter().all(|(other, _)| other != name));
    kept.chain(own.iter().filter(|(_, value)| *value != "").cloned()).collect()
}

/// The ids that a success tells.
fn ids(answer: &Answer) -> Vec<String> {
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["result"], &told["statusCode"], &told["message"]),
        (200, &json!(true), &json!(200), &json!("请求成功")),
        "{told}"
    );
    let list = told["info"]["emailIdList"].as_array().unwrap_or_else(|| panic!("{told}"));
    list.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// That an id is of that message and that recipient: what stands between the message's and `$` is a place in the list.
fn assert_of(id: &str, stored: &Value, email: &str) {
    let (of_message, of_recipient) = id.split_once('$').unwrap_or_else(|| panic!("{id}"));
    let uuid = Uuid::parse_str(&of_message[..36]).unwrap();
    assert_eq!(format!("msg_{}", uuid.simple()), stored["id"], "{id}");
    assert!(of_message[36..].bytes().all(|byte| byte.is_ascii_digit()) && of_recipient == email, "{id}");
}

fn assert_refused(answer: &Answer, code: u16, words: &str) {
    let told = answer.json();
    assert_eq!((answer.status, &told["result"], &told["statusCode"]), (200, &json!(false), &json!(code)), "{told}");
    assert_eq!(told["info"], json!({}), "{told}");
    assert!(told["message"].as_str().unwrap().contains(words), "{words}: {told}");
}

#[tokio::test]
async fn all_that_a_form_says_is_in_the_message() {
    let app = service().await;
    let files = json!([{"filename": "Grüße.txt", "content": "hello"}, {"filename": "/tmp/b.csv", "content": "1,2"}]);
    let own = [
        ("from", json!("Shop <shop@example.org>")),
        ("fromName", json!("Läden & Co")),
        ("to", json!("ann@example.net;bob@example.net")),
        ("cc", json!("cyd@example.net; eve@example.net")),
        ("bcc", json!("dan@example.net")),
        ("replyTo", json!("help@example.org;Desk <desk@example.org>")),
        ("subject", json!("SendCloud whole")),
        ("html", json!("<p>你好 (1+1=2) 100%</p>")),
        ("plain", json!("你好 (1+1=2) 100%")),
        ("labelName", json!("receipt")),
        ("labelId", json!("7")),
        ("headers", json!("{\"X-Order\": \"7\"}")),
        ("attachments", files),
        // As Python writes it.
        ("respEmailId", json!("True")),
        ("useNotification", json!("False")),
        ("useAddressList", json!("false")),
        ("gzipCompress", json!("false")),
    ];
    let answer = post(&app, "/compat/sendcloud/apiv2/mail/send", &mail(&app.live, &own)).await;
    let whole = message(&app, "SendCloud whole").await;
    for (id, email) in ids(&answer).iter().zip(["ann@example.net", "bob@example.net"]) {
        assert_of(id, &whole, email);
    }
    assert_eq!(of_kind(&whole, "to"), ["ann@example.net", "bob@example.net"]);
    assert_eq!(of_kind(&whole, "cc"), ["cyd@example.net", "eve@example.net"]);
    assert_eq!(of_kind(&whole, "bcc"), ["dan@example.net"]);
    assert_eq!(whole["tags"], json!(["receipt", "label:7"]));
    let octets = raw(&app, &whole).await;
    assert!(octets.contains("X-Order: 7\r\n") && !octets.contains("dan@example.net"), "{octets}");
    let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
    let from = letter.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Läden & Co"), Some("shop@example.org")));
    let answer_to: Vec<_> = letter.reply_to().unwrap().iter().map(|one| one.address().unwrap()).collect();
    assert_eq!(answer_to, ["help@example.org", "desk@example.org"]);
    assert_eq!(letter.body_html(0).unwrap().trim_end(), "<p>你好 (1+1=2) 100%</p>");
    assert_eq!(letter.body_text(0).unwrap().trim_end(), "你好 (1+1=2) 100%");
    // Go's SDK names a file by its path.
    let files: Vec<_> = letter.attachments().map(|file| (file.attachment_name().unwrap(), file.contents())).collect();
    assert_eq!(files, [("Grüße.txt", &b"hello"[..]), ("b.csv", b"1,2")]);
    // A name in `from` is the sender's; ids are left out for who does not want them.
    let named =
        [("from", json!("爱发信支持<shop@example.org>")), ("fromName", json!("")), ("respEmailId", json!("false"))];
    let answer = post(&app, SEND, &mail(&app.live, &named)).await;
    assert_eq!((&answer.json()["result"], &answer.json()["info"]), (&json!(true), &json!({})), "{}", answer.text());
    let octets = raw(&app, &message(&app, "SendCloud").await).await;
    let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
    assert_eq!(letter.from().unwrap().first().unwrap().name(), Some("爱发信支持"));
}

#[tokio::test]
async fn several_recipients_have_one_message_and_see_each_other() {
    let app = service().await;
    let own = [("to", json!("ann@example.net;bob@example.net")), ("subject", json!("SendCloud shared"))];
    let told = ids(&post(&app, "/api/mail/send", &mail(&app.live, &own)).await);
    let shared = message(&app, "SendCloud shared").await;
    assert_eq!(of_kind(&shared, "to"), ["ann@example.net", "bob@example.net"]);
    assert_eq!((told.len(), count(&app).await), (2, 1));
    for (id, email) in told.iter().zip(["ann@example.net", "bob@example.net"]) {
        assert_of(id, &shared, email);
    }
}

#[tokio::test]
async fn xsmtpapi_gives_each_recipient_words_of_their_own() {
    let app = service().await;
    // Python's SDK writes what it was not told as null, and the recipients that are not looked at, too.
    let own = json!({"to": ["ann@example.net", "bob@example.net"],
        "sub": {"%name%": ["Ann", "Bob"], "%money%": [288, 497]}, "pubsub": null, "filters": null, "settings": null});
    let fields = [
        ("to", json!("recipient@example.net")),
        ("subject", json!("Bill for %name%")),
        ("html", json!("<p>%name%: %money% of 100%</p>")),
        ("plain", json!("%name%: %money%, %name%")),
        ("xsmtpapi", json!(own.to_string())),
    ];
    let told = ids(&post(&app, SEND, &mail(&app.live, &fields)).await);
    assert_eq!((told.len(), count(&app).await), (2, 2));
    for (id, name, money, email) in
        [(&told[0], "Ann", 288, "ann@example.net"), (&told[1], "Bob", 497, "bob@example.net")]
    {
        let stored = message(&app, &format!("Bill for {name}")).await;
        assert_of(id, &stored, email);
        assert_eq!(of_kind(&stored, "to"), [email]);
        let octets = raw(&app, &stored).await;
        let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
        assert_eq!(letter.body_html(0).unwrap().trim_end(), format!("<p>{name}: {money} of 100%</p>"));
        assert_eq!(letter.body_text(0).unwrap().trim_end(), format!("{name}: {money}, {name}"));
    }
}

#[tokio::test]
async fn a_template_is_filled_for_each_recipient() {
    let app = service().await;
    publish_template(&app).await;
    let own = json!({"to": ["ann@example.net", "bob@example.net"], "sub": {"%name%": ["Ann", "Bob"]}}).to_string();
    let fields = [
        ("to", json!("")),
        ("subject", json!("")),
        ("html", json!("")),
        ("templateInvokeName", json!("welcome")),
        ("xsmtpapi", json!(own)),
        ("labelName", json!("greeting")),
        ("attachments", json!({"filename": "a.txt", "content": "hello"})),
    ];
    let told = ids(&post(&app, "/api/mail/sendtemplate", &mail(&app.live, &fields)).await);
    for (id, name, email) in [(&told[0], "Ann", "ann@example.net"), (&told[1], "Bob", "bob@example.net")] {
        let stored = message(&app, &format!("Welcome, {name}")).await;
        assert_of(id, &stored, email);
        assert_eq!((&stored["template"], &stored["tags"]), (&json!("welcome"), &json!(["greeting"])));
        let octets = raw(&app, &stored).await;
        let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
        assert_eq!(letter.body_text(0).unwrap().trim_end(), format!("Hello {name}"));
        assert_eq!(letter.attachments().next().unwrap().contents(), b"hello");
    }
    // A subject of the request's own goes before the template's, and has its words replaced, too.
    let mut fields = fields.to_vec();
    fields[1] = ("subject", json!("Dear %name%"));
    ids(&post(&app, BY_TEMPLATE, &mail(&app.live, &fields)).await);
    assert_eq!(message(&app, "Dear Bob").await["template"], "welcome");
}

#[tokio::test]
async fn a_request_of_the_same_id_is_done_once() {
    let app = service().await;
    let own = [("subject", json!("SendCloud once")), ("sendRequestId", json!("order-7"))];
    let first = ids(&post(&app, SEND, &mail(&app.live, &own)).await);
    let again = ids(&post(&app, SEND, &mail(&app.live, &own)).await);
    assert_eq!((first, count(&app).await), (again, 1));
    let other = [("subject", json!("SendCloud another")), ("sendRequestId", json!("order-7"))];
    assert_refused(&post(&app, SEND, &mail(&app.live, &other)).await, 40000, "");
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn what_sendcloud_refuses_has_its_numbers() {
    let app = service().await;
    publish_template(&app).await;
    let many = vec!["ann@example.net"; 101];
    let list = many.join(";");
    for (code, words, own) in [
        (40801, "`from`", vec![("from", json!(""))]),
        (40802, "`from", vec![("from", json!("nobody"))]),
        (40805, "`to`", vec![("to", json!(""))]),
        (40806, "`to", vec![("to", json!("ann@example.net;nobody"))]),
        (40807, "`to", vec![("to", json!(list))]),
        (40808, "`subject`", vec![("subject", json!(""))]),
        (40809, "`subject`", vec![("subject", json!("a\r\nBcc: eve@example.net"))]),
        (40811, "`replyTo", vec![("replyTo", json!("nobody"))]),
        (40879, "`replyTo", vec![("replyTo", json!("a@example.org;b@example.org;c@example.org;d@example.org"))]),
        (40853, "`cc", vec![("cc", json!("nobody"))]),
        (40854, "`cc", vec![("cc", json!(list))]),
        (40856, "`bcc", vec![("bcc", json!("nobody"))]),
        (40857, "`bcc", vec![("bcc", json!(list))]),
        (40870, "`html`", vec![("html", json!(""))]),
        (40105, "`labelName`", vec![("labelName", json!("x".repeat(300)))]),
        (40869, "`headers", vec![("headers", json!("X-Order: 7"))]),
        (40869, "`headers", vec![("headers", json!("{\"From\": \"eve@example.net\"}"))]),
        (40859, "`respEmailId`", vec![("respEmailId", json!("maybe"))]),
        (40861, "`gzipCompress`", vec![("gzipCompress", json!("true"))]),
        (40820, "`useAddressList`", vec![("useAddressList", json!("true"))]),
        (40901, "`useNotification`", vec![("useNotification", json!("true"))]),
        (40901, "`contentSummary`", vec![("contentSummary", json!("Hello"))]),
        (40901, "`labelname`", vec![("labelname", json!("receipt"))]),
        (40813, "`xsmtpapi", vec![("xsmtpapi", json!("{"))]),
        (40813, "`xsmtpapi", vec![("xsmtpapi", json!("{\"to\": [\"a@example.net\"], \"sub\": {\"%a%\": []}}"))]),
        (40813, "`xsmtpapi", vec![("xsmtpapi", json!("{\"to\": [\"a@example.net\"], \"pubsub\": {\"%a%\": 1}}"))]),
        (40815, "`xsmtpapi", vec![("xsmtpapi", json!("{\"sub\": {\"%a%\": [1]}}"))]),
        (40827, "`xsmtpapi", vec![("xsmtpapi", json!(json!({"to": many}).to_string()))]),
        (40880, "`xsmtpapi", vec![("xsmtpapi", json!("{\"to\": [\"nobody\"]}"))]),
        (40005, "", vec![("apiKey", json!(""))]),
        (40005, "", vec![("apiKey", json!("mw_live_wrong"))]),
        (40005, "", vec![("apiUser", json!(""))]),
    ] {
        assert_refused(&post(&app, SEND, &mail(&app.live, &own)).await, code, words);
    }
    let own = |name: &str, values: &[&str]| {
        [
            ("to", json!("")),
            ("html", json!("")),
            ("templateInvokeName", json!(name)),
            ("xsmtpapi", json!(json!({"to": ["ann@example.net"], "sub": {"%name%": values}}).to_string())),
        ]
    };
    for (code, words, own) in [
        (40201, "`templateInvokeName`", own("", &["Ann"])),
        (40823, "`templateInvokeName", own("nobody", &["Ann"])),
        (40813, "`xsmtpapi", own("welcome", &[])),
    ] {
        assert_refused(&post(&app, BY_TEMPLATE, &mail(&app.live, &own)).await, code, words);
    }
    // Nothing of it was sent, and none of a list of which one is wrong.
    assert_eq!(count(&app).await, 0);
    let reader = create_key(&app.database.url, "shop", "live", "messages:read").await;
    assert_refused(&post(&app, SEND, &mail(&reader, &[])).await, 40005, "scope");
    // A key that may send as another domain only, and one whose quota is used up.
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let key_with = async |more: Value| {
        let mut wanted = json!({"mode": "live", "scopes": ["send"]});
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = app.call_as(&admin, "POST", "/v1/keys", &[], wanted.to_string().into_bytes()).await;
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let narrow = key_with(json!({"from_domains": ["example.com"]})).await;
    assert_refused(&post(&app, SEND, &mail(&narrow, &[])).await, 40802, "");
    let spent = key_with(json!({"limits": {"recipients_per_day": 1}})).await;
    ids(&post(&app, SEND, &mail(&spent, &[])).await);
    assert_refused(&post(&app, SEND, &mail(&spent, &[])).await, 40904, "");
}

#[tokio::test]
async fn docs_for_who_comes_from_sendcloud_are_true() {
    let app = service().await;
    publish_template(&app).await;
    let own = json!({"to": ["ann@example.net"], "sub": {"%name%": ["Ann"]}}).to_string();
    let table = rows(include_str!("../../../docs/migrating/sendcloud.md"));
    assert_eq!(table.len(), 36);
    for (field, example, is_sent) in &table {
        let (path, others) = if field == "templateInvokeName" {
            (BY_TEMPLATE, vec![("to", json!("")), ("html", json!("")), ("xsmtpapi", json!(own))])
        } else {
            (SEND, Vec::new())
        };
        let mut fields: Vec<(&str, Value)> = mail(&app.live, &others);
        fields.retain(|(name, _)| name != field);
        let file = serde_json::from_str(example).ok().filter(|_| field == "attachments");
        fields.push((field.as_str(), file.unwrap_or_else(|| json!(example))));
        let answer = post(&app, path, &fields).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["result"]), (200, &json!(is_sent)), "{field} {example}: {told}");
        assert!(*is_sent || answer.text().contains(&format!("`{field}")), "{field} {example}: {}", answer.text());
    }
    // What is no call is told in its form, too.
    for path in [SEND, BY_TEMPLATE, "/api/mail/send", "/compat/sendcloud/api/mail/sendtemplate"] {
        let asked = app.client().request("GET", &format!("{path}?apiUser=a"), &[], Vec::new()).await.unwrap();
        assert_eq!((asked.status, &asked.json()["result"]), (405, &json!(false)), "{path}: {}", asked.text());
        assert!(asked.json()["message"].is_string() && asked.json()["info"] == json!({}), "{}", asked.text());
    }
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(post(&closed, SEND, &mail(&closed.live, &[])).await.status, 404);
}

#[tokio::test]
async fn lists_and_states_are_told_in_its_words() {
    let app = service().await;
    let ask = async |path: &str, more: &[(&str, &str)]| {
        let all = [("apiUser", "shop"), ("apiKey", app.live.as_str())].into_iter().chain(more.iter().copied());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        // By GET and by POST.
        let got = app.client().request("GET", &format!("{path}?{query}"), &[], Vec::new()).await.unwrap();
        let posted = app.client().request("POST", path, &[("content-type", FORM)], query.into_bytes()).await.unwrap();
        assert_eq!((got.status, posted.status), (200, 200), "{}", got.text());
        (got.json(), posted.json())
    };
    let added = ask("/apiv2/unsubscribe/add", &[("email", "gone@example.net")]).await.0;
    assert_eq!((&added["statusCode"], &added["info"]["data"]["domain"]), (&json!(200), &json!("example.net")));
    app.post("/v1/suppressions", &json!({"email": "lost@example.net", "reason": "bounce", "evidence": "550 no"})).await;
    for (list, email, time) in
        [("unsubscribe", "gone@example.net", "unsubscribeTime"), ("bounce", "lost@example.net", "bounceTime")]
    {
        for more in
            [&[("days", "1")][..], &[("email", email)], &[("startDate", "2020-01-01"), ("endDate", "2090-01-01")]]
        {
            let (got, posted) = ask(&format!("/apiv2/{list}/list"), more).await;
            assert_eq!(got, posted);
            assert_eq!(
                (&got["info"]["count"], &got["info"]["dataList"][0]["email"]),
                (&json!(1), &json!(email)),
                "{got}"
            );
            assert_eq!(got["info"]["dataList"][0][time].as_str().unwrap().len(), 19, "{got}");
        }
        assert_eq!(ask(&format!("/apiv2/{list}/count"), &[("days", "2")]).await.0["info"]["count"], 1);
    }
    assert_eq!(ask("/apiv2/spamreported/list", &[("days", "1")]).await.0["info"]["dataList"], json!([]));
    for (path, more, code, words) in [
        ("/apiv2/bounce/list", &[("days", "1000")][..], 40006, "`days`"),
        ("/apiv2/bounce/list", &[("startDate", "yesterday")], 40007, "`startDate`"),
        ("/apiv2/bounce/list", &[("limit", "101")], 40004, "`limit`"),
        ("/apiv2/bounce/delete", &[("days", "1")], 40006, "`days`"),
        ("/apiv2/bounce/delete", &[], 40011, "`email`"),
        ("/apiv2/unsubscribe/add", &[("email", "nobody")], 40012, "`email`"),
        ("/apiv2/unsubscribe/list", &[("labelIdList", "7")], 40901, "`labelIdList`"),
    ] {
        let (refused, _) = ask(path, more).await;
        assert_eq!(refused["statusCode"], code, "{path} {more:?}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
    }
    let removed = ask("/apiv2/bounce/delete", &[("email", "lost@example.net")]).await;
    assert_eq!((&removed.0["info"]["count"], &removed.1["info"]["count"]), (&json!(1), &json!(0)));
    // What became of mail.
    let mail = [
        ("apiUser", json!("shop")),
        ("apiKey", json!(app.live)),
        ("from", json!("shop@example.org")),
        ("to", json!("ann@example.net;gone@example.net")),
        ("subject", json!("s")),
        ("html", json!("t")),
        ("labelId", json!("7")),
    ];
    let sent = post(&app, "/apiv2/mail/send", &mail).await.json();
    let ids: Vec<_> =
        sent["info"]["emailIdList"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    app.settled(&format!("msg_{}", ids[0].split('$').next().unwrap().replace('-', ""))).await;
    for (more, wanted) in [
        (vec![("emailIds", ids[0].as_str()), ("days", "1")], vec!["投递成功"]),
        (vec![("email", "gone@example.net"), ("days", "1")], vec!["投递失败"]),
        (vec![("labelId", "7"), ("days", "1")], vec!["投递成功", "投递失败"]),
        (vec![("labelId", "8"), ("days", "1")], vec![]),
    ] {
        let told = ask("/apiv2/data/emailStatus", &more).await.0;
        let states: Vec<_> =
            told["info"]["voList"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
        assert_eq!((states, &told["info"]["voListSize"]), (wanted.clone(), &json!(wanted.len())), "{more:?}: {told}");
    }
    // A key that may not.
    let reader = create_key(&app.database.url, "shop", "live", "messages:read").await;
    let path = format!("/apiv2/bounce/list?apiUser=a&apiKey={reader}&days=1");
    let refused = app.client().request("GET", &path, &[], Vec::new()).await.unwrap();
    assert_eq!((refused.status, &refused.json()["statusCode"]), (200, &json!(40005)), "{}", refused.text());
}
