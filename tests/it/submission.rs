//! Mail that programs submit by SMTP: who may, what becomes of it, and what the listener stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::app::{App, Setup};
use crate::support::conversation::Conversation;
use crate::support::database::Database;
use crate::support::postfix::Postfix;
use crate::support::process::{Server, create_key, resident};
use crate::support::proxy::{Proxy, Weather};
use crate::support::sink::Sink;
use crate::support::tls::TestTls;
use crate::support::within;

/// A service that takes mail on three listeners, and delivers it to a sink.
struct World {
    app: App,
    sink: Sink,
    tls: TestTls,
}

/// What the sink offers.
const OFFERS: [&str; 4] = ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING"];

const LISTEN: &str = "plain://127.0.0.1:0, starttls://127.0.0.1:0, tls://127.0.0.1:0";

fn setup(tls: &TestTls) -> Setup {
    let (cert, key) = tls.files();
    Setup::new()
        .set("submission.listen", LISTEN)
        .set("submission.host", "localhost")
        .set("submission.tls_cert", cert.display())
        .set("submission.tls_key", key.display())
        .set("submission.slow_down", "1ms")
}

impl World {
    async fn start() -> Self {
        Self::start_with(|setup| setup).await
    }

    async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (tls, sink) = (TestTls::new("localhost"), Sink::setup().extensions(&OFFERS).start().await);
        let app = change(setup(&tls).route_to(sink.address)).start().await;
        Self { app, sink, tls }
    }

    fn plain(&self) -> SocketAddr {
        self.app.service.submission[0]
    }

    fn starttls(&self) -> SocketAddr {
        self.app.service.submission[1]
    }

    fn implicit(&self) -> SocketAddr {
        self.app.service.submission[2]
    }

    async fn open(&self) -> Conversation {
        Conversation::open(self.plain()).await
    }

    /// A session with the live key.
    async fn session(&self) -> Conversation {
        let mut smtp = self.open().await;
        smtp.log_in(&self.app.live).await;
        smtp
    }

    /// Submits a message from and to these with those header fields; gives the reply.
    async fn submit(&self, fields: &str) -> String {
        self.session().await.submit("<app@example.org>", &["ann@example.net"], &letter(fields)).await
    }
}

/// A message with those further header fields.
fn letter(fields: &str) -> String {
    format!("From: Shop <shop@example.org>\r\nTo: ann@example.net\r\nSubject: Hello\r\n{fields}\r\nIt works.\r\n")
}

/// The id in a reply.
fn id_of(reply: &str) -> String {
    assert!(reply.starts_with("250 2.0.0 Ok: queued as msg_"), "{reply}");
    reply.trim_end().rsplit(' ').next().unwrap().to_owned()
}

/// A reply to AUTH with that mechanism and initial response.
async fn auth(smtp: &mut Conversation, mechanism: &str, initial: &str) -> String {
    smtp.say(&format!("AUTH {mechanism} {}", STANDARD.encode(initial))).await
}

#[tokio::test]
async fn what_is_submitted_arrives_as_it_came_and_complete() {
    let world = World::start().await;
    let message = "Received: from x by y; Sat, 28 Nov 2026 05:00:00 +0000\r\nFrom: Shop  <shop@example.org>\r\n\
                   To: Ann <ann@example.net>\r\nCC: bob@example.net\r\nBcc: eve@example.net,\r\n  mallory@example.net\r\n\
                   Subject: =?utf-8?q?caf=C3=A9?=\r\n  folded \r\nX-Mailwright-Tag: receipts\r\n\
                   x-mailwright-metadata-order: 7\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
                   .leading dot\r\n..\r\n Grüße \t\r\n\r\n";
    let mut smtp = world.session().await;
    let to = ["ann@example.net", "bob@example.net", "eve@example.net", "ANN@example.net"];
    let reply = smtp.submit("<anything@elsewhere.example> BODY=8BITMIME", &to, message).await;
    let id = id_of(&reply);
    let taken = world.sink.until_taken(3).await;
    let data = String::from_utf8(taken[0].data.clone()).unwrap();
    let kept = message.replace("Bcc: eve@example.net,\r\n  mallory@example.net\r\n", "");
    let kept = kept.replace("X-Mailwright-Tag: receipts\r\nx-mailwright-metadata-order: 7\r\n", "");
    let (added, rest) = data.split_at(data.find("Received:").unwrap());
    assert_eq!(rest, kept, "octet by octet");
    let names: Vec<_> = added.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, ["Date", "Message-ID", "MIME-Version"]);
    // The envelope is the truth, and the header says who is what.
    let message = world.app.settled(&id).await;
    let kinds: Vec<_> = message["recipients"].as_array().unwrap().iter().map(|r| (&r["email"], &r["kind"])).collect();
    let wanted = [("ann@example.net", "to"), ("bob@example.net", "cc"), ("eve@example.net", "bcc")];
    assert_eq!(kinds.len(), 3);
    for ((email, kind), wanted) in kinds.into_iter().zip(wanted) {
        assert_eq!((email.as_str().unwrap(), kind.as_str().unwrap()), wanted);
    }
    assert_eq!((&message["tags"], &message["metadata"]), (&json!(["receipts"]), &json!({"order": "7"})));
    assert_eq!(message["subject"], "café folded");
    let said_id = added.lines().nth(1).unwrap().trim_start_matches("Message-ID: <").trim_end_matches('>');
    assert_eq!(message["message_id"].as_str().unwrap().trim_matches(['<', '>']), said_id);
    assert!(said_id.ends_with("@example.org"));
    // What is there already is not added, and the session goes on.
    let whole = "Date: Sat, 28 Nov 2026 05:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n";
    let reply = smtp.submit("<a@example.org>", &["dan@example.net"], &letter(whole)).await;
    world.app.settled(&id_of(&reply)).await;
    let taken = world.sink.until_taken(4).await;
    assert_eq!(taken[3].data, letter(whole).as_bytes());
    // Without an author, whoever sends it is; where that may be anything, it need not be an address.
    let reply = smtp.submit("<a@example.org>", &["eva@example.net"], "To: eva@example.net\r\n\r\nx\r\n").await;
    world.app.settled(&id_of(&reply)).await;
    assert!(world.sink.until_taken(5).await[4].data.starts_with(b"From: <a@example.org>\r\nDate:"));
    let reply = smtp.submit("<root@localhost>", &["eva@example.net"], &letter("")).await;
    world.app.settled(&id_of(&reply)).await;
    let reply = smtp.submit("<root@localhost>", &["eva@example.net"], "To: eva@example.net\r\n\r\nx\r\n").await;
    assert!(reply.starts_with("550 5.6.0 the message has no From field"), "{reply}");
    assert!(smtp.say("QUIT").await.starts_with("221"));
}

#[tokio::test]
async fn keys_and_tokens_open_the_door_and_nothing_else_does() {
    const SECRET: &str = "a secret of the issuer that is long enough";
    let file = format!(
        "[auth]\njwt = [{{ kid = \"k1\", algorithm = \"HS256\", secret = \"{SECRET}\", issuer = \"id.example\", audience = \"mailwright\" }}]"
    );
    let world = World::start_with(|setup| setup.file(&file).set("auth.cache", "0s")).await;
    let key = world.app.live.clone();
    let mut smtp = world.open().await;
    assert!(smtp.say("AUTH PLAIN AA==").await.starts_with("503"), "before EHLO");
    let offers = smtp.say("EHLO x").await;
    assert!(offers.contains("AUTH PLAIN LOGIN OAUTHBEARER XOAUTH2\r\n") && !offers.contains("CRAM"), "{offers}");
    assert!(smtp.say("MAIL FROM:<a@example.org>").await.starts_with("530 5.7.0"));
    for (mechanism, code) in [("CRAM-MD5", "504"), ("SCRAM-SHA-256", "504"), ("", "501")] {
        let said = smtp.say(&format!("AUTH {mechanism}")).await;
        assert!(said.starts_with(code), "{mechanism}: {said}");
    }
    for initial in ["!", "AA", "=", "AGEA"] {
        let said = smtp.say(&format!("AUTH PLAIN {initial}")).await;
        assert!(said.starts_with("501 5.5.2"), "{initial}: {said}");
    }
    assert!(auth(&mut smtp, "PLAIN", "\0a\0mw_live_wrong").await.starts_with("535 5.7.8"));
    assert!(auth(&mut smtp, "PLAIN", "\0a\0no key at all").await.starts_with("535 5.7.8"));
    assert!(smtp.say("AUTH LOGIN").await.starts_with("334 VXNlcm5hbWU6"));
    assert!(smtp.say("*").await.starts_with("501 5.7.0"), "cancelled");
    // Whoever says more than they were asked for has not waited.
    smtp.write(b"AUTH PLAIN\r\nAA==\r\n").await;
    assert!(smtp.rest().await.contains("503 5.5.0"));

    // All ways, by any user.
    let mut smtp = world.open().await;
    smtp.say("EHLO x").await;
    assert!(smtp.say("AUTH LOGIN").await.starts_with("334 VXNlcm5hbWU6"));
    assert!(smtp.say(&STANDARD.encode("apikey")).await.starts_with("334 UGFzc3dvcmQ6"));
    assert!(smtp.say(&STANDARD.encode(&key)).await.starts_with("235 2.7.0"));
    assert!(auth(&mut smtp, "PLAIN", "\0a\0b").await.starts_with("503"), "once");
    for user in ["mailwright", "resend", "postmaster@example.org", &key.clone()] {
        let mut smtp = world.open().await;
        smtp.say("HELO x").await;
        assert_eq!(smtp.say("AUTH PLAIN").await, "334 \r\n");
        assert!(smtp.say(&STANDARD.encode(format!("{user}\0{user}\0{key}"))).await.starts_with("235"), "{user}");
    }
    let claims = json!({"project": "shop", "scope": "send", "iss": "id.example", "aud": "mailwright", "sub": "a",
        "exp": jsonwebtoken::get_current_timestamp() + 600});
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("k1".to_owned());
    let token = |claims: &Value| {
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    };
    let good = token(&claims);
    for (mechanism, said) in [
        ("OAUTHBEARER", format!("n,a=a@example.org,\x01host=localhost\x01port=587\x01auth=Bearer {good}\x01\x01")),
        ("XOAUTH2", format!("user=a@example.org\x01auth=Bearer {good}\x01\x01")),
        ("PLAIN", format!("\0a\0{good}")),
    ] {
        let mut smtp = world.open().await;
        smtp.say("EHLO x").await;
        let reply = auth(&mut smtp, mechanism, &said).await;
        assert!(reply.starts_with("235"), "{mechanism}: {reply}");
        assert!(smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await.starts_with("250"));
    }
    let mut old = claims.clone();
    old["exp"] = json!(1000);
    for (mechanism, answer) in [("OAUTHBEARER", "AQ=="), ("XOAUTH2", "")] {
        let mut smtp = world.open().await;
        smtp.say("EHLO x").await;
        let head = if mechanism == "XOAUTH2" { "user=a" } else { "n,a=a," };
        let reply = auth(&mut smtp, mechanism, &format!("{head}\x01auth=Bearer {}\x01\x01", token(&old))).await;
        assert!(reply.starts_with("334 "), "{mechanism}: why, and then the refusal: {reply}");
        assert!(smtp.say(answer).await.starts_with("535 5.7.8"));
    }
    // A key that is revoked opens nothing more, in a session that it opened.
    let mut smtp = world.session().await;
    assert!(smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await.starts_with("250"));
    world.app.database.execute("UPDATE api_keys SET revoked_at = now()").await;
    assert!(smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await.starts_with("530 5.7.0"));
    // Too many wrong ones are the end.
    let mut smtp = world.open().await;
    smtp.say("EHLO x").await;
    let mut last = String::new();
    for _ in 0..20 {
        last = auth(&mut smtp, "PLAIN", "\0a\0mw_live_wrong").await;
    }
    assert!(last.starts_with("421"), "{last}");
}

#[tokio::test]
async fn keys_are_never_sent_in_the_clear_but_to_this_machine() {
    let world = World::start().await;
    let mut smtp = Conversation::open(world.starttls()).await;
    let offers = smtp.say("EHLO x").await;
    assert!(offers.contains("STARTTLS") && !offers.contains("AUTH") && !offers.contains("REQUIRETLS"), "{offers}");
    assert!(auth(&mut smtp, "PLAIN", "\0a\0b").await.starts_with("538 5.7.11"));
    assert!(smtp.say("MAIL FROM:<a@example.org>").await.starts_with("530 5.7.0 Must issue a STARTTLS command first"));
    assert!(smtp.say("EHLO x").await.starts_with("250"));
    let mut smtp = smtp.starttls(&world.tls, "localhost").await;
    assert!(auth(&mut smtp, "PLAIN", "\0a\0b").await.starts_with("503"), "what was said before is forgotten");
    smtp.log_in(&world.app.live).await;
    let offers = smtp.say("EHLO x").await;
    assert!(!offers.contains("STARTTLS") && !offers.contains("AUTH") && offers.contains("REQUIRETLS"), "{offers}");
    let reply = smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await;
    world.app.settled(&id_of(&reply)).await;
    // What follows STARTTLS in one breath was somebody else's word.
    let mut smtp = Conversation::open(world.starttls()).await;
    smtp.say("EHLO x").await;
    smtp.write(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n").await;
    assert_eq!(smtp.rest().await, "503 5.5.0 wait for the reply\r\n");

    let mut smtp = Conversation::open_secure(world.implicit(), &world.tls, "localhost").await;
    smtp.log_in(&world.app.live).await;
    assert!(smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await.starts_with("250"));
    // The clear has no business there.
    let mut smtp = tokio::net::TcpStream::connect(world.implicit()).await.unwrap();
    smtp.write_all(b"EHLO x\r\nQUIT\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = smtp.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"220"));
}

#[tokio::test]
async fn parameters_of_mail_and_header_fields_are_options_of_a_send() {
    let world = World::start().await;
    let live = &world.app.live;
    let mut smtp = Conversation::open_secure(world.implicit(), &world.tls, "localhost").await;
    let offers = smtp.say("EHLO x").await;
    for offer in [
        "DSN",
        "CHUNKING",
        "DELIVERBY",
        "MT-PRIORITY MIXER",
        "LIMITS RCPTMAX=1000",
        "SIZE 26214400",
        "FUTURERELEASE 7776000 20",
    ] {
        assert!(
            offers.contains(&format!("250-{offer}")) || offers.contains(&format!("250 {offer}")),
            "{offer}: {offers}"
        );
    }
    smtp.log_in(live).await;
    let parameters = "<a@example.org> RET=HDRS ENVID=a+2Bb HOLDFOR=3600 BY=7200;R MT-PRIORITY=3 REQUIRETLS SIZE=500";
    smtp.say(&format!("MAIL FROM:{parameters}")).await;
    assert!(smtp.say("RCPT TO:<ann@example.net> NOTIFY=FAILURE ORCPT=rfc822;ann@example.net").await.starts_with("250"));
    smtp.say("DATA").await;
    let id = id_of(&smtp.say(&format!("{}.", letter(""))).await);
    let message = world.app.message(&id).await;
    assert_eq!((&message["status"], &message["metadata"]), (&json!("scheduled"), &json!({"envid": "a+b"})));
    assert_eq!(message["priority"], "high");
    let span = |from: &str, to: &str| {
        let at = |name: &str| {
            time::OffsetDateTime::parse(message[name].as_str().unwrap(), &time::format_description::well_known::Rfc3339)
        };
        (at(to).unwrap() - at(from).unwrap()).whole_seconds()
    };
    assert!((3595..=3605).contains(&span("created_at", "send_at")));
    assert_eq!(span("send_at", "expires_at"), 7200);
    let raw = world.app.database.count("SELECT count(*) FROM scheduled_messages").await;
    assert_eq!(raw, 1);
    // The same by header fields, and what they may not say.
    let fields = "X-PM-Tag: a b\r\nX-Mailgun-Tag: c\r\nX-SES-MESSAGE-TAGS: d=e\r\nX-Mailwright-TTL-Seconds: 60\r\n";
    let id = id_of(&world.submit(fields).await);
    let message = world.app.settled(&id).await;
    assert_eq!((&message["tags"], &message["metadata"]), (&json!(["a b", "c"]), &json!({"d": "e"})));
    let copy = world.sink.until_taken(1).await.remove(0);
    let text = String::from_utf8(copy.data).unwrap();
    assert!(!text.contains("X-PM") && !text.contains("X-SES") && !text.contains("X-Mail"), "{text}");
    for (fields, words) in [
        ("X-Mailwright-Snd-At: 2026\r\n", "X-Mailwright-Snd-At: no such header field is known"),
        ("X-Mailwright-Send-At: tomorrow\r\n", "X-Mailwright-Send-At: is not an RFC 3339"),
        ("X-Mailwright-Tag: \u{1}\r\n", "control character"),
        ("X-Mailwright-Priority: urgent\r\n", "X-Mailwright-Priority: must be one of"),
        ("X-Mailwright-Unsubscribe: news\r\n", "X-Mailwright-Unsubscribe: is not done"),
        ("X-Mailwright-Sandbox: 250\r\n", "only mail of a test key"),
        ("X-SMTPAPI: {\"to\": [\"a@example.org\"]}\r\n", "X-SMTPAPI: to is not done"),
        ("X-PM-Track-Opens: true\r\n", "X-PM-Track-Opens: is not done"),
        ("X-Mailwright-IP-Pool: none\r\n", "there is no pool 'none'"),
        ("Date: a\r\nDate: b\r\n", "2 Date fields"),
        ("From: other@example.org\r\n", "several From fields"),
        ("nothing at all\r\n", "line 4 is no header field"),
        ("X-Mailwright-Idempotency-Key: ä\r\n", "X-Mailwright-Idempotency-Key: must be 1 to 255"),
    ] {
        let reply = world.submit(fields).await;
        assert!(reply.starts_with("550 5.6.0") && reply.contains(words), "{fields}: {reply}");
    }
    assert_eq!(world.sink.taken_count(), 1, "nothing of it was sent");
    // A key, said again with the same message as another program run makes it: one message.
    let one = world.submit("Idempotency-Key: order-7\r\nMessage-ID: <1@example.org>\r\n").await;
    let other = world.submit("Resend-Idempotency-Key: order-7\r\nMessage-ID: <2@example.org>\r\n").await;
    assert_eq!(id_of(&one), id_of(&other));
    let third = world
        .session()
        .await
        .submit("<a@b.example>", &["bob@example.net"], &letter("Idempotency-Key: order-7\r\n"))
        .await;
    assert!(third.starts_with("554 5.6.0"), "{third}");
}

#[tokio::test]
async fn a_notice_keeps_its_null_path_and_a_test_key_its_inbox() {
    let world = World::start().await;
    let reply =
        world.session().await.submit("<>", &["ann@example.net"], &letter("Auto-Submitted: auto-replied\r\n")).await;
    world.app.settled(&id_of(&reply)).await;
    assert_eq!(world.sink.until_taken(1).await[0].sender, "");
    // Later, too.
    let reply = world
        .session()
        .await
        .submit("<> HOLDFOR=1", &["bob@example.net"], &letter("Auto-Submitted: auto-replied\r\n"))
        .await;
    world.app.until(&id_of(&reply), "it to be sent", |message| message["status"] == "delivered").await;
    assert_eq!(world.sink.until_taken(2).await[1].sender, "");
    let mut smtp = world.open().await;
    smtp.log_in(&world.app.test).await;
    let reply =
        smtp.submit("<a@example.org>", &["cyd@example.net"], &letter("X-Mailwright-Sandbox: 550 5.1.1\r\n")).await;
    let id = id_of(&reply);
    let answer = world.app.get_as(&world.app.test, &format!("/v1/messages/{id}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.sink.taken_count(), 2);
}

#[tokio::test]
async fn refusals_say_why_and_good_recipients_are_not_lost_with_bad_ones() {
    let world = World::start().await;
    let mut smtp = world.session().await;
    smtp.say("MAIL FROM:<a@example.org>").await;
    for (path, code) in [
        ("nobody", "553 5.1.3"),
        ("a@b..example", "553 5.1.3"),
        ("@relay.example:ann@example.net", "250"),
        ("ü@example.net", "553 5.6.7"),
        ("\"quoted > bracket\"@example.net", "250"),
        ("a@[127.0.0.1]", "553 5.1.3"),
    ] {
        let said = smtp.say(&format!("RCPT TO:<{path}>")).await;
        assert!(said.starts_with(code), "{path}: {said}");
    }
    smtp.say("DATA").await;
    let id = id_of(&smtp.say(&format!("{}.", letter(""))).await);
    assert_eq!(world.app.settled(&id).await["recipients"].as_array().unwrap().len(), 2);
    assert!(smtp.say("MAIL FROM:<a@example.org> SIZE=99999999").await.starts_with("552 5.3.4"));
    assert!(smtp.say("MAIL FROM:<a@example.org> SMTPUTF8").await.starts_with("250"));
    assert!(smtp.say("AUTH PLAIN AA==").await.starts_with("503"), "within a message");
    assert!(smtp.say("RCPT TO:<ü@example.net>").await.starts_with("250"));
    assert!(smtp.say("DATA").await.starts_with("354"));
    assert!(smtp.say(&format!("{}.", letter(""))).await.starts_with("250"));
    // Nobody's: all recipients were refused.
    smtp.say("MAIL FROM:<a@example.org>").await;
    smtp.say("RCPT TO:<nobody>").await;
    assert!(smtp.say("DATA").await.starts_with("503"));
    // Whose domain it is, the door says.
    let (key, scoped) = (
        &world.app.live,
        json!({"name": "one domain", "mode": "live", "scopes": ["send"], "from_domains": ["example.com"]}),
    );
    let admin = create_key(&world.app.database.url, "shop", "live", "admin").await;
    let made = world.app.call_as(&admin, "POST", "/v1/keys", &[], scoped.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let mut smtp = world.open().await;
    smtp.log_in(made.json()["key"].as_str().unwrap()).await;
    let reply = smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await;
    assert!(reply.starts_with("550 5.7.1") && reply.contains("example.org"), "{reply}");
    // A key that may only read cannot open the door.
    let reader = create_key(&world.app.database.url, "shop", "live", "messages:read").await;
    let mut smtp = world.open().await;
    smtp.say("EHLO x").await;
    let said = auth(&mut smtp, "PLAIN", &format!("\0a\0{reader}")).await;
    assert!(said.starts_with("535 5.7.8") && said.contains("scope"), "{said}");
    assert_ne!(&reader, key);
}

#[tokio::test]
async fn a_message_may_come_in_chunks() {
    let world =
        World::start_with(|setup| setup.set("limits.message", "100KiB").set("submission.memory", "256KiB")).await;
    let mut smtp = world.session().await;
    let message = letter("X-A: b\r\n");
    let (one, two) = message.split_at(60);
    // All at once, as it is allowed to be.
    let group = format!(
        "MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.net>\r\nBDAT {}\r\n{one}BDAT {}\r\n{two}BDAT 0 LAST\r\n",
        one.len(),
        two.len()
    );
    smtp.write(group.as_bytes()).await;
    for wanted in ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"] {
        let reply = smtp.reply().await;
        assert!(reply.starts_with(wanted), "{reply}");
    }
    let id = id_of(&smtp.reply().await);
    world.app.settled(&id).await;
    assert!(world.sink.until_taken(1).await[0].data.ends_with(message.as_bytes()));
    // A dot alone is a dot.
    let dotted = letter("") + ".\r\nstill\r\n";
    smtp.write(
        format!("MAIL FROM:<a@example.org>\r\nRCPT TO:<bob@example.net>\r\nBDAT {} LAST\r\n{dotted}", dotted.len())
            .as_bytes(),
    )
    .await;
    smtp.reply().await;
    smtp.reply().await;
    world.app.settled(&id_of(&smtp.reply().await)).await;
    assert!(world.sink.until_taken(2).await[1].data.ends_with(b".\r\nstill\r\n"));
    // Out of order, and what follows a refusal is not taken for commands.
    smtp.write(b"BDAT 6\r\nQUIT\r\n").await;
    assert!(smtp.reply().await.starts_with("503"));
    smtp.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.net>\r\nBDAT 4\r\nabc\n").await;
    for wanted in ["250", "250", "250"] {
        assert!(smtp.reply().await.starts_with(wanted));
    }
    assert!(smtp.say("DATA").await.starts_with("503"), "chunks and DATA do not mix");
    assert!(smtp.say("RCPT TO:<bob@example.net>").await.starts_with("503"));
    assert!(smtp.say("BDAT 0 LAST").await.starts_with("550 5.6.11"), "a bare LF");
    // Too large: it is read, and the session goes on.
    smtp.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.net>\r\nBDAT 150000\r\n").await;
    smtp.write(&vec![b'x'; 150_000]).await;
    for wanted in ["250", "250", "552 5.3.4"] {
        let reply = smtp.reply().await;
        assert!(reply.starts_with(wanted), "{reply}");
    }
    assert!(smtp.submit("<a@example.org>", &["ann@example.net"], &letter("")).await.starts_with("250"));
    smtp.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.net>\r\nBDAT 99999999999\r\n").await;
    assert!(smtp.rest().await.contains("500 5.5.6"));
}

#[tokio::test]
async fn a_store_that_is_away_is_no_wrong_password() {
    let database = Arc::new(Database::new().await);
    let proxy = Proxy::start(&database.url).await;
    let (tls, sink) = (TestTls::new("localhost"), Sink::start().await);
    let app = setup(&tls)
        .on(&database)
        .set("database.url", &proxy.url)
        .set("database.timeout", "300ms")
        .set("auth.cache", "0s")
        .route_to(sink.address)
        .start()
        .await;
    let mut known = Conversation::open(app.service.submission[0]).await;
    known.log_in(&app.live).await;
    proxy.set(Weather::Frozen);
    let mut smtp = Conversation::open(app.service.submission[0]).await;
    smtp.say("EHLO x").await;
    let said = auth(&mut smtp, "PLAIN", &format!("\0a\0{}", app.live)).await;
    assert!(said.starts_with("454 4.7.0"), "{said}");
    let said = auth(&mut smtp, "PLAIN", "\0a\0no key at all").await;
    assert!(said.starts_with("535"), "what is no key is none, whoever is away: {said}");
    let reply = known.submit("<a@example.org>", &["ann@example.net"], &letter("")).await;
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    proxy.set(Weather::Fair);
    let reply = known.submit("<a@example.org>", &["ann@example.net"], &letter("")).await;
    app.settled(&id_of(&reply)).await;
}

#[tokio::test]
async fn what_smuggles_and_floods_is_refused_and_others_go_on() {
    let world = World::start_with(|setup| {
        setup.set("submission.timeout", "500ms").set("limits.message", "64KiB").set("submission.memory", "1MiB")
    })
    .await;
    // Each ends in a way that some server takes for the end of a message; none is here, and what has them is not sent on.
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n\0.\r\n", "\r\n.\r\r\n"] {
        let mut smtp = world.session().await;
        smtp.say("MAIL FROM:<a@example.org>").await;
        smtp.say("RCPT TO:<ann@example.net>").await;
        smtp.say("DATA").await;
        let smuggled = format!(
            "{}{end}MAIL FROM:<evil@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\nFrom: e@example.org\r\n\r\n.\r\n",
            letter("")
        );
        smtp.write(smuggled.as_bytes()).await;
        let reply = smtp.reply().await;
        assert!(reply.starts_with("550 5.6."), "{end:?}: {reply}");
        assert!(smtp.say("QUIT").await.starts_with("221"), "{end:?}: one reply");
    }
    let long = format!("X-Long: {}\r\n", "x".repeat(1000));
    assert!(world.submit(&long).await.starts_with("550 5.6.0"));
    let held: Vec<_> = {
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(world.open().await);
        }
        held
    };
    for smtp in held {
        assert!(smtp.rest().await.starts_with("421 4.4.2"), "who says nothing is let go");
    }
    let floods: Vec<Vec<u8>> = vec![
        vec![b'A'; 1 << 20],
        [b"EHLO x\r\nAUTH PLAIN ".to_vec(), vec![b'A'; 13_000], b"\r\n".to_vec()].concat(),
        [b"EHLO ".to_vec(), vec![b'A'; 5000], b"\r\n".to_vec()].concat(),
        b"\r\n".repeat(1000),
        b"EHLO x\r\nRSET\r\n".repeat(5000),
        b"AUTH PLAIN AA==\r\n".repeat(100),
        b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n".repeat(100),
        vec![0; 100_000],
        (0..=255).collect(),
        b"EHLO x\nMAIL FROM:<a@b.example>\n".to_vec(),
    ];
    for flood in floods {
        let mut smtp = world.open().await;
        smtp.write(&flood).await;
        let rest = smtp.rest().await;
        let last = rest.lines().last().unwrap_or_default().to_owned();
        assert!(last.is_empty() || last.starts_with('5') || last.starts_with("421"), "{last}");
    }
    // A program that begins a message and says nothing more holds its memory for a while only.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut smtp = world.session().await;
        smtp.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.net>\r\nBDAT 60000\r\nx").await;
        slow.push(smtp);
    }
    for smtp in slow {
        assert!(smtp.rest().await.contains("421 4.4.2"));
    }
    assert_eq!(world.sink.taken_count(), 0);
    assert!(world.submit("").await.starts_with("250"));
}

#[tokio::test]
async fn a_proxy_says_who_calls_and_nobody_else_does() {
    let world = World::start_with(|setup| setup.set("submission.proxies", "127.0.0.0/8")).await;
    let app = &world.app;
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let fields = json!({"name": "office", "mode": "live", "scopes": ["send"], "allowed_ips": ["192.0.2.0/24"]});
    let made = app.call_as(&admin, "POST", "/v1/keys", &[], fields.to_string().into_bytes()).await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    for (caller, wanted) in [("192.0.2.7", "235"), ("198.51.100.7", "535")] {
        let mut smtp = connect_proxied(world.plain(), caller).await;
        smtp.say("EHLO x").await;
        let said = auth(&mut smtp, "PLAIN", &format!("\0a\0{key}")).await;
        assert!(said.starts_with(wanted), "{caller}: {said}");
    }
    // A proxy that does not say it is let go.
    let mut stream = tokio::net::TcpStream::connect(world.plain()).await.unwrap();
    stream.write_all(b"EHLO mx.example.net\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    // Who is no proxy cannot say who they are.
    let world = World::start().await;
    let mut stream = tokio::net::TcpStream::connect(world.plain()).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 587\r\nQUIT\r\n").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("500 5.5.1") && rest.contains("221"), "{rest}");
}

async fn connect_proxied(address: SocketAddr, caller: &str) -> Conversation {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("PROXY TCP4 {caller} 198.51.100.1 56324 587\r\n").as_bytes()).await.unwrap();
    Conversation::over(Box::new(stream)).await
}

#[tokio::test]
async fn bare_line_ends_are_mended_where_that_is_wanted() {
    let world = World::start_with(|setup| setup.set("submission.line_ends", "mend")).await;
    let message = "From: shop@example.org\nSubject: Hello\n\nIt works.\n.\nstill\n";
    let mut smtp = world.session().await;
    smtp.say("MAIL FROM:<a@example.org>").await;
    smtp.say("RCPT TO:<ann@example.net>").await;
    smtp.say("DATA").await;
    let id = id_of(&smtp.say(&format!("{message}\r\n.")).await);
    world.app.settled(&id).await;
    let data = world.sink.until_taken(1).await.remove(0).data;
    assert!(data.ends_with(b"\r\n\r\nIt works.\r\n.\r\nstill\r\n\r\n"), "{}", String::from_utf8_lossy(&data));
}

#[tokio::test]
async fn a_certificate_that_changes_is_shown_without_a_restart() {
    let world = World::start().await;
    let renewed = TestTls::new("localhost");
    let file = &world.tls.chain_file;
    std::fs::copy(&renewed.chain_file, file).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(later).unwrap();
    let mut smtp = Conversation::open_secure(world.implicit(), &renewed, "localhost").await;
    smtp.log_in(&world.app.live).await;
}

/// Messages in sessions that are kept, each to a recipient of its own; gives to whom a 250 was said, and with which id.
async fn load(address: &str, key: &str, range: std::ops::Range<usize>) -> Vec<(String, String)> {
    let next = Arc::new(AtomicUsize::new(range.start));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (address, key, next, end) = (address.parse().unwrap(), key.to_owned(), Arc::clone(&next), range.end);
        senders.spawn(async move {
            let mut acknowledged = Vec::new();
            let mut smtp = Conversation::open(address).await;
            smtp.log_in(&key).await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return acknowledged;
                }
                let to = format!("r{number}@example.net");
                let reply = smtp.submit("<a@example.org>", &[&to], &letter("")).await;
                // The process is gone; whoever sends would come back to its successor.
                if reply.is_empty() {
                    return acknowledged;
                }
                acknowledged.push((to, id_of(&reply)));
            }
        });
    }
    within("the load", senders.join_all()).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn kill_9_at_full_load_loses_nothing_that_was_answered_with_250() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::start().await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [
        ("delivery.route", &*route),
        ("queue.lease", "2s"),
        ("delivery.sessions", "4"),
        ("submission.listen", "plain://127.0.0.1:0"),
    ];
    let mut first = Server::start(&database.url, &settings).await;
    let address = first.line("submission on ").await;
    let loading = {
        let key = key.clone();
        tokio::spawn(async move { load(&address, &key, 0..3000).await })
    };
    sink.until_taken(150).await;
    first.kill().await;
    let mut acknowledged = within("the load", loading).await.unwrap();
    assert!((100..3000).contains(&acknowledged.len()), "the kill came in the middle");
    let mut second = Server::start(&database.url, &settings).await;
    let address = second.line("submission on ").await;
    acknowledged.extend(load(&address, &key, 3000..3050).await);
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let ledger = sink.ledger();
    let taken: std::collections::HashSet<_> = ledger.iter().map(|copy| copy.recipient.as_str()).collect();
    for (to, id) in &acknowledged {
        assert!(taken.contains(&**to), "{to} was acknowledged as {id} and is lost");
    }
    second.signal("TERM").await;
    assert_eq!(second.ended().await, Some(0));
}

#[tokio::test]
async fn idle_sessions_cost_little_and_all_of_them_still_send() {
    let nightly = std::env::var_os("MAILWRIGHT_NIGHTLY").is_some();
    let count = if nightly { 2000 } else { 100 };
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "test", "").await;
    let tls = TestTls::new("localhost");
    let files = tls.files();
    let (cert, private) = (files.0.display().to_string(), files.1.display().to_string());
    let settings = [
        ("submission.listen", "tls://127.0.0.1:0"),
        ("submission.tls_cert", &*cert),
        ("submission.tls_key", &*private),
    ];
    let mut server = Server::start(&database.url, &settings).await;
    let address = server.line("submission on ").await.parse().unwrap();
    let pid = server.child.id().unwrap();
    // What is made once is not counted.
    let mut sessions = vec![Conversation::open_secure(address, &tls, "localhost").await];
    let before = resident(pid);
    for _ in 0..count {
        let mut smtp = Conversation::open_secure(address, &tls, "localhost").await;
        smtp.log_in(&key).await;
        sessions.push(smtp);
    }
    let grown = resident(pid).saturating_sub(before);
    if nightly {
        let path = std::env::temp_dir().join("mailwright-idle-sessions");
        std::fs::write(path, format!("{count} idle sessions under TLS: {grown} KiB\n")).unwrap();
        assert!(grown <= 100 << 10, "{grown} KiB for {count} sessions");
    }
    let last = sessions.len() - 1;
    for at in [1, last / 2, last] {
        let reply = sessions[at].submit("<a@example.org>", &["ann@example.net"], &letter("")).await;
        id_of(&reply);
    }
    server.signal("TERM").await;
    // Each is told why it ends.
    assert!(sessions.pop().unwrap().rest().await.starts_with("421 4.3.2"));
    drop(sessions);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_postfix_relays_through_us_by_user_and_password() {
    let world = World::start().await;
    let port = world.starttls().port();
    let settings = |key: &str| {
        format!(
            "relayhost = [localhost]:{port}
smtp_host_lookup = native
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ {{ [localhost]:{port} = mailwright:{key} }} }}
smtp_tls_security_level = secure
smtp_tls_CAfile = {}",
            world.tls.ca_file.display()
        )
    };
    let mut postfix = Postfix::start(&settings(&world.app.live), &[""], world.starttls()).await;
    let mut smtp = Conversation::open(SocketAddr::from(([127, 0, 0, 1], postfix.port(0)))).await;
    smtp.say("EHLO app.example").await;
    let to = ["ann@example.net", "bob@example.net", "nobody@localhost"];
    let reply = smtp.submit("<app@example.org>", &to, &letter("X-PM-Tag: relayed\r\n")).await;
    assert!(reply.starts_with("250"), "{reply}");
    let log = postfix
        .until("Postfix to relay", |said| {
            let of = |what: &str| said.iter().filter(|line| line.contains(what)).count();
            of("status=sent (250 2.0.0 Ok: queued as msg_") >= 2 && of("status=bounced") >= 1
        })
        .await;
    assert!(log.iter().any(|line| line.contains("to=<nobody@localhost>") && line.contains("553 5.1.3")), "{log:#?}");
    let sent = log.iter().find(|line| line.contains("to=<ann@example.net>")).unwrap();
    let id = sent.split("queued as ").nth(1).unwrap().trim_end_matches(')');
    let message = world.app.settled(id).await;
    assert_eq!((&message["tags"], message["recipients"].as_array().unwrap().len()), (&json!(["relayed"]), 2));
    // With a wrong key it waits, and nothing is lost.
    let mut postfix = Postfix::start(&settings("mw_live_wrong"), &[""], world.starttls()).await;
    let mut smtp = Conversation::open(SocketAddr::from(([127, 0, 0, 1], postfix.port(0)))).await;
    smtp.say("EHLO app.example").await;
    smtp.submit("<app@example.org>", &["ann@example.net"], &letter("")).await;
    postfix
        .until("the refusal", |said| {
            said.iter().any(|line| line.contains("status=deferred") && line.contains("535 5.7.8"))
        })
        .await;
}

#[tokio::test]
async fn one_message_or_project_keeps_nobody_else_waiting() {
    let world = World::start_with(|setup| setup.set("auth.cache", "0s")).await;
    let many: Vec<_> = (0..900).map(|n| format!("X-PM-Tag: {n}\r\n")).collect();
    let many = many.concat();
    for fields in [
        many,
        format!(
            "X-SMTPAPI: {{\"category\": [{}\"x\"]}}\r\n",
            (0..900).map(|n| format!("\"{n}\",\r\n ")).collect::<Vec<_>>().concat()
        ),
        "a:\r\n".repeat(300_000),
    ] {
        let reply = world.submit(&fields).await;
        assert!(reply.starts_with("550 5.6.0"), "{reply}");
    }
    // What a chunk is said to have holds no memory, and what one project holds leaves others theirs.
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut smtp = world.session().await;
        smtp.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<ann@example.net>\r\nBDAT 26214400\r\n").await;
        smtp.write(&vec![b'x'; 8 << 20]).await;
        held.push(smtp);
    }
    let other = create_key(&world.app.database.url, "other", "live", "").await;
    let mut smtp = world.open().await;
    smtp.log_in(&other).await;
    let text = letter("") + &"z\r\n".repeat(300_000);
    assert!(smtp.submit("<a@example.org>", &["bob@example.net"], &text).await.starts_with("250"));
    drop(held);
    // A key that is revoked while a message comes in sends it no more.
    let mut smtp = world.session().await;
    smtp.say("MAIL FROM:<a@example.org>").await;
    smtp.say("RCPT TO:<ann@example.net>").await;
    assert!(smtp.say("DATA").await.starts_with("354"));
    world.app.database.execute("UPDATE api_keys SET revoked_at = now()").await;
    let reply = smtp.say(&format!("{}.", letter(""))).await;
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
}

#[tokio::test]
async fn what_ends_where_is_never_guessed_and_who_is_too_many_is_put_off() {
    let world = World::start_with(|setup| setup.set("limits.recipients", 3)).await;
    // Who nobody knows has no octets to send; what cannot be read has octets behind it that are no commands.
    let mut smtp = world.open().await;
    smtp.say("EHLO x").await;
    smtp.write(b"BDAT 1000000\r\n").await;
    assert_eq!(smtp.rest().await, "503 5.5.1 AUTH comes first\r\n");
    for line in ["BDAT 99999999999999999999999 LAST", "BDAT 0x20 LAST", "bdat"] {
        let mut smtp = world.session().await;
        smtp.write(format!("{line}\r\nRSET\r\nNOOP\r\n").as_bytes()).await;
        assert_eq!(smtp.rest().await, "501 5.5.4 BDAT cannot be read\r\n", "{line}");
    }
    let mut smtp = world.session().await;
    smtp.say("MAIL FROM:<a@example.org>").await;
    for n in 0..60 {
        let said = smtp.say(&format!("RCPT TO:<r{n}@example.net>")).await;
        assert!(said.starts_with(if n < 3 { "250" } else { "452 4.5.3" }), "{n}: {said}");
    }
    smtp.say("DATA").await;
    let id = id_of(&smtp.say(&format!("{}.", letter(""))).await);
    assert_eq!(world.app.settled(&id).await["recipients"].as_array().unwrap().len(), 3);
    // A message in many small pieces is one.
    smtp.say("MAIL FROM:<a@example.org>").await;
    smtp.say("RCPT TO:<ann@example.net>").await;
    let head = letter("");
    smtp.say(&format!("BDAT {}\r\n{}", head.len(), head.trim_end())).await;
    let piece = "x".repeat(62) + "\r\n";
    for _ in 0..400 {
        let said = smtp.say(&format!("BDAT 1024\r\n{}", piece.repeat(16).trim_end())).await;
        assert!(said.starts_with("250 2.0.0"), "{said}");
    }
    id_of(&smtp.say("BDAT 0 LAST").await);
    // One author, in whatever letters, now or later; what stands twice is not sent.
    let idn = "From: a@b\u{fc}cher.example\r\nSubject: x\r\n\r\nx\r\n";
    let reply = smtp.submit("<a@example.org> SMTPUTF8 HOLDFOR=1", &["ann@example.net"], idn).await;
    world.app.until(&id_of(&reply), "it to be sent", |message| message["status"] == "delivered").await;
    for field in
        ["From: =?utf-8?q?ceo=40victim.example?=", "from: undisclosed", "Subject: another", "To: x@example.net"]
    {
        let reply = world.submit(&format!("{field}\r\n")).await;
        assert!(reply.starts_with("550 5.6.0") && reply.contains("several"), "{field}: {reply}");
    }
    assert!(smtp.say("MAIL FROM:<a@example.org> HOLDFOR=99999999").await.starts_with("501 5.5.4"));
}

#[tokio::test]
async fn a_commit_that_is_slow_is_waited_for_and_makes_one_message() {
    let world = World::start_with(|setup| setup.set("database.timeout", "500ms")).await;
    let slow =
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$";
    world.app.database.execute(slow).await;
    let trigger = "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()";
    world.app.database.execute(trigger).await;
    let reply = world.submit("").await;
    let id = id_of(&reply);
    world.app.settled(&id).await;
    assert_eq!(world.app.database.count("SELECT count(*) FROM messages").await, 1);
    assert_eq!(world.sink.taken_count(), 1);
}
