//! The operator's commands, as a person runs them.

use std::fs::OpenOptions;

use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;
use tokio::process::Command;

use crate::support::app::temporary;
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, command, run, signal};
use crate::support::tls::{TestTls, https};
use crate::support::within;

fn error_of(output: &std::process::Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn migrate_may_run_twice_and_by_two_at_once() {
    let database = Database::empty().await;
    let (one, two) = tokio::join!(run(&database.url, &["migrate"]), run(&database.url, &["migrate"]));
    assert!(one.status.success() && two.status.success(), "{one:?} {two:?}");
    assert!(run(&database.url, &["migrate"]).await.status.success());
    assert_eq!(database.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn serve_refuses_a_schema_that_is_not_its_own() {
    let database = Database::empty().await;
    let error = error_of(&run(&database.url, &["serve"]).await);
    assert!(error.contains("run `mailwright migrate` first"), "{error}");
    run(&database.url, &["migrate"]).await;
    database.execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    let error = error_of(&run(&database.url, &["serve"]).await);
    assert!(error.contains("the schema is at version") && error.contains("mailwright migrate"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let shaping = temporary("shaping", "[limits.provider.nosuch]\nconnections = 1\n");
    let bad_shaping = format!("delivery.shaping_file={}", shaping.display());
    for (arguments, wanted) in [
        (&["serve", "--set", "http.listenn=x"][..], "there is no setting 'http.listenn'"),
        (&["serve", "--roles", "submission"], "submission.listen: names no address"),
        (&["config", "check", "--set", "submission.listen=plain://0.0.0.0:2525"], "needs a loopback address"),
        (&["config", "check", "--set", "submission.listen=0.0.0.0:587"], "submission.tls_cert"),
        (
            &[
                "config",
                "check",
                "--set",
                "submission.tls_cert=/nowhere.pem",
                "--set",
                "submission.tls_key=/nowhere.pem",
            ],
            "submission.tls_cert: /nowhere.pem",
        ),
        (&["config", "check", "--set", "delivery.route=smtp://u:hunter2@h?tls=none"], "validated TLS only"),
        (&["config", "check", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (&["config", "check", "--set", &bad_shaping], "limits.provider.nosuch"),
        (&["config", "check", "--set", "database.url=mysql://u:hunter2@h/d"], "database.url: must be postgres://"),
        (&["rules", "test", "550 no", "--provider", "nosuch"], "--provider 'nosuch'"),
        (&["rules", "test", "550 no", "--stage", "lunch"], "the stages are expiry,"),
        (&["rules", "read", "/nowhere.eml"], "/nowhere.eml"),
        (&["trace", "example.net", "--project", "nosuch"], "--project 'nosuch'"),
        (&["keys", "create", "--project", "a b", "--mode", "live"], "--project a b"),
        (&["keys", "create", "--project", "p", "--mode", "maybe"], "must be live or test"),
        (&["status", "msg_x", "--url", "ftp://x"], "must be an http:// or https:// URL"),
    ] {
        let database = Database::new().await;
        let error = error_of(&run(&database.url, arguments).await);
        assert!(error.contains(wanted) && !error.contains("hunter2"), "{arguments:?}: {error}");
    }
    let error = error_of(&run("", &["serve"]).await);
    assert!(error.contains("DATABASE_URL") && error.contains("mailwright dev"), "{error}");
    let error = error_of(&run("postgres://127.0.0.1:1/x", &["migrate"]).await);
    assert!(error.contains("the store is away"), "{error}");
}

#[tokio::test]
async fn config_show_hides_secrets_and_lists_every_setting() {
    let arguments = [
        "config",
        "show",
        "--set",
        "delivery.route=smtps://user:hunter2@relay.example",
        "--set",
        "secrets.sealing_key=hunter4",
    ];
    let shown = run("postgres://u:hunter3@db.example/x", &arguments).await;
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("postgres://***@db.example/x") && text.contains("smtps://***@relay.example"), "{text}");
    assert!(!text.contains("hunter"));
    for (name, _) in mailwright::config::SETTINGS {
        let field = name.split_once('.').unwrap().1;
        assert!(text.contains(&format!("\n{field} = ")), "{name}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_printed_does_not_stay_valid() {
    let database = Database::new().await;
    let output = to_a_full_disk(&database.url, &["keys", "create", "--project", "p", "--mode", "live"]).await;
    assert!(error_of(&output).contains("was revoked"));
    assert_eq!(database.count("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL").await, 0);
    let output = to_a_full_disk(&database.url, &["domains", "add", "--project", "p", "example.org"]).await;
    assert!(error_of(&output).contains("were retired"));
    assert_eq!(database.count("SELECT count(*) FROM dkim_keys WHERE retired_at IS NULL").await, 0);
    let output = to_a_full_disk(&database.url, &["config", "show"]).await;
    assert!(error_of(&output).contains("No space left"));
}

#[tokio::test]
async fn shells_and_man_know_every_command() {
    let help = String::from_utf8(run("", &["help"]).await.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> =
        commands.filter(|line| !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(commands.len() > 15, "{help}");
    let directory = temporary("manual", "").with_extension("d");
    assert!(run("", &["manual", directory.to_str().unwrap()]).await.status.success());
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(run("", &["completions", shell]).await.stdout).unwrap();
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(directory.join(format!("mailwright-{command}.1"))).unwrap();
        assert!(page.contains(".SH NAME"), "{page}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command("", &["config", "show"]).stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let output = within("the command", child.wait_with_output()).await.unwrap();
    assert_eq!((output.status.success(), String::from_utf8_lossy(&output.stderr).as_ref()), (true, ""));
}

/// Runs a command whose standard output cannot be written.
async fn to_a_full_disk(url: &str, arguments: &[&str]) -> std::process::Output {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = command(url, arguments).stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
    within("the command", child.wait_with_output()).await.unwrap()
}

#[tokio::test]
async fn a_service_with_a_full_disk_behind_its_output_serves_on() {
    let database = Database::new().await;
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let listen = format!("http.listen={address}");
    let mut serve = command(&database.url, &["serve", "--set", &listen, "--set", "log.level=trace"]);
    let child = serve.stdout(full()).stderr(full()).spawn().unwrap();
    within("the service to answer", async {
        while Client::new(address).request("GET", "/readyz", &[], vec![]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let metrics = Client::new(address).request("GET", "/metrics", &[], vec![]).await.unwrap().text();
    let failures = metrics.lines().find_map(|l| l.strip_prefix("mailwright_log_write_failures_total ")).unwrap();
    assert_ne!(failures, "0");
    signal(child.id().unwrap(), "KILL").await;
}

/// `mailwright send` of a small message.
fn send_hi<'a>(url: &'a str, key: &'a str, from: &'a str) -> [&'a str; 13] {
    let to = "b@example.net";
    ["send", "--url", url, "--key", key, "--from", from, "--to", to, "--subject", "Hi", "--text", "x"]
}

#[tokio::test]
async fn send_and_status_speak_to_a_running_service() {
    let database = Database::new().await;
    let server = Server::start(&database.url, &[("delivery.route", "sandbox")]).await;
    let key = crate::support::process::create_key(&database.url, "shop", "live", "").await;
    let url = format!("http://{}", server.address);
    let wait = [&send_hi(&url, &key, "a@example.org")[..], &["--wait"]].concat();
    let sent = run("", &wait).await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let message: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(message["status"], "delivered");
    let status = run("", &["status", message["id"].as_str().unwrap(), "--url", &url, "--key", &key]).await;
    assert_eq!(serde_json::from_slice::<Value>(&status.stdout).unwrap()["id"], message["id"]);
    let refused = run("", &send_hi(&url, &key, "x")).await;
    assert!(error_of(&refused).contains("422"));
    assert!(run("", &["healthcheck", "--url", &url]).await.status.success());
    server.kill().await;
    assert!(!run("", &["healthcheck", "--url", &url]).await.status.success());
}

#[tokio::test]
async fn send_has_what_a_person_expects_and_does_not_wait_for_ever() {
    let database = Database::new().await;
    let server = Server::start(&database.url, &[("delivery.route", "smtp://127.0.0.1:9?tls=none")]).await;
    let key = crate::support::process::create_key(&database.url, "shop", "live", "").await;
    let url = format!("http://{}", server.address);
    let file = temporary("receipt", "paid");
    let mut more = send_hi(&url, &key, "a@example.org").to_vec();
    let text = more.iter().position(|argument| *argument == "x").unwrap();
    more[text] = "-";
    more.extend(["--cc", "c@example.net", "--bcc", "d@example.net", "--reply-to", "r@example.org", "--tag", "receipt"]);
    more.extend(["--header", "X-Order: 17", "--attach", file.to_str().unwrap(), "--idempotency-key", "k1"]);
    let wait = [&more[..], &["--wait", "--timeout", "1s"]].concat();
    let mut command = command("", &wait);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut child.stdin.take().unwrap(), b"from a pipe\n").await.unwrap();
    let waited = within("send to give up waiting", child.wait_with_output()).await.unwrap();
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert_eq!(waited.status.code(), Some(3), "{said}");
    assert!(said.contains("3 deferred") && said.contains("not settled within 1s"), "{said}");
    let message: Value = serde_json::from_slice(&waited.stdout).unwrap();
    let path = format!("/v1/messages/{}/raw", message["id"].as_str().unwrap());
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let raw = Client::new(&server.address).request("GET", &path, &headers, vec![]).await.unwrap().text();
    for wanted in ["from a pipe", "X-Order: 17", "Cc: c@example.net", "Reply-To: r@example.org", "cGFpZA=="] {
        assert!(raw.contains(wanted), "{wanted}: {raw}");
    }
    assert!(!raw.contains("d@example.net"));
}

#[tokio::test]
async fn client_commands_speak_https_to_servers_that_can_be_trusted() {
    let tls = TestTls::new("127.0.0.1");
    let address = https(&tls, "{\"status\": \"ready\"}").await;
    let url = format!("https://{address}");
    assert!(!run("", &["healthcheck", "--url", &url]).await.status.success(), "nobody vouches for it");
    let trusted = format!("delivery.ca_file={}", tls.ca_file.display());
    let answer = run("", &["healthcheck", "--url", &url, "--set", &trusted]).await;
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
}

#[tokio::test]
async fn keys_say_what_they_are_and_records_can_be_printed_again() {
    let database = Database::new().await;
    let create = ["keys", "create", "--project", "shop", "--mode", "test"];
    assert!(run(&database.url, &[&create[..], &["--expires", "90d"]].concat()).await.status.success());
    assert!(run(&database.url, &create).await.status.success());
    database.execute("UPDATE api_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE expires_at IS NOT NULL").await;
    let old = "INSERT INTO api_keys SELECT gen_random_uuid(), project_id, mode, scopes, 'mw_test_later', sha256('x'), created_at, now() + interval '9 days', NULL FROM api_keys LIMIT 1";
    database.execute(old).await;
    let listed = String::from_utf8(run(&database.url, &["keys", "list"]).await.stdout).unwrap();
    let heads = listed.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(heads, "ID PROJECT MODE PREFIX SCOPES STATE CREATED AT EXPIRES AT REVOKED AT OPERATOR SIGNS NAME");
    let scopes = "send,messages:read,messages:write,templates,webhooks,suppressions";
    for wanted in ["expired  20", "valid    20", scopes] {
        assert!(listed.contains(wanted), "{wanted}: {listed}");
    }
    let listed: Value = serde_json::from_slice(&run(&database.url, &["keys", "list", "--json"]).await.stdout).unwrap();
    let mut states: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (key["state"].as_str().unwrap(), key["expires_at"].is_null()))
        .collect();
    states.sort_unstable();
    assert_eq!(states, [("expired", false), ("valid", false), ("valid", true)]);
    assert_eq!(listed[0]["scopes"], json!(scopes.split(',').collect::<Vec<_>>()));
    let added = run(&database.url, &["domains", "add", "example.org", "--project", "shop"]).await.stdout;
    let shown = run(&database.url, &["domains", "show", "example.org", "--project", "shop"]).await.stdout;
    assert!(!added.is_empty());
    assert_eq!(String::from_utf8(added), String::from_utf8(shown));
}

#[tokio::test]
async fn a_paused_service_accepts_and_delivers_nothing() {
    let database = Database::new().await;
    let key = crate::support::process::create_key(&database.url, "shop", "live", "").await;
    let arguments = ["serve", "--paused", "--set", "http.listen=127.0.0.1:0", "--set", "delivery.route=sandbox"];
    let server = Server::from_command(command(&database.url, &arguments)).await;
    let url = format!("http://{}", server.address);
    let arguments = send_hi(&url, &key, "a@example.org");
    assert!(run("", &arguments).await.status.success());
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));
    assert_eq!(database.count("SELECT count(*) FROM deliveries WHERE attempt = 0").await, 1);
}

/// `mailwright dev` in a directory, read up to its last line.
async fn dev(directory: &std::path::Path) -> (tokio::process::Child, String) {
    let mut dev = command("", &["dev", "--data-dir", directory.to_str().unwrap()]);
    dev.env_remove("DATABASE_URL").stdout(std::process::Stdio::piped());
    let mut child = dev.spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    within("dev to be ready", async {
        while let Some(line) = lines.next_line().await.unwrap() {
            text.push_str(&line);
            text.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
    })
    .await;
    (child, text)
}

#[tokio::test]
async fn dev_needs_no_configuration_and_leaves_nothing_running() {
    let directory = std::env::temp_dir().join(format!("mailwright-dev-{}", std::process::id()));
    let (mut child, text) = dev(&directory).await;
    let curl = text.lines().map(str::trim).find(|line| line.contains("/v1/send")).unwrap();
    let sent = within("curl", Command::new("sh").args(["-c", curl]).output()).await.unwrap();
    let sent: Value = serde_json::from_slice(&sent.stdout).expect("the printed line works as printed");
    let id = sent["id"].as_str().unwrap().to_owned();
    let key = text.lines().find_map(|line| line.trim().strip_prefix("Test key")).unwrap().trim().to_owned();
    let url = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("API"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let server_pid = std::fs::read_to_string(directory.join("cluster/postmaster.pid")).unwrap();
    let server_pid: u32 = server_pid.lines().next().unwrap().parse().unwrap();
    let rival = run("", &["dev", "--data-dir", directory.to_str().unwrap()]).await;
    assert!(error_of(&rival).contains("in use by another mailwright"));
    signal(child.id().unwrap(), "INT").await;
    assert!(within("dev to end", child.wait()).await.unwrap().success());
    assert!(!std::path::Path::new(&format!("/proc/{server_pid}")).exists(), "Postgres is gone");
    let foreign = std::env::temp_dir().join(format!("mailwright-foreign-{}", std::process::id()));
    std::fs::create_dir_all(foreign.join("cluster")).unwrap();
    let refused = run("", &["dev", "--data-dir", foreign.to_str().unwrap()]).await;
    assert!(error_of(&refused).contains("no data directory of Mailwright"), "what is there is left alone");
    std::fs::remove_dir_all(foreign).unwrap();
    let (mut child, again) = dev(&directory).await;
    assert!(again.contains(&key), "the second start has the same keys");
    let new_url = again
        .lines()
        .find_map(|line| line.trim().strip_prefix("API"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let status = run("", &["status", &id, "--url", &new_url, "--key", &key]).await;
    assert!(status.status.success(), "the second start has the same data (first was {url})");
    signal(child.id().unwrap(), "INT").await;
    assert!(within("dev to end", child.wait()).await.unwrap().success());
    std::fs::remove_dir_all(directory).unwrap();
}

/// Runs `mailwright bench`; gives its one report.
async fn bench(name: &str, arguments: &[&str]) -> Value {
    let file = std::env::temp_dir().join(format!("mailwright-bench-{name}-{}.json", std::process::id()));
    let arguments = [&["bench", "--json", file.to_str().unwrap()], arguments].concat();
    let output = run("", &arguments).await;
    assert!(output.status.success(), "{output:?}");
    let reports: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(reports.as_array().unwrap().len(), 1);
    reports[0].clone()
}

#[tokio::test]
async fn bench_delivers_each_message_once_and_reports_what_it_cost() {
    let report = bench("plain", &["--messages", "300"]).await;
    let ledger = &report["ledger"];
    let counts = ["acknowledged", "taken", "lost", "extra", "uncertain"].map(|name| ledger[name].as_u64().unwrap());
    assert_eq!(counts, [300, 300, 0, 0, 0]);
    for figure in [
        "/accepted_per_second",
        "/delivered_per_second",
        "/accept_ms/p50",
        "/accept_ms/max",
        "/accept_to_delivered_ms/p99",
        "/cpu_micros/service",
        "/cpu_micros/postgres",
        "/cpu_micros_total",
        "/wal_bytes_per_message",
        "/commits_per_message",
        "/accept_batches/mean",
        "/settle_batches/commits",
        "/peak_memory_mib/0",
    ] {
        let value = report.pointer(figure).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure}: {value:?}");
    }
    assert_eq!(report["messages"], 300);
    assert!(report["weather"].is_null());
}

#[tokio::test]
async fn bench_tells_an_endpoint_of_each_delivery() {
    let report = bench("webhooks", &["--messages", "300", "--webhooks", "--webhook-delay", "20ms"]).await;
    let webhooks = &report["webhooks"];
    assert_eq!((webhooks["events"].as_u64(), webhooks["missing"].as_u64()), (Some(300), Some(0)), "{webhooks}");
    assert!(
        webhooks["events_per_second"].as_f64() > Some(0.0) && webhooks["lag_ms"].as_f64() >= Some(0.0),
        "{webhooks}"
    );
    assert!(report["cpu_micros"]["receiver"].as_f64().is_some());
}

#[tokio::test]
async fn bench_kills_a_service_and_finds_nothing_lost() {
    // Slow enough to be under way when the fault comes and when the rate is back.
    let pace = ["--messages", "600", "--rate", "100", "--service", "queue.lease=2s"];
    let report = bench("kill", &[&pace[..], &["--fault", "kill", "--processes", "2"]].concat()).await;
    assert_eq!(report["weather"]["fault"], "kill");
    assert!(report["weather"]["rate_back_seconds"].as_f64().is_some());
    let ledger = &report["ledger"];
    assert_eq!((&ledger["acknowledged"], &ledger["lost"]), (&Value::from(600), &Value::from(0)));
    assert!(ledger["extra"].as_i64() <= ledger["uncertain"].as_i64(), "{ledger}");
}
