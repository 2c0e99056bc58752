//! Signatures on real mail, verified by another program against the records that the operator publishes.

use std::process::Output;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::support::app::{App, Setup, message_to};
use crate::support::database::Database;
use crate::support::dkim::{add_domain, verdicts};
use crate::support::process::run;
use crate::support::sink::{Do, Sink, Step};

/// A message from an author in `domain`.
fn message_from(domain: &str) -> Value {
    let mut message = message_to("b@example.net");
    message["from"] = json!(format!("Shop <shop@{domain}>"));
    message
}

async fn raw(app: &App, id: &str) -> Vec<u8> {
    app.get(&format!("/v1/messages/{id}/raw")).await.bytes.to_vec()
}

/// The domains that signed a message from an author in `domain`.
async fn signers(app: &App, domain: &str) -> Vec<String> {
    let raw = raw(app, &app.send(&message_from(domain)).await).await;
    let text = String::from_utf8_lossy(&raw).into_owned();
    text.split(" d=").skip(1).map(|rest| rest.split(';').next().unwrap().to_owned()).collect()
}

/// Retires a key of `example.org`.
async fn retire(url: &str, selector: &str) -> Output {
    retire_of(url, "example.org", selector).await
}

async fn retire_of(url: &str, domain: &str, selector: &str) -> Output {
    run(url, &["domains", "retire", "--project", "shop", domain, selector]).await
}

/// A service that delivers nothing and looks up keys every time.
async fn without_cache() -> App {
    Setup::new().paused().set("dkim.cache", "0s").start().await
}

#[tokio::test]
async fn what_arrives_is_verified_and_is_what_raw_shows() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let records = add_domain(&app.database.url, "example.org", &["--selector", "s"]).await;
    let many: Vec<_> = (0..200).map(|n| format!("\"Recipient, Nº {n}\" <r{n}@example.net>")).collect();
    let rough = json!({
        "from": "Zoë <zoe@example.org>", "to": ["a@example.net"], "cc": many[..2], "reply_to": ["r@example.org"],
        "subject": "Grüße  with   gaps ".repeat(20), "text": ".dot\n \n\t tabs \t and  gaps \t\n=20\n\n\n \n",
        "html": "<p>\n    <img src=\"cid:logo\">\t</p>\n\n",
        "headers": {"List-Unsubscribe": "<https://example.org/u?a=b>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                    "In-Reply-To": "<1@example.org>", "References": "<1@example.org> <2@example.org>", "X-Order": "17"},
        "attachments": [{"filename": "l.png", "content": "UE5HDQoaCg==", "content_type": "image/png", "content_id": "logo"}]
    });
    let mut crowded = message_from("example.org");
    crowded["to"] = json!(many);
    let mut empty = message_from("example.org");
    empty["text"] = json!("\n\n");
    for message in [message_from("example.org"), rough, crowded, empty] {
        let before = sink.taken_count();
        let id = app.send(&message).await;
        app.settled(&id).await;
        let taken = sink.until_taken(before + 1).await;
        let raw = raw(&app, &id).await;
        for copy in &taken[before..] {
            assert_eq!(copy.data, raw, "what is stored is what went out");
        }
        let good = ["rsa-sha256 example.org sr good", "ed25519-sha256 example.org se good"];
        assert_eq!(verdicts(&raw, &records).await, good, "{}", String::from_utf8_lossy(&raw));
    }
}

#[tokio::test]
async fn a_changed_body_and_an_added_field_are_found() {
    let app = without_cache().await;
    let records = add_domain(&app.database.url, "example.org", &["--selector", "s"]).await;
    let raw = raw(&app, &app.send(&message_from("example.org")).await).await;
    let text = String::from_utf8(raw).unwrap();
    let fields = [
        "From: x@evil.example",
        "Sender: x@evil.example",
        "Reply-To: x@evil.example",
        "To: x@evil.example",
        "Cc: x@evil.example",
        "Subject: Evil",
        "Date: x",
        "Message-ID: <x@evil.example>",
        "In-Reply-To: <x@evil.example>",
        "References: <x@evil.example>",
        "MIME-Version: 1.0",
        "Content-Type: text/html",
        "Content-Transfer-Encoding: base64",
        "List-Unsubscribe: <https://evil.example>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Feedback-ID: x",
        "OTP-Token: \"1\"; origin=\"https://evil.example\"",
    ];
    let mut forged = vec![text.replace("It works", "It fails"), text.replace("Subject: Hello", "Subject: Hell")];
    forged.extend(fields.map(|field| text.replace("From: Shop", &format!("{field}\r\nFrom: Shop"))));
    for text in forged {
        let verdicts = verdicts(text.as_bytes(), &records).await;
        assert_eq!(verdicts.len(), 2);
        assert!(verdicts.iter().all(|verdict| !verdict.ends_with("good")), "{verdicts:?}: {text}");
    }
}

#[tokio::test]
async fn one_algorithm_gives_one_key_and_one_signature() {
    let app = without_cache().await;
    for (domain, algorithm) in [("r.example", "rsa-sha256"), ("e.example", "ed25519-sha256")] {
        let records = add_domain(&app.database.url, domain, &["--algorithm", algorithm]).await;
        assert_eq!(records.len(), 1, "{records:?}");
        let raw = raw(&app, &app.send(&message_from(domain)).await).await;
        let selector = records[0].split("._domainkey.").next().unwrap();
        assert_eq!(verdicts(&raw, &records).await, [format!("{algorithm} {domain} {selector} good")]);
        assert!(selector.starts_with("mw20") && selector.ends_with(&algorithm[..1]), "{selector}");
    }
}

#[tokio::test]
async fn a_retry_is_the_same_bytes_whatever_became_of_the_keys() {
    let database = Arc::new(Database::new().await);
    let app = Setup::new().paused().on(&database).start().await;
    let records = add_domain(&database.url, "example.org", &["--selector", "old"]).await;
    let id = app.send(&message_from("example.org")).await;
    let accepted = raw(&app, &id).await;
    app.stop().await;
    for selector in ["oldr", "olde"] {
        assert!(retire(&database.url, selector).await.status.success());
    }
    add_domain(&database.url, "example.org", &["--selector", "new"]).await;
    let sink = Sink::setup()
        .script(|step, connection| match step {
            Step::Dot(_) if connection == 0 => Do::DropAfter,
            _ => Do::Usual,
        })
        .start()
        .await;
    let app = Setup::new().route_to(sink.address).on(&database).start().await;
    app.settled(&id).await;
    let copies = sink.ledger();
    assert_eq!(copies.len(), 2, "the reply to the first was lost");
    assert!(copies.iter().all(|copy| copy.data == accepted));
    let good = ["rsa-sha256 example.org oldr good", "ed25519-sha256 example.org olde good"];
    assert_eq!(verdicts(&accepted, &records).await, good);
}

#[tokio::test]
async fn the_closest_domain_with_keys_signs_and_only_of_the_same_project() {
    let app = without_cache().await;
    let url = &app.database.url;
    let foreign = ["domains", "add", "--project", "other", "--algorithm", "ed25519-sha256", "mail.example.org"];
    assert!(run(url, &foreign).await.status.success());
    let refused = app.post("/v1/send", &message_from("mail.example.org")).await;
    assert_eq!(refused.status, 403, "another project's domain: {}", refused.text());
    let gone = "UPDATE domains SET proved_at = NULL, state = 'pending'";
    app.database.execute(gone).await;
    assert!(signers(&app, "mail.example.org").await.is_empty(), "another project's key");
    let only = ["--algorithm", "ed25519-sha256"];
    let records = add_domain(url, "Example.ORG", &only).await;
    assert_eq!(signers(&app, "example.org").await, ["example.org"]);
    assert_eq!(signers(&app, "a.mail.example.org").await, ["example.org"]);
    assert!(signers(&app, "notexample.org").await.is_empty());
    let message = raw(&app, &app.send(&message_from("mail.example.org")).await).await;
    assert!(verdicts(&message, &records).await[0].ends_with("good"));
    add_domain(url, "mail.example.org", &["--selector", "m", "--algorithm", "ed25519-sha256"]).await;
    assert_eq!(signers(&app, "a.mail.example.org").await, ["mail.example.org"]);
    assert_eq!(signers(&app, "example.org").await, ["example.org"]);
    assert!(retire_of(url, "mail.example.org", "m").await.status.success());
    assert_eq!(signers(&app, "a.mail.example.org").await, ["example.org"], "the closer one has none that signs");
}

#[tokio::test]
async fn a_retired_key_signs_no_more_and_two_active_ones_sign_together() {
    let app = without_cache().await;
    let url = &app.database.url;
    let mut records = Vec::new();
    for selector in ["one", "two"] {
        let arguments = ["--selector", selector, "--algorithm", "ed25519-sha256"];
        records.extend(add_domain(url, "example.org", &arguments).await);
    }
    let message = raw(&app, &app.send(&message_from("example.org")).await).await;
    let good = ["one", "two"].map(|selector| format!("ed25519-sha256 example.org {selector} good"));
    assert_eq!(verdicts(&message, &records).await, good);
    assert!(retire(url, "one").await.status.success());
    let message = raw(&app, &app.send(&message_from("example.org")).await).await;
    assert_eq!(verdicts(&message, &records).await, good[1..]);
    assert!(retire(url, "two").await.status.success());
    assert!(signers(&app, "example.org").await.is_empty());
    let again = String::from_utf8(retire(url, "two").await.stderr).unwrap();
    assert!(again.contains("no key two for example.org"), "{again}");
}

#[tokio::test]
async fn mail_without_a_key_goes_unsigned() {
    let app = without_cache().await;
    let raw = raw(&app, &app.send(&message_from("example.org")).await).await;
    assert!(!String::from_utf8_lossy(&raw).contains("DKIM-Signature"));
    assert!(verdicts(&raw, &[]).await.is_empty());
}

#[tokio::test]
async fn keys_and_their_absence_are_believed_for_a_time() {
    let app = Setup::new().paused().set("dkim.cache", "1h").start().await;
    add_domain(&app.database.url, "a.example", &["--algorithm", "ed25519-sha256"]).await;
    assert!(signers(&app, "b.example").await.is_empty());
    assert_eq!(signers(&app, "a.example").await, ["a.example"]);
    app.database.execute("UPDATE dkim_keys SET domain = 'b.example'").await;
    assert!(signers(&app, "b.example").await.is_empty());
    assert_eq!(signers(&app, "a.example").await, ["a.example"]);
}

#[tokio::test]
async fn a_burst_on_an_unknown_domain_asks_the_store_once() {
    let app = Setup::new().paused().set("dkim.cache", "1h").start().await;
    // Reading the keys counts itself.
    let counting = "ALTER TABLE dkim_keys RENAME TO kept; CREATE SEQUENCE asked; SELECT setval('asked', 1); \
         CREATE VIEW dkim_keys AS SELECT kept.* FROM (SELECT nextval('asked') OFFSET 0) asked LEFT JOIN kept ON true;";
    app.database.execute(counting).await;
    let asked = async || app.database.count("SELECT last_value FROM asked").await;
    let before = asked().await;
    app.send(&message_from("one.example")).await;
    let once = asked().await - before;
    assert!(once > 0);
    let before = asked().await;
    let message = message_from("many.example");
    futures_util::future::join_all((0..50).map(|_| app.send(&message))).await;
    assert_eq!(asked().await - before, once);
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_a_503_and_never_an_unsigned_message() {
    let app = Setup::new().paused().set("dkim.cache", "0s").set("database.timeout", "500ms").start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    let mut other = app.database.pool.acquire().await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE dkim_keys IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let answer = app.post("/v1/send", &message_from("example.org")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 0);
    lock.rollback().await.unwrap();
    assert_eq!(signers(&app, "example.org").await, ["example.org"]);
}

#[tokio::test]
async fn the_limit_is_that_of_the_signed_message() {
    let app = Setup::new().paused().set("limits.message", 800).start().await;
    add_domain(&app.database.url, "aaaaaa.example", &["--algorithm", "rsa-sha256"]).await;
    app.send(&message_from("bbbbbb.example")).await;
    let answer = app.post("/v1/send", &message_from("aaaaaa.example")).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["errors"][0]["code"], "message_too_large");
}

#[tokio::test]
async fn an_operator_sees_keys_but_not_their_secret_part() {
    let database = Database::new().await;
    let records = add_domain(&database.url, "example.org", &["--selector", "s"]).await;
    assert!(records[0].starts_with("sr._domainkey.example.org  TXT  v=DKIM1; k=rsa; p=MII"), "{records:?}");
    assert!(records[1].starts_with("se._domainkey.example.org  TXT  v=DKIM1; k=ed25519; p="), "{records:?}");
    retire(&database.url, "se").await;
    let listed = run(&database.url, &["domains", "list", "--project", "shop", "--set", "log.level=trace"]).await;
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for wanted in [
        ["shop", "example.org", "sr", "rsa-sha256", "signing"],
        ["shop", "example.org", "se", "ed25519-sha256", "retired"],
    ] {
        let is_it = |line: &&str| line.split_whitespace().take(5).eq(wanted);
        assert!(lines.iter().any(is_it), "{text}");
    }
    let secrets: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT private_key FROM dkim_keys").fetch_all(&database.pool).await.unwrap();
    for secret in secrets {
        let tail = STANDARD.encode(&secret[secret.len() - 30..]);
        assert!(!records.concat().contains(&tail) && !text.contains(&tail));
    }
}

#[tokio::test]
async fn what_cannot_be_added_is_named() {
    let database = Database::new().await;
    add_domain(&database.url, "example.org", &["--selector", "s"]).await;
    for (arguments, wanted) in [
        (&["example.org", "--selector", "s"][..], "selector sr or se: choose another"),
        (&["localhost"], "is not a domain"),
        (&["example.org", "--selector", "a;b"], "must be 1 to 63 letters"),
        (&["example.org", "--algorithm", "rsa-sha1"], "must be rsa-sha256, ed25519-sha256 or both"),
    ] {
        let output = run(&database.url, &[&["domains", "add", "--project", "shop"], arguments].concat()).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(wanted), "{arguments:?}: {error}");
    }
    assert_eq!(database.count("SELECT count(*) FROM dkim_keys").await, 2, "all or none");
}
