//! How mail fares: counted by receiver, judged by rates, told and, if set so, stopped; and whom mail may go to at all.

use std::net::Ipv4Addr;
use std::sync::Arc;

use mailwright::ambient::SystemRng;
use mailwright::domain::address::Address;
use mailwright::domain::aggregate::AggregateKind;
use mailwright::domain::net::NetPolicy;
use mailwright::feedback::aggregate;
use mailwright::net::dns::Resolver;
use mailwright::net::lists::{Listing, ask};
use mailwright::net::tls::TlsConfigs;
use mailwright::reporting::Reporting;
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::dkim::{add_domain, verdicts};
use crate::support::dns::{Dns, Zone};
use crate::support::process::{create_key, create_operator_key};
use crate::support::sink::{Do, Sink, Step};
use crate::support::tls::{TestTls, https_taking};
use crate::support::within;

/// Changes the project `shop` as an operator.
async fn change_project(app: &App, change: &Value) -> Value {
    let operator = create_operator_key(&app.database.url).await;
    let projects = app.get_as(&operator, "/v1/projects").await.json();
    let id =
        projects["data"].as_array().unwrap().iter().find(|project| project["name"] == "shop").unwrap()["id"].clone();
    let path = format!("/v1/projects/{}", id.as_str().unwrap());
    let answer = app.call_as(&operator, "PATCH", &path, &[], change.to_string().into_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn fared(app: &App, accepted: u32, rejected: u32, complaints: u32) {
    app.database.execute("DELETE FROM outcomes").await;
    let counted = format!(
        "INSERT INTO outcomes SELECT date_trunc('hour', now()), id, 'example.org', 'gmail', {accepted}, 0, {rejected}, {rejected}, {complaints} \
         FROM projects WHERE name = 'shop'"
    );
    app.database.execute(&counted).await;
    app.service.store.watch_projects(&SystemRng).await.unwrap();
}

async fn alarms(app: &App) -> Vec<Value> {
    let events = app.get("/v1/events?type=project.alarm").await.json();
    events["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_alarm_is_told_once_and_stops_a_project_that_is_set_so() {
    let app = Setup::new().paused().set("auth.cache", "0s").start().await;
    fared(&app, 95, 5, 0).await;
    let told = alarms(&app).await;
    assert_eq!(told.len(), 1);
    let data = &told[0]["data"];
    assert_eq!((&data["paused"], &data["accepted"], &data["bounced"]), (&json!(false), &json!(95), &json!(5)));
    assert!(data["reason"].as_str().unwrap().contains("5.0 % of 100 recipients"), "{data}");
    app.send(&message_to("ada@example.com")).await;
    fared(&app, 900, 100, 0).await;
    assert_eq!(alarms(&app).await.len(), 1, "it stands");
    fared(&app, 1000, 1, 0).await;
    let project = change_project(&app, &json!({"alarm": {"complaint_percent": 0.5, "pause": true}})).await;
    assert_eq!((&project["alarm"]["raised_at"], &project["alarm"]["bounce_percent"]), (&Value::Null, &json!(5.0)));
    fared(&app, 1000, 0, 4).await;
    assert_eq!(alarms(&app).await.len(), 1, "0.4 % is less than 0.5 %");
    fared(&app, 1000, 0, 6).await;
    let told = alarms(&app).await;
    assert_eq!((told.len(), &told[1]["data"]["paused"]), (2, &json!(true)));
    let refused = app.post("/v1/send", &message_to("ada@example.com")).await;
    assert!(refused.status == 403 && refused.text().contains("called it spam"), "{}", refused.text());
    // An operator has the last word, also while it stands.
    let lifted = change_project(&app, &json!({"suspended": false})).await;
    assert!(lifted["alarm"]["raised_at"].is_string() && lifted["suspension"].is_null(), "{lifted}");
    fared(&app, 1000, 0, 6).await;
    app.send(&message_to("ada@example.com")).await;
}

#[tokio::test]
async fn what_servers_answer_is_counted_and_makes_the_score() {
    let refusing = |step: &Step, _: usize| match step {
        Step::Rcpt(to) if to.contains("gone") => Do::Reply("550 5.1.1 no such user"),
        _ => Do::Usual,
    };
    let sink = Sink::setup().script(refusing).start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    let key = create_key(&app.database.url, "shop", "live", "admin").await;
    let domain = app.get_as(&key, "/v1/domains").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    let mut message = message_to("ada@example.com");
    message["from"] = json!("a@mail.example.org");
    for to in ["ada@example.com", "bob@example.com", "gone@example.com"] {
        message["to"] = json!(to);
        let id = app.send(&message).await;
        app.settled(&id).await;
    }
    let path = format!("/v1/domains/{domain}/readiness");
    let ready = within("the numbers", async {
        let mut changes = app.database.watch().await;
        loop {
            let ready = app.get_as(&key, &path).await.json();
            if ready["receivers"][0]["rejected"] == 1 && ready["receivers"][0]["accepted"] == 2 {
                return ready;
            }
            changes.changed().await;
        }
    })
    .await;
    let receiver = &ready["receivers"][0];
    assert_eq!(
        (&receiver["receiver"], &receiver["bad_addresses"]),
        (&json!("other"), &json!(1)),
        "a subdomain counts as the domain"
    );
    let codes: Vec<_> =
        ready["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"no_return_path"), "{ready}");
    app.database.execute("UPDATE outcomes SET accepted = 900, bad_addresses = 100, rejected = 100").await;
    let worse = app.get_as(&key, &path).await.json();
    assert!(
        worse["receivers"][0]["score"].as_u64().unwrap() < ready["receivers"][0]["score"].as_u64().unwrap(),
        "{worse}"
    );
}

#[tokio::test]
async fn a_project_mails_whom_its_operator_allows_and_no_domain_that_it_denies() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).set("dkim.cache", "0s").start().await;
    let project = change_project(&app, &json!({"allowed_recipients": ["@Staff.example", "ada@example.com"]})).await;
    assert_eq!(project["allowed_recipients"], json!(["@staff.example", "ada@example.com"]));
    for to in ["ADA@example.com", "anybody@staff.example"] {
        app.send(&message_to(to)).await;
    }
    for to in ["bob@example.com", "a@sub.staff.example", "a@notstaff.example"] {
        let answer = app.post("/v1/send", &message_to(to)).await;
        assert_eq!(answer.faults(), [("/to".to_owned(), "forbidden_address".to_owned())], "{to}");
    }
    change_project(&app, &json!({"allowed_recipients": []})).await;
    let deny = app.post("/v1/suppressions", &json!({"email": "@Denied.example", "note": "never"})).await;
    assert!(deny.status == 201 && deny.json()["email"] == "@denied.example", "{}", deny.text());
    for (to, status) in
        [("x@denied.example", "suppressed"), ("x@sub.denied.example", "delivered"), ("y@other.example", "delivered")]
    {
        let id = app.send(&message_to(to)).await;
        assert_eq!(status_of(&app.settled(&id).await, to), status, "{to}");
    }
    let check = app.post("/v1/suppressions/check", &json!({"addresses": ["x@denied.example"]})).await.json();
    assert_eq!(check["data"][0]["suppressed"], true, "{check}");
    for wrong in ["@", "@a b.example", "denied.example"] {
        assert_eq!(app.post("/v1/suppressions", &json!({"email": wrong})).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn what_a_list_says_of_a_domain_is_told_and_what_it_does_not_say_is_not() {
    let dns = Dns::start(&[]).await;
    let app = Setup::new()
        .paused()
        .set("dns.servers", dns.address)
        .set("reputation.domain_lists", "dbl.example,all.example,away.example,wild.example,no.example")
        .start()
        .await;
    dns.set("example.org.dbl.example", &[Zone::A(Ipv4Addr::new(127, 0, 1, 2))]);
    // A list that names everything, one that does not answer this resolver, and a resolver that knows no "no".
    dns.set("example.org.all.example", &[Zone::A(Ipv4Addr::new(127, 0, 0, 2))]);
    dns.set("invalid.all.example", &[Zone::A(Ipv4Addr::new(127, 0, 0, 2))]);
    dns.set("example.org.away.example", &[Zone::A(Ipv4Addr::new(127, 255, 255, 254))]);
    dns.set("example.org.wild.example", &[Zone::A(Ipv4Addr::new(203, 0, 113, 9))]);
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    let listed = |list: &str| format!("INSERT INTO listings VALUES ('example.org', '{list}', now(), now(), '[]')");
    for list in ["no.example", "away.example"] {
        app.database.execute(&listed(list)).await;
    }
    let due = "UPDATE domains SET next_check_at = now() - interval '1 hour', checked_at = NULL";
    app.database.execute(due).await;
    let told = within("the event", async {
        let mut changes = app.database.watch().await;
        loop {
            let events = app.get("/v1/events?type=domain.listed").await.json();
            if let Some(event) = events["data"].as_array().unwrap().first() {
                return event.clone();
            }
            changes.changed().await;
        }
    })
    .await;
    assert_eq!(told["data"]["reasons"], json!(["dbl.example lists it: 127.0.1.2"]), "{told}");
    // A no ends it, silence does not.
    app.database.until_count("SELECT count(*) FROM listings WHERE list = 'no.example'", 0).await;
    let listed: Vec<String> =
        sqlx::query_scalar("SELECT list FROM listings ORDER BY list").fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(listed, ["away.example", "dbl.example"]);
    for (entry, says) in [
        (Zone::A(Ipv4Addr::new(127, 0, 1, 2)), Listing::Listed(vec!["127.0.1.2".to_owned()])),
        (Zone::ServFail, Listing::Unknown),
        (Zone::Empty, Listing::NotListed),
    ] {
        dns.set("a.dbl.example", &[entry]);
        assert_eq!(ask(&resolver(&dns), "a.dbl.example", "invalid.dbl.example").await, says);
    }
}

fn resolver(dns: &Dns) -> Resolver {
    let mut config = mailwright::config::Dns::default();
    config.servers.0.push(dns.address);
    Resolver::new(&config, NetPolicy::default()).unwrap()
}

/// The day that reports are about now.
fn yesterday(app: &App) -> time::Date {
    use mailwright::domain::clock::Clock;
    (app.clock.now() - std::time::Duration::from_mins(30)).date().previous_day().unwrap()
}

#[tokio::test]
async fn a_domain_that_asks_is_told_once_of_a_days_tls_sessions() {
    let (sink, dns) = (Sink::start().await, Dns::start(&[]).await);
    let app = Setup::new().route_to(sink.address).start().await;
    let records = add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    for (domain, result, count) in [
        ("asks.example", "successful", 40),
        ("asks.example", "certificate-expired", 2),
        ("silent.example", "successful", 1),
        ("away.example", "successful", 1),
    ] {
        let counted = format!(
            "INSERT INTO tls_reports VALUES ((now() AT TIME ZONE 'UTC' - interval '30 minutes')::date - 1, '{domain}', 'sts', \
             'mx.{domain}', '{result}', {count})"
        );
        app.database.execute(&counted).await;
    }
    dns.set_text("_smtp._tls.asks.example", "v=TLSRPTv1; rua=https://x.example/r,mailto:tls@asks.example!10m");
    dns.set("_smtp._tls.away.example", &[Zone::ServFail]);
    let from = Address::parse("reports@example.org").unwrap();
    let process = || Reporting {
        store: app.service.store.clone(),
        door: Arc::clone(&app.service.door),
        resolver: resolver(&dns),
        tls: TlsConfigs::new(std::path::Path::new("")).unwrap(),
        from: from.clone(),
        organization: "Example".to_owned(),
        clock: app.clock.clone(),
        rng: Arc::new(SystemRng),
    };
    let (one, other) = (process(), process());
    let (a, b) = tokio::join!(one.report(), other.report());
    assert_eq!(a.unwrap() + b.unwrap(), 3, "each domain is one process's");
    let taken = sink.until_taken(1).await;
    assert_eq!((taken[0].recipient.as_str(), taken[0].sender.as_str()), ("tls@asks.example", "reports@example.org"));
    let report = aggregate::read(&taken[0].data).unwrap();
    assert_eq!(
        (report.kind, report.domain.as_str(), report.total, report.passed),
        (AggregateKind::Tls, "asks.example", 42, 40)
    );
    assert!(verdicts(&taken[0].data, &records).await.iter().any(|line| line.ends_with("good")));
    // What nobody could tell is asked again, and nobody is told twice.
    let outcomes = "SELECT count(*) FROM tls_report_sends WHERE outcome IS NOT NULL";
    assert_eq!(app.database.count(outcomes).await, 2);
    app.database.execute("UPDATE tls_report_sends SET taken_at = taken_at - interval '61 minutes'").await;
    dns.set("_smtp._tls.away.example", &[]);
    assert_eq!(process().report().await.unwrap(), 1);
    assert_eq!((app.database.count(outcomes).await, sink.taken_count()), (3, 1));
    // The session of a report is in none.
    let noon = "UPDATE tls_report_sends SET done_at = (day + time '12:00') AT TIME ZONE 'UTC' WHERE outcome = 'sent'";
    app.database.execute(noon).await;
    let own = app.service.store.count_tls_reports_to(yesterday(&app), "asks.example").await.unwrap();
    assert_eq!(own, 1);
}

#[tokio::test]
async fn a_domain_that_wants_it_posted_gets_it_by_https_and_never_this_machine() {
    let web = TestTls::new("reports.posts.example");
    let (server, mut taken) = https_taking(&web, &[503, 201]).await;
    let dns = Dns::start(&[("reports.posts.example", Zone::A(Ipv4Addr::LOCALHOST))]).await;
    let app = Setup::new().paused().start().await;
    add_domain(&app.database.url, "example.org", &["--algorithm", "ed25519-sha256"]).await;
    let counted = "INSERT INTO tls_reports VALUES ((now() AT TIME ZONE 'UTC' - interval '30 minutes')::date - 1, 'posts.example', 'sts', \
                   'mx.posts.example', 'successful', 40)";
    app.database.execute(counted).await;
    let text = format!("v=TLSRPTv1; rua=HTTPS://reports.posts.example:{}/v1/tls?of=us!5m", server.port());
    dns.set_text("_smtp._tls.posts.example", &text);
    let process = |policy: NetPolicy| {
        let mut config = mailwright::config::Dns::default();
        config.servers.0.push(dns.address);
        Reporting {
            store: app.service.store.clone(),
            door: Arc::clone(&app.service.door),
            resolver: Resolver::new(&config, policy).unwrap(),
            tls: TlsConfigs::new(&web.ca_file).unwrap(),
            from: Address::parse("reports@example.org").unwrap(),
            organization: "Example".to_owned(),
            clock: app.clock.clone(),
            rng: Arc::new(SystemRng),
        }
    };
    let finished = "SELECT count(*) FROM tls_report_sends WHERE outcome = 'sent'";
    let an_hour_later = "UPDATE tls_report_sends SET taken_at = taken_at - interval '61 minutes'";
    // An address within is a stranger's wish that is not granted.
    process(NetPolicy::default()).report().await.unwrap();
    assert!(taken.try_recv().is_err(), "no connection to this machine");
    for (turn, wanted) in [(1, 0), (2, 1), (3, 1)] {
        app.database.execute(an_hour_later).await;
        let local = NetPolicy { web: vec!["127.0.0.0/8".parse().unwrap()], ..NetPolicy::default() };
        process(local).report().await.unwrap();
        assert_eq!(app.database.count(finished).await, wanted, "turn {turn}");
    }
    let mut told = Vec::new();
    while let Ok((head, body)) = taken.try_recv() {
        assert!(head.starts_with("post /v1/tls?of=us http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/tlsrpt+gzip"), "{head}");
        assert!(head.contains(&format!("host: reports.posts.example:{}", server.port())), "{head}");
        let mut json = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut json).unwrap();
        told.push(serde_json::from_str::<Value>(&json).unwrap());
    }
    assert_eq!(told.len(), 2, "one that was not taken, and that again: nothing after it was");
    assert_eq!(told[0]["report-id"], told[1]["report-id"]);
    assert_eq!(told[1]["policies"][0]["summary"]["total-successful-session-count"], 40);
}
