//! The delivery engine against servers that stall, trickle, flood, vanish and want less, and under rules that change.

use std::net::{Ipv4Addr, SocketAddr};

use mailwright::domain::clock::Clock as _;
use serde_json::json;

use crate::support::app::{App, Setup, message_to, status_of, temporary};
use crate::support::dns::{Dns, Zone};
use crate::support::process::{Server, create_key, run};
use crate::support::sink::{Do, Sink, Step};
use crate::support::within;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Deadlines of a test: what hangs is given up soon.
fn impatient(setup: Setup) -> Setup {
    let stages = ["connect", "greeting", "ehlo", "starttls", "mail", "rcpt", "data", "body", "dot"];
    stages.iter().fold(setup, |setup, stage| setup.set(&format!("delivery.timeout_{stage}"), "400ms"))
}

fn is_at(step: &Step, name: &str) -> bool {
    matches!(
        (step, name),
        (Step::Connect, "greeting")
            | (Step::Ehlo, "ehlo")
            | (Step::Mail(_), "mail")
            | (Step::Rcpt(_), "rcpt")
            | (Step::Data, "data")
            | (Step::Dot(_), "dot")
    )
}

const STAGES: [&str; 6] = ["greeting", "ehlo", "mail", "rcpt", "data", "dot"];

#[tokio::test]
async fn a_server_that_stalls_or_trickles_at_any_stage_costs_one_deadline_and_no_later_message() {
    for what in [Do::Stall, Do::Trickle] {
        for stage in STAGES {
            let action = what.clone();
            let sink = Sink::setup()
                .extensions(&[])
                .script(move |step, number| if number == 0 && is_at(step, stage) { action.clone() } else { Do::Usual })
                .start()
                .await;
            let app = impatient(Setup::new()).route_to(sink.address).start().await;
            let id = app.send(&message_to("a@example.net")).await;
            assert_eq!(app.settled(&id).await["status"], "delivered", "{what:?} at {stage}");
            let first = &app.attempts(&id).await[0];
            let wanted = if stage == "dot" { "uncertain" } else { "deferred" };
            assert_eq!((&first["outcome"], &first["stage"]), (&json!(wanted), &json!(stage)), "{what:?}: {first}");
            assert!(first["duration_ms"].as_i64().unwrap() < 2_000, "{what:?} at {stage}: {first}");
            assert_eq!(app.stop().await, mailwright::app::Ended::Drained, "no session is held");
        }
    }
}

#[tokio::test]
async fn a_reply_line_of_400_mb_costs_no_memory() {
    let sink = Sink::setup()
        .script(|step, number| if number == 0 && *step == Step::Ehlo { Do::Flood(400 << 20) } else { Do::Usual })
        .start()
        .await;
    let database = crate::support::database::Database::new().await;
    let key = create_key(&database.url, "shop", "live", "").await;
    let route = format!("smtp://{}?tls=none", sink.address);
    let server = Server::start(&database.url, &[("delivery.route", &route), ("delivery.retry", "50ms")]).await;
    let peak = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let pid = server.child.id().unwrap();
    let before = peak(pid);
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = message_to("a@example.net").to_string().into_bytes();
    let mut client = crate::support::http::Client::new(&server.address);
    within("a send", client.request("POST", "/v1/send", &headers, body)).await.unwrap();
    sink.until_taken(1).await;
    assert!(peak(pid) - before < 16 << 10, "{} kB", peak(pid) - before);
}

async fn mx_app(zone: &[(&'static str, Zone)], port: u16) -> Setup {
    let dns = Dns::start(zone).await;
    Setup::new().set("dns.servers", dns.address).set("delivery.mx_port", port)
}

fn two_hosts() -> [(&'static str, Zone); 3] {
    [
        ("example.net", Zone::Mx(vec![(10, "mx1.example.net"), (20, "mx2.example.net")])),
        ("mx1.example.net", Zone::A(THERE)),
        ("mx2.example.net", Zone::A(HERE)),
    ]
}

#[tokio::test]
async fn a_first_host_that_hangs_or_refuses_the_session_is_passed_over() {
    for action in [Do::Stall, Do::Reply("554 5.3.2 not here")] {
        let fine = Sink::start().await;
        let bad = Sink::setup()
            .at(SocketAddr::from((THERE, fine.address.port())))
            .script(move |step, _| if *step == Step::Connect { action.clone() } else { Do::Usual })
            .start()
            .await;
        let setup = mx_app(&two_hosts(), fine.address.port()).await.set("delivery.timeout_failover", "500ms");
        let app = setup.start().await;
        let id = app.send(&message_to("a@example.net")).await;
        assert_eq!(app.settled(&id).await["status"], "delivered");
        let attempts = app.attempts(&id).await;
        assert_eq!((attempts.len(), &attempts[0]["host"]), (1, &json!("mx2.example.net")));
        assert_eq!((bad.connections(), fine.taken_count()), (1, 1));
    }
}

#[tokio::test]
async fn aliases_that_go_round_end() {
    let zone = [("loop.example", Zone::Cname("b.example")), ("b.example", Zone::Cname("loop.example"))];
    let app = mx_app(&zone, 25).await.set("delivery.retry", "1h").start().await;
    let id = app.send(&message_to("a@loop.example")).await;
    let message = app
        .until(&id, "an end", |m| m["recipients"][0]["attempts"] == 1 && m["recipients"][0]["status"] != "sending")
        .await;
    assert_ne!(message["status"], "delivered");
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_smtputf8_and_says_so() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("用户@例え.jp")).await;
    let message = app.settled(&id).await;
    let reply = &message["recipients"][0]["last_reply"];
    // The server said nothing of the kind: there is no reply.
    assert_eq!(
        (&reply["code"], &reply["enhanced"], &reply["class"]),
        (&json!(null), &json!(null), &json!("smtputf8")),
        "{message}"
    );
    assert!(!sink.steps().iter().any(|(_, step)| matches!(step, Step::Mail(_))), "nothing was said");
    let sink = Sink::setup().extensions(&["PIPELINING", "SMTPUTF8", "8BITMIME"]).start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let id = app.send(&message_to("用户@例え.jp")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    let lines = sink.lines();
    assert!(lines.iter().any(|line| line.starts_with("MAIL FROM:<shop@example.org>") && line.contains(" SMTPUTF8")));
    assert!(lines.iter().any(|line| line.starts_with("RCPT TO:<用户@xn--r8jz45g.jp>")), "{lines:?}");
    let plain = app.send(&message_to("a@example.net")).await;
    app.settled(&plain).await;
    assert!(!sink.lines().iter().rev().take(3).any(|line| line.contains("SMTPUTF8")), "only when it is needed");
}

#[tokio::test]
async fn a_message_that_asks_for_requiretls_goes_nowhere_without_it() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("delivery.retry", "1h").start().await;
    for tls in ["required", "requiretls"] {
        let mut message = message_to("a@example.net");
        message["tls"] = json!(tls);
        let id = app.send(&message).await;
        app.until(&id, "a deferral", |m| status_of(m, "a@example.net") == "deferred").await;
    }
    let mut message = message_to("a@example.net");
    message["tls"] = json!("maybe");
    assert_eq!(app.post("/v1/send", &message).await.status, 422);
    assert_eq!(sink.taken_count(), 0);
}

async fn send_many(app: &App, count: usize) {
    for n in 0..count {
        app.send(&message_to(&format!("r{n}@example.net"))).await;
    }
}

#[tokio::test]
async fn three_hundred_messages_at_once_stay_within_the_connection_limit_of_their_domain() {
    // Two names of one preference and one server: idle sessions by one name count against new ones by the other.
    let sink = Sink::start().await;
    let zone = [
        ("example.net", Zone::Mx(vec![(10, "mx1.example.net"), (10, "mx2.example.net")])),
        ("mx1.example.net", Zone::A(HERE)),
        ("mx2.example.net", Zone::A(HERE)),
    ];
    let shaping = "[limits.domain.\"example.net\"]\nconnections = 3\nmessages_per_connection = 20\n";
    let app = mx_app(&zone, sink.address.port()).await.shaping(shaping).start().await;
    send_many(&app, 300).await;
    app.database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert_eq!(sink.taken_count(), 300);
    assert!(sink.most_open() <= 3, "{}", sink.most_open());
}

#[tokio::test]
async fn an_idle_session_that_does_not_fit_is_closed_before_another_is_opened() {
    let sink = Sink::start().await;
    let shaping = "[limits.domain.\"example.net\"]\nconnections = 1\n";
    let setup = mx_app(&[("example.net", Zone::A(HERE))], sink.address.port()).await.shaping(shaping);
    let app = setup.set("delivery.retry", "1h").start().await;
    app.settled(&app.send(&message_to("plain@example.net")).await).await;
    // It may not use the session in the clear that lies idle.
    let mut message = message_to("secret@example.net");
    message["tls"] = json!("required");
    let id = app.send(&message).await;
    app.until(&id, "a deferral", |m| status_of(m, "secret@example.net") == "deferred").await;
    assert_eq!((sink.connections(), sink.most_open(), sink.taken_count()), (2, 1, 1));
}

#[tokio::test]
async fn two_processes_share_the_connection_limit_of_a_domain() {
    let sink = Sink::start().await;
    let zone = [("example.net", Zone::A(HERE))];
    let shaping = "[limits.domain.\"example.net\"]\nconnections = 3\n";
    let one = mx_app(&zone, sink.address.port()).await.shaping(shaping).start().await;
    let two = mx_app(&zone, sink.address.port()).await.shaping(shaping).on(&one.database).start().await;
    let wait = async |app: &App| {
        while app.metric("mailwright_delivering_processes").await < 2.0 {
            tokio::task::yield_now().await;
        }
    };
    within("each to know the other", async { tokio::join!(wait(&one), wait(&two)) }).await;
    tokio::join!(send_many(&one, 150), send_many(&two, 150));
    one.database.until_count("SELECT count(*) FROM deliveries", 0).await;
    assert_eq!(sink.taken_count(), 300);
    assert!(sink.most_open() <= 3, "{}", sink.most_open());
}

#[tokio::test]
async fn a_dead_next_hop_is_paused_explained_and_served_again_when_it_returns() {
    let port = Sink::start().await.address.port();
    let zone = [("dead.example", Zone::A(THERE))];
    let app = mx_app(&zone, port).await.set("delivery.pause", "300ms").set("delivery.pause_max", "600ms").start().await;
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(app.send(&message_to(&format!("r{n}@dead.example"))).await);
    }
    let held = "SELECT count(*) FROM lane_states WHERE phase IN ('paused', 'probing')";
    app.database.until_count(held, 1).await;
    let explained = app.get(&format!("/v1/messages/{}/explain", ids[39])).await.json();
    let recipient = &explained["recipients"][0];
    assert_eq!(recipient["route"]["next_hop"], "dead.example", "{explained}");
    assert!(recipient["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let sink = Sink::setup().at(SocketAddr::from((THERE, port))).start().await;
    for id in &ids {
        assert_eq!(app.settled(id).await["status"], "delivered");
    }
    assert_eq!(sink.taken_count(), 40, "each once");
}

/// An address that mail leaves from, in a shaping file.
fn source(name: &str, address: &str, more: &str) -> String {
    format!("[sources.{name}]\naddress = \"{address}\"\nhello = \"{name}.mail.example.org\"\n{more}\n")
}

/// What an address says that is never warm.
const COLD: &str = "warmup = \"slow\"\nsince = \"2999-01-01\"";

#[tokio::test]
async fn mail_leaves_from_the_addresses_of_its_pool_under_their_names() {
    let sink = Sink::start().await;
    let shaping = [
        source("a", "127.0.0.11", ""),
        source("b", "127.0.0.12", ""),
        source("old", "127.0.0.13", "draining = true"),
        "[pools.default]\nmembers = { a = 1, b = 1, old = 5 }\n".to_owned(),
    ];
    let app = Setup::new().route_to(sink.address).shaping(&shaping.concat()).start().await;
    let mut seen = std::collections::HashMap::new();
    for domain in 0..12 {
        for n in 0..2 {
            let id = app.send(&message_to(&format!("r{n}@d{domain}.example"))).await;
            app.settled(&id).await;
            let source = app.attempts(&id).await[0]["source_ip"].as_str().unwrap().to_owned();
            let first = seen.entry(domain).or_insert_with(|| source.clone());
            assert_eq!(*first, source, "a domain keeps its address");
        }
    }
    let addresses: std::collections::HashSet<_> = seen.into_values().collect();
    assert_eq!(addresses, ["127.0.0.11", "127.0.0.12"].map(str::to_owned).into(), "both, and not the drained one");
    let hellos: std::collections::HashSet<_> =
        sink.lines().into_iter().filter(|line| line.starts_with("EHLO")).collect();
    assert_eq!(hellos, ["EHLO a.mail.example.org", "EHLO b.mail.example.org"].map(str::to_owned).into());
    let mut message = message_to("a@example.net");
    message["ip_pool"] = json!("nosuch");
    assert_eq!(app.post("/v1/send", &message).await.status, 422);
}

#[tokio::test]
async fn a_warm_address_takes_over_what_a_cold_one_may_not_send() {
    let sink = Sink::start().await;
    let shaping = [
        source("cold", "127.0.0.11", COLD),
        source("warm", "127.0.0.12", ""),
        "[warmups.slow]\ndays = [3]\n[pools.default]\nmembers = { cold = 1000, warm = 1 }\n".to_owned(),
    ];
    let app = Setup::new().route_to(sink.address).shaping(&shaping.concat()).start().await;
    let mut from_cold = 0;
    for n in 0..10 {
        let id = app.send(&message_to(&format!("r{n}@example.net"))).await;
        app.settled(&id).await;
        from_cold += usize::from(app.attempts(&id).await[0]["source_ip"] == "127.0.0.11");
    }
    assert_eq!((from_cold, sink.taken_count()), (3, 10));
}

#[tokio::test]
async fn mail_that_was_queued_for_a_smarthost_goes_straight_once_the_rules_say_so() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup::new().route_to(gone).set("delivery.retry", "100ms").set("delivery.pause", "100ms");
    let app = setup.set("delivery.pause_max", "100ms").start().await;
    let id = app.send(&message_to("a@example.net")).await;
    app.until(&id, "an attempt", |m| m["recipients"][0]["attempts"] == 1).await;
    let database = std::sync::Arc::clone(&app.database);
    app.stop().await;
    let sink = Sink::start().await;
    let app = mx_app(&[("example.net", Zone::A(HERE))], sink.address.port()).await.on(&database).start().await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
}

#[tokio::test]
async fn a_dead_relay_holds_up_no_other_relay_of_the_same_queue() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sink = Sink::start().await;
    let rule =
        |domain: &str, to: SocketAddr| format!("[[routes]]\ndomain = \"{domain}\"\nvia = \"smtp://{to}?tls=none\"\n");
    let shaping = rule("dead.example", gone) + &rule("live.example", sink.address);
    let setup = Setup::new().route_to(gone).shaping(&shaping).set("delivery.retry", "1h");
    let app = setup.set("delivery.pause", "1h").set("delivery.pause_max", "1h").start().await;
    for n in 0..20 {
        app.send(&message_to(&format!("r{n}@dead.example"))).await;
    }
    app.database.until_count("SELECT count(*) FROM deliveries WHERE lease_token IS NULL", 20).await;
    for n in 0..5 {
        let id = app.send(&message_to(&format!("r{n}@live.example"))).await;
        assert_eq!(app.settled(&id).await["status"], "delivered");
    }
}

#[tokio::test]
async fn a_domain_that_one_address_cannot_reach_is_served_from_another() {
    let here = Sink::start().await;
    let zone = [("six.example", Zone::Mx(vec![(10, "mx.six.example")])), ("mx.six.example", Zone::A(HERE))];
    let shaping = [
        source("dead", "192.0.2.1", ""),
        source("alive", "127.0.0.12", ""),
        "[pools.default]\nmembers = { dead = 1 }\n[pools.other]\nmembers = { alive = 1 }\n".to_owned(),
    ];
    let shaping = shaping.concat();
    let setup = mx_app(&zone, here.address.port()).await.shaping(&shaping).set("delivery.retry", "1h");
    let app = setup.set("delivery.pause", "1h").set("delivery.pause_max", "1h").start().await;
    let mut message = message_to("a@six.example");
    message["ip_pool"] = json!("other");
    app.settled(&app.send(&message).await).await;
    // This machine does not have the other address: nothing can leave from it.
    for n in 0..12 {
        app.send(&message_to(&format!("r{n}@six.example"))).await;
    }
    app.database.until_count("SELECT count(*) FROM deliveries WHERE lease_token IS NULL", 12).await;
    for _ in 0..3 {
        let id = app.send(&message).await;
        assert_eq!(app.settled(&id).await["status"], "delivered");
    }
}

#[tokio::test]
async fn a_message_that_asks_for_requiretls_wants_hosts_that_somebody_vouches_for() {
    let sink = Sink::setup().extensions(&["PIPELINING", "STARTTLS", "REQUIRETLS"]).start().await;
    let app = mx_app(&[("example.net", Zone::A(HERE))], sink.address.port()).await.start().await;
    let mut message = message_to("a@example.net");
    message["tls"] = json!("requiretls");
    let id = app.send(&message).await;
    let reply = app.settled(&id).await["recipients"][0]["last_reply"].clone();
    assert_eq!((&reply["class"], &reply["enhanced"]), (&json!("requiretls"), &json!(null)));
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn what_never_reached_the_server_costs_no_warm_up() {
    // Of the cold address's connections the first five are refused.
    let sink = Sink::setup()
        .script(|step, connection| match step {
            Step::Connect if connection < 5 => Do::ReplyAndDrop("421 4.3.2 not now"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let shaping =
        source("cold", "127.0.0.11", COLD) + "[warmups.slow]\ndays = [2]\n[pools.default]\nmembers = { cold = 1 }\n";
    let setup = Setup::new().route_to(sink.address).shaping(&shaping).set("delivery.pause", "50ms");
    let app = setup.set("delivery.pause_max", "50ms").start().await;
    let id = app.send(&message_to("a@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered");
    assert_eq!(app.attempts(&id).await.len(), 6);
    let id = app.send(&message_to("b@example.net")).await;
    assert_eq!(app.settled(&id).await["status"], "delivered", "the second of two");
}

#[tokio::test]
async fn routes_follow_project_and_domain_and_change_without_a_restart() {
    let (first, second) = (Sink::start().await, Sink::start().await);
    let rule = |sink: &Sink| {
        format!(
            "[[routes]]\nproject = \"shop\"\ndomain = \"*.example.net\"\nvia = \"smtp://{}?tls=none\"\n",
            sink.address
        )
    };
    let file = temporary("routes", &rule(&first));
    let app = Setup::new().set("delivery.route", "sandbox").set("delivery.shaping_file", file.display()).start().await;
    let until_one_takes = async |sink: &Sink| {
        while sink.taken_count() == 0 {
            app.settled(&app.send(&message_to("a@b.example.net")).await).await;
        }
    };
    // The project is newer than the service: its name is looked up again.
    within("the rule to be in force", until_one_takes(&first)).await;
    let taken = first.taken_count();
    app.settled(&app.send(&message_to("a@example.org")).await).await;
    assert_eq!(first.taken_count(), taken, "the rest goes into the sandbox");
    std::fs::write(&file, rule(&second)).unwrap();
    within("the rules to be read anew", until_one_takes(&second)).await;
}

#[tokio::test]
async fn a_reply_is_judged_by_rules_and_the_attempt_says_which() {
    let sink = Sink::setup()
        .script(|step, _| match step {
            Step::Rcpt(to) if to.starts_with("house") => Do::Reply("550 House rule 9, come back in 300 seconds"),
            Step::Rcpt(to) if to.starts_with("unknown") => Do::Reply("550 5.1.1 User unknown"),
            _ => Do::Usual,
        })
        .start()
        .await;
    let rules = "version = \"house\"\n[[rules]]\nid = \"house-9\"\ncode = [\"550\"]\ntext = [\"house rule*9\"]\nclass = \"rate_limited\"\nconfidence = 99\n";
    let file = temporary("rules", rules);
    let app = Setup::new().route_to(sink.address).set("delivery.rules_file", file.display()).start().await;
    let id = app.send(&message_to("unknown@example.net")).await;
    app.settled(&id).await;
    let attempt = &app.attempts(&id).await[0];
    assert!(attempt["rule"].is_string() && attempt["action"].as_str().unwrap().contains("suppress"), "{attempt}");
    let id = app.send(&message_to("house@example.net")).await;
    let message = app.until(&id, "a deferral", |m| m["counts"]["deferred"] == 1).await;
    let attempt = &app.attempts(&id).await[0];
    assert_eq!((&attempt["rule"], &attempt["confidence"]), (&json!("house-9"), &json!(99)), "{attempt}");
    let wait = |name: &str| {
        let text = message["recipients"][0][name].as_str().unwrap().to_owned();
        time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).unwrap()
    };
    let left = wait("next_attempt_at") - time::OffsetDateTime::now_utc();
    assert!((290..=335).contains(&left.whole_seconds()), "the server said when: {left}");
}

#[tokio::test]
async fn operators_can_ask_what_a_reply_means_and_which_way_a_domain_goes() {
    let zone = [("example.net", Zone::Mx(vec![(10, "mx.example.net")])), ("mx.example.net", Zone::A(HERE))];
    let dns = Dns::start(&zone).await;
    let database = crate::support::database::Database::new().await;
    let said = run(&database.url, &["rules", "test", "550 Ip frequency limited", "--provider", "qq"]).await;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&said["class"], &said["outcome"]), (&json!("rate_limited"), &json!("defer")));
    let letter = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/feedback/report");
    let said = run(&database.url, &["rules", "read", letter]).await;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&said["meaning"], &said["message_id"]), (&json!("failed"), &json!("1@example.org")), "{said}");
    let (failed, delayed) = (&said["recipients"][0], &said["recipients"][1]);
    assert_eq!(failed["reason"]["suppress"], true, "{said}");
    assert_eq!((&delayed["address"], &delayed["meaning"]), (&json!("用户@example.net"), &json!("delayed")));
    let servers = format!("dns.servers={}", dns.address);
    let settings = ["--set", &*servers, "--set", "net.allow_private=127.0.0.0/8"];
    let trace = run(&database.url, &[&["trace", "example.net"], &settings[..]].concat()).await;
    let trace: serde_json::Value = serde_json::from_slice(&trace.stdout).unwrap();
    assert_eq!(trace["way"]["peers"][0]["host"], "mx.example.net", "{trace}");
    let asked = [&["doctor", "--to", "example.net", "--domains", "example.net"], &settings[..]].concat();
    let doctor = run(&database.url, &asked).await;
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("ok   store fsync") && text.contains("FAIL SPF of example.net: no record"), "{text}");
    assert!(!doctor.status.success());
    let told = run(&database.url, &[&asked[..], &["--json"]].concat()).await;
    let found: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let spf = json!({"result": "fail", "what": "SPF of example.net", "finding": "no record"});
    assert!(found.as_array().unwrap().contains(&spf) && !told.status.success(), "{found}");
}

#[tokio::test]
async fn two_hundred_dead_and_slow_domains_hold_up_nobody_else() {
    let fine = Sink::start().await;
    let port = fine.address.port();
    // Accepts connections, and never says a word.
    let slow = Sink::setup()
        .at(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), port)))
        .script(|step, _| if *step == Step::Connect { Do::Stall } else { Do::Usual })
        .start()
        .await;
    let mut zone = vec![("fine.example", Zone::A(HERE))];
    for n in 0..200 {
        let name: &'static str = Box::leak(format!("d{n}.example").into_boxed_str());
        // Nobody listens at the one; the other stalls.
        zone.push((name, Zone::A(if n % 2 == 0 { THERE } else { Ipv4Addr::new(127, 0, 0, 3) })));
    }
    let app = mx_app(&zone, port).await.set("delivery.retry", "1s,5s").start().await;
    for round in 0..3 {
        for n in 0..200 {
            app.send(&message_to(&format!("r{round}@d{n}.example"))).await;
        }
        for n in 0..10 {
            let id = app.send(&message_to(&format!("r{round}x{n}@fine.example"))).await;
            assert_eq!(app.settled(&id).await["recipients"][0]["attempts"], 1);
        }
    }
    assert!(slow.connections() >= 100, "all of them were tried");
    assert_eq!((slow.taken_count(), fine.taken_count()), (0, 30), "and still hang while the others are done");
}

#[tokio::test]
async fn what_a_warm_up_has_no_room_for_waits_for_the_next_day_at_the_cost_of_batches_unless_room_comes_before() {
    let sink = Sink::start().await;
    let rules = |allowed: usize| {
        source("cold", "127.0.0.11", COLD)
            + &format!("[warmups.slow]\ndays = [{allowed}]\n[pools.default]\nmembers = {{ cold = 1 }}\n")
    };
    let path = temporary("shaping", &rules(2));
    let setup = Setup::new().route_to(sink.address).set("delivery.shaping_file", path.display());
    let app = setup.start().await;
    send_many(&app, 600).await;
    let next_day = "due_at = (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'";
    let waiting = format!("SELECT count(*) FROM deliveries WHERE held = 'warmup' AND NOT ready AND {next_day}");
    app.database.until_count(&waiting, 598).await;
    assert_eq!(sink.taken_count(), 2);
    let holds = app.metric("mailwright_store_statement_seconds_count{statement=\"deliveries.hold\"}").await;
    assert!(holds < 300.0, "{holds} commits for 598 deliveries");
    // Others may have sent less than was taken for granted, or the rules are changed: as many as there is room for now.
    std::fs::write(&path, rules(12)).unwrap();
    app.service.reload().unwrap();
    sink.until_taken(12).await;
    app.database.until_count(&waiting, 588).await;
    app.clock.advance(std::time::Duration::from_hours(24));
    app.service.store.ensure_day(app.clock.now().date()).await.unwrap();
    app.database.until_count("SELECT count(*) FROM deliveries", 576).await;
    assert_eq!(sink.taken_count(), 24);
}

#[tokio::test]
async fn an_address_comes_further_by_what_it_sent_and_how_that_was_taken() {
    let database = std::sync::Arc::new(crate::support::database::Database::new().await);
    // Two days: the second step, and the first again for what was not liked.
    for (source, refused) in [("grown", 0), ("sick", 30)] {
        for (ago, sent) in [(2, 2), (1, 4)] {
            let sent = sent + 20 * i32::from(refused > 0 && ago == 1) + refused * i32::from(ago == 1);
            let refused = refused * i32::from(ago == 1);
            database
                .execute(&format!(
                    "INSERT INTO warmup_days (kind, day, subject, receiver, messages, accepted, refused) \
                     VALUES ('address', (now() AT TIME ZONE 'UTC')::date - {ago}, '{source}', 'other', {sent}, {sent} - {refused}, {refused})"
                ))
                .await;
        }
    }
    let sink = Sink::start().await;
    let warmup = "warmup = \"slow\"";
    let since = format!("{warmup}\nsince = \"2020-01-01\"");
    let shaping = [
        source("grown", "127.0.0.11", &since),
        source("sick", "127.0.0.12", warmup),
        source("again", "127.0.0.14", COLD),
        source("warm", "127.0.0.13", ""),
        "[warmups.slow]\ndays = [2, 4, 6, 8]\n".to_owned(),
        ["grown", "sick", "again"]
            .map(|name| format!("[pools.{name}]\nmembers = {{ {name} = 1000, warm = 1 }}\n"))
            .concat(),
    ];
    let app = Setup::new().route_to(sink.address).shaping(&shaping.concat()).on(&database).start().await;
    database.until_count("SELECT count(*) FROM warmups WHERE (subject, step) IN (('grown', 2), ('sick', 0))", 2).await;
    for (pool, address, allowed) in [("grown", "127.0.0.11", 6), ("sick", "127.0.0.12", 2), ("again", "127.0.0.14", 2)]
    {
        let mut own = 0;
        for n in 0..10 {
            let mut message = message_to(&format!("r{n}@example.net"));
            message["ip_pool"] = json!(pool);
            let id = app.send(&message).await;
            app.settled(&id).await;
            own += usize::from(app.attempts(&id).await[0]["source_ip"] == address);
        }
        assert_eq!(own, allowed, "{pool}");
    }
}
