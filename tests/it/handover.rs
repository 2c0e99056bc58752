//! Born leased: what is accepted while places are free is delivered without a claim, and what becomes of it when
//! they are not, or when the process ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mailwright::app::{Ended, Role};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::app::{Setup, message_to};
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, create_key};
use crate::support::sink::{Do, Gate, Sink, Step};
use crate::support::within;

const LEASED: &str =
    "SELECT count(*) FROM deliveries WHERE attempt = 1 AND lease_token IS NOT NULL AND lease_until > now()";
const READY: &str = "SELECT count(*) FROM deliveries WHERE attempt = 0 AND lease_token IS NULL AND ready";

/// How many claims a service has made.
async fn claims(address: impl ToString) -> u64 {
    let text = within("metrics", Client::new(address).request("GET", "/metrics", &[], vec![])).await.unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix("mailwright_claim_batch_deliveries_count "));
    line.expect("the metric is there").parse().unwrap()
}

/// How many copies each recipient got.
fn copies(sink: &Sink) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for taken in sink.ledger() {
        *copies.entry(taken.recipient).or_default() += 1;
    }
    copies
}

/// Sends one message; gives the status of the answer.
async fn send(client: &mut Client, key: &str, to: &str) -> Result<u16, String> {
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = message_to(to).to_string().into_bytes();
    Ok(client.request("POST", "/v1/send", &headers, body).await?.status)
}

/// Of one lane, two deliveries find a place and the third does not; no poll comes to the rescue.
fn two_places(sink: &Sink) -> Setup {
    let setup = Setup::new().route_to(sink.address).set("delivery.sessions", 1).set("delivery.concurrency", 4);
    setup.set("queue.poll", "1h")
}

#[tokio::test]
async fn what_is_accepted_while_places_are_free_is_born_leased_and_never_claimed() {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let app = Setup::new().route_to(sink.address).start().await;
    let other = Setup::new().route_to(sink.address).on(&app.database).start().await;
    other.until_delivering().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(app.send(&message_to(&format!("r{n}@example.net"))).await);
        assert_eq!(app.database.count(LEASED).await, n + 1, "as soon as it is accepted");
    }
    let owners = "SELECT count(DISTINCT lease_owner) FROM deliveries";
    assert_eq!(app.database.count(owners).await, 1);
    other.send(&message_to("r3@example.net")).await;
    assert_eq!(app.database.count(owners).await, 2, "each process holds what it accepted");
    gate.open();
    for id in &ids {
        assert_eq!(app.settled(id).await["recipients"][0]["attempts"], 1);
    }
    app.database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert_eq!(sink.taken_count(), 4);
    assert_eq!((claims(app.address).await, claims(other.address).await), (0, 0));
}

#[tokio::test]
async fn what_finds_no_place_waits_in_its_row_and_is_claimed_once_room_comes() {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let app = two_places(&sink).start().await;
    for n in 0..6 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    assert_eq!((app.database.count(LEASED).await, app.database.count(READY).await), (2, 4));
    assert_eq!(claims(app.address).await, 0);
    gate.open();
    app.database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert!(claims(app.address).await >= 1);
    assert_eq!(copies(&sink).values().filter(|count| **count == 1).count(), 6, "each exactly once");
}

#[tokio::test]
async fn a_process_that_does_not_deliver_leases_nothing() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    let setup = || Setup::new().route_to(sink.address).on(&database);
    let (paused, api) = (setup().paused().start().await, setup().roles(&[Role::Api]).start().await);
    for (app, to) in [(&paused, "paused@example.net"), (&api, "api@example.net")] {
        app.send(&message_to(to)).await;
    }
    assert_eq!(database.count(READY).await, 2);
    let _deliverer = setup().roles(&[Role::Delivery]).start().await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert_eq!(copies(&sink).len(), 2);
}

#[tokio::test]
async fn recipients_of_one_message_that_are_handed_over_and_that_wait_get_one_copy_each() {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let app = two_places(&sink).start().await;
    let mut message = message_to("x@example.net");
    let to: Vec<_> = (0..7).map(|n| format!("r{n}@example.net")).collect();
    message["to"] = json!(to);
    let id = app.send(&message).await;
    assert_eq!((app.database.count(LEASED).await, app.database.count(READY).await), (2, 5));
    assert_eq!(claims(app.address).await, 0);
    gate.open();
    assert_eq!(app.settled(&id).await["counts"]["delivered"], 7);
    let copies = copies(&sink);
    assert!(to.iter().all(|to| copies[to] == 1), "{copies:?}");
    assert_eq!(app.attempts(&id).await.len(), 7);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_in_a_session_and_lets_go_of_what_waits_for_one() {
    let gate = Gate::closed();
    let sink = Sink::behind(&gate).await;
    let app = Setup::new().route_to(sink.address).set("delivery.sessions", 2).start().await;
    for n in 0..4 {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
    assert_eq!(claims(app.address).await, 0);
    let (address, database) = (app.address, Arc::clone(&app.database));
    assert_eq!(database.count(LEASED).await, 4, "two in sessions, two that wait for one");
    let stopping = tokio::spawn(app.stop());
    within("the listener to close", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Others may take them at once, and it was no try.
    database
        .until_count("SELECT count(*) FROM deliveries WHERE ready AND lease_token IS NULL AND attempt = 0", 2)
        .await;
    assert_eq!(database.count(LEASED).await, 2);
    gate.open();
    assert_eq!(stopping.await.unwrap(), Ended::Drained);
    assert_eq!(database.count("SELECT count(*) FROM deliveries").await, 2);
    assert_eq!(sink.taken_count(), 2);
    let _next = Setup::new().route_to(sink.address).on(&database).start().await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert_eq!(sink.taken_count(), 4);
    assert_eq!(database.count("SELECT count(*) FROM attempts").await, 4, "each tried once");
}

/// Sends until it is refused or the connection breaks; gives the recipients that were acknowledged.
async fn send_while_answered(address: SocketAddr, key: String, sender: usize) -> Vec<String> {
    let mut client = Client::new(address);
    let mut acknowledged = Vec::new();
    loop {
        let to = format!("r{sender}-{}@example.net", acknowledged.len());
        match send(&mut client, &key, &to).await {
            Ok(202) => acknowledged.push(to),
            _ => return acknowledged,
        }
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_of_accepting_leaves_no_lease_behind() {
    let sink = Sink::start().await;
    let database = Arc::new(Database::new().await);
    let setup = || Setup::new().route_to(sink.address).set("delivery.sessions", 4).on(&database);
    let app = setup().start().await;
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..8 {
        senders.spawn(send_while_answered(app.address, app.live.clone(), sender));
    }
    sink.until_taken(100).await;
    assert_eq!(app.stop().await, Ended::Drained);
    assert_eq!(database.count("SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL").await, 0);
    let acknowledged: Vec<_> = within("the senders", senders.join_all()).await.into_iter().flatten().collect();
    let _successor = setup().start().await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let copies = copies(&sink);
    assert!(acknowledged.len() >= 100 && acknowledged.iter().all(|to| copies.contains_key(to)), "nothing is lost");
    assert!(copies.values().all(|count| *count == 1), "each exactly once");
}

#[tokio::test]
async fn what_a_killed_process_was_handed_is_delivered_when_its_lease_ran_out() {
    const MESSAGES: usize = 20;
    // Of the first process's ten sessions, five are never greeted and five never hear what became of a message
    // that was taken; ten deliveries wait for a session.
    let sink = Sink::setup()
        .script(|step, connection| match step {
            Step::Connect if (0..5).contains(&connection) => Do::Stall,
            Step::Dot(_) if (5..10).contains(&connection) => Do::Stall,
            _ => Do::Usual,
        })
        .start()
        .await;
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [("delivery.route", &*route), ("queue.lease", "2s"), ("delivery.sessions", "10")];
    let first = Server::start(&database.url, &settings).await;
    let mut client = Client::new(&first.address);
    for n in 0..MESSAGES {
        assert_eq!(send(&mut client, &key, &format!("r{n}@example.net")).await, Ok(202));
    }
    sink.until_taken(5).await;
    assert_eq!(database.count(LEASED).await, 20);
    assert_eq!(claims(&first.address).await, 0);
    first.kill().await;
    let second = Server::start(&database.url, &settings).await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let copies = copies(&sink);
    assert_eq!(copies.len(), MESSAGES, "none is lost");
    assert_eq!(copies.values().sum::<usize>(), MESSAGES + 5, "those that were taken without a word came twice");
    let explained = "SELECT count(*) FROM recipients r WHERE r.status = 'delivered' AND r.attempts = 2 AND 1 = \
                     (SELECT count(*) FROM attempts a WHERE a.recipient_id = r.id AND a.outcome = 'uncertain' AND a.number = 1)";
    assert_eq!(database.count(explained).await, 20);
    second.kill().await;
}
