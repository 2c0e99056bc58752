//! Amazon SES (v2) as AWS's own SDKs speak it, and what becomes of their words here.

use aws_lc_rs::{digest, hmac};
use mail_parser::{Message, MessageParser, MimeHeaders};
use mailwright::domain::clock::Clock;
use serde_json::{Value, json};
use time::macros::format_description;

use super::{message, publish_template, rows, run, signing_key};
use crate::support::app::{App, Setup};
use crate::support::dkim::add_domain;
use crate::support::http::Answer;

pub(super) const SEND: &str = "/v2/email/outbound-emails";
const SEND_BULK: &str = "/v2/email/outbound-bulk-emails";

/// A service that speaks as SES does, keeps its mail in the inbox, and may put links into it.
async fn service() -> App {
    let setup = Setup::new().set("delivery.route", "sandbox").set("http.public_url", "https://mail.example.net");
    let app = setup.set("compat.dialects", "ses").start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    publish_template(&app).await;
    app
}

/// Whoever signs requests (Signature Version 4), written from AWS's description and not from the code that verifies it.
pub(super) struct Signer<'a> {
    app: &'a App,
    id: String,
    secret: String,
    /// How long ago the request was signed.
    age: time::Duration,
}

impl<'a> Signer<'a> {
    pub(super) async fn new(app: &'a App) -> Self {
        let (id, secret) = signing_key(app, "admin").await;
        Self { app, id, secret, age: time::Duration::ZERO }
    }

    fn authorization(&self, method: &str, path: &str, date: &str, body: &[u8]) -> String {
        let day = &date[..8];
        let names = "host;x-amz-date";
        let headers = format!("host:{}\nx-amz-date:{date}\n", self.app.address);
        let canonical = format!("{method}\n{path}\n\n{headers}\n{names}\n{}", hex(sha256(body).as_ref()));
        let scope = format!("{day}/eu-central-1/ses/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(sha256(canonical.as_bytes()).as_ref()));
        let key = ["eu-central-1", "ses", "aws4_request"]
            .iter()
            .fold(keyed(format!("AWS4{}", self.secret).as_bytes(), day), |key, word| keyed(&key, word));
        let signature = hex(&keyed(&key, &to_sign));
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.id)
    }

    /// A request that is signed as `signed` and goes with `body`.
    async fn call_with(&self, method: &str, path: &str, (signed, body): (&[u8], &[u8])) -> Answer {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = (self.app.clock.now() - self.age).format(format).unwrap();
        let authorization = self.authorization(method, path, &date, signed);
        let headers =
            [("content-type", "application/json"), ("x-amz-date", date.as_str()), ("authorization", &authorization)];
        self.app.client().request(method, path, &headers, body.to_vec()).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string().into_bytes();
        self.call_with("POST", path, (&body, &body)).await
    }

    /// A try of a call, which an SDK names.
    pub(super) async fn tried(&self, call: &str, email: &Value) -> Answer {
        let body = email.to_string().into_bytes();
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = self.app.clock.now().format(format).unwrap();
        let authorization = self.authorization("POST", SEND, &date, &body);
        let headers = [
            ("content-type", "application/json"),
            ("x-amz-date", date.as_str()),
            ("authorization", &authorization),
            ("amz-sdk-invocation-id", call),
        ];
        self.app.client().request("POST", SEND, &headers, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.call_with("GET", path, (b"", b"")).await
    }
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn keyed(key: &[u8], words: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), words.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Our id of a message of theirs.
fn id_of(message_id: &Value) -> String {
    format!("msg_{}", message_id.as_str().unwrap().replace('-', ""))
}

async fn raw_of(app: &App, id: &str) -> String {
    app.get(&format!("/v1/messages/{id}/raw")).await.text()
}

fn parsed(raw: &str) -> Message<'_> {
    MessageParser::default().parse(raw.as_bytes()).unwrap()
}

/// Who gets a message, and as what.
fn recipients(message: &Value) -> Vec<(&str, &str)> {
    let list = message["recipients"].as_array().unwrap().iter();
    let mut list: Vec<_> = list.map(|to| (to["kind"].as_str().unwrap(), to["email"].as_str().unwrap())).collect();
    list.sort_unstable();
    list
}

fn plain() -> Value {
    json!({"FromEmailAddress": "shop@example.org", "Destination": {"ToAddresses": ["ann@example.net"]},
        "Content": {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}})
}

fn bulk() -> Value {
    json!({"FromEmailAddress": "shop@example.org",
        "DefaultContent": {"Template": {"TemplateName": "welcome", "TemplateData": "{\"name\":\"Ann\"}"}},
        "BulkEmailEntries": [{"Destination": {"ToAddresses": ["ann@example.net"]}}]})
}

#[tokio::test]
async fn amazons_sdk_for_node_gets_what_it_knows() {
    let app = service().await;
    let said = run(&app, "ses.mjs", &format!("http://{}/compat/ses", app.address)).await;
    // Sending: the same message as by our own words.
    let sent = said.data("send");
    assert_eq!(sent["MessageId"].as_str().unwrap().len(), 36);
    assert!(sent["request"].is_string(), "{sent}");
    let whole = message(&app, "SES whole").await;
    assert_eq!(whole["id"], id_of(&sent["MessageId"]));
    assert_eq!(whole["from"], "Shop <shop@example.org>");
    assert_eq!(whole["metadata"], json!({"kind": "receipt", "order": "7"}));
    assert_eq!(whole["tags"], json!(["configuration-set:shop"]));
    assert_eq!(
        recipients(&whole),
        [("bcc", "dan@example.net"), ("cc", "cyd@example.net"), ("to", "ann@example.net"), ("to", "bob@example.net")]
    );
    let raw = raw_of(&app, whole["id"].as_str().unwrap()).await;
    assert!(!raw.contains("dan@example.net"), "{raw}");
    let mail = parsed(&raw);
    assert_eq!(mail.body_text(0).unwrap().trim_end(), "Hello, Grüße");
    assert_eq!(mail.body_html(0).unwrap().trim_end(), "<p>Hello <img src=\"cid:logo\"></p>");
    assert_eq!(mail.header_raw("X-Entity-Ref-ID").map(str::trim), Some("7"));
    let answers = mail.reply_to().unwrap().iter().filter_map(|one| one.address.as_deref()).collect::<Vec<_>>();
    assert_eq!(answers, ["help@example.org", "desk@example.org"]);
    let note = mail.attachments().find(|file| file.attachment_name() == Some("Grüße.txt")).unwrap();
    assert_eq!(note.contents(), b"hello");
    let logo = mail.parts.iter().find(|part| part.content_id() == Some("logo")).unwrap();
    assert_eq!(logo.contents(), [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a]);
    assert_eq!(logo.content_disposition().unwrap().ctype(), "inline");
    // Any region is the right one.
    said.data("send again");
    // Links, of a stream for each list and topic.
    for (call, subject) in [("list", "SES list"), ("topic", "SES topic")] {
        said.data(call);
        let raw = raw_of(&app, message(&app, subject).await["id"].as_str().unwrap()).await;
        assert!(raw.contains("List-Unsubscribe-Post:") && raw.contains("/u/"), "{raw}");
    }
    // Raw.
    let raw = app.message(&id_of(&said.data("raw")["MessageId"])).await;
    assert_eq!((&raw["subject"], &raw["metadata"]), (&json!("SES raw"), &json!({"kind": "raw"})));
    assert_eq!(raw["recipients"].as_array().unwrap().len(), 1);
    assert_eq!(raw["recipients"][0]["email"], "bob@example.net");
    let alone = app.message(&id_of(&said.data("raw alone")["MessageId"])).await;
    let wanted = [("bcc", "dan@example.net"), ("cc", "cyd@example.net"), ("to", "ann@example.net")];
    assert_eq!(recipients(&alone), wanted);
    let raw = raw_of(&app, alone["id"].as_str().unwrap()).await;
    assert!(raw.contains("X-Raw: yes\r\n") && raw.contains("Raw hello"), "{raw}");
    assert!(!raw.contains("dan@example.net"), "{raw}");
    // Templates.
    let welcome = app.message(&id_of(&said.data("template")["MessageId"])).await;
    assert_eq!((&welcome["template"], &welcome["subject"]), (&json!("welcome"), &json!("Welcome, Ann")));
    let raw = raw_of(&app, welcome["id"].as_str().unwrap()).await;
    let mail = parsed(&raw);
    assert_eq!(mail.header_raw("X-Entity-Ref-ID").map(str::trim), Some("8"));
    assert_eq!(mail.attachments().next().unwrap().contents(), b"hello");
}

#[tokio::test]
async fn what_is_refused_is_told_by_the_names_that_amazons_classes_have() {
    let app = service().await;
    let said = run(&app, "ses.mjs", &format!("http://{}/compat/ses", app.address)).await;
    for (call, status, code, words) in [
        ("bulk long", 400, "BadRequestException", "`BulkEmailEntries`"),
        ("no from", 400, "BadRequestException", "`FromEmailAddress`"),
        ("no to", 400, "BadRequestException", "`Destination"),
        ("bad to", 400, "BadRequestException", "`Destination.ToAddresses[0]`"),
        ("bad cc", 400, "BadRequestException", "`Destination.CcAddresses[1]`"),
        ("no content", 400, "BadRequestException", "`Content`"),
        ("two contents", 400, "BadRequestException", "`Content"),
        ("charset", 400, "BadRequestException", "`Content.Simple.Subject.Charset`"),
        ("own header", 400, "BadRequestException", "`Content.Simple.Headers"),
        ("description", 400, "BadRequestException", "`Content.Simple.Attachments[0].ContentDescription`"),
        ("template arn", 400, "BadRequestException", "`Content.Template.TemplateArn`"),
        ("template content", 400, "BadRequestException", "`Content.Template.TemplateContent`"),
        ("template data", 400, "BadRequestException", "`Content.Template.TemplateData`"),
        ("no template", 404, "NotFoundException", ""),
        ("feedback", 400, "BadRequestException", "`FeedbackForwardingEmailAddress`"),
        ("identity", 400, "BadRequestException", "`FromEmailAddressIdentityArn`"),
        ("tenant", 400, "BadRequestException", "`TenantName`"),
        ("insights nobody", 404, "NotFoundException", ""),
        ("suppress badly", 400, "BadRequestException", "`Reason`"),
        ("unsuppress again", 404, "NotFoundException", ""),
        ("suppressed no more", 404, "NotFoundException", ""),
    ] {
        let error = said.error(call);
        let told = (&error["status"], &error["code"], &error["class"]);
        assert_eq!(told, (&json!(status), &json!(code), &json!(code)), "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{call}: {error}");
        assert!(error["request"].is_string(), "{call}: {error}");
    }
    // Those that the SDK has no class for are of the class of all.
    for (call, code) in [
        ("wrong key", "InvalidSignatureException"),
        ("unknown key", "UnrecognizedClientException"),
        ("reader", "AccessDeniedException"),
    ] {
        let error = said.error(call);
        assert_eq!((&error["status"], &error["code"]), (&json!(403), &json!(code)), "{call}: {error}");
        assert_eq!(error["class"], "SESv2ServiceException", "{call}: {error}");
    }
    assert_eq!(said.error("not here")["status"], 404);
}

#[tokio::test]
async fn what_amazons_sdk_reads_is_what_happened() {
    let app = service().await;
    let said = run(&app, "ses.mjs", &format!("http://{}/compat/ses", app.address)).await;
    let account = said.data("account");
    assert_eq!((&account["SendingEnabled"], &account["EnforcementStatus"]), (&json!(true), &json!("HEALTHY")));
    assert_eq!(account["SendQuota"]["Max24HourSend"], -1);
    // The SDK for Node asks without the slash at the end that the one for Python has.
    let sent = said.data("send")["MessageId"].clone();
    let insights = said.data("insights");
    assert_eq!((&insights["MessageId"], &insights["Subject"]), (&sent, &json!("SES whole")));
    assert!(insights["FromEmailAddress"].as_str().unwrap().contains("shop@example.org"), "{insights}");
    assert_eq!(insights["EmailTags"], json!([{"Name": "kind", "Value": "receipt"}, {"Name": "order", "Value": "7"}]));
    assert_eq!(insights["Insights"].as_array().unwrap().len(), 4);
    app.settled(&id_of(&sent)).await;
    let signer = Signer::new(&app).await;
    let now = signer.get(&format!("/v2/email/insights/{}/", sent.as_str().unwrap())).await.json();
    for insight in now["Insights"].as_array().unwrap() {
        let events = insight["Events"].as_array().unwrap();
        let types: Vec<_> = events.iter().map(|event| event["Type"].as_str().unwrap()).collect();
        assert!(types.contains(&"SEND") && types.contains(&"DELIVERY"), "{insight}");
        assert!(events.iter().all(|event| event["Timestamp"].is_number()), "{insight}");
    }
    // Suppressions.
    let gone = &said.data("suppressed")["SuppressedDestination"];
    assert_eq!((&gone["EmailAddress"], &gone["Reason"]), (&json!("gone+1@example.net"), &json!("COMPLAINT")));
    assert!(gone["LastUpdateTime"].as_str().unwrap().starts_with("20"), "{gone}");
    assert_eq!(message(&app, "SES suppressed").await["recipients"][0]["status"], "suppressed");
    let addresses = |call: &str| -> Vec<String> {
        let page = said.data(call);
        let rows = page["SuppressedDestinationSummaries"].as_array().unwrap().iter();
        let mut list: Vec<_> = rows.map(|row| row["EmailAddress"].as_str().unwrap().to_owned()).collect();
        list.sort_unstable();
        list
    };
    let (first, second) = (addresses("suppressions"), addresses("suppressions on"));
    assert!(first.len() == 1 && second.len() == 1 && first != second, "{first:?} {second:?}");
    assert!(said.data("suppressions")["NextToken"].is_string());
    assert_eq!(addresses("suppressions by reason"), ["a@example.net", "gone+1@example.net"]);
    assert_eq!(addresses("suppressions of old"), Vec::<String>::new());
    assert_eq!(addresses("complaints"), ["gone+1@example.net"]);
    said.data("unsuppress");
}

#[tokio::test]
async fn a_bulk_email_is_a_message_for_each_entry() {
    let app = service().await;
    let said = run(&app, "ses.mjs", &format!("http://{}/compat/ses", app.address)).await;
    let results = |call: &str| said.data(call)["BulkEmailEntryResults"].as_array().unwrap().clone();
    let bulk = results("bulk");
    assert!(bulk.iter().all(|result| result["Status"] == "SUCCESS") && bulk.len() == 3, "{bulk:?}");
    // The third entry's data are `{}`: what it does not replace is that of all.
    for (result, subject, kind) in [
        (&bulk[0], "Welcome, Bea", "own"),
        (&bulk[1], "Welcome, you", "default"),
        (&bulk[2], "Welcome, you", "default"),
    ] {
        let message = app.message(&id_of(&result["MessageId"])).await;
        assert_eq!((&message["subject"], &message["metadata"]["kind"]), (&json!(subject), &json!(kind)), "{message}");
        assert_eq!(message["tags"], json!(["configuration-set:shop"]));
        assert_eq!(message["recipients"].as_array().unwrap().len(), 1);
        let raw = raw_of(&app, message["id"].as_str().unwrap()).await;
        let mail = parsed(&raw);
        assert_eq!(mail.reply_to().unwrap().first().unwrap().address.as_deref(), Some("help@example.org"));
        assert_eq!(mail.header_raw("X-Entity-Ref-ID").map(str::trim), (kind == "own").then_some("9"));
    }
    let partly = results("bulk partly");
    assert_eq!((&partly[0]["Status"], &partly[1]["Status"]), (&json!("INVALID_PARAMETER"), &json!("SUCCESS")));
    assert!(partly[0]["Error"].as_str().unwrap().contains("Destination.ToAddresses[0]`"), "{partly:?}");
    assert!(partly[0]["MessageId"].is_null());
    assert_eq!(message(&app, "Welcome, Eve").await["recipients"][0]["email"], "eve@example.net");
    assert_eq!(results("bulk without template")[0]["Status"], "TEMPLATE_NOT_FOUND");
}

#[tokio::test]
async fn amazons_sdk_for_python_gets_what_it_knows() {
    let app = service().await;
    // At the root, too.
    let said = run(&app, "ses_sdk.py", &format!("http://{}", app.address)).await;
    let whole = message(&app, "SES in Python").await;
    assert_eq!(whole["id"], id_of(&said.data("send")["MessageId"]));
    assert_eq!((&whole["metadata"], &whole["tags"]), (&json!({"kind": "receipt"}), &json!(["configuration-set:shop"])));
    let wanted = [("bcc", "dan@example.net"), ("cc", "cyd@example.net"), ("to", "ann@example.net")];
    assert_eq!(recipients(&whole), wanted);
    let raw = raw_of(&app, whole["id"].as_str().unwrap()).await;
    assert_eq!(parsed(&raw).attachments().next().unwrap().contents(), b"hello");
    // Lines of raw mail may end with LF alone.
    let raw = app.message(&id_of(&said.data("raw")["MessageId"])).await;
    assert_eq!(recipients(&raw), [("cc", "cyd@example.net"), ("to", "ann@example.net")]);
    assert_eq!(app.message(&id_of(&said.data("template")["MessageId"])).await["subject"], "Welcome, Ann");
    let bulk = said.data("bulk")["BulkEmailEntryResults"].clone();
    assert_eq!((&bulk[0]["Status"], &bulk[1]["Status"]), (&json!("SUCCESS"), &json!("INVALID_PARAMETER")));
    assert_eq!(said.data("insights")["Subject"], "SES in Python");
    assert_eq!(said.data("account")["SendingEnabled"], true);
    for (call, class, code, status) in [
        ("bad to", "BadRequestException", "BadRequestException", 400),
        ("tenant", "BadRequestException", "BadRequestException", 400),
        ("no template", "NotFoundException", "NotFoundException", 404),
        ("insights nobody", "NotFoundException", "NotFoundException", 404),
        ("wrong key", "ClientError", "InvalidSignatureException", 403),
        ("unknown key", "ClientError", "UnrecognizedClientException", 403),
        ("reader", "ClientError", "AccessDeniedException", 403),
        ("suppressed no more", "NotFoundException", "NotFoundException", 404),
    ] {
        let error = said.error(call);
        let told = (&error["class"], &error["code"], &error["status"]);
        assert_eq!(told, (&json!(class), &json!(code), &json!(status)), "{call}: {error}");
    }
    // This SDK looks at what is missing itself.
    assert_eq!(said.error("no content")["class"], "ParamValidationError");
    let gone = said.data("suppressed")["SuppressedDestination"].clone();
    assert_eq!((&gone["Reason"], gone["LastUpdateTime"].is_number()), (&json!("BOUNCE"), true));
    assert_eq!(said.data("suppressions")["SuppressedDestinationSummaries"].as_array().unwrap().len(), 1);
    said.data("unsuppress");
}

#[tokio::test]
async fn a_signature_is_of_this_request_and_of_now() {
    let app = service().await;
    let mut signer = Signer::new(&app).await;
    let body = plain().to_string().into_bytes();
    let refusal = |answer: &Answer| (answer.status, answer.header("x-amzn-errortype").to_owned());
    let other = signer.call_with("POST", SEND, (b"{}", &body)).await;
    assert_eq!(refusal(&other), (403, "InvalidSignatureException".to_owned()), "{}", other.text());
    assert!(other.json()["message"].is_string() && !other.header("x-amzn-requestid").is_empty());
    signer.age = time::Duration::minutes(20);
    let old = signer.call_with("POST", SEND, (&body, &body)).await;
    assert_eq!(refusal(&old), (403, "RequestExpired".to_owned()), "{}", old.text());
    signer.age = time::Duration::minutes(-20);
    let early = signer.call_with("POST", SEND, (&body, &body)).await;
    assert_eq!(early.status, 403, "{}", early.text());
    signer.age = time::Duration::minutes(4);
    assert_eq!(signer.call_with("POST", SEND, (&body, &body)).await.status, 200);
    let json = ("content-type", "application/json");
    let unsigned = app.client().request("POST", SEND, &[json], body.clone()).await.unwrap();
    assert_eq!(refusal(&unsigned), (403, "MissingAuthenticationTokenException".to_owned()), "{}", unsigned.text());
    let half = [json, ("authorization", "AWS4-HMAC-SHA256 Credential=key_1/20261128/eu-central-1/ses/aws4_request")];
    let half = app.client().request("POST", SEND, &half, body).await.unwrap();
    assert_eq!(refusal(&half), (403, "IncompleteSignature".to_owned()), "{}", half.text());
}

#[tokio::test]
async fn a_topic_of_a_list_is_a_stream_that_one_may_leave() {
    let app = service().await;
    let signer = Signer::new(&app).await;
    let left = json!({"email": "ann@example.net", "scope": "stream:news.sales", "reason": "unsubscribe"});
    let left = app.post("/v1/suppressions", &left).await;
    assert!(left.status < 300, "{}", left.text());
    for (options, is_left) in [
        (json!({"ContactListName": "news", "TopicName": "sales"}), true),
        (json!({"ContactListName": "news", "TopicName": "care"}), false),
        (json!({"ContactListName": "news"}), false),
    ] {
        let mut email = plain();
        email["ListManagementOptions"] = options.clone();
        let answer = signer.post(SEND, &email).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let message = app.message(&id_of(&answer.json()["MessageId"])).await;
        assert_eq!(message["recipients"][0]["status"] == "suppressed", is_left, "{options}: {message}");
    }
}

/// Puts a value where a path such as `Content.Simple.Headers` leads.
fn put(email: &mut Value, path: &str, value: Value) {
    let pointer = format!("/{}", path.replace('.', "/"));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    email.pointer_mut(parent).unwrap()[name] = value;
}

#[tokio::test]
async fn docs_for_who_comes_from_amazon_ses_are_true() {
    let app = service().await;
    let signer = Signer::new(&app).await;
    let table = rows(include_str!("../../../docs/migrating/ses.md"));
    assert_eq!(table.len(), 38);
    for (field, example, is_sent) in table {
        let is_bulk = field.starts_with("Default") || field.starts_with("BulkEmailEntries");
        let (path, mut email) = if is_bulk { (SEND_BULK, bulk()) } else { (SEND, plain()) };
        if matches!(&*field, "Content.Raw" | "Content.Template") {
            email["Content"] = json!({});
        }
        put(&mut email, &field, serde_json::from_str(&example).unwrap());
        let answer = signer.post(path, &email).await;
        let told = answer.text();
        assert_eq!(answer.status, if is_sent { 200 } else { 400 }, "{field} {example}: {told}");
        if is_sent {
            let results = answer.json()["BulkEmailEntryResults"].as_array().cloned().unwrap_or_default();
            assert!(results.iter().all(|result| result["Status"] == "SUCCESS"), "{field} {example}: {told}");
        } else {
            assert_eq!(answer.header("x-amzn-errortype"), "BadRequestException", "{field} {example}: {told}");
            assert!(told.contains(&format!("`{field}")), "{field} {example}: {told}");
        }
    }
    let mut unknown = plain();
    unknown["EmailTgas"] = json!([]);
    let answer = signer.post("/compat/ses/v2/email/outbound-emails", &unknown).await;
    assert!(answer.status == 400 && answer.text().contains("`EmailTgas`"), "{}", answer.text());
    // Who is not asked for is not there.
    assert_eq!(App::start().await.post(SEND, &unknown).await.status, 404);
}
