//! What a 202 is worth when processes die, by the ledger of the sink.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::app::{message_to, status_of};
use crate::support::database::Database;
use crate::support::http::Client;
use crate::support::process::{Server, create_key};
use crate::support::sink::{Sink, Taken};
use crate::support::within;

/// Recipients and the message ids that were acknowledged for them.
type Acknowledged = HashMap<String, String>;

/// Sends messages `range` over a few connections; what breaks off is not acknowledged.
async fn load(address: &str, key: &str, range: std::ops::Range<usize>) -> Acknowledged {
    let next = Arc::new(AtomicUsize::new(range.start));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (address, authorization, next, end) =
            (address.to_owned(), format!("Bearer {key}"), Arc::clone(&next), range.end);
        senders.spawn(async move {
            let mut client = Client::new(&address);
            let mut acknowledged = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return acknowledged;
                }
                let to = format!("r{number}@example.net");
                let headers = [("authorization", &*authorization), ("content-type", "application/json")];
                let body = message_to(&to).to_string().into_bytes();
                match client.request("POST", "/v1/send", &headers, body).await {
                    Ok(answer) if answer.status == 202 => {
                        acknowledged.push((to, answer.json()["id"].as_str().unwrap().to_owned()));
                    }
                    Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
                    // The process is gone; whoever sends would come back to its successor.
                    Err(_) => return acknowledged,
                }
            }
        });
    }
    within("the load", senders.join_all()).await.into_iter().flatten().collect()
}

async fn get(address: &str, key: &str, path: &str) -> Value {
    let authorization = format!("Bearer {key}");
    Client::new(address).request("GET", path, &[("authorization", &authorization)], vec![]).await.unwrap().json()
}

fn copies(ledger: &[Taken]) -> HashMap<&str, Vec<&Taken>> {
    let mut copies: HashMap<&str, Vec<&Taken>> = HashMap::new();
    for taken in ledger {
        copies.entry(&taken.recipient).or_default().push(taken);
    }
    copies
}

#[tokio::test]
async fn kill_9_in_the_middle_of_a_load_loses_nothing_and_explains_every_extra_copy() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::start().await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [("delivery.route", &*route), ("queue.lease", "2s"), ("delivery.sessions", "4")];
    let first = Server::start(&database.url, &settings).await;
    let address = first.address.clone();
    let loading = {
        let (address, key) = (address.clone(), key.clone());
        tokio::spawn(async move { load(&address, &key, 0..3000).await })
    };
    sink.until_taken(150).await;
    first.kill().await;
    let mut acknowledged = within("the load", loading).await.unwrap();
    assert!(acknowledged.len() < 3000, "the kill came in the middle");
    let second = Server::start(&database.url, &settings).await;
    acknowledged.extend(load(&second.address, &key, 3000..3050).await);
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let ledger = sink.ledger();
    let copies = copies(&ledger);
    for (to, id) in &acknowledged {
        let mine = copies.get(&**to).unwrap_or_else(|| panic!("{to} was acknowledged and is lost"));
        let message = get(&second.address, &key, &format!("/v1/messages/{id}")).await;
        assert_eq!(status_of(&message, to), "delivered", "status and ledger agree");
        if mine.len() > 1 {
            let attempts = get(&second.address, &key, &format!("/v1/messages/{id}/attempts")).await;
            let uncertain = attempts["data"].as_array().unwrap().iter().filter(|a| a["outcome"] == "uncertain").count();
            assert!(mine.len() <= 1 + uncertain, "{to}: {} copies, {uncertain} uncertain tries", mine.len());
            assert!(mine.iter().all(|copy| copy.data == mine[0].data), "copies are byte-identical");
        }
    }
    second.signal("TERM").await;
    assert_eq!(second.ended().await, Some(0));
}

#[tokio::test]
async fn two_processes_on_one_store_deliver_5000_messages_exactly_once() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::start().await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [("delivery.route", &*route), ("log.level", "error")];
    let (one, two) = (Server::start(&database.url, &settings).await, Server::start(&database.url, &settings).await);
    let (first, second) = tokio::join!(load(&one.address, &key, 0..2500), load(&two.address, &key, 2500..5000));
    assert_eq!((first.len(), second.len()), (2500, 2500));
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let ledger = sink.ledger();
    assert_eq!(ledger.len(), 5000);
    assert_eq!(copies(&ledger).len(), 5000, "each exactly once");
    assert_eq!(
        database.count("SELECT count(*) FROM recipients WHERE status = 'delivered' AND attempts = 1").await,
        5000
    );
    assert_eq!(database.count("SELECT count(*) FROM events WHERE type = 'message.delivered'").await, 5000);
    let owners = "SELECT count(*) FROM attempts WHERE outcome = 'accepted'";
    assert_eq!(database.count(owners).await, 5000);
    for server in [one, two] {
        server.signal("TERM").await;
        assert_eq!(server.ended().await, Some(0));
    }
}

#[tokio::test]
async fn sigterm_under_load_resets_no_accepted_request_and_loses_nothing() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::start().await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let settings = [("delivery.route", &*route)];
    let mut acknowledged = Acknowledged::new();
    for round in 0..3 {
        let server = Server::start(&database.url, &settings).await;
        let loading = {
            let (address, key) = (server.address.clone(), key.clone());
            tokio::spawn(async move { load(&address, &key, round * 300..round * 300 + 300).await })
        };
        sink.until_taken(round * 50 + 20).await;
        server.signal("TERM").await;
        assert_eq!(server.ended().await, Some(0), "a drained stop is a success");
        acknowledged.extend(within("the load", loading).await.unwrap());
    }
    let last = Server::start(&database.url, &settings).await;
    database.until_count("SELECT count(*) FROM deliveries", 0).await;
    let ledger = sink.ledger();
    let copies = copies(&ledger);
    for to in acknowledged.keys() {
        assert_eq!(copies.get(&**to).map(Vec::len), Some(1), "{to}: once, and not lost");
    }
    last.kill().await;
}

#[tokio::test]
async fn a_second_signal_aborts_and_says_so() {
    let database = Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let sink = Sink::setup()
        .script(|step, _| match step {
            crate::support::sink::Step::Dot(_) => crate::support::sink::Do::Stall,
            _ => crate::support::sink::Do::Usual,
        })
        .start()
        .await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let server = Server::start(&database.url, &[("delivery.route", &route)]).await;
    load(&server.address, &key, 0..1).await;
    sink.until_taken(1).await;
    server.signal("TERM").await;
    // The listener closes when the first signal has been heard.
    within("the listener to close", async {
        while tokio::net::TcpStream::connect(&server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(75));
    assert_eq!(database.count("SELECT count(*) FROM deliveries").await, 1, "the duty is still there");
}
