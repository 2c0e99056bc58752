//! What domains demand of TLS: MTA-STS and DANE are kept, and what nobody vouches for demands nothing.

use std::net::Ipv4Addr;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::support::app::{App, Setup, message_to, status_of, temporary};
use crate::support::dns::{Dns, Zone};
use crate::support::sink::{Sink, Step};
use crate::support::tls::{TestTls, https};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

async fn deferred(app: &App, id: &str) -> Value {
    app.until(id, "a deferral", |m| m["counts"]["deferred"] == 1).await["recipients"][0]["last_reply"].clone()
}

fn sts_zone(mx: &'static str) -> Vec<(&'static str, Zone)> {
    vec![
        ("example.net", Zone::Mx(vec![(10, mx)])),
        (mx, Zone::A(HERE)),
        ("_mta-sts.example.net", Zone::Txt("v=STSv1; id=1;")),
        ("mta-sts.example.net", Zone::A(HERE)),
    ]
}

async fn sts_app(zone: &[(&'static str, Zone)], sink: &Sink, web: &TestTls, policy: &'static str) -> Setup {
    let dns = Dns::start(zone).await;
    let server = https(web, policy).await;
    Setup::new()
        .set("dns.servers", dns.address)
        .set("delivery.mx_port", sink.address.port())
        .set("delivery.mta_sts_port", server.port())
        .set("delivery.ca_file", web.ca_file.display())
        .set("delivery.retry", "1h")
}

const ENFORCE: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 86400\r\n";

#[tokio::test]
async fn an_enforced_policy_refuses_hosts_that_it_does_not_list() {
    let web = TestTls::new("mta-sts.example.net");
    let sink = Sink::start().await;
    let app = sts_app(&sts_zone("other.example.net"), &sink, &web, ENFORCE).await.start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(deferred(&app, &id).await["class"], "mta_sts");
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn an_enforced_policy_demands_a_valid_certificate_and_outlives_its_web_server() {
    let web = TestTls::new("mta-sts.example.net");
    // A certificate that nobody vouches for.
    let sink = Sink::setup().starttls(TestTls::new("mx.example.net").acceptor).start().await;
    let zone = sts_zone("mx.example.net");
    let app = sts_app(&zone, &sink, &web, ENFORCE).await.start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(deferred(&app, &id).await["class"], "tls");
    assert!(!sink.steps().iter().any(|(_, step)| matches!(step, Step::Mail(_))), "nothing in the clear");
    assert_eq!(app.attempts(&id).await[0]["tls"], "failed sts");
    let database = std::sync::Arc::clone(&app.database);
    app.stop().await;
    // Another process, after the record and the web server are gone.
    let dns = Dns::start(&zone[..2]).await;
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("delivery.mx_port", sink.address.port())
        .set("delivery.retry", "1h")
        .on(&database)
        .start()
        .await;
    let id = app.send(&message_to("b@example.net")).await;
    assert_eq!(deferred(&app, &id).await["class"], "tls", "the policy that was fetched holds");
    assert_eq!(sink.taken_count(), 0);
}

#[tokio::test]
async fn an_enforced_policy_is_met_by_a_host_that_it_names_with_a_valid_certificate() {
    let (web, tls) = (TestTls::new("mta-sts.example.net"), TestTls::new("mx.example.net"));
    let both = [&web, &tls].map(|tls| std::fs::read_to_string(&tls.ca_file).unwrap()).concat();
    let sink = Sink::setup().starttls(tls.acceptor.clone()).start().await;
    let setup = sts_app(&sts_zone("mx.example.net"), &sink, &web, ENFORCE).await;
    let app = setup.set("delivery.ca_file", temporary("ca", &both).display()).start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert_eq!(app.attempts(&id).await[0]["tls"], "TLSv1_3 validated mta-sts");
}

#[tokio::test]
async fn a_policy_that_only_tests_delivers_all_the_same() {
    let web = TestTls::new("mta-sts.example.net");
    let sink = Sink::setup().starttls(TestTls::new("mx.example.net").acceptor).start().await;
    let policy = "version: STSv1\nmode: testing\nmx: mx.example.net\nmax_age: 86400\n";
    let app = sts_app(&sts_zone("mx.example.net"), &sink, &web, policy).await.start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert!(sink.ledger()[0].tls);
    // What it would have come to is counted, for the domain's owner to hear of.
    let counted = "mailwright_tls_sessions_total{policy=\"sts\",result=\"validation-failure\"}";
    assert!(app.metric(counted).await >= 1.0);
    let database = std::sync::Arc::clone(&app.database);
    app.stop().await;
    let stored = "SELECT sum(sessions)::bigint FROM tls_reports WHERE domain = 'example.net' AND policy_type = 'sts' \
                  AND result = 'validation-failure'";
    assert_eq!(database.count(stored).await, 1);
}

/// Sends to a domain whose stored policy was fetched before, by a process that knows nothing of that.
async fn again(app: App, setup: Setup, change: &str) -> App {
    let database = std::sync::Arc::clone(&app.database);
    app.stop().await;
    if !change.is_empty() {
        database.execute(change).await;
    }
    setup.on(&database).start().await
}

#[tokio::test]
async fn a_policy_is_fetched_anew_when_its_record_changes_or_half_its_life_is_over() {
    let web = TestTls::new("mta-sts.example.net");
    let tls = TestTls::new("mx.example.net");
    let sink = Sink::setup().starttls(tls.acceptor.clone()).start().await;
    let mut zone = sts_zone("mx.example.net");
    let other = "version: STSv1\nmode: enforce\nmx: other.example.net\nmax_age: 86400\n";
    let testing = "version: STSv1\nmode: testing\nmx: mx.example.net\nmax_age: 86400\n";
    let send = async |app: &App| {
        let id = app.send(&message_to("a@example.net")).await;
        let tried = |m: &Value| ["delivered", "deferred"].contains(&status_of(m, "a@example.net"));
        status_of(&app.until(&id, "an attempt", tried).await, "a@example.net").to_owned()
    };
    let app = sts_app(&zone, &sink, &web, other).await.start().await;
    assert_eq!(send(&app).await, "deferred", "the policy does not name the host");
    // Another policy under the same id: the old one holds, for it is young.
    let app = again(app, sts_app(&zone, &sink, &web, testing).await, "").await;
    assert_eq!(send(&app).await, "deferred");
    // Half of its life is over.
    let setup = sts_app(&zone, &sink, &web, testing).await;
    let app = again(app, setup, "UPDATE mta_sts_policies SET expires_at = now() + interval '11 hours'").await;
    assert_eq!(send(&app).await, "delivered");
    let renewed = "SELECT count(*) FROM mta_sts_policies WHERE expires_at > now() + interval '23 hours'";
    assert_eq!(app.database.count(renewed).await, 1);
    // Another id.
    zone[2].1 = Zone::Txt("v=STSv1; id=2;");
    let app = again(app, sts_app(&zone, &sink, &web, other).await, "").await;
    assert_eq!(send(&app).await, "deferred");
    // Half of its life is over, and its web server is broken: it holds all the same.
    let setup = sts_app(&zone, &sink, &web, "nothing of the kind").await;
    let app = again(app, setup, "UPDATE mta_sts_policies SET expires_at = now() + interval '11 hours'").await;
    assert_eq!(send(&app).await, "deferred");
    assert_eq!(sink.taken_count(), 1);
}

fn dane_zone(tlsa: Vec<u8>) -> [(&'static str, Zone); 3] {
    // The record's name holds the port, which is not known yet: it is put in by the caller.
    [
        ("example.net", Zone::Mx(vec![(10, "mx.example.net")])),
        ("mx.example.net", Zone::A(HERE)),
        ("", Zone::Tlsa(3, 0, 1, tlsa)),
    ]
}

async fn dane_app(tls: &TestTls, record: &[u8], is_validating: bool) -> (Sink, App) {
    let sink = Sink::setup().starttls(tls.acceptor.clone()).start().await;
    let mut zone = dane_zone(digest(&SHA256, record).as_ref().to_vec());
    zone[2].0 = Box::leak(format!("_{}._tcp.mx.example.net", sink.address.port()).into_boxed_str());
    let dns = if is_validating { Dns::start_validating(&zone).await } else { Dns::start(&zone).await };
    let app = Setup::new()
        .set("dns.servers", dns.address)
        .set("dns.trust_ad", true)
        .set("delivery.mx_port", sink.address.port())
        .set("delivery.retry", "1h")
        .start()
        .await;
    (sink, app)
}

#[tokio::test]
async fn a_tlsa_record_names_the_certificate_and_no_authority_is_asked() {
    let tls = TestTls::new("whatever.example");
    let (sink, app) = dane_app(&tls, &tls.leaf, true).await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert!(sink.ledger()[0].tls);
    assert_eq!(app.attempts(&id).await[0]["tls"], "TLSv1_3 dane");
}

#[tokio::test]
async fn a_certificate_that_no_tlsa_record_names_gets_no_mail() {
    let tls = TestTls::new("mx.example.net");
    let (sink, app) = dane_app(&tls, b"another certificate", true).await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(deferred(&app, &id).await["class"], "tls");
    assert_eq!(app.attempts(&id).await[0]["tls"], "failed tlsa");
    assert!(!sink.steps().iter().any(|(_, step)| matches!(step, Step::Mail(_))));
}

#[tokio::test]
async fn a_tlsa_record_that_was_not_validated_demands_nothing() {
    let tls = TestTls::new("mx.example.net");
    let (_sink, app) = dane_app(&tls, b"another certificate", false).await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert_eq!(app.attempts(&id).await[0]["tls"], "TLSv1_3 unvalidated");
}
