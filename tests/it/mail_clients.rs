//! The programs of `tests/submission`: real mail clients, as their users write them, against the listener for submission. A runtime that is
//! missing is a fault, unless `MAILWRIGHT_WITHOUT_RUNTIMES` names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::examples::PATIENCE;
use crate::support::app::{App, Setup};
use crate::support::tls::TestTls;

const SECRET: &str = "a secret of the issuer that is long enough";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What runs a client's program: a language that may be missing, and the command.
fn command(client: &str) -> (&'static str, Vec<String>) {
    let file = |name: &str| root().join("tests/submission").join(name).display().to_string();
    let tool = |name: &str| root().join("target/tools").join(name).display().to_string();
    let (language, words) = match client {
        "smtplib" => ("python", vec!["/usr/bin/python3".to_owned(), file("smtplib/send.py")]),
        "django" => ("django", vec![tool("django/bin/python"), file("django/send.py")]),
        "reset" => ("django", vec![tool("django/bin/python"), file("django/reset.py")]),
        "nodemailer" => ("node", vec!["node".to_owned(), file("nodemailer/send.mjs"), tool("submission/nodemailer")]),
        "ruby" => ("ruby", vec!["ruby".to_owned(), file("net_smtp.rb")]),
        "phpmailer" => ("php", vec!["php".to_owned(), file("phpmailer.php")]),
        "go" => ("go", vec!["go".to_owned(), "run".to_owned(), file("netsmtp.go")]),
        "java" => {
            let jars = ["jakarta-mail", "jakarta-activation"].map(|name| format!("/usr/share/java/{name}.jar"));
            let path = jars.join(":");
            let program = file("JakartaMail.java");
            ("java", ["java", "-Dfile.encoding=UTF-8", "-cp", &path, &program].map(str::to_owned).to_vec())
        }
        shell => ("curl", vec!["sh".to_owned(), file(&format!("{shell}.sh"))]),
    };
    (language, words)
}

/// A service with three listeners, whose mail stays in the inbox.
struct World {
    app: App,
    tls: TestTls,
    token: String,
}

impl World {
    async fn start() -> Self {
        let tls = TestTls::new("localhost");
        let (cert, key) = tls.files();
        let file = format!(
            "[auth]\njwt = [{{ kid = \"k\", algorithm = \"HS256\", secret = \"{SECRET}\", issuer = \"id.example\", audience = \"mailwright\" }}]"
        );
        let app = Setup::new()
            .file(&file)
            .set("delivery.route", "sandbox")
            .set("submission.listen", "plain://127.0.0.1:0, starttls://127.0.0.1:0, tls://127.0.0.1:0")
            .set("submission.host", "localhost")
            .set("submission.tls_cert", cert.display())
            .set("submission.tls_key", key.display())
            .set("submission.slow_down", "1ms")
            .start()
            .await;
        let claims = json!({"project": "shop", "scope": "send", "iss": "id.example", "aud": "mailwright", "sub": "a",
            "exp": jsonwebtoken::get_current_timestamp() + 3600});
        let header = jsonwebtoken::Header {
            kid: Some("k".to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        };
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        Self { app, tls, token: jsonwebtoken::encode(&header, &claims, &key).unwrap() }
    }

    /// Runs a client's program; gives what it printed of each case. `None`: its runtime may be missing, and is.
    async fn run(&self, client: &str) -> Option<BTreeMap<String, Value>> {
        let (language, words) = command(client);
        let paths = std::env::var("PATH").unwrap();
        let is_there = std::env::split_paths(&paths).any(|path| path.join(&words[0]).exists());
        if !is_there {
            let spared = std::env::var("MAILWRIGHT_WITHOUT_RUNTIMES").unwrap_or_default();
            assert!(
                spared.split(',').any(|spared| spared.trim() == language),
                "{words:?}: run the tests by scripts/test"
            );
            return None;
        }
        let port = |at: usize| self.app.service.submission[at].port().to_string();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("SMTP_HOST", "localhost").env("SMTP_PLAIN_PORT", port(0));
        command.env("SMTP_STARTTLS_PORT", port(1)).env("SMTP_TLS_PORT", port(2)).env("SMTP_USER", "mailwright");
        command.env("SMTP_KEY", &self.app.live).env("SMTP_TOKEN", &self.token).env("SMTP_CA", &self.tls.ca_file);
        command
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", root().join("target/tools/submission/go"))
            .env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("a client did not end").unwrap();
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{client}: {printed}\n{said}");
        let lines = printed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{client}: {line}")));
        Some(lines.map(|line| (line["case"].as_str().unwrap().to_owned(), line)).collect())
    }

    /// The message with that subject, as the API shows it, and its octets.
    async fn message(&self, subject: &str) -> (Value, Vec<u8>) {
        let found = self.app.get("/v1/messages?limit=500").await.json();
        let row = found["data"].as_array().unwrap().iter().find(|row| row["subject"] == subject);
        let id = row.unwrap_or_else(|| panic!("{subject} is not there: {found}"))["id"].as_str().unwrap().to_owned();
        let raw = self.app.get(&format!("/v1/messages/{id}/raw")).await;
        (self.app.message(&id).await, raw.bytes.to_vec())
    }
}

/// What a case comes to where it is not `accepted`: the client cannot, or gives up with that code.
#[derive(Debug, Clone, Copy)]
enum Otherwise {
    Unsupported,
    Refused(i64),
}
use Otherwise::{Refused, Unsupported};

/// Runs all cases of a client; `otherwise` are those that are not simply accepted. By itself no client says a key in the clear.
async fn check(client: &str, otherwise: &[(&str, Otherwise)]) {
    let world = World::start().await;
    let Some(cases) = world.run(client).await else { return };
    let mut wanted: BTreeMap<_, _> = otherwise.iter().copied().collect();
    wanted.entry("wrong-password").or_insert(Refused(535));
    wanted.entry("no-tls").or_insert(Refused(0));
    for case in [
        "starttls",
        "tls",
        "attachment",
        "many",
        "unicode",
        "eai",
        "partial",
        "wrong-password",
        "no-tls",
        "dots",
        "oauth",
    ] {
        let said = cases.get(case).unwrap_or_else(|| panic!("{client}: {case} is missing: {cases:?}"));
        match wanted.get(case) {
            None => assert_eq!(said["outcome"], "accepted", "{client}: {said}"),
            Some(Unsupported) => assert_eq!(said["outcome"], "unsupported", "{client}: {said}"),
            Some(Refused(code)) => {
                assert_eq!((&said["outcome"], &said["code"]), (&json!("refused"), &json!(code)), "{client}: {said}");
            }
        }
    }
    let is_accepted = |case: &str| cases[case]["outcome"] == "accepted";
    for case in ["starttls", "tls", "dots", "oauth"].into_iter().filter(|case| is_accepted(case)) {
        let (message, _) = world.message(&format!("{client} {case}")).await;
        assert_eq!(message["from"], "Jürgen Müller <shop@example.org>", "{client}: {case}");
    }
    let (_, raw) = world.message(&format!("{client} attachment")).await;
    let parsed = MessageParser::default().parse(&raw).unwrap();
    let file = parsed.attachments().next().expect("an attachment");
    let bytes: Vec<u8> = (0..200_000_usize).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
    assert_eq!((file.attachment_name(), file.contents() == bytes), (Some("Grüße.bin"), true), "{client}");
    let (message, _) = world.message(&format!("{client} many")).await;
    assert_eq!(message["recipients"].as_array().unwrap().len(), 50, "{client}");
    let (_, raw) = world.message(&format!("{client} Grüße 你好")).await;
    let parsed = MessageParser::default().parse(&raw).unwrap();
    assert_eq!(parsed.body_text(0).unwrap().trim_end(), "Grüße 你好, 😀", "{client}");
    if is_accepted("eai") {
        let (message, _) = world.message(&format!("{client} eai")).await;
        assert_eq!(message["recipients"][0]["email"], "jürgen@example.net", "{client}");
    }
    if is_accepted("partial") {
        let (message, _) = world.message(&format!("{client} partial")).await;
        let to: Vec<_> =
            message["recipients"].as_array().unwrap().iter().map(|to| to["email"].as_str().unwrap()).collect();
        assert_eq!(to, ["good@example.net"], "{client}");
    }
    let (_, raw) = world.message(&format!("{client} dots")).await;
    let text = MessageParser::default().parse(&raw).unwrap().body_text(0).unwrap().into_owned();
    let lines: Vec<_> = text.lines().take(3).collect();
    assert_eq!(lines, [".", "..", ".leading"], "{client}");
}

#[tokio::test]
async fn python_smtplib_sends() {
    check("smtplib", &[]).await;
}

#[tokio::test]
async fn django_sends_and_resets_passwords_with_nothing_but_host_port_user_and_password() {
    check("django", &[("eai", Unsupported), ("oauth", Unsupported)]).await;
    let world = World::start().await;
    let Some(cases) = world.run("reset").await else { return };
    for (case, outcome) in [
        ("reset-plain", "accepted"),
        ("reset-starttls", "accepted"),
        ("reset-tls", "accepted"),
        ("reset-no-tls", "refused"),
    ] {
        assert_eq!(cases[case]["outcome"], outcome, "{}", cases[case]);
    }
    let (_, raw) = world.message("Password reset on shop.example.org").await;
    assert!(String::from_utf8_lossy(&raw).contains("/accounts/reset/"));
}

#[tokio::test]
async fn nodemailer_sends() {
    check("nodemailer", &[("no-tls", Refused(530))]).await;
}

#[tokio::test]
async fn msmtp_sends() {
    // It gives up a message of which one recipient is refused.
    check("msmtp", &[("eai", Unsupported), ("partial", Refused(553))]).await;
}

#[tokio::test]
async fn swaks_sends() {
    check("swaks", &[("eai", Unsupported), ("oauth", Unsupported)]).await;
}

#[tokio::test]
async fn curl_sends() {
    check("curl", &[("no-tls", Refused(530))]).await;
}

#[tokio::test]
async fn ruby_sends() {
    check("ruby", &[("no-tls", Refused(538))]).await;
}

#[tokio::test]
async fn phpmailer_sends() {
    // What it says at last is what became of QUIT.
    check("phpmailer", &[("eai", Unsupported), ("wrong-password", Refused(0))]).await;
}

#[tokio::test]
async fn go_sends() {
    check("go", &[("no-tls", Refused(538))]).await;
}

#[tokio::test]
async fn jakarta_mail_sends() {
    check("java", &[("no-tls", Refused(530))]).await;
}
