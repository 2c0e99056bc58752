//! Postgres behind a real pooler in transaction mode.

use crate::support::app::message_to;
use crate::support::bouncer::{Bouncer, newer};
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, command, run};
use crate::support::sink::Sink;
use crate::support::within;

/// Sends until `count` are acknowledged or the process is gone; gives how many were.
async fn send(address: &str, key: &str, count: usize) -> usize {
    let mut client = Client::new(address);
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    for n in 0..count {
        let body = message_to(&format!("r{n}@example.net")).to_string().into_bytes();
        match client.request("POST", "/v1/send", &headers, body).await {
            Ok(answer) => assert_eq!(answer.status, 202, "{}", answer.text()),
            Err(_) => return n,
        }
    }
    count
}

#[tokio::test]
async fn the_service_works_through_a_pooler_in_transaction_mode_and_survives_a_kill() {
    if newer().is_some() {
        works_through("", "transaction").await;
        works_through("max_prepared_statements = 0", "transaction-unprepared").await;
    } else {
        works_through("", "transaction-unprepared").await;
    }
}

async fn works_through(lines: &str, pooler: &str) {
    let database = Database::empty().await;
    let bouncer = Bouncer::start(&database.url, lines).await;
    let direct = format!("database.direct_url={}", database.url);
    let mode = format!("database.pooler={pooler}");
    let pooled = ["--set", &*mode, "--set", &*direct];
    for arguments in [&["migrate"][..], &["migrate"], &["keys", "list"]] {
        let done = run(&bouncer.url, &[arguments, &pooled].concat()).await;
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let made =
        run(&bouncer.url, &[&["keys", "create", "--project", "shop", "--mode", "live"][..], &pooled].concat()).await;
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let sink = Sink::start().await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [
        ("delivery.route", &*route),
        ("queue.lease", "2s"),
        ("queue.poll", "200ms"),
        ("database.pooler", pooler),
        ("database.direct_url", &*database.url),
    ];
    let first = Server::start(&bouncer.url, &settings).await;
    let loading = {
        let (address, key) = (first.address.clone(), key.clone());
        tokio::spawn(async move { send(&address, &key, 100_000).await })
    };
    sink.until_taken(100).await;
    first.kill().await;
    let acknowledged = within("the load", loading).await.unwrap();
    assert!(acknowledged >= 50, "{acknowledged}");
    let second = Server::start(&bouncer.url, &settings).await;
    assert_eq!(send(&second.address, &key, 50).await, 50);
    let waiting = "SELECT count(*) FROM deliveries";
    within("everything to be delivered", async {
        while database.count(waiting).await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ledger = sink.ledger();
    for n in 0..acknowledged {
        let to = format!("r{n}@example.net");
        assert!(ledger.iter().any(|taken| taken.recipient == to), "{to} was acknowledged and is lost");
    }
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database \
                 WHERE datname = current_database())";
    assert_eq!(database.count(locks).await, 0, "nothing is left with the pooler's sessions");
    second.signal("TERM").await;
    assert_eq!(second.ended().await, Some(0));
}

#[tokio::test]
async fn what_cannot_work_through_a_pooler_is_refused_in_words_that_name_the_setting() {
    let database = Database::new().await;
    // As it comes: it refuses the parameters of a session.
    let strict = Bouncer::start(&database.url, "").await;
    // It takes them, and drops them without a word.
    let lax = Bouncer::start(&database.url, "ignore_startup_parameters = extra_float_digits,options").await;
    for url in [&strict.url, &lax.url] {
        let refused = within("serve to refuse", command(url, &["serve"]).output()).await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success());
        assert!(said.contains("database.pooler = \"transaction\"") && said.contains("database.direct_url"), "{said}");
    }
    let direct = format!("database.direct_url={}", database.url);
    if newer().is_some() {
        return;
    }
    let tracking = ["serve", "--set", "database.pooler=transaction", "--set", &direct];
    let said = String::from_utf8_lossy(&run(&strict.url, &tracking).await.stderr).into_owned();
    assert!(said.contains("max_prepared_statements") && said.contains("transaction-unprepared"), "{said}");
    let half = run(&strict.url, &["serve", "--set", "database.pooler=transaction"]).await;
    let said = String::from_utf8_lossy(&half.stderr).into_owned();
    assert!(!half.status.success() && said.contains("database.direct_url"), "{said}");
}
