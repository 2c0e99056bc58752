//! What comes back by mail: by SMTP from friends and strangers, over HTTP and from a maildir; on whom it is charged, and what follows.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::app::{App, Setup, message_to};
use crate::support::conversation::Conversation;
use crate::support::dns::{Dns, Zone};
use crate::support::process::{command, create_key, create_operator_key, run};
use crate::support::sink::Sink;
use crate::support::tls::TestTls;
use crate::support::within;

const DOMAIN: &str = "example.org";

/// A service that delivers to a sink from a domain whose return path leads back to it.
struct World {
    app: App,
    sink: Sink,
    dns: Dns,
}

impl World {
    async fn start() -> Self {
        Self::start_with(Setup::new()).await
    }

    async fn start_with(setup: Setup) -> Self {
        let (sink, dns) = (Sink::start().await, Dns::start(&[]).await);
        let app = setup
            .route_to(sink.address)
            .set("dns.servers", dns.address)
            .set("inbound.host", "in.mail.example")
            .set("inbound.listen", "127.0.0.1:0")
            .set("dkim.cache", "0s")
            .start()
            .await;
        let added =
            run(&app.database.url, &["domains", "add", "--project", "shop", "--algorithm", "ed25519-sha256", DOMAIN])
                .await;
        assert!(added.status.success());
        app.database.execute("UPDATE domains SET has_return_path = true").await;
        Self { app, sink, dns }
    }

    /// Delivers a message to these; gives its id, and of each recipient the envelope sender that the sink saw.
    async fn delivered(&self, to: &[&str]) -> (String, Vec<String>) {
        let before = self.sink.taken_count();
        let mut message = message_to(to[0]);
        message["to"] = json!(to);
        let id = self.app.send(&message).await;
        self.app.settled(&id).await;
        let taken = self.sink.until_taken(before + to.len()).await;
        let of =
            |address: &&str| taken[before..].iter().find(|copy| copy.recipient == **address).unwrap().sender.clone();
        (id, to.iter().map(of).collect())
    }

    async fn smtp(&self) -> Conversation {
        Conversation::open(self.app.service.inbound[0]).await
    }

    /// Hands in a letter by SMTP; gives the reply to its end.
    async fn deliver(&self, to: &str, letter: &str) -> String {
        let mut smtp = self.smtp().await;
        smtp.say("EHLO mx.example.net").await;
        assert!(smtp.say("MAIL FROM:<>").await.starts_with("250"));
        let rcpt = smtp.say(&format!("RCPT TO:<{to}>")).await;
        if !rcpt.starts_with("250") {
            return rcpt;
        }
        assert!(smtp.say("DATA").await.starts_with("354"));
        let stuffed = letter.replace("\r\n.", "\r\n..");
        smtp.say(&format!("{stuffed}\r\n.")).await
    }

    async fn reports(&self, id: &str) -> Vec<Value> {
        self.app.get(&format!("/v1/messages/{id}/reports")).await.json()["data"].as_array().unwrap().clone()
    }

    async fn event_types(&self, id: &str) -> Vec<String> {
        let events = self.app.events(id).await;
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    async fn suppressed(&self) -> Vec<(String, String)> {
        let listed = self.app.get("/v1/suppressions").await.json();
        let entry =
            |entry: &Value| (entry["email"].as_str().unwrap().to_owned(), entry["reason"].as_str().unwrap().to_owned());
        listed["data"].as_array().unwrap().iter().map(entry).collect()
    }
}

/// A notice of non-delivery (RFC 3464).
fn dsn(recipient: &str, action: &str, status: &str, diagnostic: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\nDiagnostic-Code: smtp; {diagnostic}\r\n\r\n--b--\r\n"
    )
}

/// A complaint (RFC 5965) from that domain.
fn complaint(kind: &str, from: &str, path: &str) -> String {
    format!(
        "From: fbl@{from}\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nAn abuse report.\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nUser-Agent: x/1\r\nVersion: 1\r\nOriginal-Mail-From: <{path}>\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nFrom: shop@example.org\r\nSubject: Hello\r\n\r\nIt works.\r\n--b--\r\n"
    )
}

/// The letter as a loop of that domain signs it; gives the key's record, too.
fn signed(domain: &str, letter: &str) -> (String, String) {
    use mailwright::compose::dkim::{SigningKey, generate, sign};
    use mailwright::domain::clock::Clock;
    let algorithm = mailwright::domain::dkim::Algorithm::Ed25519Sha256;
    let key = SigningKey::parse(domain, "fbl", algorithm, &generate(algorithm).unwrap()).unwrap();
    let record = key.record().unwrap();
    let now = mailwright::ambient::SystemClock.now();
    (String::from_utf8(sign(letter.as_bytes().to_vec(), &[std::sync::Arc::new(key)], now).unwrap()).unwrap(), record)
}

#[tokio::test]
async fn a_notice_is_charged_to_its_recipient_once_and_what_was_delivered_stays_so() {
    let world = World::start().await;
    let (id, paths) = world.delivered(&["ann@example.net", "bob@example.net"]).await;
    assert!(
        paths[0] != paths[1]
            && paths.iter().all(|path| path.starts_with("bounce+") && path.ends_with("@bounce.example.org")),
        "{paths:?}"
    );
    let notice = dsn("bob@example.net", "failed", "5.1.1", "550 5.1.1 no such user");
    // Some servers fold the case of what they return.
    for path in [paths[1].clone(), paths[1].to_uppercase(), paths[1].clone()] {
        let reply = world.deliver(&path, &notice).await;
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    let message = world.app.message(&id).await;
    assert!(
        message["recipients"].as_array().unwrap().iter().all(|recipient| recipient["status"] == "delivered"),
        "{message}"
    );
    let reports = world.reports(&id).await;
    assert_eq!(reports.len(), 1, "one letter about one recipient is one, however it came: {reports:#?}");
    assert_eq!(
        (&reports[0]["meaning"], &reports[0]["outcome"], &reports[0]["source"]),
        (&json!("failed"), &json!("told"), &json!("smtp"))
    );
    assert_eq!(reports[0]["recipient_id"], message["recipients"][1]["id"]);
    assert!(reports[0]["raw"].as_str().unwrap().contains("Undelivered Mail"));
    let events = world.app.events(&id).await;
    let told = events.iter().find(|event| event["type"] == "message.bounced_later").unwrap();
    assert_eq!(
        (&told["recipient_id"], &told["reply"]["code"], &told["reply"]["class"]),
        (&message["recipients"][1]["id"], &json!(550), &json!("bad_mailbox")),
        "{told}"
    );
    assert_eq!(world.suppressed().await, [("bob@example.net".to_owned(), "bounce".to_owned())]);
    // Who has a token can write many; among how mail fares they are one.
    for n in 0..3 {
        let another = notice.replace("no such user", &format!("no such user {n}"));
        assert!(world.deliver(&paths[1], &another).await.starts_with("250"));
    }
    let counted = "SELECT COALESCE(sum(rejected), 0)::bigint FROM outcomes";
    assert_eq!(world.app.database.count(counted).await, 1);
    assert!(
        world
            .app
            .metric("mailwright_inbound_letters_total{meaning=\"failed\",outcome=\"told\",source=\"smtp\"} ")
            .await
            > 0.9
    );
}

#[tokio::test]
async fn what_is_no_bounce_is_noted_and_suppresses_nobody() {
    let world = World::start().await;
    for (letter, meaning) in [
        (dsn("ann@example.net", "delayed", "4.4.1", "451 4.4.1 try again"), "delayed"),
        (dsn("ann@example.net", "relayed", "2.0.0", "250 ok"), "delivered"),
        ("From: ann@example.net\r\nAuto-Submitted: auto-replied\r\nSubject: Out of office\r\n\r\nno such user here until Monday\r\n".to_owned(), "auto_reply"),
        ("From: ann@example.net\r\nSubject: Re: Hello\r\n\r\nThank you!\r\n".to_owned(), "other"),
        (complaint("not-spam", "loop.example", "x@y.example"), "not_spam"),
        (complaint("auth-failure", "loop.example", "x@y.example"), "auth_failure"),
    ] {
        let (id, paths) = world.delivered(&["ann@example.net"]).await;
        assert!(world.deliver(&paths[0], &letter).await.starts_with("250"));
        let reports = world.reports(&id).await;
        assert_eq!((&reports[0]["meaning"], &reports[0]["outcome"]), (&json!(meaning), &json!("noted")));
        assert_eq!(world.event_types(&id).await, ["message.queued", "message.delivered"], "{meaning}");
    }
    // A mailbox that is full speaks of today, not of the address.
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    world.deliver(&paths[0], &dsn("ann@example.net", "failed", "5.2.2", "552 5.2.2 mailbox full")).await;
    assert_eq!(world.event_types(&id).await.last().unwrap(), "message.bounced_later");
    // Where mail is sent on, it is charged to whom it was sent.
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    world.deliver(&paths[0], &dsn("else@where.example", "failed", "5.2.2", "552 5.2.2 mailbox full")).await;
    assert_eq!(world.reports(&id).await[0]["detail"]["forwarded_to"], "else@where.example");
    assert_eq!(world.suppressed().await, []);
}

#[tokio::test]
async fn nothing_but_reports_is_taken_and_a_forged_token_counts_for_nothing() {
    let world = World::start().await;
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    let forged = |path: &str| path.replacen("bounce+a", "bounce+b", 1);
    let mut smtp = world.smtp().await;
    smtp.say("EHLO mx.example.net").await;
    smtp.say("MAIL FROM:<evil@example.net>").await;
    for to in [
        &forged(&paths[0]),
        "ann@example.net",
        "ann%example.net@in.mail.example",
        "@in.mail.example:ann@example.net",
        "bounce+@in.mail.example",
        "anybody@in.mail.example",
        "root@localhost",
    ] {
        let reply = smtp.say(&format!("RCPT TO:<{to}>")).await;
        assert!(reply.starts_with("550 5.1.1") || reply.starts_with("501"), "{to}: {reply}");
    }
    assert!(smtp.say("DATA").await.starts_with("503"));
    // Where the token stands does not matter, whose it is does.
    let foreign =
        dsn("ann@example.net", "failed", "5.1.1", "550 5.1.1 no such user").replace("Sorry.", &forged(&paths[0]));
    assert!(world.deliver("postmaster@in.mail.example", &foreign).await.starts_with("250"));
    assert_eq!(world.reports(&id).await.len(), 0);
    assert_eq!(
        (world.suppressed().await.len(), world.sink.taken_count()),
        (0, 1),
        "nobody is answered, nothing is passed on"
    );
    // An operator sees what is nobody's.
    let url = &world.app.database.url;
    let listed: Value = serde_json::from_slice(&run(url, &["reports", "list", "--json"]).await.stdout).unwrap();
    assert_eq!(
        (&listed[0]["to"], &listed[0]["outcome"]),
        (&json!("postmaster@in.mail.example"), &json!("unattributed"))
    );
    let shown = run(url, &["reports", "show", listed[0]["id"].as_str().unwrap()]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("Undelivered Mail"), "{shown:?}");
    let found = dsn("ann@example.net", "failed", "5.1.1", "550 5.1.1 no such user").replace("Sorry.", &paths[0]);
    assert!(world.deliver("postmaster@in.mail.example", &found).await.starts_with("250"));
    assert_eq!(world.reports(&id).await[0]["outcome"], "told");
}

#[tokio::test]
async fn a_complaint_is_believed_if_its_sender_has_signed_it() {
    let world = World::start().await;
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    let letter = complaint("abuse", "loop.example", &paths[0]);
    let (signed_letter, record) = signed("loop.example", &letter);
    let (by_another, other_record) = signed("evil.example", &letter);
    world.dns.set_text("fbl._domainkey.evil.example", &other_record);
    for unsigned in [&letter, &signed_letter, &by_another] {
        assert!(world.deliver("fbl@in.mail.example", unsigned).await.starts_with("250"));
        assert_eq!(world.reports(&id).await[0]["outcome"], "review", "no key, or another's");
    }
    world.dns.set("fbl._domainkey.loop.example", &[Zone::ServFail]);
    let (again, record_again) = signed("loop.example", &letter.replace("An abuse", "One abuse"));
    assert!(
        world.deliver("fbl@in.mail.example", &again).await.starts_with("451"),
        "a key that cannot be had now is waited for"
    );
    assert_eq!(world.suppressed().await, []);
    let _ = record;
    world.dns.set_text("fbl._domainkey.loop.example", &record_again);
    let stop = within("the key to be seen", async {
        loop {
            let reply = world.deliver("fbl@in.mail.example", &again).await;
            if reply.starts_with("250") {
                return reply;
            }
        }
    });
    stop.await;
    assert_eq!(world.suppressed().await, [("ann@example.net".to_owned(), "complaint".to_owned())]);
    assert_eq!(world.event_types(&id).await.last().unwrap(), "message.complained");
    assert_eq!(world.reports(&id).await[0]["detail"]["signed_by"], "loop.example");
}

#[tokio::test]
async fn letters_come_in_over_http_and_from_a_maildir_too() {
    let place = std::env::temp_dir().join(format!("mailwright-maildir-{}", std::process::id()));
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(place.join(part)).unwrap();
    }
    let world = World::start_with(Setup::new().set("inbound.maildir", place.display())).await;
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    let notice = dsn("ann@example.net", "failed", "5.1.1", "550 5.1.1 no such user");
    let letter = format!("Delivered-To: {}\r\n{notice}", paths[0]);
    std::fs::write(place.join("tmp/1"), &letter).unwrap();
    std::fs::rename(place.join("tmp/1"), place.join("new/1")).unwrap();
    world.app.until(&id, "the letter to be read", |_| place.join("cur/1:2,S").exists()).await;
    assert_eq!(world.reports(&id).await[0]["source"], "maildir");
    std::fs::remove_dir_all(&place).unwrap();

    let (id, paths) = world.delivered(&["bob@example.net"]).await;
    let hand_in = async |key: &str, path: &str| {
        let to = path.replace('+', "%2B");
        world
            .app
            .call_as(key, "POST", &format!("/v1/inbound/raw?recipient={to}"), &[], notice.clone().into_bytes())
            .await
    };
    let taken = hand_in(&world.app.live, &paths[0]).await;
    assert_eq!(
        (taken.status, &taken.json()["meaning"], &taken.json()["message_id"]),
        (200, &json!("failed"), &json!(id))
    );
    assert_eq!(hand_in(&world.app.live, &paths[0]).await.json()["repeated"], true);
    // A stranger's key speaks of its own mail alone, an operator's of any.
    let stranger = create_key(&world.app.database.url, "other", "live", "").await;
    assert_eq!(hand_in(&stranger, &paths[0]).await.status, 404);
    assert_eq!(hand_in(&world.app.live, "nobody@example.net").await.status, 404);
    let operator = create_operator_key(&world.app.database.url).await;
    assert_eq!(hand_in(&operator, "nobody@example.net").await.json()["outcome"], "unattributed");
}

#[tokio::test]
async fn a_path_of_the_whole_message_is_charged_to_whom_the_notice_names_and_old_keys_are_believed() {
    let world = World::start_with(Setup::new().set("inbound.return_path", "message")).await;
    let (id, paths) = world.delivered(&["ann@example.net", "bob@example.net"]).await;
    assert_eq!(paths[0], paths[1]);
    // A new key makes tokens when every process knows it.
    let rotated = run(&world.app.database.url, &["reports", "rotate-key"]).await;
    assert!(rotated.status.success(), "{rotated:?}");
    let (_, same) = world.delivered(&["ann@example.net"]).await;
    assert_eq!(same[0][..9], paths[0][..9]);
    world.app.clock.advance(Duration::from_mins(3));
    let (_, newer) = world.delivered(&["ann@example.net"]).await;
    assert_ne!(newer[0][..9], paths[0][..9], "another key makes them");
    let notice = dsn("BOB@example.net", "failed", "5.1.1", "550 5.1.1 no such user");
    assert!(world.deliver(&paths[0], &notice).await.starts_with("250"));
    assert_eq!(world.suppressed().await, [("bob@example.net".to_owned(), "bounce".to_owned())]);
    // Of somebody else nobody can be charged.
    assert!(world.deliver(&paths[0], &notice.replace("BOB", "carl")).await.starts_with("250"));
    assert_eq!(world.reports(&id).await.len(), 1);
}

#[tokio::test]
async fn the_listener_keeps_to_the_protocol_and_smuggles_nothing() {
    let world = World::start().await;
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    let notice = dsn("ann@example.net", "failed", "5.2.2", "552 5.2.2 full");
    // No other end of a message than CRLF.CRLF: what stands behind another is part of it.
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r"] {
        let inner =
            format!("{notice}{end}MAIL FROM:<a@b.example>\r\nRCPT TO:<{}>\r\nDATA\r\nX: {}\r\n", paths[0], end.len());
        assert!(world.deliver(&paths[0], &inner).await.starts_with("250"), "{end:?}");
    }
    assert_eq!(world.reports(&id).await.len(), 6, "each is one letter");
    // What is said before TLS, or without waiting, is not believed.
    for (lines, wanted) in [
        ("EHLO x\r\nMAIL FROM:<>\r\n", "503 5.5.0"),
        ("HELO x\r\nNOOP\r\n", "503 5.5.0"),
        ("NOOP\n", "500 5.5.2"),
        ("NO\rOP\r\n", "500 5.5.2"),
        ("STARTTLS\r\n", "502"),
        ("MAIL FROM:<a@b.example>\r\n", "503"),
        ("AUTH PLAIN AAAA\r\n", "502"),
        ("GET / HTTP/1.1\r\n", "500"),
    ] {
        let mut smtp = world.smtp().await;
        smtp.write(lines.as_bytes()).await;
        let reply = smtp.reply().await;
        assert!(reply.starts_with(wanted), "{lines:?}: {reply}");
    }
    let mut smtp = world.smtp().await;
    assert!(smtp.greeting.starts_with("220 in.mail.example"));
    let offers = smtp.say("EHLO x").await;
    for offered in ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 10485760"] {
        assert!(offers.contains(offered), "{offers}");
    }
    assert!(!offers.contains("STARTTLS"));
    assert!(smtp.say("MAIL FROM:<> SIZE=99999999").await.starts_with("552"));
    // Groups of commands are answered in order.
    smtp.write(
        format!("MAIL FROM:<>\r\nRCPT TO:<nobody@example.net>\r\nRCPT TO:<{}>\r\nDATA\r\n", paths[0]).as_bytes(),
    )
    .await;
    for wanted in ["250", "550", "250", "354"] {
        assert!(smtp.reply().await.starts_with(wanted));
    }
    assert!(smtp.say("\r\n.").await.starts_with('5'), "an empty letter is none");
    assert!(smtp.say("QUIT").await.starts_with("221"));
    assert_eq!(smtp.rest().await, "");
}

#[tokio::test]
async fn starttls_hides_what_follows_and_forgets_what_came_before() {
    let tls = TestTls::new("in.mail.example");
    let (cert, key) = tls.files();
    let world =
        World::start_with(Setup::new().set("inbound.tls_cert", cert.display()).set("inbound.tls_key", key.display()))
            .await;
    let mut smtp = world.smtp().await;
    assert!(smtp.say("EHLO x").await.contains("STARTTLS"));
    smtp.write(b"STARTTLS\r\nNOOP\r\n").await;
    assert!(smtp.reply().await.starts_with("503"), "injection");
    let mut smtp = world.smtp().await;
    smtp.say("EHLO x").await;
    smtp.say("MAIL FROM:<>").await;
    let mut smtp = smtp.starttls(&tls, "in.mail.example").await;
    assert!(smtp.say("RCPT TO:<postmaster@in.mail.example>").await.starts_with("503"));
    let offers = smtp.say("EHLO x").await;
    assert!(offers.contains("250 ") && !offers.contains("STARTTLS"), "{offers}");
}

#[tokio::test]
async fn hostile_sessions_cost_little_and_keep_nobody_out() {
    let setup = Setup::new()
        .set("inbound.connections_per_address", 8)
        .set("inbound.timeout", "500ms")
        .set("inbound.message", "64KiB");
    let world = World::start_with(setup).await;
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    let address = world.app.service.inbound[0];
    // One address has so many sessions, and the next are told so at once.
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(Conversation::open(address).await);
    }
    assert!(Conversation::open(address).await.greeting.starts_with("421"));
    // Those that say nothing are let go.
    for smtp in held {
        assert!(smtp.rest().await.starts_with("421 4.4.2"));
    }
    let mut floods: Vec<Vec<u8>> = vec![
        vec![b'A'; 1 << 20],
        b"\r\n".repeat(1000),
        b"NOOP\r\n".repeat(5000),
        b"RCPT TO:<x@y.example>\r\n".repeat(100),
        vec![0; 100_000],
        (0..=255).collect(),
    ];
    let mut data = b"EHLO x\r\n".to_vec();
    data.extend_from_slice(&vec![b'x'; 500_000]);
    floods.push(data);
    for flood in floods {
        let mut smtp = Conversation::open(address).await;
        smtp.write(&flood).await;
        let rest = smtp.rest().await;
        let last = rest.lines().last().unwrap_or_default().to_owned();
        assert!(last.is_empty() || last.starts_with('5') || last.starts_with("421"), "{last}");
    }
    // Many of them.
    let count = if std::env::var_os("MAILWRIGHT_NIGHTLY").is_some() { 10_000 } else { 500 };
    for n in 0..count {
        let mut smtp = Conversation::open(address).await;
        let (letter, octet) = (n % 7, u8::try_from(n % 256).unwrap());
        match letter {
            0 => {}
            1 => smtp.write(&vec![octet; n % 5000]).await,
            2 => {
                let whole = format!("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{}>\r\nDATA\r\n.\r\n", paths[0]);
                smtp.write(whole.as_bytes()).await;
            }
            3 => drop(smtp.say("EHLO x").await),
            4 => smtp.write(b"MAIL FROM:<").await,
            5 => smtp.write(&[b"EHLO ".to_vec(), vec![octet; 100], b"\r\n".to_vec()].concat()).await,
            _ => drop(smtp.say("STARTTLS").await),
        }
    }
    // A message that is too large is refused at its end, and the session goes on.
    let large = format!("Subject: x\r\n\r\n{}", "y".repeat(100_000));
    assert!(world.deliver(&paths[0], &large).await.starts_with("552 5.3.4"));
    let notice = dsn("ann@example.net", "failed", "5.2.2", "552 5.2.2 full");
    assert!(world.deliver(&paths[0], &notice).await.starts_with("250"));
    assert_eq!(world.reports(&id).await.len(), 1);
}

/// Bounces of all kinds that a library has collected in twenty years.
fn samples() -> Vec<(String, Vec<u8>)> {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/samples");
    let listed = std::fs::read_to_string(place.join("expected.jsonl")).expect("scripts/test installs the samples");
    let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["file"].as_str().unwrap().to_owned();
    listed.lines().map(name).map(|name| (name.clone(), std::fs::read(place.join("data").join(name)).unwrap())).collect()
}

#[tokio::test]
async fn a_thousand_bounces_of_all_kinds_are_each_charged_to_their_recipient() {
    let (world, samples) = (World::start().await, samples());
    let mut expected = std::collections::BTreeMap::new();
    for batch in 0..50 {
        let addresses: Vec<_> = (0..20).map(|n| format!("r{}@example.net", batch * 20 + n)).collect();
        let (id, paths) = world.delivered(&addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let message = world.app.message(&id).await;
        let ids = message["recipients"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()[4..].to_owned());
        expected.extend(paths.into_iter().zip(ids));
    }
    let letters: Vec<_> = expected.keys().zip(samples.iter().cycle()).collect();
    futures_util::future::join_all(letters.chunks(100).map(async |letters| {
        let mut smtp = world.smtp().await;
        smtp.say("EHLO mx.example.net").await;
        for (path, (name, sample)) in letters {
            let body =
                String::from_utf8_lossy(sample).replace("\r\n", "\n").replace('\n', "\r\n").replace("\r\n.", "\r\n..");
            smtp.write(format!("MAIL FROM:<>\r\nRCPT TO:<{path}>\r\nDATA\r\n").as_bytes()).await;
            for wanted in ["250", "250", "354"] {
                assert!(smtp.reply().await.starts_with(wanted));
            }
            let reply = smtp.say(&format!("{body}\r\n.")).await;
            assert!(reply.starts_with("250"), "{name}: {reply}");
        }
    }))
    .await;
    let rows: Vec<(String, uuid::Uuid, String)> =
        sqlx::query_as("SELECT envelope_to, recipient_id, outcome FROM reports")
            .fetch_all(&world.app.database.pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), 1000);
    for (path, recipient, _) in &rows {
        assert_eq!(expected[path], recipient.simple().to_string());
    }
    let told = rows.iter().filter(|(_, _, outcome)| outcome == "told").count();
    assert!(told > 800, "{told} of 1000 are bounces");
}

#[tokio::test]
async fn a_store_that_is_away_is_a_reason_to_try_again_and_loses_nothing() {
    let world = World::start().await;
    let (id, paths) = world.delivered(&["ann@example.net"]).await;
    let notice = dsn("ann@example.net", "failed", "5.1.1", "550 5.1.1 no such user");
    world.app.database.execute("ALTER TABLE reports RENAME TO reports_away").await;
    assert!(world.deliver(&paths[0], &notice).await.starts_with("451"));
    world.app.database.execute("ALTER TABLE reports_away RENAME TO reports").await;
    assert!(world.deliver(&paths[0], &notice).await.starts_with("250"));
    assert_eq!(world.reports(&id).await.len(), 1);
    // What nobody can be charged with has a bound.
    let other = |n: usize| format!("From: a@b.example\r\nSubject: {n}\r\n\r\nx\r\n");
    assert!(world.deliver("postmaster@in.mail.example", &other(0)).await.starts_with("250"));
    world.app.database.execute("INSERT INTO reports SELECT gen_random_uuid(), decode(md5(n::text), 'hex'), received_at, source, '', '', meaning, outcome, NULL, NULL, NULL, NULL, '{}', '' FROM reports, generate_series(1, 500) n WHERE message_id IS NULL").await;
    assert!(world.deliver("postmaster@in.mail.example", &other(1)).await.starts_with("452"));
    // And what is old is forgotten.
    let store = &world.app.service.store;
    let now = mailwright::domain::clock::Clock::now(&*world.app.clock);
    assert_eq!(store.forget_reports(now - Duration::from_hours(1), 1000).await.unwrap(), 0);
    assert_eq!(store.forget_reports(now + Duration::from_hours(1), 1000).await.unwrap(), 502);
}

#[tokio::test]
async fn a_process_of_its_own_takes_reports_and_says_when_it_has_nothing_to_do() {
    let database = crate::support::database::Database::new().await;
    let output = command(&database.url, &["serve", "--roles", "inbound", "--set", "http.listen=127.0.0.1:0"])
        .output()
        .await
        .unwrap();
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("inbound.listen"),
        "{output:?}"
    );
}

/// A report of a day's mail, as receivers send it, packed.
fn aggregate(domain: &str, reporter: &str, id: &str, (begin, end): (i64, i64), (passed, failed): (u64, u64)) -> String {
    use base64::Engine;
    use std::io::Write;
    let row = |ip: &str, count: u64, verdict: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>\
             <dkim>{verdict}</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>{domain}</header_from>\
             </identifiers></record>"
        )
    };
    let xml = format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>{reporter}</org_name><report_id>{id}</report_id><date_range>\
         <begin>{begin}</begin><end>{end}</end></date_range></report_metadata><policy_published><domain>{domain}</domain><p>none</p>\
         </policy_published>{}{}</feedback>",
        row("192.0.2.1", passed, "pass"),
        row("198.51.100.9", failed, "fail")
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(xml.as_bytes()).unwrap();
    let packed = base64::engine::general_purpose::STANDARD.encode(packed.finish().unwrap());
    let lines: Vec<_> = packed.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: noreply-dmarc@{reporter}\r\nSubject: Report Domain: {domain}\r\nMIME-Version: 1.0\r\nContent-Type: application/gzip\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}

/// Hands in a letter until the key of its signature is seen.
async fn until_taken(world: &World, letter: &str) {
    within("the key to be seen", async {
        while !world.deliver("dmarc@in.mail.example", letter).await.starts_with("250") {}
    })
    .await;
}

#[tokio::test]
async fn what_receivers_report_of_a_domain_is_its_projects_if_they_signed_it() {
    let world = World::start().await;
    let day = |n: i64| (1_764_201_600 + n * 86_400, 1_764_201_600 + (n + 1) * 86_400 - 1);
    let letter = aggregate("mail.example.org", "loop.example", "one", day(0), (90, 10));
    let (signed_letter, record) = signed("loop.example", &letter);
    assert!(
        world.deliver("dmarc@in.mail.example", &letter).await.starts_with("250"),
        "nobody signed it: it is kept, and counts for nothing"
    );
    let key = create_key(&world.app.database.url, "shop", "live", "admin").await;
    let domain = world.app.get_as(&key, "/v1/domains").await.json()["data"][0].clone();
    let path = format!("/v1/domains/{}/reports", domain["id"].as_str().unwrap());
    let listed = async |query: &str| {
        world.app.get_as(&key, &format!("{path}{query}")).await.json()["data"].as_array().unwrap().clone()
    };
    assert!(listed("").await.is_empty());
    // A key that cannot be had now is waited for.
    world.dns.set("fbl._domainkey.loop.example", &[Zone::ServFail]);
    assert!(world.deliver("dmarc@in.mail.example", &signed_letter).await.starts_with("451"));
    world.dns.set_text("fbl._domainkey.loop.example", &record);
    until_taken(&world, &signed_letter).await;
    for _ in 0..2 {
        assert!(world.deliver("DMARC@in.mail.example", &signed_letter).await.starts_with("250"));
    }
    let reports = listed("").await;
    assert_eq!(reports.len(), 1, "twice is once");
    let report = &reports[0];
    assert_eq!((&report["domain"], &report["signed_by"]), (&json!("mail.example.org"), &json!("loop.example")));
    assert_eq!(
        (&report["total"], &report["passed"], &report["rows"][0]["messages"]),
        (&json!(100), &json!(90), &json!(90))
    );
    assert!(listed("?kind=tls").await.is_empty());
    // Numbers that nobody's mail has, and times to come, harm nobody.
    let most = u64::MAX / 2;
    for (id, (begin, end)) in [("big", day(1)), ("bigger", day(2)), ("later", (day(0).0, 7_000_000_000))] {
        let letter = aggregate("example.org", "loop.example", id, (begin, end), (most, most));
        let (letter, record) = signed("loop.example", &letter);
        world.dns.set_text("fbl._domainkey.loop.example", &record);
        until_taken(&world, &letter).await;
    }
    let verify = world.app.call_as(&key, "POST", &path.replace("/reports", "/verify"), &[], Vec::new()).await;
    assert_eq!(verify.status, 200, "{}", verify.text());
    let ready = world.app.get_as(&key, &path.replace("/reports", "/readiness")).await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    // As the largest receiver signs: not the type of its content.
    let letter = aggregate("example.org", "google.example", "three", day(0), (1, 0));
    let (letter, record) = signed_over(&["mime-version", "date", "message-id", "subject", "from", "to"], &letter).await;
    world.dns.set_text("g._domainkey.google.example", &record);
    until_taken(&world, &letter).await;
    assert!(listed("").await.iter().any(|report| report["signed_by"] == "google.example"));
    let before = listed("").await.len();
    let (foreign, _) = signed("loop.example", &aggregate("other.example", "loop.example", "two", day(0), (1, 0)));
    assert!(
        world.deliver("dmarc@in.mail.example", &foreign).await.starts_with("250"),
        "of nobody: kept for the operator"
    );
    let raw = world.app.call_as(&key, "POST", "/v1/inbound/raw", &[], foreign.into_bytes()).await;
    assert_eq!(raw.status, 404, "a project hands in what is its own");
    assert_eq!(listed("").await.len(), before);
}

/// Signs a letter over these fields alone, by dkimpy.
async fn signed_over(names: &[&str], letter: &str) -> (String, String) {
    use mailwright::compose::dkim::{SigningKey, generate};
    use mailwright::domain::dkim::Algorithm::RsaSha256;
    let private = generate(RsaSha256).unwrap();
    let record = SigningKey::parse("google.example", "g", RsaSha256, &private).unwrap().record().unwrap();
    let program = "import base64, dkim, sys\n\
                   key = b'-----BEGIN PRIVATE KEY-----\\n' + base64.encodebytes(base64.b64decode(sys.argv[1])) + b'-----END PRIVATE KEY-----\\n'\n\
                   names = [name.encode() for name in sys.argv[2:]]\n\
                   message = sys.stdin.buffer.read()\n\
                   sys.stdout.buffer.write(dkim.sign(message, b'g', b'google.example', key, include_headers=names) + message)\n";
    let der = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, private.pkcs8());
    let mut python = tokio::process::Command::new("/usr/bin/python3")
        .args(["-c", program, &der])
        .args(names)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(letter.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within("dkimpy to sign", python.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), record)
}
