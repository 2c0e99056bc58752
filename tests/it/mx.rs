//! Straight to MX: what the DNS says, and where we refuse to go.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::support::app::{App, Setup, message_to};
use crate::support::dns::{Dns, Zone};
use crate::support::sink::Sink;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

async fn app(zone: &[(&'static str, Zone)], port: u16) -> App {
    let dns = Dns::start(zone).await;
    Setup::new().set("dns.servers", dns.address).set("delivery.mx_port", port).start().await
}

async fn send(app: &App, domain: &str) -> (Value, Vec<Value>) {
    let id = app.send(&message_to(&format!("a@{domain}"))).await;
    let message = app.settled(&id).await;
    (message, app.attempts(&id).await)
}

#[tokio::test]
async fn mail_goes_to_the_mx_and_past_a_dead_one() {
    let sink = Sink::start().await;
    let zone = [
        ("example.net", Zone::Mx(vec![(20, "mx2.example.net"), (10, "mx1.example.net")])),
        ("mx1.example.net", Zone::A(Ipv4Addr::new(127, 0, 0, 2))),
        ("mx2.example.net", Zone::A(HERE)),
    ];
    let app = app(&zone, sink.address.port()).await;
    let (message, attempts) = send(&app, "example.net").await;
    assert_eq!(message["status"], "delivered");
    assert_eq!(attempts[0]["host"], "mx2.example.net", "127.0.0.2 refused, the next one took it");
    assert_eq!(attempts.len(), 1);
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host() {
    let sink = Sink::start().await;
    let app = app(&[("example.net", Zone::A(HERE))], sink.address.port()).await;
    assert_eq!(send(&app, "example.net").await.0["status"], "delivered");
}

#[tokio::test]
async fn a_domain_that_can_take_no_mail_bounces_at_once_with_its_reason() {
    let sink = Sink::start().await;
    let zone = [
        ("null.example", Zone::Mx(vec![(0, "")])),
        ("empty.example", Zone::Empty),
        ("dangling.example", Zone::Mx(vec![(10, "gone.example")])),
    ];
    let app = app(&zone, sink.address.port()).await;
    for (domain, class, code) in [
        ("null.example", "null_mx", 556),
        ("absent.example", "no_such_domain", 550),
        ("empty.example", "no_mail_host", 550),
        ("dangling.example", "no_such_domain", 550),
    ] {
        let (message, attempts) = send(&app, domain).await;
        let reply = &message["recipients"][0]["last_reply"];
        assert_eq!((reply["class"].as_str(), reply["code"].as_i64()), (Some(class), Some(code)), "{domain}");
        assert_eq!((message["status"].as_str(), attempts.len()), (Some("failed"), 1), "{domain}");
    }
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn a_sick_name_server_is_a_deferral() {
    let dns = Dns::start(&[("sick.example", Zone::ServFail)]).await;
    let app = Setup::new().set("dns.servers", dns.address).set("delivery.retry", "1h").start().await;
    let id = app.send(&message_to("a@sick.example")).await;
    let message = app.until(&id, "a deferral", |m| m["counts"]["deferred"] == 1).await;
    assert_eq!(message["recipients"][0]["last_reply"]["class"], "dns");
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let sink = Sink::start().await;
    let zone = [
        ("inside.example", Zone::Mx(vec![(10, "mx.inside.example")])),
        ("mx.inside.example", Zone::A(HERE)),
        ("meta.example", Zone::A(Ipv4Addr::new(169, 254, 169, 254))),
    ];
    let dns = Dns::start(&zone).await;
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("delivery.mx_port", sink.address.port())
        .set("net.allow_private", "")
        .start()
        .await;
    for domain in ["inside.example", "meta.example"] {
        let (message, _) = send(&app, domain).await;
        assert_eq!(message["recipients"][0]["last_reply"]["class"], "forbidden_address", "{domain}");
    }
    assert_eq!(sink.connections(), 0);
}
