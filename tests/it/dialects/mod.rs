//! Other services' HTTP APIs, as their official SDKs speak them (tests/dialects), and what becomes of their words here.

mod alicloud;
mod aoksend;
mod doors;
mod hostile;
mod mailgun;
mod postmark;
mod resend;
mod sendcloud;
mod sendgrid;
mod ses;
mod signing;
mod webhooks;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::examples::PATIENCE;
use crate::support::app::{App, Setup};
use crate::support::dkim::add_domain;
use crate::support::process::create_key;

/// A service that speaks all dialects, and keeps its mail in the inbox.
async fn service() -> App {
    let setup = Setup::new().set("delivery.route", "sandbox").set("submission.listen", "plain://127.0.0.1:0");
    let dialects = "alicloud, aoksend, mailgun, postmark, resend, sendcloud, sendgrid, ses";
    let setup = setup.set("http.public_url", "https://mail.example.net");
    let app = setup.set("compat.dialects", dialects).start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    app
}

/// What an SDK gave for each call of a program in tests/dialects.
struct Said(HashMap<String, Value>);

impl Said {
    fn line(&self, call: &str) -> &Value {
        self.0.get(call).unwrap_or_else(|| panic!("{call} is missing"))
    }

    /// What a call gave, which did not fail.
    fn data(&self, call: &str) -> Value {
        let line = self.line(call);
        assert!(line["error"].is_null(), "{line}");
        line["data"].clone()
    }

    /// How a call failed.
    fn error(&self, call: &str) -> Value {
        let line = self.line(call);
        assert!(!line["error"].is_null(), "{line}");
        line["error"].clone()
    }
}

/// A key that signs: its id, and its text.
async fn signing_key(app: &App, scope: &str) -> (String, String) {
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let wanted = json!({"mode": "live", "scopes": [scope], "signs": true, "from_domains": ["example.org"]});
    let made = app.call_as(&admin, "POST", "/v1/keys", &[], wanted.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

/// Runs a program of tests/dialects against the service at that address, by keys that sign: one may do all, one reads.
async fn run(app: &App, program: &str, base: &str) -> Said {
    let (id, all) = signing_key(app, "admin").await;
    let (reader_id, reader) = signing_key(app, "messages:read").await;
    let more = [
        ("MAILWRIGHT_KEY", &*all),
        ("MAILWRIGHT_KEY_ID", &*id),
        ("MAILWRIGHT_READER", &*reader),
        ("MAILWRIGHT_READER_ID", &*reader_id),
    ];
    run_with(program, base, more).await
}

/// The same, with that in its environment.
async fn run_with(program: &str, base: &str, more: impl IntoIterator<Item = (&str, &str)>) -> Said {
    let mut command = program_of(program);
    command.env("MAILWRIGHT_BASE", base).envs(more);
    command.stdin(Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("an SDK did not end");
    let output = output.expect("run the tests by scripts/test");
    said(program, &output)
}

/// A program of tests/dialects, beside the SDKs that it needs.
fn program_of(program: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/dialects");
    let mut command = if Path::new(program).extension().is_some_and(|ending| ending == "mjs") {
        let mut command = Command::new("node");
        command.arg(root.join("tests/dialects/node").join(program)).arg(tools.join("node"));
        command
    } else {
        let mut command = Command::new(tools.join("python/bin/python"));
        command.arg(root.join("tests/dialects/python").join(program));
        command
    };
    command.kill_on_drop(true);
    command
}

/// The lines that it printed.
fn said(program: &str, output: &Output) -> Said {
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {printed}\n{said}");
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    Said(lines.map(|line| (line["call"].as_str().unwrap().to_owned(), line)).collect())
}

/// The bytes of a message.
async fn raw(app: &App, message: &Value) -> String {
    app.get(&format!("/v1/messages/{}/raw", message["id"].as_str().unwrap())).await.text()
}

/// How many messages there are.
async fn count(app: &App) -> usize {
    app.get("/v1/messages?limit=500").await.json()["data"].as_array().unwrap().len()
}

/// The recipients of that kind.
fn of_kind(message: &Value, kind: &str) -> Vec<String> {
    let recipients = message["recipients"].as_array().unwrap().iter().filter(|recipient| recipient["kind"] == kind);
    let mut emails: Vec<_> = recipients.map(|recipient| recipient["email"].as_str().unwrap().to_owned()).collect();
    emails.sort_unstable();
    emails
}

/// The rows of a guide's table of fields: field, example, and whether it is sent or refused.
fn rows(guide: &str) -> Vec<(String, String, bool)> {
    let mut rows = Vec::new();
    for line in guide.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [field, example, outcome, ..] = cells[..] else { continue };
        let is_sent = match outcome {
            "sent" => true,
            "refused" => false,
            _ => continue,
        };
        rows.push((field.trim_matches('`').to_owned(), example.trim_matches('`').to_owned(), is_sent));
    }
    rows
}

/// The message with that subject, as our API shows it.
async fn message(app: &App, subject: &str) -> Value {
    let found = app.get("/v1/messages?limit=500").await.json();
    let row = found["data"].as_array().unwrap().iter().find(|row| row["subject"] == subject);
    let id = row.unwrap_or_else(|| panic!("{subject} is not there: {found}"))["id"].as_str().unwrap().to_owned();
    app.message(&id).await
}

async fn publish_template(app: &App) {
    publish(app, "welcome", &json!({"subject": "Welcome, {{ name }}", "text": "Hello {{ name }}"})).await;
}

/// Publishes a template of that content.
async fn publish(app: &App, alias: &str, content: &Value) {
    let admin = create_key(&app.database.url, "shop", "live", "admin").await;
    let template = json!({"alias": alias, "name": alias, "locales": {"en": content}});
    let made = app.call_as(&admin, "POST", "/v1/templates", &[], template.to_string().into_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/v1/templates/{}/publish", made.json()["id"].as_str().unwrap());
    let published = app.call_as(&admin, "POST", &path, &[], b"{}".to_vec()).await;
    assert_eq!(published.status, 200, "{}", published.text());
}
