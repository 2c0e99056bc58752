//! What must be read again lies sealed in the store, by a key that is not there, and goes over from one key to the next.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{App, SEALING_KEY, Setup, message_to};
use crate::support::database::Database;
use crate::support::dkim::{add_domain, verdicts};
use crate::support::process::{Server, command, run};
use crate::support::receiver::Receiver;
use crate::support::sink::Sink;
use crate::support::within;

const NEXT_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// A service that seals by the first of `keys`, and delivers to a sink.
async fn start(database: &Arc<Database>, sink: &Sink, keys: &str) -> App {
    let setup = Setup::new().route_to(sink.address).set("secrets.sealing_key", keys).set("dkim.cache", "0s");
    setup.on(database).start().await
}

/// How many secrets lie there, by table and state.
async fn listed(url: &str, keys: &str) -> Vec<(String, String, i64)> {
    let output = run(url, &["secrets", "list", "--json", "--set", &format!("secrets.sealing_key={keys}")]).await;
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "table"), text(row, "state"), row["count"].as_i64().unwrap())).collect()
}

async fn seal(url: &str, keys: &str) -> (bool, String) {
    let output = run(url, &["secrets", "seal", "--set", &format!("secrets.sealing_key={keys}")]).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// A message is signed by the domain's keys, and an endpoint's webhooks by its secret.
async fn signs(app: &App, records: &[String], receiver: &Receiver, secret: &str) {
    let before = receiver.hooks().len();
    let mut message = message_to("b@example.net");
    message["from"] = json!("shop@example.org");
    let id = app.send(&message).await;
    app.settled(&id).await;
    let raw = app.get(&format!("/v1/messages/{id}/raw")).await.bytes.to_vec();
    assert_eq!(verdicts(&raw, records).await, ["rsa-sha256 example.org sr good", "ed25519-sha256 example.org se good"]);
    let hooks = receiver.until(before + 2).await;
    assert!(hooks[before..].iter().all(|hook| hook.is_signed_by(secret)));
}

#[tokio::test]
async fn a_dump_signs_as_nobody_and_keys_go_over_one_into_the_next() {
    let sink = Sink::start().await;
    let receiver = Receiver::start().await;
    // What was there before a key was set.
    let database = Arc::new(Database::new().await);
    let url = database.url.clone();
    let app = start(&database, &sink, "").await;
    let output = command(&url, &["domains", "add", "--project", "shop", "example.com"])
        .env_remove("MAILWRIGHT_SECRETS__SEALING_KEY")
        .output();
    assert!(within("a domain", output).await.unwrap().status.success());
    app.post("/v1/webhooks", &json!({"url": receiver.url(), "enabled": false})).await;
    app.stop().await;
    let of = |state: &str, counts: [(&str, i64); 3]| {
        counts.map(|(table, count)| (table.to_owned(), state.to_owned(), count)).to_vec()
    };
    let three = |state| of(state, [("dkim_keys", 2), ("token_keys", 1), ("webhook_endpoints", 1)]);
    assert_eq!(listed(&url, "").await, three("not sealed"));
    assert_eq!(seal(&url, "").await.1, "mailwright: set secrets.sealing_key or secrets.sealing_key_file first\n");
    let (done, said) = seal(&url, SEALING_KEY).await;
    assert!(done && said.starts_with("4 sealed; "), "{said}");
    assert_eq!(listed(&url, SEALING_KEY).await, three("sealed by today's key"));

    // What is made with one.
    let app = start(&database, &sink, SEALING_KEY).await;
    let records = add_domain(&url, "example.org", &["--selector", "s"]).await;
    let made = app.post("/v1/webhooks", &json!({"url": receiver.url()})).await.json();
    let (secret, path) =
        (made["secret"].as_str().unwrap().to_owned(), format!("/v1/webhooks/{}", made["id"].as_str().unwrap()));
    let rotated = app.post(&format!("{path}/rotate-secret"), &json!({})).await.json();
    let newer = rotated["secret"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&path).await.json()["public_key"], rotated["public_key"]);
    let token = run(&url, &["reports", "rotate-key"]).await;
    assert!(token.status.success(), "{token:?}");
    let lie = "SELECT count(*) FROM (SELECT secret, sealed FROM webhook_endpoints UNION ALL SELECT secret, sealed FROM webhook_old_secrets) s \
               WHERE NOT sealed OR position($1 IN secret) > 0";
    for text in [&secret, &newer] {
        let octets = STANDARD.decode(text.trim_start_matches("whsec_")).unwrap();
        let found: i64 = sqlx::query_scalar(lie).bind(&octets).fetch_one(&app.database.pool).await.unwrap();
        assert_eq!(found, 0);
    }
    // A private key of PKCS#8 begins with a sequence (RFC 5958).
    let keys = "SELECT count(*) FROM dkim_keys WHERE NOT sealed OR get_byte(private_key, 0) = 48";
    assert_eq!(app.database.count(keys).await, 0);
    assert_eq!(app.database.count("SELECT count(*) FROM token_keys WHERE NOT sealed").await, 0);
    signs(&app, &records, &receiver, &newer).await;
    app.stop().await;

    // From one key to the next: both open, the first seals, and all is sealed anew.
    let both = format!("{NEXT_KEY},{SEALING_KEY}");
    let app = start(&database, &sink, &both).await;
    signs(&app, &records, &receiver, &secret).await;
    let (done, said) = seal(&url, &both).await;
    assert!(done && said.starts_with("9 sealed; "), "{said}");
    assert_eq!(listed(&url, NEXT_KEY).await.iter().filter(|(_, state, _)| state != "sealed by today's key").count(), 0);
    assert!(seal(&url, &both).await.1.starts_with("0 sealed; "));
    app.stop().await;
    let app = start(&database, &sink, NEXT_KEY).await;
    signs(&app, &records, &receiver, &newer).await;
    app.stop().await;

    // Without it nothing starts, and nothing is sealed by another.
    for keys in [SEALING_KEY, ""] {
        let output =
            run(&url, &["serve", "--set", "http.listen=127.0.0.1:0", "--set", &format!("secrets.sealing_key={keys}")])
                .await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && error.contains("not among those of `secrets.sealing_key` (4 in dkim_keys"),
            "{error}"
        );
    }
    let (done, said) = seal(&url, SEALING_KEY).await;
    assert!(!done && said.contains("not among those"), "{said}");
}

#[tokio::test]
async fn a_new_store_is_sealed_from_the_first_row_on_and_without_a_key_the_log_says_so() {
    let database = Database::empty().await;
    let migrated = run(&database.url, &["migrate"]).await;
    assert!(migrated.status.success(), "{migrated:?}");
    assert_eq!(database.count("SELECT count(*) FROM token_keys WHERE NOT sealed").await, 0);

    let database = Database::new().await;
    let mut command = command(&database.url, &["serve", "--set", "http.listen=127.0.0.1:0"]);
    command.env_remove("MAILWRIGHT_SECRETS__SEALING_KEY").stderr(std::process::Stdio::piped());
    let mut server = Server::from_command(command).await;
    let mut said = server.child.stderr.take().unwrap();
    server.kill().await;
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut said, &mut text).await.unwrap();
    assert!(text.contains("secrets.sealing_key is not set"), "{text}");
}
