//! Sending domains against a DNS of the test's own: proved, watched, rotated, and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailwright::domain::clock::Clock;
use serde_json::{Value, json};

use crate::support::app::{App, Setup, message_to};
use crate::support::dkim::{verdicts, verdicts_of_many};
use crate::support::dns::{Dns, Zone};
use crate::support::process::{command, create_key, create_operator_key, run};
use crate::support::within;

/// A service whose resolvers and name servers are the test's.
struct World {
    app: App,
    /// The zones' own server, and this installation's resolver.
    dns: Dns,
    /// The public resolver.
    public: Dns,
    /// A key of the project `shop` that may do everything.
    key: String,
}

const NAME_SERVER: [(&str, Zone); 3] = [
    ("example.org", Zone::Ns("ns1.example.org")),
    ("ns1.example.org", Zone::A(std::net::Ipv4Addr::LOCALHOST)),
    ("delegated.example", Zone::Ns("ns1.example.org")),
];

impl World {
    async fn start() -> Self {
        Self::start_with(Setup::new().paused()).await
    }

    async fn start_with(setup: Setup) -> Self {
        let (dns, public) = (Dns::start(&NAME_SERVER).await, Dns::start(&NAME_SERVER).await);
        let app = setup
            .set("dns.servers", dns.address)
            .set("dns.timeout", "300ms")
            .set("domains.dns_port", dns.address.port())
            .set("domains.resolvers", public.address)
            .set("inbound.host", "in.mail.example")
            .set("dkim.cache", "0s")
            .start()
            .await;
        app.database.execute("UPDATE projects SET requires_verified_domain = true").await;
        let key = create_key(&app.database.url, "shop", "live", "admin").await;
        Self { app, dns, public, key }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.app.call_as(&self.key, method, path, &[], body.to_string().into_bytes()).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
        answer.json()
    }

    async fn create(&self, body: Value) -> Value {
        self.call("POST", "/v1/domains", body).await
    }

    async fn verify(&self, domain: &Value) -> Value {
        // A domain that was looked at a moment ago is not looked at again.
        self.advance(Duration::from_secs(3)).await;
        self.call("POST", &format!("{}/verify", path(domain)), json!({})).await
    }

    /// Moves the time; what happens then has a day to lie in.
    async fn advance(&self, by: Duration) {
        self.app.clock.advance(by);
        self.app.service.store.ensure_day(self.app.clock.now().date()).await.unwrap();
    }

    fn set(&self, name: &str, entries: &[Zone]) {
        self.dns.set(name, entries);
        self.public.set(name, entries);
    }

    /// Publishes everything that the domain is to have.
    fn publish(&self, domain: &Value) {
        for record in domain["records"].as_array().unwrap() {
            publish_in(&self.dns, record);
            publish_in(&self.public, record);
        }
    }

    /// Makes a domain and proves it.
    async fn proved(&self, name: &str) -> Value {
        let domain = self.create(json!({"name": name})).await;
        self.publish(&domain);
        let domain = self.verify(&domain).await;
        assert_eq!(domain["state"], "verified", "{domain:#}");
        domain
    }

    async fn event_types(&self) -> Vec<String> {
        let types = "SELECT type FROM events WHERE type LIKE 'domain.%' ORDER BY occurred_at";
        sqlx::query_scalar(types).fetch_all(&self.app.database.pool).await.unwrap()
    }

    /// The status of a live message from an author in `domain`.
    async fn send_from(&self, domain: &str) -> u16 {
        self.app.post("/v1/send", &message_from(domain)).await.status
    }

    async fn raw(&self) -> Vec<u8> {
        let id = self.app.send(&message_from("example.org")).await;
        self.app.get(&format!("/v1/messages/{id}/raw")).await.bytes.to_vec()
    }
}

fn publish_in(dns: &Dns, record: &Value) {
    let (host, value) = (record["host"].as_str().unwrap(), record["value"].as_str().unwrap());
    match record["type"].as_str().unwrap() {
        "TXT" => dns.set_text(host, value),
        "CNAME" => dns.set_alias(host, value),
        other => panic!("{other}"),
    }
}

fn path(domain: &Value) -> String {
    format!("/v1/domains/{}", domain["id"].as_str().unwrap())
}

fn message_from(domain: &str) -> Value {
    let mut message = message_to("b@example.net");
    message["from"] = json!(format!("shop@{domain}"));
    message
}

fn record<'d>(domain: &'d Value, purpose: &str) -> &'d Value {
    domain["records"].as_array().unwrap().iter().find(|record| record["purpose"] == purpose).unwrap()
}

fn keys<'d>(domain: &'d Value, state: &str) -> Vec<&'d str> {
    let keys = domain["keys"].as_array().unwrap().iter().filter(|key| key["state"] == state);
    keys.map(|key| key["selector"].as_str().unwrap()).collect()
}

/// The records of keys, as the verifier takes them.
fn lines(domain: &Value) -> Vec<String> {
    let keys = domain["records"].as_array().unwrap().iter().filter(|record| record["purpose"] == "dkim");
    keys.map(|record| format!("{}  TXT  {}", record["host"].as_str().unwrap(), record["value"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_domain_is_verified_when_its_keys_are_seen_and_its_mail_then_goes() {
    let world = World::start().await;
    let domain = world.create(json!({"name": "Example.org"})).await;
    assert_eq!((&domain["name"], &domain["state"]), (&json!("example.org"), &json!("pending")));
    let wanted: Vec<_> =
        domain["records"].as_array().unwrap().iter().map(|r| (&r["purpose"], &r["type"], &r["required"])).collect();
    let (dkim, txt, cname) = (json!("dkim"), json!("TXT"), json!("CNAME"));
    let (yes, no, path_to, dmarc) = (json!(true), json!(false), json!("return_path"), json!("dmarc"));
    assert_eq!(wanted, [(&dkim, &txt, &yes), (&dkim, &txt, &no), (&path_to, &cname, &no), (&dmarc, &txt, &no)]);
    assert_eq!(record(&domain, "return_path")["value"], "in.mail.example");
    assert_eq!(record(&domain, "dmarc")["value"], "v=DMARC1; p=none; rua=mailto:dmarc@in.mail.example");
    let refused = world.app.post("/v1/send", &message_from("example.org")).await;
    assert_eq!((refused.status, &refused.json()["type"]), (403, &json!("/problems/unverified-domain")));
    assert_eq!(
        world
            .app
            .call_as(&world.app.test, "POST", "/v1/send", &[], message_from("example.org").to_string().into_bytes())
            .await
            .status,
        202,
        "test mail needs no domain"
    );

    let looked = world.verify(&domain).await;
    let key = record(&looked, "dkim");
    assert_eq!((&looked["state"], &key["finding"]), (&json!("pending"), &json!("wrong")), "{looked:#}");
    assert!(
        key["observed"].as_array().unwrap().iter().all(|seen| seen["from"] != "public"),
        "nobody is made to remember that it is not there"
    );

    // Published by the zone file, and seen without anybody asking.
    world.publish(&domain);
    world.advance(Duration::from_secs(40)).await;
    let verified = within("the domain to be verified", async {
        loop {
            let domain = world.app.get_as(&world.key, &path(&domain)).await.json();
            if domain["state"] == "verified" {
                return domain;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(verified["records"].as_array().unwrap().iter().all(|record| record["finding"] == "right"), "{verified:#}");
    let from: Vec<_> = record(&verified, "dkim")["observed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| seen["from"].as_str().unwrap())
        .collect();
    assert_eq!(from, ["authoritative", "own", "public"]);
    assert_eq!(record(&verified, "dkim")["observed"][0]["server"], "ns1.example.org");
    assert_eq!(verified["return_path_in_use"], true);
    let events = world.app.get_as(&world.key, "/v1/events").await.json();
    let told = events["data"].as_array().unwrap().iter().find(|event| event["type"] == "domain.verified").unwrap();
    assert_eq!((&told["data"]["name"], &told["data"]["domain_id"]), (&json!("example.org"), &domain["id"]));
    let raw = world.raw().await;
    assert!(
        verdicts(&raw, &lines(&verified)).await.iter().all(|verdict| verdict.ends_with("good")),
        "{}",
        String::from_utf8_lossy(&raw)
    );
    // A subdomain is covered, its parent and its neighbour are not.
    assert_eq!(world.send_from("news.example.org").await, 202);
    assert_eq!(world.send_from("other.example").await, 403);
}

#[tokio::test]
async fn a_rotation_under_load_loses_no_signature_at_any_moment() {
    let world = Arc::new(World::start().await);
    let before = world.proved("example.org").await;
    let (phase, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let is_nightly = std::env::var_os("MAILWRIGHT_NIGHTLY").is_some();
    let senders: Vec<_> = (0..if is_nightly { 32 } else { 4 })
        .map(|_| {
            let (world, phase, stop) = (Arc::clone(&world), Arc::clone(&phase), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let at = phase.load(Ordering::SeqCst);
                    sent.push((at, world.raw().await));
                }
                sent
            })
        })
        .collect();
    let count = async || world.app.database.count("SELECT count(*) FROM messages").await;
    // At night for five seconds a phase at 200 a second.
    let many = if is_nightly { 1000 } else { 40 };
    let began = std::time::Instant::now();
    let next = async || {
        let wanted = count().await + many;
        let mut watch = world.app.database.watch().await;
        let sent = async {
            while count().await < wanted {
                watch.changed().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), sent).await.expect("messages to be sent");
        phase.fetch_add(1, Ordering::SeqCst);
    };
    next().await;
    let rotated = world.call("POST", &format!("{}/rotate-dkim", path(&before)), json!({})).await;
    assert_eq!((keys(&rotated, "signing").len(), keys(&rotated, "pending").len()), (2, 2));
    let again = world.call("POST", &format!("{}/rotate-dkim", path(&before)), json!({})).await;
    assert_eq!(keys(&again, "pending"), keys(&rotated, "pending"), "what waits, waits");
    next().await;
    // The zone has them, and a public resolver does not yet: receivers that ask there would find nothing.
    for record in rotated["records"].as_array().unwrap() {
        publish_in(&world.dns, record);
    }
    let halfway = world.verify(&before).await;
    assert_eq!(keys(&halfway, "pending").len(), 2, "{halfway:#}");
    next().await;
    world.publish(&rotated);
    let after = world.verify(&before).await;
    assert_eq!((keys(&after, "signing"), keys(&after, "retired").len()), (keys(&rotated, "pending"), 2), "{after:#}");
    assert!(
        after["keys"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["removable_at"].is_null() == (key["state"] != "retired"))
    );
    next().await;
    stop.store(true, Ordering::SeqCst);
    let rate = count().await / i64::try_from(began.elapsed().as_secs().max(1)).unwrap();
    if is_nightly {
        std::fs::write(std::env::temp_dir().join("mailwright-rotation"), format!("{rate} messages a second\n"))
            .unwrap();
    }
    let mut by_phase = vec![Vec::new(); 5];
    for sender in senders {
        for (at, raw) in sender.await.unwrap() {
            by_phase[at].push(raw);
        }
    }
    // What the world finds in each phase; what is retired stays published until it is removable.
    let (old, both) = (lines(&before), [lines(&before), lines(&rotated)].concat());
    for (at, messages) in by_phase.iter().enumerate() {
        assert!(!messages.is_empty() || at == 4);
        let zones = [&old, &old, &old, &both, &both];
        for zone in &zones[at..] {
            let verdicts = verdicts_of_many(messages, zone).await;
            assert_eq!(verdicts.len(), 2 * messages.len());
            assert!(verdicts.iter().all(|verdict| verdict.ends_with("good")), "phase {at}: {verdicts:?}");
        }
    }
    assert_eq!(world.event_types().await, ["domain.verified", "domain.key_rotated"]);
}

#[tokio::test]
async fn a_domain_falls_on_wrong_answers_for_three_days_and_never_on_silence() {
    let world = World::start().await;
    let domain = world.proved("example.org").await;
    let host = record(&domain, "dkim")["host"].as_str().unwrap().to_owned();
    let right = record(&domain, "dkim")["value"].as_str().unwrap().to_owned();
    let state = async || world.verify(&domain).await["state"].as_str().unwrap().to_owned();
    for silence in [Zone::ServFail, Zone::Silent] {
        world.set(&host, &[silence]);
        for _ in 0..3 {
            world.advance(Duration::from_hours(40)).await;
            assert_eq!(state().await, "verified");
        }
    }
    // One place alone does not see it.
    world.set(&host, &[]);
    world.public.set_text(&host, &right);
    assert_eq!(state().await, "verified");
    world.public.set(&host, &[]);
    let warned = world.verify(&domain).await;
    assert_eq!(
        (&warned["state"], record(&warned, "dkim")["reason"].as_str()),
        (&json!("warning"), Some("it is not there")),
        "{warned:#}"
    );
    assert!(!warned["fails_at"].is_null());
    assert_eq!(world.send_from("example.org").await, 202, "mail goes on meanwhile");
    world.advance(Duration::from_hours(71)).await;
    assert_eq!(state().await, "warning");
    world.set(&host, &[Zone::ServFail]);
    world.advance(Duration::from_hours(3)).await;
    assert_eq!(state().await, "warning", "the time is over, and nobody says so");
    world.dns.set_text(&host, "v=DKIM1; k=rsa; p=AAAA");
    world.public.set_text(&host, "v=DKIM1; k=rsa; p=AAAA");
    assert_eq!(state().await, "warning", "one look after a silence is not enough");
    let failed = world.verify(&domain).await;
    assert_eq!(
        (&failed["state"], record(&failed, "dkim")["reason"].as_str()),
        (&json!("failed"), Some("it is another key"))
    );
    assert_eq!(world.send_from("example.org").await, 403);
    world.publish(&domain);
    assert_eq!(state().await, "verified");
    assert_eq!(world.send_from("example.org").await, 202);
    assert_eq!(world.event_types().await, ["domain.verified", "domain.warning", "domain.failed", "domain.verified"]);
}

#[tokio::test]
async fn what_one_project_has_proved_is_nobody_elses_with_all_below_it() {
    let world = World::start().await;
    let other = create_key(&world.app.database.url, "other", "live", "admin").await;
    let call = async |method: &str, path: &str, body: Value| {
        world.app.call_as(&other, method, path, &[], body.to_string().into_bytes()).await
    };
    // Both may ask for it; the first to prove it has it.
    let theirs = call("POST", "/v1/domains", json!({"name": "example.org"})).await.json();
    let ours = world.proved("example.org").await;
    world.publish(&theirs);
    assert_eq!(call("POST", &format!("{}/verify", path(&theirs)), json!({})).await.status, 422);
    for name in ["example.org", "mail.example.org", "a.b.example.org"] {
        let _ = call("DELETE", &path(&theirs), json!({})).await;
        let refused = call("POST", "/v1/domains", json!({"name": name})).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (422, &json!("conflict")), "{name}");
        let sent = call("POST", "/v1/send", message_from(name)).await;
        assert_eq!(sent.status, 403, "also where no proof is asked for: {}", sent.text());
    }
    // Nor does it stand in a message as whoever sends it.
    for (field, status) in [
        ("Sender: CEO <ceo@example.org>", 403),
        ("sender:\r\n ceo@EXAMPLE.org", 403),
        ("Resent-From: a@other.example, ceo@mail.example.org", 403),
        ("Resent-Sender: ceo@example.org", 403),
        ("Sender: nobody", 422),
        ("Sender: b@other.example", 202),
    ] {
        let raw = format!(
            "From: a@other.example\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n{field}\r\nSubject: s\r\n\r\nt\r\n"
        );
        let message = json!({"from": "a@other.example", "to": "b@example.net", "raw": STANDARD.encode(raw)});
        assert_eq!(call("POST", "/v1/send", message).await.status, status, "{field}");
    }
    assert_eq!(call("POST", "/v1/domains", json!({"name": "notexample.org"})).await.status, 201);
    assert_eq!(call("GET", &path(&ours), json!({})).await.status, 404);
    // What its owner lost, whoever has it in the DNS may prove.
    world.app.database.execute("UPDATE domains SET state = 'failed' WHERE name = 'example.org'").await;
    let theirs = call("POST", "/v1/domains", json!({"name": "example.org"})).await.json();
    world.publish(&theirs);
    let proved = call("POST", &format!("{}/verify", path(&theirs)), json!({})).await.json();
    assert_eq!(proved["state"], "verified", "{proved:#}");
    assert_eq!(world.app.get_as(&world.key, &path(&ours)).await.json()["state"], "pending");
    // Whoever lost it sends as it no more, though nothing is asked of that project and its keys were there first.
    for name in ["example.org", "mail.example.org"] {
        assert_eq!(world.send_from(name).await, 403, "{name}");
    }
    // An operator's word is a proof, too, and yields to one that is there.
    let vouch = run(&world.app.database.url, &["domains", "add", "--project", "shop", "www.example.org"]).await;
    assert!(
        !vouch.status.success() && String::from_utf8_lossy(&vouch.stderr).contains("another project has proved"),
        "{vouch:?}"
    );
}

#[tokio::test]
async fn what_can_be_no_domain_is_refused_at_its_place() {
    let world = World::start().await;
    for (body, pointer) in [
        (json!({}), "/name"),
        (json!({"name": "co.uk"}), "/name"),
        (json!({"name": "localhost"}), "/name"),
        (json!({"name": "a..example"}), "/name"),
        (json!({"name": "a.example", "delegated": true}), "/delegated"),
        (json!({"name": "a.example", "rotate_days": 4}), "/rotate_days"),
        (json!({"name": "a.example", "return_path": "a.b"}), "/return_path"),
        (json!({"name": "a.example", "nmae": 1}), "/nmae"),
    ] {
        let answer = world.app.call_as(&world.key, "POST", "/v1/domains", &[], body.to_string().into_bytes()).await;
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{body}: {}",
            answer.text()
        );
    }
    assert_eq!(world.create(json!({"name": "bücher.example"})).await["name"], "xn--bcher-kva.example");
    let twice = world
        .app
        .call_as(&world.key, "POST", "/v1/domains", &[], json!({"name": "BÜCHER.example"}).to_string().into_bytes())
        .await;
    assert_eq!(twice.status, 422);
    // Neither a key without the right, nor one of test mail.
    let test = create_key(&world.app.database.url, "shop", "test", "domains").await;
    assert_eq!(world.app.get_as(&test, "/v1/domains").await.json()["data"], json!([]));
    for key in [&test, &world.app.live] {
        let body = json!({"name": "b.example"}).to_string().into_bytes();
        assert_eq!(world.app.call_as(key, "POST", "/v1/domains", &[], body).await.status, 403);
    }
    let operator = create_operator_key(&world.app.database.url).await;
    let project: uuid::Uuid = sqlx::query_scalar("SELECT id FROM projects WHERE name = 'shop'")
        .fetch_one(&world.app.database.pool)
        .await
        .unwrap();
    let listed = world.app.get_as(&operator, &format!("/v1/domains?project=prj_{}", project.simple())).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "an operator acts for the project");
}

#[tokio::test]
async fn aliases_are_published_once_and_keys_change_by_themselves() {
    let world = World::start_with(Setup::new().paused().set("domains.dkim_zone", "dkim.mail.example")).await;
    let domain = world.create(json!({"name": "delegated.example", "delegated": true, "rotate_days": 30})).await;
    let aliases: Vec<_> = domain["records"].as_array().unwrap().iter().filter(|r| r["purpose"] == "dkim").collect();
    assert_eq!(aliases.len(), 3);
    assert!(
        aliases
            .iter()
            .all(|alias| alias["type"] == "CNAME" && alias["value"].as_str().unwrap().ends_with(".dkim.mail.example"))
    );
    world.publish(&domain);
    // What an operator serves is what the command prints.
    let serve = async || {
        let mut zone = command(&world.app.database.url, &["domains", "zone"]);
        let output = zone.env("MAILWRIGHT_DOMAINS__DKIM_ZONE", "dkim.mail.example").output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("$ORIGIN dkim.mail.example.\n"), "{text}");
        for line in text.lines().skip(2) {
            let (name, rest) = line.split_once('\t').unwrap();
            let value: String =
                rest.split(';').take(3).collect::<Vec<_>>().join(";").split('"').skip(1).step_by(2).collect();
            for dns in [&world.dns, &world.public] {
                dns.set_text(&format!("{name}.dkim.mail.example"), &value);
            }
        }
    };
    serve().await;
    let verified = world.verify(&domain).await;
    assert_eq!((&verified["state"], keys(&verified, "signing")), (&json!("verified"), vec!["mw1"]), "{verified:#}");
    for place in ["mw2", "mw3", "mw1"] {
        world.advance(Duration::from_hours(24 * 31)).await;
        within("a new key to be made", async {
            loop {
                let now = world.app.get_as(&world.key, &path(&domain)).await.json();
                if keys(&now, "pending") == [place] {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        serve().await;
        let now = world.verify(&domain).await;
        assert_eq!(keys(&now, "signing"), [place], "{now:#}");
    }
}

#[tokio::test]
async fn the_operators_own_domain_signs_besides_and_records_come_in_every_form() {
    let world = World::start_with(Setup::new().paused().set("domains.second_signature", "mail.example")).await;
    let url = world.app.database.url.clone();
    let domain = world.proved("example.org").await;
    let own = run(&url, &["domains", "add", "--project", "house", "mail.example"]).await;
    let own: Vec<_> = String::from_utf8(own.stdout).unwrap().lines().map(str::to_owned).collect();
    let verdicts = verdicts(&world.raw().await, &[lines(&domain), own].concat()).await;
    let domains: Vec<_> = verdicts.iter().map(|verdict| verdict.split(' ').nth(1).unwrap()).collect();
    assert_eq!(domains, ["example.org", "example.org", "mail.example"], "{verdicts:?}");
    assert!(verdicts.iter().all(|verdict| verdict.ends_with("good")), "{verdicts:?}");

    // It is lent to nobody who claims to be the operator, and to no test mail.
    let other = create_key(&url, "other", "live", "").await;
    let post = async |key: &str, body: &Value| {
        world.app.call_as(key, "POST", "/v1/send", &[], body.to_string().into_bytes()).await
    };
    for domain in ["mail.example", "hr.mail.example"] {
        assert_eq!(post(&other, &message_from(domain)).await.status, 403);
    }
    let signers = async |key: &str, id: &Value| {
        let raw = world.app.get_as(key, &format!("/v1/messages/{}/raw", id["id"].as_str().unwrap())).await.text();
        raw.split(" d=").skip(1).map(|rest| rest.split(';').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sent = post(&other, &message_from("elsewhere.example")).await.json();
    assert_eq!(signers(&other, &sent).await, ["mail.example"]);
    let tested = post(&world.app.test, &message_from("example.org")).await.json();
    assert!(
        signers(&world.app.test, &tested).await.is_empty(),
        "a test key makes nothing that receivers would believe"
    );
    let claimed = post(&world.app.test, &message_from("mail.example")).await.json();
    assert!(signers(&world.app.test, &claimed).await.is_empty());
    // Nor may notices be asked for where another project takes them: SPF speaks for that domain.
    let mut borrowed = message_from("elsewhere.example");
    let below = run(&url, &["domains", "add", "--project", "shop", "news.elsewhere.example"]).await;
    assert!(below.status.success());
    borrowed["return_path"] = json!("x@bounce.news.elsewhere.example");
    assert_eq!(post(&other, &borrowed).await.status, 403);

    for (form, wanted) in [
        ("table", "\tTXT\tv=DKIM1; k=rsa; p="),
        ("zone", "$ORIGIN example.org."),
        ("terraform", "resource \"cloudflare_dns_record\""),
        ("dig", "dig +short CNAME bounce.example.org"),
    ] {
        let text = world.app.get_as(&world.key, &format!("{}/records?format={form}", path(&domain))).await.text();
        assert!(text.contains(wanted), "{text}");
        let mut printed = command(&url, &["domains", "records", "--project", "shop", "example.org", "--format", form]);
        let printed = printed.env("MAILWRIGHT_INBOUND__HOST", "in.mail.example").output().await.unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap().trim_end(), text.trim_end());
    }
    let mut verify = command(&url, &["domains", "verify", "--project", "shop", "example.org"]);
    verify.env("MAILWRIGHT_DNS__SERVERS", world.dns.address.to_string());
    verify.env("MAILWRIGHT_DOMAINS__RESOLVERS", world.public.address.to_string());
    verify.env("MAILWRIGHT_DOMAINS__DNS_PORT", world.dns.address.port().to_string());
    verify.env("MAILWRIGHT_NET__ALLOW_PRIVATE", "127.0.0.0/8");
    let output = verify.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success()
            && text.ends_with("example.org is verified\n")
            && text.contains("ns1.example.org says v=DKIM1"),
        "{text}"
    );
}

#[tokio::test]
async fn links_lead_to_the_domains_own_host_while_its_record_is_there() {
    let setup =
        Setup::new().paused().set("domains.link_hosts", true).set("http.public_url", "https://mail.example.net");
    let world = World::start_with(setup).await;
    let domain = world.create(json!({"name": "example.org"})).await;
    assert_eq!((&domain["link_host"], &domain["link_host_in_use"]), (&json!("links.example.org"), &json!(false)));
    let alias = record(&domain, "tracking");
    assert_eq!((&alias["value"], &alias["required"]), (&json!("mail.example.net"), &json!(false)));
    let wrong =
        world.app.call_as(&world.key, "PATCH", &path(&domain), &[], br#"{"link_host": "bounce"}"#.to_vec()).await;
    assert_eq!(wrong.faults(), [("/link_host".to_owned(), "conflict".to_owned())]);
    let leads_to = async || {
        let mut message = message_from("example.org");
        message["unsubscribe"] = json!({"stream": "news"});
        let id = world.app.send(&message).await;
        let raw = world.app.get(&format!("/v1/messages/{id}/raw")).await.text();
        raw.split("List-Unsubscribe: <https://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    for record in domain["records"].as_array().unwrap().iter().filter(|record| record["purpose"] != "tracking") {
        publish_in(&world.dns, record);
        publish_in(&world.public, record);
    }
    world.verify(&domain).await;
    assert_eq!(leads_to().await, "mail.example.net");
    world.publish(&domain);
    assert_eq!(world.verify(&domain).await["link_host_in_use"], true);
    assert_eq!(leads_to().await, "links.example.org");
    world.dns.set_alias("links.example.org", "elsewhere.example");
    world.public.set_alias("links.example.org", "elsewhere.example");
    assert_eq!(world.verify(&domain).await["state"], "verified", "mail goes on");
    assert_eq!(leads_to().await, "mail.example.net");
    let changed = world.call("PATCH", &path(&domain), json!({"link_host": "go"})).await;
    assert_eq!((&changed["link_host"], &changed["link_host_in_use"]), (&json!("go.example.org"), &json!(false)));
}

#[tokio::test]
async fn the_policy_asked_for_rises_with_what_receivers_report() {
    let world = World::start().await;
    let domain = world.proved("example.org").await;
    assert_eq!(
        (&domain["dmarc"]["advice"]["policy"], &domain["dmarc"]["evidence"]["reports"]),
        (&json!("none"), &json!(0))
    );
    let report = |signer: &str, days: u32, passed: u32| {
        format!(
            "INSERT INTO aggregate_reports SELECT gen_random_uuid(), 'dmarc', project_id, name, name, '{signer}', '{signer}', '{signer}', \
             now() - make_interval(days => {days}), now(), now(), 1000, {passed}, '[]' FROM domains"
        )
    };
    world.app.database.execute(&report("one.example", 20, 1000)).await;
    let advice = world.verify(&domain).await["dmarc"]["advice"].clone();
    assert!(advice["policy"] == "none" && advice["because"].as_str().unwrap().contains("2 receivers"), "{advice}");
    world.app.database.execute(&report("two.example", 10, 999)).await;
    world.verify(&domain).await;
    let raised = world.call("GET", &path(&domain), json!({})).await;
    let wanted = record(&raised, "dmarc");
    assert!(wanted["value"].as_str().unwrap().starts_with("v=DMARC1; p=quarantine"), "{wanted}");
    assert_eq!((&wanted["finding"], &raised["state"]), (&json!("right"), &json!("verified")), "any policy will do");
    let listed = world.call("GET", &format!("{}/reports", path(&domain)), json!({})).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn receivers_that_walk_the_tree_and_those_that_read_the_list_are_told_apart() {
    let world = World::start().await;
    world.set("_dmarc.mail.example.org", &[]);
    world.dns.set_text("_dmarc.example.org", "v=DMARC1; p=reject; rua=mailto:a@example.org; psd=n");
    world.dns.set_text("_dmarc.mail.example.org", "v=DMARC1; p=none; psd=n");
    let domain = world.create(json!({"name": "mail.example.org"})).await;
    let dmarc = world.verify(&domain).await["dmarc"].clone();
    assert_eq!(
        (&dmarc["organizational_domain"], &dmarc["organizational_domain_by_list"]),
        (&json!("mail.example.org"), &json!("example.org"))
    );
    assert!(dmarc["warnings"][0].as_str().unwrap().contains("older ones example.org"), "{dmarc}");
    // The organization's policy covers it.
    world.dns.set("_dmarc.mail.example.org", &[]);
    let covered = world.verify(&domain).await;
    assert_eq!((&covered["dmarc"]["policy"], &covered["dmarc"]["found_at"]), (&json!("reject"), &json!("example.org")));
    assert!(covered["records"].as_array().unwrap().iter().all(|record| record["purpose"] != "dmarc"), "{covered:#}");
    // What is not known is not said anew.
    world.dns.set("_dmarc.example.org", &[Zone::ServFail]);
    assert_eq!(world.verify(&domain).await["dmarc"], covered["dmarc"]);
}

#[tokio::test]
async fn an_operator_who_goes_live_is_told_what_is_missing_and_then_that_nothing_is() {
    let sink = crate::support::sink::Sink::start().await;
    let here = std::net::Ipv4Addr::LOCALHOST;
    let dns = Dns::start(&[
        ("example.net", Zone::Mx(vec![(10, "mx.example.net")])),
        ("mx.example.net", Zone::A(here)),
        ("example.org", Zone::Ns("ns1.example.org")),
        ("ns1.example.org", Zone::A(here)),
        ("in.mail.example", Zone::Mx(vec![(10, "in.mail.example")])),
        ("in.mail.example", Zone::A(here)),
    ])
    .await;
    let database = crate::support::database::Database::new().await;
    let url = &database.url;
    let settings = [
        ("DNS__SERVERS", dns.address.to_string()),
        ("DOMAINS__RESOLVERS", dns.address.to_string()),
        ("DOMAINS__DNS_PORT", dns.address.port().to_string()),
        ("DELIVERY__MX_PORT", sink.address.port().to_string()),
        ("INBOUND__HOST", "in.mail.example".to_owned()),
        ("INBOUND__LISTEN", "127.0.0.1:2525".to_owned()),
        ("NET__ALLOW_PRIVATE", "127.0.0.0/8".to_owned()),
    ];
    let said = async |arguments: &[&str]| {
        let mut asked = command(url, arguments);
        for (name, value) in &settings {
            asked.env(format!("MAILWRIGHT_{name}"), value);
        }
        let output = within("a command to end", asked.output()).await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let doctor = ["doctor", "--to", "example.net"];
    let (is_well, text) = said(&doctor).await;
    assert!(!is_well && text.contains("FAIL SPF of in.mail.example: no record"), "{text}");
    assert!(
        text.contains("ok   MX of in.mail.example") && text.contains("note sending domains: there is none"),
        "{text}"
    );
    dns.set(
        "in.mail.example",
        &[Zone::Mx(vec![(10, "in.mail.example")]), Zone::A(here), Zone::Txt("v=spf1 ip4:127.0.0.1 -all")],
    );
    assert!(said(&["domains", "add", "--project", "shop", "example.org"]).await.0);
    let (_, table) = said(&["domains", "records", "--project", "shop", "example.org"]).await;
    let (is_well, text) = said(&doctor).await;
    assert!(!is_well && text.contains("FAIL dkim of example.org"), "{text}");
    for line in table.lines() {
        let [host, kind, value, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if kind == "TXT" {
            dns.set_text(host, value);
        }
    }
    // Where no alias can stand: the exchanger and its SPF.
    dns.set("bounce.example.org", &[Zone::Mx(vec![(10, "in.mail.example")]), Zone::Txt("v=spf1 ip4:127.0.0.1 -all")]);
    let (is_verified, text) = said(&["domains", "verify", "--project", "shop", "example.org"]).await;
    assert!(is_verified && text.contains("right      advised  bounce.example.org"), "{text}");
    let (is_well, text) = said(&doctor).await;
    assert!(is_well && text.contains("ok   SPF of bounce.example.org"), "{text}");
    assert!(!text.contains("FAIL"), "{text}");
}
