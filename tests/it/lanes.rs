//! Servers that close, lack or limit what mail needs, and what their lanes make of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::dns::{Dns, Zone};
use crate::support::sink::{Do, Gate, Sink, SinkSetup, Step};
use crate::support::tls::TestTls;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server that closes, without a word, once a session has given it `lasts` messages.
async fn closing_after(lasts: usize, extensions: &[&'static str]) -> Sink {
    let taken = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<usize, usize>::new()));
    let script = move |step: &Step, connection: usize| {
        if !matches!(step, Step::Dot(_)) {
            return Do::Usual;
        }
        let mut taken = taken.lock().unwrap();
        let count = taken.entry(connection).or_default();
        *count += 1;
        if *count == lasts { Do::ReplyAndDrop("250 2.0.0 taken") } else { Do::Usual }
    };
    Sink::setup().extensions(extensions).script(script).start().await
}

async fn outcomes(app: &App, id: &str) -> Vec<Value> {
    app.settled(id).await;
    app.attempts(id).await.into_iter().map(|mut attempt| attempt["outcome"].take()).collect()
}

#[tokio::test]
async fn a_server_that_closes_after_a_message_costs_the_next_one_nothing() {
    for extensions in [&["PIPELINING", "CHUNKING"][..], &["PIPELINING"], &["CHUNKING"], &[]] {
        for lasts in [1, 3] {
            let sink = closing_after(lasts, extensions).await;
            let app = Setup::new().route_to(sink.address).set("delivery.uncertain_delay", "1h").start().await;
            // One after the other, each behind the end of the one before.
            for n in 0..8 {
                let id = app.send(&message_to(&format!("r{n}@example.net"))).await;
                assert_eq!(
                    outcomes(&app, &id).await,
                    [json!("accepted")],
                    "{extensions:?}, {lasts} a session, message {n}"
                );
            }
            // And many at once.
            let mut many = message_to("x@example.net");
            many["to"] = json!((0..60).map(|n| format!("m{n}@example.net")).collect::<Vec<_>>());
            let id = app.send(&many).await;
            app.settled(&id).await;
            let others = "SELECT count(*) FROM attempts WHERE outcome <> 'accepted'";
            assert_eq!(app.database.count(others).await, 0, "{extensions:?}, {lasts} a session");
        }
    }
}

#[tokio::test]
async fn under_tls_too_a_kept_session_is_asked_before_it_is_trusted() {
    let acceptor = TestTls::new("localhost").acceptor;
    let script = |step: &Step, _: usize| match step {
        Step::Dot(_) => Do::ReplyAndDrop("250 2.0.0 taken"),
        _ => Do::Usual,
    };
    let sink = Sink::setup().extensions(&["PIPELINING", "CHUNKING"]).starttls(acceptor).script(script).start().await;
    let app = Setup::new().set("delivery.route", format!("smtp://{}?tls=opportunistic", sink.address));
    let app = app.set("delivery.uncertain_delay", "1h").start().await;
    for n in 0..8 {
        let id = app.send(&message_to(&format!("r{n}@example.net"))).await;
        assert_eq!(outcomes(&app, &id).await, [json!("accepted")], "message {n}");
    }
}

/// Mail for `example.net` goes to two hosts, the first of them at `THERE`.
async fn two_hosts(first: &'static [&'static str], second: SinkSetup) -> (App, Sink, Sink) {
    let two = second.start().await;
    let one = Sink::setup().at(SocketAddr::from((THERE, two.address.port()))).extensions(first).start().await;
    let dns = Dns::start(&[
        ("example.net", Zone::Mx(vec![(10, "mx1.example.net"), (20, "mx2.example.net")])),
        ("mx1.example.net", Zone::A(THERE)),
        ("mx2.example.net", Zone::A(HERE)),
    ])
    .await;
    let app = Setup::new().set("dns.servers", dns.address).set("delivery.mx_port", two.address.port());
    (app.start().await, one, two)
}

#[tokio::test]
async fn what_one_host_cannot_take_is_asked_of_the_next() {
    let mut large = message_to("a@example.net");
    large["text"] = json!("All work and no play.\n".repeat(200));
    let (app, small, enough) =
        two_hosts(&["PIPELINING", "SIZE 1000"], Sink::setup().extensions(&["PIPELINING", "SIZE 50000000"])).await;
    let id = app.send(&large).await;
    assert_eq!(outcomes(&app, &id).await, [json!("accepted")]);
    assert_eq!((small.taken_count(), enough.taken_count()), (0, 1));
    // Both cannot: that is the end.
    let (app, ..) = two_hosts(&["SIZE 1000"], Sink::setup().extensions(&["SIZE 2000"])).await;
    let id = app.send(&large).await;
    assert_eq!(outcomes(&app, &id).await, [json!("rejected")]);
    assert!(app.attempts(&id).await[0]["reply"]["text"].as_str().unwrap().contains("2000"), "the last one's counts");
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_may_yet_take_what_the_others_cannot() {
    let mut large = message_to("a@example.net");
    large["text"] = json!("All work and no play.\n".repeat(200));
    // The second host refuses sessions at first.
    let script = |step: &Step, connection: usize| match step {
        Step::Connect if connection == 0 => Do::ReplyAndDrop("421 4.3.2 not now"),
        _ => Do::Usual,
    };
    let (app, one, two) = two_hosts(&["SIZE 1000"], Sink::setup().script(script)).await;
    let id = app.send(&large).await;
    assert_eq!(outcomes(&app, &id).await, [json!("deferred"), json!("accepted")]);
    assert_eq!((one.taken_count(), two.taken_count()), (0, 1));
}

#[tokio::test]
async fn a_rate_of_connections_holds_mail_and_defers_none() {
    let sink = Sink::setup().extensions(&[]).start().await;
    let shaping = "[limits.default]\nconnection_rate = \"2/m\"\nconnections = 10\nmessages_per_connection = 1\n";
    let app = Setup::new().route_to(sink.address).shaping(shaping).start().await;
    for n in 0..6 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    sink.until_taken(1).await;
    app.database.until_count("SELECT count(*) FROM deliveries WHERE held = 'rate' AND lease_token IS NULL", 5).await;
    assert_eq!(app.database.count("SELECT count(*) FROM attempts WHERE outcome <> 'accepted'").await, 0);
    assert_eq!(app.database.count("SELECT count(*) FROM events WHERE type = 'message.deferred'").await, 0);
}

#[tokio::test]
async fn mail_that_waits_for_a_slot_ends_at_its_last_instant() {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 1).start().await;
    let first = app.send(&message_to("a@example.net")).await;
    let mut short = message_to("b@example.net");
    short["ttl_seconds"] = json!(1);
    let second = app.send(&short).await;
    assert_eq!(app.settled(&second).await["recipients"][0]["status"], "expired");
    assert_eq!(app.message(&first).await["status"], "sending");
    gate.open();
    assert_eq!(app.settled(&first).await["status"], "delivered");
    assert_eq!(sink.taken_count(), 1);
}

#[tokio::test]
async fn greylisting_and_broken_transfers_settle_in_the_time_of_their_schedule() {
    // Each recipient is refused, or its session dropped, twice; then taken.
    let tries = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new()));
    let seen = Arc::clone(&tries);
    let current = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<usize, String>::new()));
    let script = move |step: &Step, connection: usize| {
        let twice = |key: &str| {
            let mut seen = seen.lock().unwrap();
            let count = seen.entry(key.to_owned()).or_default();
            *count += 1;
            *count <= 2
        };
        match step {
            Step::Rcpt(line) => {
                current.lock().unwrap().insert(connection, line.clone());
                if line.contains("grey") && twice(line) { Do::Reply("451 4.7.1 Greylisted") } else { Do::Usual }
            }
            Step::Data => {
                let line = current.lock().unwrap().get(&connection).cloned().unwrap_or_default();
                if line.contains("drop") && twice(&line) { Do::Drop } else { Do::Usual }
            }
            Step::Dot(to) if to.contains("later") && twice(to) => Do::Reply("451 4.3.0 later"),
            _ => Do::Usual,
        }
    };
    let sink = Sink::setup().extensions(&["PIPELINING"]).script(script).start().await;
    // At night as slowly as an operator would have it.
    let is_nightly = std::env::var_os("MAILWRIGHT_NIGHTLY").is_some();
    let retry = if is_nightly { "1s,2s,3s,5s" } else { "100ms,200ms,300ms" };
    let app = Setup::new().route_to(sink.address).set("delivery.retry", retry).start().await;
    let mut ids = Vec::new();
    for kind in ["grey", "later", "drop"] {
        let mut message = message_to("x@example.net");
        message["to"] = json!((0..60).map(|n| format!("{kind}{n}@example.net")).collect::<Vec<_>>());
        ids.push(app.send(&message).await);
    }
    for id in &ids {
        assert_eq!(app.settled(id).await["counts"]["delivered"], 60);
    }
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);
    assert!((app.metric("mailwright_deliveries_held_total{reason=\"budget\"} ").await).abs() < 0.1);
}

#[tokio::test]
async fn the_way_of_what_waits_is_found_by_its_address_and_its_bytes_are_read_when_there_is_room() {
    let sink = Sink::start().await;
    let database = Arc::new(crate::support::database::Database::new().await);
    let shaping = format!("[[routes]]\ndomain = \"other.example\"\nvia = \"smtp://{}?tls=none\"\n", sink.address);
    let setup = || Setup::new().route_to(sink.address).shaping(&shaping).on(&database);
    let accepting = setup().paused().start().await;
    for n in 0..5 {
        accepting.send(&message_to(&format!("r{n}@other.example"))).await;
    }
    let app = setup().start().await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert_eq!(sink.taken_count(), 5);
    let asked = |statement: &str| format!("mailwright_store_statement_seconds_count{{statement=\"{statement}\"}} ");
    assert!((app.metric(&asked("recipients.find_address")).await - 5.0).abs() < 0.1);
}
