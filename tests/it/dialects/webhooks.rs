//! Webhooks in the forms of other services: told in their words, and signed so that their own libraries take them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::process::Stdio;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Said, program_of, run_with, said};
use crate::examples::PATIENCE;
use crate::support::app::{App, Setup, message_to};
use crate::support::contract::CONTRACT;
use crate::support::dkim::add_domain;
use crate::support::http::Answer;
use crate::support::process::create_key;
use crate::support::within;

const FORMS: [&str; 6] = ["mailgun", "postmark", "resend", "sendcloud", "sendgrid", "ses"];

const ADA: &str = "ada@shop.test";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";
const SHOP: &str = "https://shop.example/o?a=1";

/// What happens, to whom, and the word of each form for it; empty if it has none.
const WORDS: [(&str, &str, [&str; 6]); 11] = [
    ("message.queued", ADA, ["accepted", "", "email.sent", "request", "processed", "Send"]),
    ("message.delivered", ADA, ["delivered", "Delivery", "email.delivered", "deliver", "delivered", "Delivery"]),
    ("message.opened", ADA, ["opened", "Open", "email.opened", "open", "open", "Open"]),
    ("message.clicked", ADA, ["clicked", "Click", "email.clicked", "click", "click", "Click"]),
    (
        "message.unsubscribed",
        ADA,
        ["unsubscribed", "SubscriptionChange", "", "unsubscribe", "unsubscribe", "Subscription"],
    ),
    ("message.deferred", "later@shop.test", ["failed", "", "email.delivery_delayed", "", "deferred", "DeliveryDelay"]),
    ("message.bounced", "bounced@shop.test", ["failed", "Bounce", "email.bounced", "invalid", "bounce", "Bounce"]),
    ("message.bounced_later", "left@shop.test", ["failed", "Bounce", "email.bounced", "invalid", "bounce", "Bounce"]),
    (
        "message.complained",
        "complained@shop.test",
        ["complained", "SpamComplaint", "email.complained", "report_spam", "spamreport", "Complaint"],
    ),
    ("message.suppressed", "suppressed@shop.test", ["failed", "", "email.suppressed", "invalid", "dropped", "Bounce"]),
    ("message.expired", "late@shop.test", ["failed", "Bounce", "email.failed", "soft_bounce", "bounce", "Bounce"]),
];

/// A request that came; its path names a form.
#[derive(Debug, Clone)]
struct Request {
    form: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    /// As who receives it reads it.
    fn read(&self) -> Value {
        if self.form == "sendcloud" {
            let pairs = form_urlencoded::parse(self.body.as_bytes()).into_owned();
            return pairs.map(|(name, value)| (name, value.into())).collect::<Map<_, _>>().into();
        }
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn tells(&self, event: &str) -> bool {
        self.headers["webhook-id"] == event
    }
}

/// The event in what was read.
fn event_in(form: &str, read: &Value) -> Value {
    match form {
        "mailgun" => read["event-data"].clone(),
        "sendgrid" => read[0].clone(),
        _ => read.clone(),
    }
}

/// The name of the field with a form's word.
fn field_of(form: &str) -> &'static str {
    match form {
        "postmark" => "RecordType",
        "resend" => "type",
        "ses" => "eventType",
        _ => "event",
    }
}

/// An HTTP server that is told in every form. `support::receiver` holds what comes against our own contract.
struct Place {
    address: SocketAddr,
    came: watch::Sender<Vec<Request>>,
}

impl Place {
    async fn start() -> Self {
        let came = watch::channel(Vec::new()).0;
        let router = Router::new().fallback(take).with_state(came.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, came }
    }

    /// Waits until such a request came.
    async fn until(&self, what: &str, is_it: impl Fn(&Request) -> bool) -> Request {
        let mut came = self.came.subscribe();
        let seen = within(what, came.wait_for(|all| all.iter().any(&is_it))).await.unwrap();
        let found = seen.iter().find(|request| is_it(request)).cloned();
        found.unwrap()
    }

    fn has(&self, is_it: impl Fn(&Request) -> bool) -> bool {
        self.came.borrow().iter().any(is_it)
    }
}

async fn take(
    State(came): State<watch::Sender<Vec<Request>>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    came.send_modify(|all| all.push(Request { form: uri.path()[1..].to_owned(), headers, body }));
    StatusCode::NO_CONTENT
}

/// A service with an endpoint in every form, which hears of test mail.
struct World {
    app: App,
    place: Place,
    endpoints: HashMap<&'static str, Value>,
}

impl World {
    async fn start() -> Self {
        // As in production, nothing is tried again within minutes.
        let setup = Setup::new().set("delivery.route", "sandbox").set("delivery.retry", "5m,15m,1h,4h");
        let setup = setup.set("compat.dialects", "postmark");
        let app = setup.set("http.public_url", "https://mail.example.net").start().await;
        add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
        let place = Place::start().await;
        let mut world = Self { app, place, endpoints: HashMap::new() };
        for form in FORMS.into_iter().chain(["standard"]) {
            let made = world.endpoint(form).await;
            assert_eq!((made.status, &made.json()["form"]), (201, &json!(form)), "{}", made.text());
            world.endpoints.insert(form, made.json());
        }
        world
    }

    async fn endpoint(&self, form: &str) -> Answer {
        let wanted = json!({"url": format!("http://{}/{form}", self.place.address), "form": form});
        self.call("POST", "/v1/webhooks", &wanted).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.app.call_as(&self.app.test, method, path, &[], body.to_string().into_bytes()).await
    }

    /// Sends a message; gives its id.
    async fn send(&self, to: &str, more: &Value) -> String {
        let mut message = message_to(to);
        message["tags"] = json!(["receipt"]);
        message["metadata"] = json!({"order": "1042", "event": "mine"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sent = self.call("POST", "/v1/send", &message).await;
        assert_eq!(sent.status, 202, "{}", sent.text());
        sent.json()["id"].as_str().unwrap().to_owned()
    }

    /// The id of an event that the endpoint in our own form was told of.
    async fn event(&self, kind: &str, whom: &str) -> String {
        let is_it = |request: &Request| {
            let told = || request.read();
            request.form == "standard" && told()["type"] == kind && told()["data"]["email"] == whom
        };
        let told = self.place.until(&format!("{kind} of {whom}"), is_it).await;
        CONTRACT.check_webhook(&told.read());
        told.headers["webhook-id"].clone()
    }

    async fn advance(&self, seconds: u64) {
        let answer = self.call("POST", "/v1/sandbox/clock", &json!({"advance_seconds": seconds})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn follow(&self, method: &str, path: &str, content_type: &str, body: &str) -> u16 {
        let headers = [("user-agent", CHROME), ("content-type", content_type)];
        self.app.client().request(method, path, &headers, body.as_bytes().to_vec()).await.unwrap().status
    }

    /// Everything that happens to mail; gives the id of the message to Ada.
    async fn happen(&self) -> String {
        let html = format!("<html><body><p><a href=\"{SHOP}\">Your order</a></p></body></html>");
        let tracking = json!({"opens": true, "clicks": true});
        let more = json!({"html": html, "tracking": tracking, "unsubscribe": {"stream": "news"}});
        let id = self.send(ADA, &more).await;
        self.event("message.delivered", ADA).await;
        // What comes as fast as this was no person.
        self.app.database.execute("UPDATE recipients SET settled_at = now() - interval '1 hour'").await;
        let found = self.app.get_as(&self.app.test, &format!("/v1/sandbox/messages?to={ADA}&wait=20s")).await.json();
        let path = format!("/v1/sandbox/messages/{}", found["data"][0]["id"].as_str().unwrap());
        let copy = self.app.get_as(&self.app.test, &path).await.json();
        let html = copy["html"].as_str().unwrap();
        assert_eq!(self.follow("GET", &link(html, "o"), "text/plain", "").await, 200);
        assert_eq!(self.follow("GET", &link(html, "c"), "text/plain", "").await, 302);
        let path = link(copy["source"].as_str().unwrap(), "u");
        let form = "application/x-www-form-urlencoded";
        assert_eq!(self.follow("POST", &path, form, "List-Unsubscribe=One-Click").await, 200);
        for (to, script) in
            [("left@shop.test", "250; dsn 5.1.1 after 1h"), ("later@shop.test", "451 4.7.1 Greylisted,250 2.0.0 Taken")]
        {
            self.send(to, &json!({"sandbox": {"script": script}})).await;
        }
        for to in ["bounced@shop.test", "suppressed@shop.test", "complained@shop.test"] {
            self.send(to, &json!({})).await;
        }
        self.event("message.delivered", "left@shop.test").await;
        self.event("message.delivered", "complained@shop.test").await;
        self.event("message.deferred", "later@shop.test").await;
        self.advance(2 * 3600).await;
        self.event("message.delivered", "later@shop.test").await;
        self.send("late@shop.test", &json!({"sandbox": {"script": "451 4.7.1 Greylisted"}})).await;
        self.event("message.deferred", "late@shop.test").await;
        self.advance(30 * 86_400).await;
        id
    }
}

/// What stands behind the host of the first of our links that begins with this.
fn link(text: &str, way: &str) -> String {
    let text = text.replace("=\r\n", "").replace("=3D", "=");
    let start = text.find(&format!("/{way}/")).unwrap_or_else(|| panic!("no link in {text}"));
    let rest = &text[start..];
    rest[..rest.find(['>', '"', '\'']).unwrap()].to_owned()
}

/// What a program of tests/dialects says to requests.
async fn judge(program: &str, input: &Value) -> Said {
    let mut command = program_of(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run the tests by scripts/test");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output =
        tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("a library did not end").unwrap();
    said(program, &output)
}

/// What was told in a form, by what happened.
struct Told<'t> {
    form: &'static str,
    events: &'t HashMap<(&'static str, &'static str), Value>,
    /// The message to Ada: its id as a UUID, and its `Message-ID`.
    id: &'t str,
    header_id: &'t str,
}

impl Told<'_> {
    fn of(&self, kind: &'static str) -> &Value {
        &self.events[&(self.form, kind)]
    }

    /// Asserts that an event has these values, by pointers.
    fn has(&self, kind: &'static str, values: &[(&str, Value)]) {
        let event = self.of(kind);
        for (pointer, value) in values {
            assert_eq!(event.pointer(pointer), Some(value), "{} {kind} {pointer}: {event}", self.form);
        }
    }

    /// Asserts that a text of an event speaks of something.
    fn speaks(&self, kind: &'static str, pointer: &str, words: &str) {
        let event = self.of(kind);
        let text = event.pointer(pointer).and_then(Value::as_str);
        assert!(text.is_some_and(|text| text.contains(words)), "{} {kind} {pointer}: {event}", self.form);
    }
}

fn metadata() -> Value {
    json!({"order": "1042", "event": "mine"})
}

fn check_mailgun(told: &Told<'_>) {
    let headers =
        json!({"message-id": told.header_id, "from": "Shop <shop@example.org>", "to": ADA, "subject": "Hello"});
    told.has(
        "message.delivered",
        &[
            ("/recipient", json!(ADA)),
            ("/recipient-domain", json!("shop.test")),
            ("/message/headers", headers),
            ("/tags", json!(["receipt"])),
            ("/user-variables", metadata()),
            ("/delivery-status/code", json!(250)),
        ],
    );
    assert!(told.of("message.delivered")["timestamp"].is_f64());
    told.has(
        "message.bounced",
        &[("/severity", json!("permanent")), ("/reason", json!("bounce")), ("/delivery-status/code", json!(550))],
    );
    told.speaks("message.bounced", "/delivery-status/message", "no such user");
    told.has("message.bounced_later", &[("/severity", json!("permanent"))]);
    told.has("message.deferred", &[("/severity", json!("temporary")), ("/delivery-status/code", json!(451))]);
    told.speaks("message.suppressed", "/reason", "suppress-");
    told.has("message.expired", &[("/severity", json!("permanent")), ("/reason", json!("old"))]);
    told.has("message.opened", &[("/client-info/user-agent", json!(CHROME))]);
    told.has("message.clicked", &[("/client-info/user-agent", json!(CHROME)), ("/url", json!(SHOP))]);
}

fn check_postmark(told: &Told<'_>) {
    for kind in ["message.delivered", "message.opened", "message.clicked", "message.unsubscribed"] {
        told.has(
            kind,
            &[
                ("/MessageID", json!(told.id)),
                ("/Recipient", json!(ADA)),
                ("/Tag", json!("receipt")),
                ("/Metadata", metadata()),
                ("/MessageStream", json!("outbound")),
                ("/ServerID", json!(0)),
            ],
        );
    }
    told.speaks("message.delivered", "/Details", "250");
    // `BounceTypeCode` of the SDK.
    for (kind, whom, name, code, is_inactive) in [
        ("message.bounced", "bounced@shop.test", "HardBounce", 1, true),
        ("message.expired", "late@shop.test", "SoftBounce", 4096, false),
        ("message.complained", "complained@shop.test", "SpamComplaint", 100_001, true),
    ] {
        told.has(
            kind,
            &[
                ("/Type", json!(name)),
                ("/TypeCode", json!(code)),
                ("/Email", json!(whom)),
                ("/Subject", json!("Hello")),
                ("/DumpAvailable", json!(false)),
                ("/Inactive", json!(is_inactive)),
            ],
        );
        told.speaks(kind, "/From", "shop@example.org");
        told.speaks(kind, "/BouncedAt", "T");
    }
    told.speaks("message.bounced", "/Details", "no such user");
    told.has("message.opened", &[("/UserAgent", json!(CHROME))]);
    told.has("message.clicked", &[("/UserAgent", json!(CHROME)), ("/OriginalLink", json!(SHOP))]);
    told.has(
        "message.unsubscribed",
        &[
            ("/SuppressSending", json!(true)),
            ("/SuppressionReason", json!("ManualSuppression")),
            ("/Origin", json!("Recipient")),
        ],
    );
}

fn check_resend(told: &Told<'_>) {
    told.has(
        "message.delivered",
        &[
            ("/data/email_id", json!(told.id)),
            ("/data/message_id", json!(format!("<{}>", told.header_id))),
            ("/data/from", json!("Shop <shop@example.org>")),
            ("/data/to", json!([ADA])),
            ("/data/subject", json!("Hello")),
            ("/data/tags", metadata()),
        ],
    );
    told.speaks("message.delivered", "/created_at", "T");
    told.has("message.bounced", &[("/data/bounce/type", json!("Permanent"))]);
    told.speaks("message.bounced", "/data/bounce/message", "no such user");
    told.speaks("message.bounced", "/data/bounce/diagnosticCode/0", "550");
    told.has("message.suppressed", &[("/data/suppressed/type", json!("OnAccountSuppressionList"))]);
    told.speaks("message.suppressed", "/data/suppressed/message", "suppress");
    told.has("message.expired", &[("/data/failed/reason", json!("expired"))]);
    told.has(
        "message.clicked",
        &[
            ("/data/click/link", json!(SHOP)),
            ("/data/click/userAgent", json!(CHROME)),
            ("/data/click/ipAddress", json!("")),
        ],
    );
}

fn check_sendcloud(told: &Told<'_>) {
    for kind in ["message.delivered", "message.opened", "message.clicked", "message.unsubscribed"] {
        told.has(
            kind,
            &[
                ("/emailId", json!(format!("{}${ADA}", told.id))),
                ("/recipient", json!(ADA)),
                ("/labelName", json!("receipt")),
            ],
        );
    }
    let length = |name: &str| told.of("message.delivered")[name].as_str().unwrap().len();
    assert_eq!((length("timestamp"), length("token"), length("signature")), (13, 50, 64));
    told.has("message.bounced", &[("/recipient", json!("bounced@shop.test"))]);
    told.speaks("message.bounced", "/message", "no such user");
    told.has("message.clicked", &[("/url", json!(SHOP))]);
}

fn check_sendgrid(told: &Told<'_>) {
    told.has(
        "message.delivered",
        &[
            ("/email", json!(ADA)),
            ("/smtp-id", json!(format!("<{}>", told.header_id))),
            ("/sg_message_id", json!(told.id)),
            ("/category", json!(["receipt"])),
            // What is kept with a message stands beside their names, and over none.
            ("/order", json!("1042")),
            ("/event", json!("delivered")),
        ],
    );
    assert!(told.of("message.delivered")["timestamp"].is_i64());
    told.speaks("message.delivered", "/response", "250");
    let ids: Vec<_> = ["message.queued", "message.delivered"].map(|kind| &told.of(kind)["sg_event_id"]).into();
    assert!(ids[0].is_string() && ids[0] != ids[1], "{ids:?}");
    told.has("message.deferred", &[("/attempt", json!("1"))]);
    told.speaks("message.deferred", "/response", "451");
    told.has("message.bounced", &[("/type", json!("bounce")), ("/status", json!("5.1.1"))]);
    told.speaks("message.bounced", "/reason", "no such user");
    told.has("message.expired", &[("/reason", json!("Expired"))]);
    told.speaks("message.suppressed", "/reason", "Address");
    told.has("message.opened", &[("/useragent", json!(CHROME))]);
    told.has("message.clicked", &[("/useragent", json!(CHROME)), ("/url", json!(SHOP))]);
}

fn check_ses(told: &Told<'_>) {
    told.has(
        "message.delivered",
        &[
            ("/mail/messageId", json!(told.id)),
            ("/mail/source", json!("shop@example.org")),
            ("/mail/destination", json!([ADA])),
            ("/mail/headersTruncated", json!(false)),
            ("/mail/commonHeaders/messageId", json!(format!("<{}>", told.header_id))),
            ("/mail/commonHeaders/subject", json!("Hello")),
            ("/mail/tags/order", json!(["1042"])),
            ("/delivery/recipients", json!([ADA])),
        ],
    );
    told.speaks("message.delivered", "/delivery/smtpResponse", "250");
    told.has("message.queued", &[("/send", json!({}))]);
    for (kind, whom, bounce, sub) in [
        ("message.bounced", "bounced@shop.test", "Permanent", "General"),
        ("message.suppressed", "suppressed@shop.test", "Permanent", "OnAccountSuppressionList"),
        ("message.expired", "late@shop.test", "Transient", "General"),
    ] {
        told.has(
            kind,
            &[
                ("/bounce/bounceType", json!(bounce)),
                ("/bounce/bounceSubType", json!(sub)),
                ("/bounce/bouncedRecipients/0/emailAddress", json!(whom)),
            ],
        );
    }
    told.has("message.bounced", &[("/bounce/bouncedRecipients/0/status", json!("5.1.1"))]);
    told.speaks("message.bounced", "/bounce/bouncedRecipients/0/diagnosticCode", "no such user");
    let whom = ("/complaint/complainedRecipients/0/emailAddress", json!("complained@shop.test"));
    told.has("message.complained", &[whom]);
    let whom = ("/deliveryDelay/delayedRecipients/0/emailAddress", json!("later@shop.test"));
    told.has("message.deferred", &[whom]);
    told.has("message.opened", &[("/open/userAgent", json!(CHROME))]);
    told.has("message.clicked", &[("/click/link", json!(SHOP)), ("/click/userAgent", json!(CHROME))]);
    told.has("message.unsubscribed", &[("/subscription/source", json!("UnsubscribeHeader"))]);
}

#[tokio::test]
async fn each_form_tells_in_its_services_words_and_the_services_libraries_take_its_signatures() {
    let world = World::start().await;
    let id = world.happen().await;
    let (mut events, mut requests) = (HashMap::new(), Vec::new());
    for (kind, whom, words) in WORDS {
        let event = world.event(kind, whom).await;
        for (form, word) in FORMS.into_iter().zip(words).filter(|(_, word)| !word.is_empty()) {
            let is_it = |request: &Request| request.form == form && request.tells(&event);
            let request = world.place.until(&format!("{kind} in the form {form}"), is_it).await;
            let told = event_in(form, &request.read());
            assert_eq!(told[field_of(form)], word, "{form} {kind}: {told}");
            events.insert((form, kind), told);
            requests.push(request);
        }
    }
    // What a form has no word for was not told in another's place.
    for (kind, whom, words) in WORDS {
        let event = world.event(kind, whom).await;
        for (form, _) in FORMS.into_iter().zip(words).filter(|(_, word)| word.is_empty()) {
            assert!(!world.place.has(|request| request.form == form && request.tells(&event)), "{form} {kind}");
        }
    }
    let header_id = world.app.message(&id).await["message_id"].as_str().unwrap().to_owned();
    let uuid = Uuid::parse_str(id.trim_start_matches("msg_")).unwrap().to_string();
    let checks: [fn(&Told<'_>); 6] =
        [check_mailgun, check_postmark, check_resend, check_sendcloud, check_sendgrid, check_ses];
    for (form, check) in FORMS.into_iter().zip(checks) {
        check(&Told { form, events: &events, id: &uuid, header_id: &header_id });
    }
    for request in &requests {
        let media = if request.form == "sendcloud" { "application/x-www-form-urlencoded" } else { "application/json" };
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        assert_eq!(header("content-type"), Some(media), "{request:?}");
        let is_of_sns = (header("x-amz-sns-message-type"), header("x-amz-sns-rawdelivery"));
        let wanted = (request.form == "ses").then_some(("Notification", "true")).unzip();
        assert_eq!(is_of_sns, wanted, "{request:?}");
    }
    // The services' own libraries, and that of Standard Webhooks beside each.
    let told = requests.iter().map(|request| {
        let endpoint = &world.endpoints[request.form.as_str()];
        assert_eq!(endpoint["form_public_key"].is_string(), request.form == "sendgrid", "{endpoint}");
        json!({"form": request.form, "secret": endpoint["secret"], "public_key": endpoint["form_public_key"],
            "headers": request.headers, "body": request.body})
    });
    let input = json!({"requests": told.collect::<Vec<_>>()});
    let node = judge("webhooks.mjs", &input).await;
    let python = judge("webhooks_sdk.py", &input).await;
    for (index, request) in requests.iter().enumerate() {
        let call = format!("{} {index}", request.form);
        assert_eq!(node.data(&call), request.read(), "{call}");
        node.error(&format!("{call} changed"));
        node.data(&format!("{call} standard"));
        node.error(&format!("{call} standard changed"));
        if ["mailgun", "resend", "sendgrid"].contains(&request.form.as_str()) {
            assert_eq!(python.data(&call), request.read(), "{call}");
            python.error(&format!("{call} changed"));
        }
    }
    world.app.stop().await;
}

#[tokio::test]
async fn postmarks_lists_of_what_happened_say_what_its_webhooks_said() {
    let world = World::start().await;
    let id = world.happen().await;
    let mut told = HashMap::new();
    for (kind, whom, words) in
        WORDS.into_iter().filter(|(_, _, words)| ["Bounce", "SpamComplaint", "Open", "Click"].contains(&words[1]))
    {
        let event = world.event(kind, whom).await;
        let request = world.place.until(kind, |request| request.form == "postmark" && request.tells(&event)).await;
        told.insert(words[1].to_owned() + whom, request.read());
    }
    // What ends in the sandbox suppresses nobody by itself.
    for (email, reason) in [("bounced@shop.test", "bounce"), ("complained@shop.test", "complaint")] {
        let added = world.call("POST", "/v1/suppressions", &json!({"email": email, "reason": reason})).await;
        assert!(added.status < 300, "{}", added.text());
    }
    // A key that does not see suppressions is told what the webhooks said.
    let wanted = json!({"mode": "test", "scopes": ["messages:read"], "name": "reader"});
    let admin = create_key(&world.app.database.url, "shop", "test", "admin").await;
    let made = world.app.call_as(&admin, "POST", "/v1/keys", &[], wanted.to_string().into_bytes()).await.json();
    let base = format!("http://{}/compat/postmark", world.app.address);
    let said = |program: &'static str, key: String| {
        let (base, id) = (base.clone(), id.clone());
        async move { run_with(program, &base, [("MAILWRIGHT_KEY", &*key), ("MAILWRIGHT_MESSAGE", &*id)]).await }
    };
    let read = said("postmark_events.py", made["key"].as_str().unwrap().to_owned()).await;
    let bounces = read.data("bounces");
    assert_eq!((&bounces["total"], bounces["items"].as_array().unwrap().len()), (&json!(4), 4), "{bounces}");
    for bounce in bounces["items"].as_array().unwrap() {
        let word = if bounce["Type"] == "SpamComplaint" { "SpamComplaint" } else { "Bounce" };
        let told = &told[&(word.to_owned() + bounce["Email"].as_str().unwrap())];
        for (name, value) in bounce.as_object().unwrap().iter().filter(|(name, _)| *name != "Content") {
            assert_eq!(value, &told[name], "{name}: {bounce}, {told}");
        }
    }
    assert_eq!(read.data("stream"), bounces["items"]);
    assert_eq!(
        read.data("by type")["items"][0],
        read.data("get")
            .as_object()
            .map(|one| {
                let mut one = one.clone();
                one.insert("Content".to_owned(), Value::Null);
                Value::Object(one)
            })
            .unwrap()
    );
    assert_eq!(read.data("dump"), json!({"Body": ""}));
    assert_eq!(read.error("activate")["status"], 422);
    assert_eq!(
        (&read.error("get nobody")["class"], &read.error("get nobody")["code"]),
        (&json!("ValidationException"), &json!(407))
    );
    for (call, word) in
        [("opens", "Open"), ("opens of a message", "Open"), ("clicks", "Click"), ("clicks of a message", "Click")]
    {
        let list = read.data(call);
        assert_eq!(
            (&list["total"], &list["items"][0]["MessageID"]),
            (&json!(1), &told[&(word.to_owned() + ADA)]["MessageID"]),
            "{call}: {list}"
        );
    }
    let read = said("postmark_events.mjs", admin).await;
    check_lists(&read, &told);
    world.app.stop().await;
}

/// What Postmark's SDK for Node reads of everything that happens to mail.
fn check_lists(read: &Said, told: &HashMap<String, Value>) {
    let of_each = |call: &str, name: &str| {
        let list = read.data(call);
        let records = list["Bounces"].as_array().unwrap().iter();
        records.map(|record| record[name].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = of_each("bounces", "Email");
    assert_eq!((all.len(), &*all[0]), (4, "late@shop.test"), "{all:?}");
    // By pages of one, each once.
    let pages = (0..4).flat_map(|offset| of_each(&format!("page {offset}"), "Email")).collect::<Vec<_>>();
    assert_eq!(pages, all);
    assert_eq!(read.data("page 4"), json!({"TotalCount": 4, "Bounces": []}));
    for call in ["by tag", "around", "to the end of time"] {
        assert_eq!(of_each(call, "Email"), all, "{call}");
    }
    for call in ["by another type", "by another tag", "before", "after"] {
        assert_eq!(read.data(call), json!({"TotalCount": 0, "Bounces": []}), "{call}");
    }
    for (call, whom) in [("by type", "bounced@"), ("by message", "bounced@"), ("by address", "late@")] {
        assert_eq!(of_each(call, "Email"), [format!("{whom}shop.test")], "{call}");
    }
    let mut inactive = of_each("inactive", "Email");
    assert!(inactive.contains(&"bounced@shop.test".to_owned()), "{inactive:?}");
    inactive.extend(of_each("active", "Email"));
    assert_eq!(inactive.len(), 4, "{inactive:?}");
    assert!(of_each("active", "Email").contains(&"late@shop.test".to_owned()));
    let bounce = read.data("bounce");
    let told_of = &told["Bouncebounced@shop.test"];
    assert_eq!(
        (&bounce["ID"], &bounce["Inactive"], &bounce["CanActivate"]),
        (&told_of["ID"], &json!(true), &json!(true))
    );
    assert!(bounce["Content"].as_str().unwrap().contains("no such user"), "{bounce}");
    assert_eq!(read.data("dump"), json!({"Body": ""}));
    // Whom is sent to again.
    let activated = read.data("activate");
    assert_eq!((&activated["Message"], &activated["Bounce"]["ID"]), (&json!("OK"), &told_of["ID"]));
    assert_eq!(
        (&read.data("activated")["Inactive"], &read.data("activated")["CanActivate"]),
        (&json!(false), &json!(false))
    );
    assert!(!read.data("suppressions").to_string().contains("bounced@shop.test"), "{}", read.data("suppressions"));
    for (call, code, words) in [
        ("no type", 300, "`type`"),
        ("no message", 300, "`messageID`"),
        ("activate a complaint", 300, "complained"),
        ("no bounce", 407, ""),
        ("no number", 407, ""),
        ("activate nobody", 407, ""),
        ("the last bounce", 407, ""),
        ("the greatest number", 407, ""),
        ("opens by platform", 300, "`platform`"),
        ("too many", 300, "`count`"),
    ] {
        let error = read.error(call);
        assert_eq!((&error["status"], &error["code"]), (&json!(422), &json!(code)), "{call}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{call}: {error}");
    }
    for (call, list, word) in [
        ("opens", "Opens", "Open"),
        ("opens of a message", "Opens", "Open"),
        ("clicks", "Clicks", "Click"),
        ("clicks of a message", "Clicks", "Click"),
        ("clicks by tag", "Clicks", "Click"),
    ] {
        assert_eq!(read.data(call), json!({"TotalCount": 1, list: [told[&(word.to_owned() + ADA)]]}), "{call}");
    }
    for call in ["opens of another", "opens by address"] {
        assert_eq!(read.data(call), json!({"TotalCount": 0, "Opens": []}), "{call}");
    }
}

#[tokio::test]
async fn an_endpoint_has_one_form_and_can_be_given_another() {
    let world = World::start().await;
    let refused = world.endpoint("mandrill").await;
    assert_eq!((refused.status, &*refused.faults()[0].0), (422, "/form"), "{}", refused.text());
    let plain =
        world.call("POST", "/v1/webhooks", &json!({"url": format!("http://{}/plain", world.place.address)})).await;
    let path = format!("/v1/webhooks/{}", plain.json()["id"].as_str().unwrap());
    let of = |endpoint: &Value| (endpoint["form"].clone(), endpoint["form_public_key"].is_string());
    assert_eq!(of(&plain.json()), (json!("standard"), false));
    for (form, has_key) in [("sendgrid", true), ("resend", false)] {
        let changed = world.call("PATCH", &path, &json!({"form": form})).await;
        assert_eq!((changed.status, of(&changed.json())), (200, (json!(form), has_key)), "{}", changed.text());
        let kept = world.app.get_as(&world.app.test, &path).await.json();
        assert_eq!(kept["form_public_key"], changed.json()["form_public_key"]);
    }
    // An example of an event comes in the form, too, if it has a word for it.
    let tried = world.call("POST", &format!("{path}/test"), &json!({"type": "message.bounced"})).await;
    assert_eq!((tried.status, &tried.json()["succeeded"]), (200, &json!(true)), "{}", tried.text());
    let came = world.place.until("a test", |request| request.form == "plain").await;
    assert_eq!(came.read()["type"], "email.bounced");
    let tried = world.call("POST", &format!("{path}/test"), &json!({"type": "message.unsubscribed"})).await;
    assert_eq!((tried.status, &*tried.faults()[0].0), (422, "/type"), "{}", tried.text());
    world.app.stop().await;
}
