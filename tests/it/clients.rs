//! Clients that others generate from `openapi.yaml`, and what a fuzzer of APIs finds, on a live service.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mailwright::domain::clock::{Clock, rfc3339};
use mailwright_client::{
    Attachment, BatchMode, Client, Email, Error, Filter, MessageStatus, Method, OwnParts, ProblemKind, RecallResult,
    RecipientKind, RecipientStatus, Rejected, Retry, Selection, SignedHeaders, Verifier, WebhookEvent,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::app::{App, Setup};
use crate::support::contract::CONTRACT;
use crate::support::dns::Dns;
use crate::support::process::create_operator_key;
use crate::support::receiver::Receiver;
use crate::support::spam;
use crate::support::tls::{TestTls, https};
use crate::support::within;
use crate::support::witness::{Trouble, Witness};

/// The longest that a generator or the fuzzer may take.
const TOOL_PATIENCE: Duration = Duration::from_mins(8);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `scripts/test` installs under `target/tools`.
fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools").join(name);
    assert!(path.exists(), "target/tools/{name} is missing: scripts/test installs it");
    path
}

/// A new directory under `target/tools/{room}`, with the description as the service gives it.
async fn workplace(app: &App, room: &str) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let place = root().join("target/tools").join(room).join(format!("run-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("openapi.yaml"), app.get("/openapi.yaml").await.bytes).unwrap();
    place
}

/// Runs a tool to its end; fails with what it said. Gives its output.
async fn run(command: &mut Command) -> String {
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(TOOL_PATIENCE, output).await.expect("a tool did not end").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {}\n{said}", command.as_std(), output.status);
    said
}

/// The client that `scripts/clients` makes from the description that the service gives, in a new directory.
async fn made(app: &App, room: &str, language: &str) -> PathBuf {
    let place = workplace(app, room).await;
    run(Command::new("bash")
        .arg(root().join("scripts/clients"))
        .args([language, "--from", "openapi.yaml", "--into", "."])
        .current_dir(&place))
    .await;
    place
}

/// Fails unless each operation of `openapi.yaml` was called and answered as it says.
fn check_that_all_was_called(witness: &Witness, driver: &str) {
    let done = witness.done();
    let left: Vec<_> = CONTRACT.operations().filter(|operation| !done.contains(operation.id())).collect();
    let left: Vec<_> = left.iter().map(|o| format!("{} ({} {})", o.id(), o.method, o.path)).collect();
    assert!(left.is_empty(), "{driver} calls each operation once: add a call of {}", left.join(", "));
}

/// A service that sends nothing away, and a key that may do everything: an operator's.
async fn whole() -> (App, String) {
    let filter = spam::rspamd().await;
    let app = Setup::new().set("delivery.route", "sandbox").set("sandbox.rspamd", filter).start().await;
    let key = create_operator_key(&app.database.url).await;
    (app, key)
}

#[tokio::test]
async fn every_operation_is_called_by_the_client_in_typescript() {
    let (compiler, clients) = (tool("node/node_modules/.bin/tsc"), root().join("tests/clients/node"));
    let (app, key) = whole().await;
    let place = made(&app, "node", "typescript").await;
    // As it is installed elsewhere.
    let installed = place.join("node_modules/mailwright-client");
    std::fs::create_dir_all(&installed).unwrap();
    let pack = ["pack", "--silent", "--pack-destination"];
    run(Command::new("npm").args(pack).arg(&installed).current_dir(place.join("typescript"))).await;
    let unpack = "tar xzf mailwright-client-*.tgz --strip-components 1";
    run(Command::new("bash").args(["-c", unpack]).current_dir(&installed)).await;
    for program in ["smallest.ts", "every_operation.ts"] {
        std::fs::copy(clients.join(program), place.join(program)).unwrap();
    }
    std::fs::write(place.join("package.json"), r#"{"type": "module"}"#).unwrap();
    // An operation that every_operation.ts does not call is an error here, which names it.
    let strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "--outDir", "out"];
    run(Command::new(compiler).args(strict).args(["smallest.ts", "every_operation.ts"]).current_dir(&place)).await;
    let witness = Witness::before(app.address).await;
    run(Command::new("node")
        .arg("out/every_operation.js")
        .env("MAILWRIGHT_URL", witness.url())
        .env("MAILWRIGHT_KEY", key)
        .current_dir(&place))
    .await;
    check_that_all_was_called(&witness, "tests/clients/node/every_operation.ts");
    std::fs::remove_dir_all(place).unwrap();
    app.stop().await;
}

#[tokio::test]
async fn every_operation_is_called_by_the_client_in_python() {
    let (python, clients) = (tool("python/bin/python"), root().join("tests/clients/python"));
    let (app, key) = whole().await;
    let place = made(&app, "python", "python").await;
    // As it is installed elsewhere.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"];
    run(Command::new(&python).args(pip).args(["--target", "installed", "./python"]).current_dir(&place)).await;
    let witness = Witness::before(app.address).await;
    for program in ["round_trip.py", "every_operation.py"] {
        run(Command::new(&python)
            .arg(clients.join(program))
            .arg("openapi.yaml")
            .env("PYTHONPATH", place.join("installed"))
            .env("MAILWRIGHT_URL", witness.url())
            .env("MAILWRIGHT_KEY", &key)
            .current_dir(&place))
        .await;
    }
    check_that_all_was_called(&witness, "tests/clients/python/every_operation.py");
    std::fs::remove_dir_all(place).unwrap();
    app.stop().await;
}

/// With every check: no 5xx, no undescribed answer, nothing refused that the schemas allow, nothing taken that they
/// forbid. One worker: `CPython` 3.11 parses in threads with a fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let fuzzer = tool("python/bin/schemathesis");
    // Names are not asked of anybody outside, who may be slow: none exists.
    let dns = Dns::start(&[]).await;
    let app = Setup::new()
        .set("limits.webhooks", 1_000_000)
        .set("dns.servers", dns.address)
        .set("sandbox.rspamd", spam::rspamd().await)
        .start()
        .await;
    let place = workplace(&app, "python").await;
    run(Command::new(fuzzer)
        .args(["run", "openapi.yaml", "--checks", "all", "--continue-on-failure", "--workers", "1"])
        .args(["--seed", "7", "--max-examples", "10", "--suppress-health-check", "all"])
        .args(["--request-timeout", "60"])
        .args(["--url", &format!("http://{}", app.address), "--header", &format!("Authorization: Bearer {}", app.test)])
        .env("SCHEMATHESIS_HOOKS", root().join("tests/clients/python/hooks.py"))
        .env("NO_COLOR", "1")
        .current_dir(&place))
    .await;
    std::fs::remove_dir_all(place).unwrap();
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_sends_once_however_often_it_must_try() {
    let app = App::start().await;
    let troubles = [Trouble::Busy, Trouble::Lost, Trouble::Busy];
    let witness = Witness::with_troubles(app.address, troubles).await;
    let client = Client::new(&witness.url(), &app.test).unwrap();
    let email = Email::new("Shop <shop@example.org>", "Ann <ann@example.net>", "Hello").text("It works.");
    let email = email.attach(Attachment::new("a.txt", b"Hello")).tag("greeting").metadata("order", "17");
    let accepted = client.send(&email).await.unwrap();
    let keys = witness.keys();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert!(accepted.replayed && !keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let page = client.messages(&Filter { tag: Some("greeting".to_owned()), ..Filter::default() }).await.unwrap();
    assert_eq!(page.data.iter().map(|message| &message.id).collect::<Vec<_>>(), [&accepted.id]);

    let mut follower = client.follow(None, Duration::ZERO).await.unwrap();
    while !follower.data.iter().any(|event| event.kind == "message.delivered") {
        follower = client.follow(Some(&follower.next_cursor), Duration::from_secs(30)).await.unwrap();
    }
    let delivered = follower.data.iter().find_map(WebhookEvent::message).unwrap();
    assert_eq!((delivered.message_id, &*delivered.email), (accepted.id.clone(), "ann@example.net"));
    app.settled(&accepted.id).await;
    let message = client.message(&accepted.id).await.unwrap();
    assert!(message.is_settled());
    assert_eq!((message.status, message.recipients[0].status), (MessageStatus::Delivered, RecipientStatus::Delivered));
    assert_eq!(client.events(&accepted.id).await.unwrap().data.last().unwrap().kind, "message.delivered");
    let raw = String::from_utf8(client.raw_message(&accepted.id).await.unwrap()).unwrap();
    assert!(raw.contains("Subject: Hello") && raw.contains("a.txt"), "{raw}");
    witness.done();
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_sends_many_at_once_and_says_what_became_of_each() {
    let app = App::start().await;
    let client = Client::new(&format!("http://{}", app.address), &app.test).unwrap();
    let file = client.upload("terms & all.txt", "text/plain", "Terms").await.unwrap();
    assert_eq!((&*file.filename, &*file.content_type, file.size), ("terms & all.txt", "text/plain", 5));
    let to = |address| {
        let email = Email::new("shop@example.org", address, "Hello").text("It works.");
        email.attach(Attachment::uploaded(&file.id)).idempotency_key(format!("to-{address}"))
    };
    let emails = [to("ann@example.net"), to("nobody")];
    let Err(Error::Problem(problem)) = client.send_batch(BatchMode::Strict, &emails).await else {
        panic!("it was sent")
    };
    assert_eq!((problem.kind, &*problem.errors[0].pointer), (ProblemKind::Validation, "/messages/1/to/0"));
    let batch = client.send_batch_once("all", BatchMode::Permissive, &emails).await.unwrap();
    let [Ok(accepted), Err(refused)] = &batch.results[..] else { panic!("{batch:?}") };
    assert_eq!((refused.kind, &*refused.errors[0].code), (ProblemKind::Validation, "invalid_address"), "{refused}");
    app.settled(&accepted.id).await;
    let raw = String::from_utf8(client.raw_message(&accepted.id).await.unwrap()).unwrap();
    assert!(raw.contains("terms & all.txt"), "{raw}");

    assert!(client.send_batch_once("all", BatchMode::Permissive, &emails).await.unwrap().replayed);
    let again = client.send_batch(BatchMode::Permissive, &emails).await.unwrap();
    assert!(again.results[0].as_ref().is_ok_and(|again| again.replayed && again.id == accepted.id), "{again:?}");
    let found = client.find_by_idempotency_key("to-ann@example.net").await.unwrap();
    assert_eq!(found.iter().map(|message| &message.id).collect::<Vec<_>>(), [&accepted.id]);
    assert_eq!((&found[0].batch_id, found[0].recipients[0].status), (&batch.batch_id, RecipientStatus::Delivered));
    assert!(client.find_by_idempotency_key("to-nobody").await.unwrap().is_empty());
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_asks_mail_back_and_sends_it_at_another_time() {
    let app = App::start().await;
    let client = Client::new(&format!("http://{}", app.address), &app.test).unwrap();
    let now = Clock::now(&*app.clock);
    let at = |hours| rfc3339(now.truncate_to_second() + time::Duration::hours(hours));
    let email = Email::new("shop@example.org", "ann@example.net", "Hello").text("It works.").tag("later");
    let later =
        email.clone().to("bob@example.net").per_recipient([OwnParts::new().metadata("of", "Ann"), OwnParts::new()]);
    let accepted = client.send(&later.send_at(at(1))).await.unwrap();
    assert_eq!((accepted.status, accepted.send_at), (MessageStatus::Scheduled, Some(at(1))));
    let [ann, bob] = &accepted.recipients[..] else { panic!("{:?}", accepted.recipients) };
    let (ann, bob) = (ann.message_id.as_deref().unwrap(), bob.message_id.as_deref().unwrap());
    let message = client.message(ann).await.unwrap();
    assert!(!message.is_settled() && message.metadata["of"] == "Ann", "{message:?}");

    let moved = client.reschedule(ann, &at(2)).await.unwrap();
    assert_eq!((&moved.send_at, moved.recipients[0].result), (&Some(at(2)), RecallResult::Edited));
    let cancelled = client.cancel(ann).await.unwrap();
    assert_eq!((cancelled.status, cancelled.recipients[0].result), (MessageStatus::Cancelled, RecallResult::Cancelled));
    assert_eq!(client.retry(ann).await.unwrap().recipients[0].result, RecallResult::TooLate);
    assert_eq!(client.retry(bob).await.unwrap().recipients[0].result, RecallResult::Retried);
    app.settled(bob).await;

    let third = client.send(&email.send_at(at(1))).await.unwrap();
    let tagged = Selection { tag: Some("later".to_owned()), ..Selection::default() };
    let all = client.cancel_many(&tagged).await.unwrap();
    assert_eq!(all.data.iter().map(|recalled| &recalled.id).collect::<Vec<_>>(), [&third.id]);
    let ended = Filter { status: vec!["cancelled".to_owned(), "delivered".to_owned()], ..Filter::default() };
    assert_eq!(client.messages(&ended).await.unwrap().data.len(), 3);
    assert!(client.retry_many(&tagged).await.unwrap().data.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_sends_a_message_as_it_is_and_rehearses_it_first() {
    let app = App::start().await;
    let client = Client::new(&format!("http://{}", app.address), &app.test).unwrap();
    let mine = "From: a@example.org\r\nTo: team@example.net\r\nDate: Fri, 27 Nov 2026 02:00:00 +0000\r\nSubject: Mine\r\n\r\nHello\r\n";
    let email = Email::raw("a@example.org", "b@example.net", mine);
    let rehearsal = client.dry_run(&email).await.unwrap();
    assert_eq!(
        (&*rehearsal.messages[0].subject, &*rehearsal.messages[0].next_hops),
        ("Mine", &["sandbox".to_owned()][..])
    );
    assert!(client.messages(&Filter::default()).await.unwrap().data.is_empty());
    let accepted = client.send(&email).await.unwrap();
    app.settled(&accepted.id).await;
    let raw = String::from_utf8(client.raw_message(&accepted.id).await.unwrap()).unwrap();
    assert!(raw.ends_with(mine), "{raw}");
    let limits = client.limits().await.unwrap();
    assert!(limits.usage.is_empty() && limits.batch == 1000, "{limits:?}");
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_tells_what_was_wrong_and_asks_in_vain_only_as_often_as_it_may() {
    let app = Setup::new().paused().start().await;
    let witness = Witness::with_troubles(app.address, [Trouble::Busy, Trouble::Busy]).await;
    let client = Client::new(&witness.url(), &app.test).unwrap();
    let impatient = client.clone().with_retry(Retry { tries: 2, ..Retry::default() });
    let email = Email::new("shop@example.org", "nobody", "Hello").text("It works.").field("sned_at", "now");
    let Err(Error::Problem(problem)) = impatient.send(&email).await else { panic!("it was sent") };
    assert_eq!((problem.kind, problem.status, witness.keys().len()), (ProblemKind::Busy, 503, 2));
    let Err(Error::Problem(problem)) = client.send(&email).await else { panic!("it was sent") };
    let faults: Vec<_> = problem.errors.iter().map(|fault| (&*fault.pointer, &*fault.code)).collect();
    assert_eq!(problem.kind, ProblemKind::Validation);
    assert_eq!(faults, [("/to/0", "invalid_address"), ("/sned_at", "unknown_field")], "{problem}");
    let absent = client.message(&format!("msg_{}", "0".repeat(32))).await;
    assert!(matches!(absent, Err(Error::Problem(problem)) if problem.kind == ProblemKind::NotFound));
    let nobody = Client::new("http://127.0.0.1:9", "k").unwrap().with_retry(Retry { tries: 1, ..Retry::default() });
    assert!(matches!(nobody.send(&email).await, Err(Error::Connection(_))));
    // What must not be done twice is not asked twice.
    let lost = client.call::<Value>(Method::POST, "/v1/no/such/path", Some(&json!({}))).await;
    assert!(matches!(lost, Err(Error::Problem(_))));
    app.stop().await;
}

/// Also while a secret is being rotated: each of both serves.
#[tokio::test]
async fn the_public_libraries_of_npm_and_pypi_believe_our_webhooks() {
    let (app, receiver) = (App::start().await, Receiver::start().await);
    let made = app.post("/v1/webhooks", &json!({"url": receiver.url(), "events": ["message.delivered"]})).await.json();
    let path = format!("/v1/webhooks/{}/rotate-secret", made["id"].as_str().unwrap());
    let rotated = app.post(&path, &json!({})).await.json();
    app.call_as(&app.live, "POST", &path.replace("rotate-secret", "test"), &[], b"{}".to_vec()).await;
    let hook = receiver.until(1).await.swap_remove(0);
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), json!(hook.headers[*name].to_str().unwrap()))).collect();
    let body = String::from_utf8(hook.body).unwrap();
    for endpoint in [&made, &rotated] {
        let (secret, key) = (&endpoint["secret"], &endpoint["public_key"]);
        let asked = json!({"secret": secret, "public_key": key, "headers": headers, "body": body}).to_string();
        let node = root().join("tests/clients/node/verify.mjs");
        let python = root().join("tests/clients/python/verify.py");
        for (program, arguments) in
            [(PathBuf::from("node"), [node, tool("node")]), (tool("python/bin/python"), [python, PathBuf::new()])]
        {
            let mut command = Command::new(&program);
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.kill_on_drop(true).spawn().unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut child.stdin.take().unwrap(), asked.as_bytes()).await.unwrap();
            let output = within("a verifier to end", child.wait_with_output()).await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && output.stdout.starts_with(b"verified"), "{program:?}: {said}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_believes_the_webhooks_that_the_public_library_believes() {
    let (app, receiver) = (App::start().await, Receiver::start().await);
    let client = Client::new(&format!("http://{}", app.address), &app.test).unwrap();
    let made = client.call::<Value>(Method::POST, "/v1/webhooks", Some(&json!({"url": receiver.url()}))).await.unwrap();
    let secret = made["secret"].as_str().unwrap();
    let sent = client.send(&Email::new("a@example.org", "b@example.net", "Hello").html("<p>Hello</p>")).await.unwrap();
    let (theirs, ours) = (standardwebhooks::Webhook::new(secret).unwrap(), Verifier::new(secret).unwrap());
    let stranger = Verifier::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=").unwrap();
    for hook in receiver.until(2).await {
        theirs.verify(&hook.body, &hook.headers).unwrap();
        let header = |name: &str| hook.headers[name].to_str().unwrap();
        let headers = |signature| SignedHeaders { id: hook.id(), timestamp: header("webhook-timestamp"), signature };
        let signed = headers(header("webhook-signature"));
        let event = ours.verify(signed, &hook.body).unwrap();
        assert_eq!((event.kind.clone(), event.message().unwrap().message_id), (hook.kind(), sent.id.clone()));
        stranger.clone().or(secret).unwrap().verify(signed, &hook.body).unwrap();
        let several = format!("v1a,x v1,AAAA {}", signed.signature);
        assert!(ours.verify(headers(&several), &hook.body).is_ok());
        assert_eq!(stranger.verify(signed, &hook.body), Err(Rejected::Signature));
        assert_eq!(ours.verify(signed, &[&hook.body[..], b" "].concat()), Err(Rejected::Signature));
        assert_eq!(ours.verify(SignedHeaders { id: "evt_1", ..signed }, &hook.body), Err(Rejected::Signature));
        let later = std::time::SystemTime::now() + Duration::from_mins(6);
        assert_eq!(ours.verify_at(later, signed, &hook.body), Err(Rejected::Time));
    }
    app.stop().await;
}

#[tokio::test]
async fn the_rust_client_trusts_the_authority_that_it_is_given_and_no_other() {
    let answer = r#"{"id":"msg_1","status":"queued","created_at":"","recipients":[]}"#;
    let (tls, stranger) = (TestTls::new("localhost"), TestTls::new("localhost"));
    let url = format!("https://localhost:{}", https(&tls, answer).await.port());
    let email = Email::new("a@example.org", "b@example.net", "Hello").text("It works.");
    let once = Retry { tries: 1, ..Retry::default() };
    let read = |tls: &TestTls| std::fs::read(&tls.ca_file).unwrap();
    let accepted = Client::trusting(&url, "k", &read(&tls)).unwrap().with_retry(once).send(&email).await.unwrap();
    assert_eq!((&*accepted.id, accepted.status), ("msg_1", MessageStatus::Queued));
    let strangers = Client::trusting(&url, "k", &read(&stranger)).unwrap().with_retry(once).send(&email).await;
    let publics = Client::new(&url, "k").unwrap().with_retry(once).send(&email).await;
    for refused in [strangers, publics] {
        assert!(matches!(&refused, Err(Error::Connection(why)) if why.contains("certificate")), "{refused:?}");
    }
    assert!(Client::trusting(&url, "k", b"none").is_err());
}

/// A word that the client reads as unknown is one that it lacks.
fn is_known<T: serde::de::DeserializeOwned + std::fmt::Debug>(word: &str) -> bool {
    format!("{:?}", serde_json::from_value::<T>(json!(word)).unwrap()) != "Unknown"
}

#[test]
fn the_rust_client_knows_every_word_of_openapi_yaml() {
    for word in CONTRACT.names("ProblemType") {
        assert!(is_known::<ProblemKind>(&word), "clients/rust/src/error.rs lacks {word}");
    }
    for word in CONTRACT.names("MessageStatus") {
        assert!(is_known::<MessageStatus>(&word), "clients/rust/src/message.rs lacks {word}");
    }
    for word in CONTRACT.names("RecipientStatus") {
        assert!(is_known::<RecipientStatus>(&word), "clients/rust/src/message.rs lacks {word}");
    }
    for word in CONTRACT.names("RecipientKind") {
        assert!(is_known::<RecipientKind>(&word), "clients/rust/src/message.rs lacks {word}");
    }
}
