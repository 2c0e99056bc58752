//! Straight to MX: what the DNS says, and where we refuse to go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::app::{App, Setup, message_to};
use crate::support::dns::{Dns, Zone};
use crate::support::sink::{Do, Sink, Step};

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
        ("nulls.example", Zone::Mx(vec![(0, ""), (10, "")])),
        ("empty.example", Zone::Empty),
        ("dangling.example", Zone::Mx(vec![(10, "gone.example")])),
    ];
    let app = app(&zone, sink.address.port()).await;
    for (domain, class) in [
        ("null.example", "null_mx"),
        ("nulls.example", "null_mx"),
        ("absent.example", "no_such_domain"),
        ("empty.example", "no_mail_host"),
        ("dangling.example", "no_such_domain"),
    ] {
        let (message, attempts) = send(&app, domain).await;
        let reply = &message["recipients"][0]["last_reply"];
        assert_eq!((reply["class"].as_str(), reply["code"].as_i64()), (Some(class), None), "{domain}: nobody replied");
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
        ("ten.example", Zone::A(Ipv4Addr::new(10, 0, 0, 1))),
        ("six.example", Zone::Aaaa(Ipv6Addr::LOCALHOST)),
        ("mapped.example", Zone::Aaaa(HERE.to_ipv6_mapped())),
        // RFC 6052: the well-known prefix of NAT64, before 127.0.0.1.
        ("nat64.example", Zone::Aaaa(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0x7f00, 1))),
        ("local.example", Zone::Aaaa(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))),
    ];
    let dns = Dns::start(&zone).await;
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("delivery.mx_port", sink.address.port())
        .set("net.allow_private", "")
        .start()
        .await;
    for name in ["inside", "meta", "ten", "six", "mapped", "nat64", "local"] {
        let domain = &format!("{name}.example");
        let (message, _) = send(&app, domain).await;
        assert_eq!(message["recipients"][0]["last_reply"]["class"], "forbidden_address", "{domain}");
    }
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn name_servers_that_are_silent_late_or_terse_cost_time_and_no_mail() {
    let sink = Sink::start().await;
    let zone = [
        ("late.example", Zone::A(HERE)),
        ("late.example", Zone::Late(Duration::from_millis(300))),
        ("long.example", Zone::Mx(vec![(10, "mx.long.example")])),
        ("long.example", Zone::Long),
        ("mx.long.example", Zone::A(HERE)),
        ("mx.long.example", Zone::Long),
        ("silent.example", Zone::A(HERE)),
        ("silent.example", Zone::Silent),
    ];
    let dns = Dns::start(&zone).await;
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("dns.timeout", "500ms")
        .set("delivery.mx_port", sink.address.port())
        .set("delivery.retry", "1h")
        .start()
        .await;
    for domain in ["late.example", "long.example"] {
        let (message, attempts) = send(&app, domain).await;
        assert_eq!((&message["status"], attempts.len()), (&json!("delivered"), 1), "{domain}");
    }
    let id = app.send(&message_to("a@silent.example")).await;
    let message = app.until(&id, "a deferral", |m| m["counts"]["deferred"] == 1).await;
    assert_eq!(message["recipients"][0]["last_reply"]["class"], "dns");
    assert!(app.attempts(&id).await[0]["duration_ms"].as_i64().unwrap() < 5_000);
    assert_eq!(sink.taken_count(), 2);
}

#[tokio::test]
async fn of_fifty_exchangers_five_addresses_are_tried_at_a_time() {
    // One server at every address of this machine, which greets nobody kindly.
    let sink = Sink::setup()
        .at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
        .script(|step, _| if *step == Step::Connect { Do::ReplyAndDrop("421 4.3.2 not now") } else { Do::Usual })
        .start()
        .await;
    let hosts: Vec<&'static str> = (0..50).map(|n| &*format!("mx{n}.example.net").leak()).collect();
    let mut zone = vec![("example.net", Zone::Mx(hosts.iter().map(|host| (10, *host)).collect()))];
    zone.push(("example.net", Zone::Long));
    zone.extend((1..).zip(&hosts).map(|(n, host)| (*host, Zone::A(Ipv4Addr::new(127, 0, 5, n)))));
    let app = app(&zone, sink.address.port()).await;
    let id = app.send(&message_to("a@example.net")).await;
    app.until(&id, "a deferral", |m| m["counts"]["deferred"] == 1).await;
    let attempts = app.attempts(&id).await;
    assert_eq!((sink.connections(), attempts.len()), (5, 1), "{attempts:?}");
}

/// A listener whose queue is full: connections to it hang.
async fn black_hole(ip: IpAddr, port: u16) -> (TcpListener, Vec<TcpStream>) {
    let socket = if ip.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.unwrap();
    socket.bind(SocketAddr::new(ip, port)).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(listener.local_addr().unwrap())).await
    {
        held.push(stream);
    }
    (listener, held)
}

#[tokio::test]
async fn an_address_that_hangs_costs_two_seconds_when_it_is_ipv6() {
    let sink = Sink::start().await;
    let _hole = black_hole(Ipv6Addr::LOCALHOST.into(), sink.address.port()).await;
    // The better exchanger has an IPv6 address alone, the other one both.
    let zone = [
        ("example.net", Zone::Mx(vec![(10, "mx6.example.net"), (20, "mx.example.net")])),
        ("mx6.example.net", Zone::Aaaa(Ipv6Addr::LOCALHOST)),
        ("mx.example.net", Zone::Aaaa(Ipv6Addr::LOCALHOST)),
        ("mx.example.net", Zone::A(HERE)),
    ];
    let app = app(&zone, sink.address.port()).await;
    let (message, attempts) = send(&app, "example.net").await;
    assert_eq!((&message["status"], attempts.len()), (&json!("delivered"), 1));
    let cost = attempts[0]["duration_ms"].as_i64().unwrap();
    assert!((1_500..4_000).contains(&cost), "{cost} ms");
}

#[tokio::test]
async fn an_exchanger_that_hangs_is_passed_over_in_time() {
    let sink = Sink::start().await;
    let dead = Ipv4Addr::new(127, 0, 0, 7);
    let _hole = black_hole(dead.into(), sink.address.port()).await;
    let zone = [
        ("example.net", Zone::Mx(vec![(10, "mx1.example.net"), (20, "mx2.example.net")])),
        ("mx1.example.net", Zone::A(dead)),
        ("mx2.example.net", Zone::A(HERE)),
    ];
    let dns = Dns::start(&zone).await;
    let setup = Setup::new().set("dns.servers", dns.address).set("delivery.mx_port", sink.address.port());
    let app = setup.set("delivery.timeout_failover", "300ms").start().await;
    let (message, attempts) = send(&app, "example.net").await;
    assert_eq!((&message["status"], attempts.len()), (&json!("delivered"), 1));
    assert_eq!(attempts[0]["host"], "mx2.example.net");
}

#[tokio::test]
async fn a_host_whose_ipv6_answer_is_missing_is_not_without_addresses() {
    let zone = [("six.example", Zone::NoAaaa), ("six.example", Zone::Empty)];
    let dns = Dns::start(&zone).await;
    let app = Setup::new().set("dns.servers", dns.address).set("delivery.retry", "1h").start().await;
    let id = app.send(&message_to("a@six.example")).await;
    let message =
        app.until(&id, "an attempt", |m| m["recipients"][0]["attempts"] == 1 && m["status"] != "sending").await;
    assert_eq!(message["recipients"][0]["last_reply"]["class"], "dns", "{message}");
}

#[tokio::test]
async fn a_host_has_whatever_name_the_zone_gives_it() {
    let sink = Sink::start().await;
    for host in ["mx_1.hosts.example", "-mx.hosts.example", "mx-.hosts.example", "xn--a.hosts.example"] {
        let zone = [("under.example", Zone::Mx(vec![(10, host)])), (host, Zone::A(HERE))];
        let app = app(&zone, sink.address.port()).await;
        let (message, attempts) = send(&app, "under.example").await;
        assert_eq!(message["status"], "delivered", "{host}: {attempts:?}");
        assert_eq!(attempts[0]["host"], host);
    }
}

#[tokio::test]
async fn mail_goes_past_more_than_ten_hosts_that_do_not_exist() {
    let sink = Sink::start().await;
    let mut hosts: Vec<(u16, &'static str)> = (0..25).map(|n| (10, &*format!("nx{n}.example").leak())).collect();
    hosts.push((20, "mx.example"));
    let zone = [("many.example", Zone::Mx(hosts)), ("mx.example", Zone::A(HERE))];
    let app = app(&zone, sink.address.port()).await;
    assert_eq!(send(&app, "many.example").await.0["status"], "delivered");
}

#[tokio::test]
async fn mail_whose_hosts_were_not_all_asked_for_is_deferred() {
    let hosts = (0..35).map(|n| (10, &*format!("n{n}.t").leak())).collect();
    let dns = Dns::start(&[("many.example", Zone::Mx(hosts))]).await;
    let app = Setup::new().set("dns.servers", dns.address).set("delivery.retry", "1h").start().await;
    let id = app.send(&message_to("a@many.example")).await;
    let message = app.until(&id, "a deferral", |m| m["recipients"][0]["status"] == "deferred").await;
    assert!(
        message["recipients"][0]["last_reply"]["text"].as_str().unwrap().contains("first 30 mail hosts"),
        "{message}"
    );
}
