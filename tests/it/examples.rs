//! The programs of `docs/examples`, run against a live service. A runtime that is missing is a fault, unless `MAILWRIGHT_WITHOUT_RUNTIMES`
//! names it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::outbox::Role;
use crate::support::app::App;
use crate::support::receiver::{Hook, Receiver};
use crate::support::witness::{Trouble, Witness};

/// The longest that a program may take, a compiler's first run included.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A folder of `docs/examples`, and what runs a program of it.
const RUNTIMES: [(&str, &[&str]); 7] = [
    ("curl", &["sh"]),
    ("go", &["go", "run"]),
    ("java", &["java"]),
    ("node", &["node"]),
    ("php", &["php"]),
    ("python", &["python3"]),
    ("ruby", &["ruby"]),
];

/// Programs in folders of their own, below this one, that need more than a language.
const OUTBOX: &str = "outbox";
/// Test suites: see `suites`.
const TESTING: &str = "testing";

#[path = "../../docs/examples/outbox/rust/order.rs"]
#[expect(dead_code, clippy::disallowed_macros, reason = "a program of its own, of which only the work is called")]
mod outbox_in_rust;

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples")
}

/// The program of that name in a folder, ready to be given its arguments; none when the runtime may be missing, and is.
fn program(language: &str, name: &str) -> Option<Command> {
    let (_, runtime) = RUNTIMES.iter().find(|(folder, _)| *folder == language).unwrap();
    let paths = std::env::var("PATH").unwrap();
    if !std::env::split_paths(&paths).any(|path| path.join(runtime[0]).exists()) {
        let spared = std::env::var("MAILWRIGHT_WITHOUT_RUNTIMES").unwrap_or_default();
        assert!(
            spared.split(',').any(|spared| spared.trim() == language),
            "{} is missing: scripts/test installs it; MAILWRIGHT_WITHOUT_RUNTIMES={language} leaves these examples out",
            runtime[0]
        );
        // Past what a test that succeeds does not show.
        let said = format!("docs/examples/{language} is not run: {} is missing\n", runtime[0]);
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return None;
    }
    let files = std::fs::read_dir(examples().join(language)).unwrap().map(|entry| entry.unwrap().path());
    let mut named = files.filter(|path| path.file_stem().unwrap().eq_ignore_ascii_case(name));
    let file = named.next().unwrap_or_else(|| panic!("docs/examples/{language} has no {name}"));
    let mut command = Command::new(runtime[0]);
    command.args(&runtime[1..]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    Some(command)
}

async fn run(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who fails at once reads nothing.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("an example did not end").unwrap()
}

/// What it printed; fails when it did not end well.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

/// Fails when it ended well, or printed anything but why.
fn refused(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Sends, over a connection that fails twice, and verifies the webhooks of it.
async fn play(language: &str) {
    let (app, receiver) = (App::start().await, Receiver::start().await);
    let hook = json!({"url": receiver.url(), "events": ["message.delivered"]}).to_string().into_bytes();
    let hook = app.call_as(&app.test, "POST", "/v1/webhooks", &[], hook).await.json();
    let witness = Witness::with_troubles(app.address, [Trouble::Busy, Trouble::Lost]).await;
    let directory = std::env::temp_dir().join(format!("mailwright-example-{language}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("order 1042.txt"), "Order 1042\n").unwrap();

    let Some(mut send) = program(language, "send") else { return };
    send.arg(directory.join("order 1042.txt")).env("MAILWRIGHT_URL", witness.url()).env("MAILWRIGHT_KEY", &app.test);
    let said = printed(&run(send, b"").await);
    let keys = witness.keys();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0] && !key.is_empty()), "{keys:?}");
    let sent = app.get("/v1/messages").await.json()["data"].clone();
    assert_eq!(sent.as_array().unwrap().len(), 1, "the same key sends once");
    assert_eq!(said, format!("{} delivered", sent[0]["id"].as_str().unwrap()));
    let copy = app.get("/v1/sandbox/messages").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    let file = app.get(&format!("/v1/sandbox/messages/{copy}")).await.json()["attachments"][0].clone();
    assert_eq!((&file["filename"], &file["content"]), (&json!("order 1042.txt"), &json!("T3JkZXIgMTA0Mgo=")));
    witness.done();

    let mut send = program(language, "send").unwrap();
    send.env("MAILWRIGHT_URL", witness.url()).env("MAILWRIGHT_KEY", "mw_test_nobody");
    let why = refused(&run(send, b"").await);
    assert!(why.contains("unauthorized") && witness.keys().len() == 4, "{why}");
    std::fs::remove_dir_all(directory).unwrap();

    let secret = hook["secret"].as_str().unwrap();
    let hook = &receiver.until(1).await[0];
    let wanted = format!("message.delivered {}", sent[0]["id"].as_str().unwrap());
    let header = |name: &str| hook.headers[name].to_str().unwrap().to_owned();
    let (at, signature) = (header("webhook-timestamp"), header("webhook-signature"));
    assert_eq!(
        printed(&verify(language, secret, hook, &at, &format!("v1,AAAA {signature}"), &hook.body).await),
        wanted
    );
    let changed = [&hook.body[..], b" "].concat();
    assert!(refused(&verify(language, secret, hook, &at, &signature, &changed).await).contains("signature"));
    let old = at.parse::<i64>().unwrap() - 301;
    let signature = standardwebhooks::Webhook::new(secret).unwrap().sign(hook.id(), old, &hook.body).unwrap();
    assert!(refused(&verify(language, secret, hook, &old.to_string(), &signature, &hook.body).await).contains("old"));
    app.stop().await;
}

/// Gives a webhook to the example that verifies it.
async fn verify(language: &str, secret: &str, hook: &Hook, at: &str, signature: &str, body: &[u8]) -> Output {
    let mut command = program(language, "webhook").unwrap();
    command.env("MAILWRIGHT_WEBHOOK_SECRET", secret).env("HTTP_WEBHOOK_ID", hook.id());
    command.env("HTTP_WEBHOOK_TIMESTAMP", at).env("HTTP_WEBHOOK_SIGNATURE", signature);
    run(command, body).await
}

#[tokio::test]
async fn the_examples_with_curl_run() {
    play("curl").await;
}

#[tokio::test]
async fn the_examples_in_go_run() {
    play("go").await;
}

#[tokio::test]
async fn the_examples_in_java_run() {
    play("java").await;
}

#[tokio::test]
async fn the_examples_in_javascript_run() {
    play("node").await;
}

#[tokio::test]
async fn the_examples_in_php_run() {
    play("php").await;
}

#[tokio::test]
async fn the_examples_in_python_run() {
    play("python").await;
}

#[tokio::test]
async fn the_examples_in_ruby_run() {
    play("ruby").await;
}

/// A service, and the URL of a database role that may enqueue its test mail, with a schema of its own.
async fn outbox() -> (App, Role, String) {
    let app = App::start().await;
    let role = Role::granted(&app.database, "test").await;
    app.database.execute(&format!("CREATE SCHEMA {0} AUTHORIZATION {0}", role.name)).await;
    let url = role.url();
    (app, role, url)
}

/// Runs a program of the outbox, and holds what it said against what was sent.
async fn play_outbox(folder: &str, mut command: Command, file: &str) {
    let (app, role, url) = outbox().await;
    command.arg(examples().join(OUTBOX).join(folder).join(file)).env("DATABASE_URL", url);
    command.env("MAILWRIGHT_URL", format!("http://{}", app.address)).env("MAILWRIGHT_KEY", &app.test);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let said = printed(&run(command, b"").await);
    only_the_receipt(app, role, &said).await;
}

async fn only_the_receipt(app: App, role: Role, said: &str) {
    let sent = app.get("/v1/messages").await.json()["data"].clone();
    assert_eq!(sent.as_array().unwrap().len(), 1, "{sent:#}");
    assert_eq!(said, format!("{} delivered", sent[0]["id"].as_str().unwrap()));
    let copies = app.get("/v1/sandbox/messages").await.json()["data"].clone();
    assert_eq!((copies.as_array().unwrap().len(), &copies[0]["to"]), (1, &json!("ada@example.net")));
    role.drop().await;
    app.stop().await;
}

/// Whether `ready`; if it is not, it must be among what may be missing.
pub fn is_ready(name: &str, ready: bool) -> bool {
    let spared = std::env::var("MAILWRIGHT_WITHOUT_RUNTIMES").unwrap_or_default();
    assert!(
        ready || spared.split(',').any(|spared| spared.trim() == name),
        "what the example {name} needs is missing: scripts/test installs it; MAILWRIGHT_WITHOUT_RUNTIMES={name} leaves it out"
    );
    ready
}

#[tokio::test]
async fn the_outbox_runs_in_rust() {
    let (app, role, url) = outbox().await;
    let said = outbox_in_rust::run(&url, &format!("http://{}", app.address), &app.test).await.unwrap();
    only_the_receipt(app, role, &said).await;
}

#[tokio::test]
async fn the_outbox_runs_in_django() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/django/bin/python");
    if is_ready("django", python.exists()) {
        play_outbox("django", Command::new(python), "order.py").await;
    }
}

#[tokio::test]
async fn the_outbox_runs_in_rails() {
    let gems = std::process::Command::new("ruby").args(["-e", "require 'active_record'; require 'pg'"]).output();
    if is_ready("rails", gems.is_ok_and(|output| output.status.success())) {
        play_outbox("rails", Command::new("ruby"), "order.rb").await;
    }
}

#[test]
fn every_folder_of_examples_is_run_and_named_in_their_readme() {
    let readme = std::fs::read_to_string(examples().join("README.md")).unwrap();
    for entry in std::fs::read_dir(examples()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let folder = entry.file_name().into_string().unwrap();
        assert!(
            folder == OUTBOX || folder == TESTING || RUNTIMES.iter().any(|(known, _)| *known == folder),
            "{folder}: say in RUNTIMES what runs it, and test it"
        );
        for file in std::fs::read_dir(entry.path()).unwrap() {
            let file = format!("{folder}/{}", file.unwrap().file_name().into_string().unwrap());
            assert!(readme.contains(&file), "docs/examples/README.md lacks {file}");
        }
    }
}
