//! DirectMail's API, as Alibaba Cloud's official SDKs speak it, and as programs do that sign for themselves.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::MessageParser;
use mailwright::ambient::SystemRng;
use mailwright::domain::clock::{Clock, Rng, rfc3339};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Said, message, publish_template, raw, rows, run, signing_key};
use crate::support::app::{App, Setup};
use crate::support::dkim::add_domain;
use crate::support::http::{Answer, encoded};
use crate::support::process::create_key;

const POOL: &str =
    "[sources.a]\naddress = \"127.0.0.11\"\nhello = \"a.mail.example.org\"\n[pools.codes]\nmembers = { a = 1 }\n";

/// A service that can put links into mail, knows a pool, and has mail whose fate is known: three delivered, one not.
async fn start() -> App {
    let setup = Setup::new().set("delivery.route", "sandbox").set("http.public_url", "https://mail.example.net");
    let app = setup.shaping(POOL).set("compat.dialects", "alicloud").start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    publish_template(&app).await;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let gone = json!({"email": "gone@example.net", "reason": "manual"});
    let kept = app.call_as(&admin, "POST", "/v1/suppressions", &[], gone.to_string().into_bytes()).await;
    assert!((200..300).contains(&kept.status), "{}", kept.text());
    for to in ["early@example.net", "early@example.net", "early@example.net", "gone@example.net"] {
        let early = json!({"from": "early@example.org", "to": to, "subject": "Early", "text": "Hello"});
        app.settled(&app.send(&early).await).await;
    }
    app
}

/// An id in either form: ours, or as a UUID.
fn bare(id: &Value) -> String {
    id.as_str().unwrap().trim_start_matches("msg_").replace('-', "")
}

/// All messages with that subject.
async fn messages(app: &App, subject: &str) -> Vec<Value> {
    let found = app.get("/v1/messages?limit=500").await.json();
    found["data"].as_array().unwrap().iter().filter(|row| row["subject"] == subject).cloned().collect()
}

/// The rows of a page of details.
fn details(page: &Value) -> Vec<Value> {
    page["data"]["mailDetail"].as_array().unwrap_or_else(|| panic!("no rows: {page}")).clone()
}

/// What both SDKs refuse alike: the call, the status, the code, and words of the message.
const REFUSED: [(&str, u16, &str, &str); 10] = [
    ("no sender", 400, "MissingParameter", "`AccountName`"),
    ("other sender", 400, "InvalidMailAddress.NotFound", "`AccountName`"),
    ("bad recipient", 400, "InvalidParameter", "`ToAddress"),
    ("bcc", 400, "InvalidParameter", "`BccAddress`"),
    ("domain auth", 400, "InvalidParameter", "`DomainAuth`"),
    ("attachment", 400, "InvalidParameter", "`Attachments"),
    ("wrong key", 404, "InvalidAccessKeyId.NotFound", ""),
    ("wrong secret", 400, "SignatureDoesNotMatch", ""),
    ("reader", 403, "Forbidden.RAM", "scope"),
    ("batch", 404, "InvalidAction.NotFound", "SingleSendMail"),
];

fn assert_refused(said: &Said, class: &str, (call, status, code, words): (&str, u16, &str, &str)) {
    let error = said.error(call);
    assert_eq!(
        (&error["class"], &error["status"], &error["code"]),
        (&json!(class), &json!(status), &json!(code)),
        "{call}: {error}"
    );
    let told = &error["data"];
    assert_eq!(told["Code"], code, "{call}: {error}");
    assert!(told["Message"].as_str().unwrap().contains(words), "{call}: {error}");
    Uuid::parse_str(told["RequestId"].as_str().unwrap()).unwrap();
    assert!(told["HostId"].is_string() && told["Recommend"].is_string(), "{call}: {error}");
}

#[tokio::test]
async fn alibaba_clouds_sdk_for_node_gets_what_it_knows() {
    let app = start().await;
    let said = run(&app, "alicloud.mjs", &format!("http://{}", app.address)).await;
    // Sending: all that it said is in the message.
    let whole = message(&app, "Alicloud whole").await;
    assert_eq!(bare(&said.data("send")["envId"]), bare(&whole["id"]));
    Uuid::parse_str(said.data("send")["requestId"].as_str().unwrap()).unwrap();
    assert_eq!((&whole["tags"], whole["recipients"].as_array().unwrap().len()), (&json!(["receipt"]), 1));
    assert_eq!(whole["recipients"][0]["email"], "ann@example.net");
    let octets = raw(&app, &whole).await;
    let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
    let (from, reply_to) = (letter.from().unwrap().first().unwrap(), letter.reply_to().unwrap().first().unwrap());
    assert_eq!((from.name(), from.address()), (Some("Läden & Co"), Some("shop@example.org")));
    assert_eq!((reply_to.name(), reply_to.address()), (Some("Help"), Some("help@example.org")));
    assert_eq!(letter.body_text(0).unwrap().trim_end(), "Grüße, 你好 + 100%");
    assert_eq!(
        letter.body_html(0).unwrap().trim_end(),
        "<p>Hello (1+1=2) ~ * 'you'! <a href=\"https://example.org/?a=1&b=2\">go</a></p>"
    );
    assert!(octets.contains("X-User-Order: 7\r\n") && octets.contains("X-User-Notify-Kind: receipt\r\n"), "{octets}");
    assert!(!octets.contains("List-Unsubscribe") && !octets.contains("/u/"), "{octets}");
    assert!(raw(&app, &message(&app, "Alicloud older (1+1) *~'ä").await).await.contains("Hello"));
    let unanswered = raw(&app, &message(&app, "Alicloud no reply address").await).await;
    assert!(!unanswered.contains("Reply-To"), "{unanswered}");
    // Links.
    let counted = raw(&app, &message(&app, "Alicloud clicks").await).await.replace("=\r\n", "");
    assert!(counted.contains("/c/"), "{counted}");
    let stoppable = raw(&app, &message(&app, "Alicloud unsubscribe").await).await;
    assert!(stoppable.contains("List-Unsubscribe: ") && stoppable.contains("List-Unsubscribe-Post: "), "{stoppable}");
    // Many recipients: each has a message of its own, and sees nobody else.
    for (call, subject, people) in [
        ("send many", "Alicloud many", &["ann@example.net", "bob@example.net", "cyd@example.net"][..]),
        ("unsubscribe many", "Alicloud unsubscribe many", &["ann@example.net", "bob@example.net"][..]),
    ] {
        let sent = messages(&app, subject).await;
        let ids: Vec<_> = sent.iter().map(|message| bare(&message["id"])).collect();
        assert!(ids.contains(&bare(&said.data(call)["envId"])), "{call}: {ids:?}");
        let mut to: Vec<_> = sent.iter().map(|message| message["recipients"][0]["email"].as_str().unwrap()).collect();
        to.sort_unstable();
        assert_eq!(to, people, "{call}");
        for one in &sent {
            assert_eq!(one["recipient_count"], 1, "{call}: {one}");
            let (octets, own) = (raw(&app, one).await, one["recipients"][0]["email"].as_str().unwrap());
            assert!(people.iter().all(|other| *other == own || !octets.contains(other)), "{call}: {octets}");
        }
    }
    // Templates: a subject of the request's own goes before.
    assert_eq!(message(&app, "Welcome, Ann").await["template"], "welcome");
    let own_subject = message(&app, "Not this").await;
    assert_eq!(own_subject["template"], "welcome");
    assert!(raw(&app, &own_subject).await.contains("Hello Bob"));
    // Status.
    let (page, on) = (said.data("page"), said.data("page on"));
    assert_eq!((details(&page).len(), details(&on).len()), (2, 1));
    assert!(page["nextStart"].as_str().is_some_and(|next| !next.is_empty()), "{page}");
    assert!(on["nextStart"].is_null() || on["nextStart"] == "", "{on}");
    let row = &details(&said.data("delivered"))[0];
    assert_eq!((&row["accountName"], &row["toAddress"]), (&json!("early@example.org"), &json!("early@example.net")));
    assert_eq!((&row["subject"], &row["status"]), (&json!("Early"), &json!(0)));
    assert!(row["message"].is_string() && row["errorClassification"].is_string(), "{row}");
    assert!(row["lastUpdateTime"].is_string(), "{row}");
    row["utcLastUpdateTime"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(details(&said.data("delivered")).len(), 3);
    let lost = details(&said.data("not delivered"));
    assert_eq!(lost.len(), 1);
    assert!(lost[0]["status"] == 2 || lost[0]["status"] == 4, "{}", lost[0]);
    assert_eq!(details(&said.data("status by reader")).len(), 3);
    assert!(details(&said.data("failed")).is_empty() && details(&said.data("before")).is_empty());
    // Suppressions: ids are numbers there.
    let listed = &said.data("suppressions");
    assert_eq!((&listed["totalCount"], &listed["pageNumber"], &listed["pageSize"]), (&json!(1), &json!(1), &json!(10)));
    let entry = &listed["data"]["userSuppressions"][0];
    assert_eq!((&entry["address"], &entry["type"]), (&json!("stop@example.net"), &json!("user")), "{listed}");
    let id = entry["suppressionId"].as_u64().unwrap().to_string();
    assert!(said.data("suppress")["suppressionId"] == id && entry["createTime"].is_i64(), "{listed}");
    said.data("unsuppress");
    assert_eq!(said.data("suppressions left")["totalCount"], 0);
    // Refusals, by the class and the code that the SDK's users catch.
    let more = [
        ("suppress badly", 400, "InvalidParameter", "`Address"),
        ("suppressions by bounce", 400, "InvalidParameter", "`StartBounceTime`"),
        ("no recipient", 400, "MissingParameter", "`ToAddress`"),
        ("no address type", 400, "MissingParameter", "`AddressType`"),
        ("no body", 400, "MissingParameter", "Body`"),
        ("too many", 400, "InvalidParameter", "`ToAddress"),
        ("bad headers", 400, "InvalidParameter", "`Headers`"),
        ("bad address type", 400, "InvalidParameter", "`AddressType`"),
        ("bad click trace", 400, "InvalidParameter", "`ClickTrace`"),
        ("account level", 400, "InvalidParameter", "`UnSubscribeFilterLevel`"),
        ("no template", 400, "InvalidTemplateId.NotFound", "`Template"),
        ("no pool", 400, "InvalidParameter", "`IpPoolId`"),
        ("older wrong secret", 400, "SignatureDoesNotMatch", ""),
        ("addresses", 404, "InvalidAction.NotFound", "QueryMailAddressByParam"),
        ("no start", 400, "MissingParameter", "`StartTime`"),
        ("bad time", 400, "InvalidParameter", "`StartTime`"),
        ("bad length", 400, "InvalidParameter", "`Length`"),
    ];
    for refusal in REFUSED.into_iter().chain(more) {
        assert_refused(&said, "ClientError", refusal);
    }
}

#[tokio::test]
async fn alibaba_clouds_sdk_for_python_gets_what_it_knows() {
    let app = start().await;
    let said = run(&app, "alicloud_sdk.py", &format!("http://{}", app.address)).await;
    // Its `True` and `False` are what `true` and `false` are to others.
    let whole = message(&app, "Python whole").await;
    assert_eq!(bare(&said.data("send")["EnvId"]), bare(&whole["id"]));
    assert_eq!(whole["tags"], json!(["receipt"]));
    let octets = raw(&app, &whole).await;
    let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
    assert_eq!(letter.from().unwrap().first().unwrap().name(), Some("Läden & Co"));
    assert_eq!(letter.reply_to().unwrap().first().unwrap().address(), Some("help@example.org"));
    assert_eq!(letter.body_text(0).unwrap().trim_end(), "Grüße, 你好 + 100%");
    assert_eq!(letter.body_html(0).unwrap().trim_end(), "<p>Hello (1+1=2) ~ * 'you'!</p>");
    assert!(octets.contains("X-User-Order: 7\r\n"), "{octets}");
    assert_eq!(messages(&app, "Python many").await.len(), 2);
    assert_eq!(message(&app, "Welcome, Ann").await["template"], "welcome");
    let page = said.data("status");
    assert_eq!((details(&page).len(), &details(&page)[0]["Status"]), (2, &json!(0)));
    assert!(page["NextStart"].is_string(), "{page}");
    for refusal in REFUSED {
        assert_refused(&said, "ClientException", refusal);
    }
}

#[tokio::test]
async fn a_program_that_signs_for_itself_is_understood_by_get_and_by_post_and_below() {
    let app = start().await;
    let said = run(&app, "alicloud_sdk.py", &format!("http://{}", app.address)).await;
    for (call, subject) in
        [("rpc get", "Python RPC GET"), ("rpc post", "Python RPC POST"), ("rpc below", "Python RPC below")]
    {
        let sent = message(&app, subject).await;
        assert_eq!(bare(&said.data(call)["EnvId"]), bare(&sent["id"]), "{call}");
        let octets = raw(&app, &sent).await;
        let letter = MessageParser::default().parse(octets.as_bytes()).unwrap();
        assert_eq!(letter.body_text(0).unwrap().trim_end(), "Hello (1+1) ~ * 'you'! Grüße", "{call}");
    }
    assert_eq!(details(&said.data("rpc status")).len(), 3);
    for (call, status, code, words) in [
        ("rpc no recipient", 400, "MissingParameter", "`ToAddress`"),
        ("rpc unknown", 400, "InvalidParameter", "`ToAdress`"),
        ("rpc wrong key", 404, "InvalidAccessKeyId.NotFound", ""),
        ("rpc wrong secret", 400, "SignatureDoesNotMatch", ""),
        ("rpc reader", 403, "Forbidden.RAM", "scope"),
        ("rpc late", 400, "InvalidTimeStamp.Expired", ""),
        ("rpc other action", 404, "InvalidAction.NotFound", "QueryDomainByParam"),
    ] {
        let error = said.error(call);
        assert_eq!((&error["status"], &error["Code"]), (&json!(status), &json!(code)), "{call}: {error}");
        assert!(error["Message"].as_str().unwrap().contains(words), "{call}: {error}");
    }
}

/// A form that is signed as SDKs did before ACS3.
pub(super) fn signed(app: &App, (key_id, secret): (&str, &str), fields: &[(&str, &str)]) -> String {
    let timestamp = format!("{}Z", &rfc3339(app.clock.now())[..19]);
    // Another one for each request, as it is said to be.
    let nonce = SystemRng.token().to_string();
    let common = [
        ("Format", "JSON"),
        ("Version", "2015-11-23"),
        ("AccessKeyId", key_id),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", nonce.as_str()),
        ("Timestamp", timestamp.as_str()),
    ];
    let mut pairs: Vec<_> = common.iter().chain(fields).map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort();
    let form = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{secret}&").as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, format!("POST&%2F&{}", encoded(&form)).as_bytes()));
    format!("{form}&Signature={}", encoded(&signature))
}

/// Posts such a form.
pub(super) async fn post(app: &App, key: (&str, &str), fields: &[(&str, &str)]) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = signed(app, key, fields).into_bytes();
    app.client().request("POST", "/compat/alicloud/", &headers, body).await.unwrap()
}

#[tokio::test]
async fn docs_for_who_comes_from_alibaba_cloud_are_true() {
    let app = start().await;
    let (key_id, secret) = signing_key(&app, "admin").await;
    let key = (key_id.as_str(), secret.as_str());
    let mail = [
        ("Action", "SingleSendMail"),
        ("AccountName", "shop@example.org"),
        ("AddressType", "1"),
        ("ReplyToAddress", "false"),
        ("ToAddress", "ann@example.net"),
        ("Subject", "s"),
        ("TextBody", "t"),
    ];
    let rows = rows(include_str!("../../../docs/migrating/alicloud.md"));
    assert_eq!(rows.len(), 35);
    for (field, example, is_sent) in &rows {
        // A template gives the text.
        let is_other = |name: &str| name != field && (field.as_str(), name) != ("Template", "TextBody");
        let mut fields: Vec<_> = mail.into_iter().filter(|(name, _)| is_other(name)).collect();
        // A level of filtering is one of a link.
        if field == "UnSubscribeFilterLevel" {
            fields.push(("UnSubscribeLinkType", "default"));
        }
        fields.push((field.as_str(), example.as_str()));
        let answer = post(&app, key, &fields).await;
        assert_eq!(answer.status, if *is_sent { 200 } else { 400 }, "{field} {example}: {}", answer.text());
        if !is_sent {
            let told = answer.json()["Message"].as_str().unwrap().to_owned();
            assert!(told.contains(&format!("`{}", field.split('.').next().unwrap())), "{field} {example}: {told}");
        }
    }
    // Who does not sign is told so in the same form.
    let unsigned =
        app.client().request("GET", "/compat/alicloud/?Action=SingleSendMail", &[], Vec::new()).await.unwrap();
    assert_eq!(unsigned.status, 400);
    for name in ["Code", "Message", "RequestId", "HostId", "Recommend"] {
        assert!(unsigned.json()[name].is_string(), "{name}: {}", unsigned.text());
    }
    // Who is not asked for is not there.
    let closed = App::start().await;
    assert_eq!(post(&closed, key, &mail).await.status, 404);
}
