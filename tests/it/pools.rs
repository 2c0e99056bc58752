//! Pools of a project's own domains: which one mail is from, by weight, by recipient, and by what receivers know of it.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use mailwright::domain::clock::Clock;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::app::{App, Setup, message_to};
use crate::support::database::Database;
use crate::support::dkim::add_domain;
use crate::support::dns::{Dns, Zone};
use crate::support::process::create_key;
use crate::support::within;

/// Adds domains by an operator's word, and gives a key that may put them into pools.
async fn domains(app: &App, names: &[&str]) -> String {
    for name in names {
        add_domain(&app.database.url, name, &["--algorithm", "ed25519-sha256"]).await;
    }
    create_key(&app.database.url, "shop", "live", "admin").await
}

async fn put(app: &App, key: &str, pool: &str, members: Value) -> Value {
    let body = json!({"members": members}).to_string().into_bytes();
    let answer = app.call_as(key, "PUT", &format!("/v1/domain-pools/{pool}"), &[], body).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    answer.json()
}

fn pooled(to: &str, pool: &str) -> Value {
    let mut message = message_to(to);
    message["domain_pool"] = json!(pool);
    message
}

/// The domain that a message is from.
async fn domain_of(app: &App, message: &Value) -> String {
    let id = app.send(message).await;
    let from = app.message(&id).await["from"].as_str().unwrap().to_owned();
    from.trim_end_matches('>').rsplit_once('@').unwrap().1.to_owned()
}

/// How many of so many messages to different people are from each domain.
async fn shares(app: &App, pool: &str, count: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for n in 0..count {
        *shares.entry(domain_of(app, &pooled(&format!("r{n}@example.net"), pool)).await).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn a_recipient_keeps_its_domain_and_domains_take_their_shares() {
    let app = Setup::new().paused().set("dkim.cache", "0s").start().await;
    let key = domains(&app, &["a.example", "b.example", "c.example"]).await;
    put(&app, &key, "codes", json!([{"domain": "A.example", "weight": 3}, {"domain": "b.example"}])).await;
    let shared = shares(&app, "codes", 200).await;
    assert!((135..=165).contains(&shared["a.example"]), "three to one: {shared:?}");
    let mut kept = HashMap::new();
    for n in 0..10 {
        let to = format!("r{n}@example.net");
        kept.insert(to.clone(), domain_of(&app, &pooled(&to, "codes")).await);
    }
    put(
        &app,
        &key,
        "codes",
        json!([{"domain": "a.example", "weight": 3}, {"domain": "b.example"}, {"domain": "c.example"}]),
    )
    .await;
    for (to, before) in &kept {
        let now = domain_of(&app, &pooled(&to.to_uppercase(), "codes")).await;
        assert!(now == *before || now == "c.example", "{to} moved from {before} to {now}");
    }
    // It is signed by the key of the domain that it is from.
    let id = app.send(&pooled("r0@example.net", "codes")).await;
    let from = app.message(&id).await["from"].as_str().unwrap().to_owned();
    let domain = from.trim_end_matches('>').rsplit_once('@').unwrap().1.to_owned();
    let raw = app.get(&format!("/v1/messages/{id}/raw")).await.text();
    assert!(raw.contains(&format!("d={domain};")) && raw.contains(&format!("From: Shop <shop@{domain}>")), "{raw}");
    // Each of many has its own.
    let mut each = pooled("r0@example.net", "codes");
    each["to"] = json!((0..20).map(|n| format!("r{n}@example.net")).collect::<Vec<_>>());
    each["per_recipient"] = json!(vec![json!({}); 20]);
    let answer = app.post("/v1/send", &each).await.json();
    let mut seen = std::collections::HashSet::new();
    for recipient in answer["recipients"].as_array().unwrap() {
        seen.insert(app.message(recipient["message_id"].as_str().unwrap()).await["from"].clone());
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[tokio::test]
async fn only_what_may_send_is_chosen() {
    let app = Setup::new().paused().set("dkim.cache", "0s").start().await;
    let key = domains(&app, &["a.example", "b.example"]).await;
    app.database.execute("UPDATE projects SET requires_verified_domain = true").await;
    put(&app, &key, "codes", json!([{"domain": "a.example", "weight": 1000}, {"domain": "b.example"}])).await;
    let all_from =
        async |domain: &str| assert_eq!(shares(&app, "codes", 8).await, HashMap::from([(domain.to_owned(), 8)]));
    all_from("a.example").await;
    app.database.execute("INSERT INTO listings VALUES ('a.example', 'dbl.example', now(), now(), '[]')").await;
    all_from("b.example").await;
    app.database.execute("INSERT INTO listings VALUES ('b.example', 'dbl.example', now(), now(), '[]')").await;
    all_from("a.example").await;
    app.database.execute("DELETE FROM listings").await;
    app.database.execute("UPDATE domains SET state = 'failed' WHERE name = 'a.example'").await;
    all_from("b.example").await;
    app.database.execute("UPDATE domains SET state = 'failed'").await;
    let refused = app.post("/v1/send", &pooled("a@example.net", "codes")).await;
    assert_eq!(refused.json()["type"], "/problems/unverified-domain", "{}", refused.text());
    app.database.execute("UPDATE domains SET state = 'verified'").await;
    // A key for one domain stays with it.
    let body = json!({"mode": "live", "scopes": ["send"], "from_domains": ["b.example"]}).to_string().into_bytes();
    let bound = app.call_as(&key, "POST", "/v1/keys", &[], body).await.json()["key"].as_str().unwrap().to_owned();
    for n in 0..4 {
        let body = pooled(&format!("r{n}@example.net"), "codes").to_string().into_bytes();
        let id = app.call_as(&bound, "POST", "/v1/send", &[], body).await.json()["id"].as_str().unwrap().to_owned();
        assert!(app.message(&id).await["from"].as_str().unwrap().contains("@b.example"));
    }
    // What was deleted is in no pool.
    app.database.execute("DELETE FROM domains WHERE name = 'a.example'").await;
    all_from("b.example").await;
    let refused = app.post("/v1/send", &pooled("a@example.net", "nosuch")).await;
    assert_eq!(refused.faults(), [("/domain_pool".to_owned(), "unknown_domain_pool".to_owned())]);
    let mut own = pooled("a@example.net", "codes");
    own["return_path"] = json!("bounces@example.org");
    assert_eq!(app.post("/v1/send", &own).await.faults(), [("/return_path".to_owned(), "conflict".to_owned())]);
    // Nor is one project's pool another's.
    let neighbour = create_key(&app.database.url, "neighbour", "live", "admin,send").await;
    for (method, path) in [("GET", "/v1/domain-pools/codes"), ("DELETE", "/v1/domain-pools/codes")] {
        assert_eq!(app.call_as(&neighbour, method, path, &[], Vec::new()).await.status, 404);
    }
    assert_eq!(app.get_as(&neighbour, "/v1/domain-pools").await.json(), json!({"data": []}));
    let body = pooled("a@example.net", "codes").to_string().into_bytes();
    let refused = app.call_as(&neighbour, "POST", "/v1/send", &[], body).await;
    assert_eq!(refused.faults(), [("/domain_pool".to_owned(), "unknown_domain_pool".to_owned())]);
    let removed = app.call_as(&key, "DELETE", "/v1/domain-pools/codes", &[], Vec::new()).await;
    assert_eq!(removed.status, 204);
    let refused = app.post("/v1/send", &pooled("a@example.net", "codes")).await;
    assert_eq!(refused.faults(), [("/domain_pool".to_owned(), "unknown_domain_pool".to_owned())]);
}

#[tokio::test]
async fn a_faulty_pool_says_where_and_another_projects_domains_are_in_none() {
    let app = Setup::new().paused().start().await;
    let key = domains(&app, &["a.example"]).await;
    crate::support::dkim::add_domain(&app.database.url, "b.example", &["--algorithm", "ed25519-sha256"]).await;
    app.database
        .execute("INSERT INTO projects (id, name, created_at) VALUES (gen_random_uuid(), 'other', now())")
        .await;
    app.database
        .execute(
            "UPDATE domains SET project_id = (SELECT id FROM projects WHERE name = 'other') WHERE name = 'b.example'",
        )
        .await;
    let faults = async |members: Value| {
        let body = json!({"members": members}).to_string().into_bytes();
        app.call_as(&key, "PUT", "/v1/domain-pools/codes", &[], body).await.faults()
    };
    for (members, at, code) in [
        (json!([]), "/members", "too_many"),
        (json!([7]), "/members/0", "wrong_type"),
        (json!([{}]), "/members/0/domain", "required"),
        (json!([{"domain": "a b"}]), "/members/0/domain", "invalid_domain"),
        (json!([{"domain": "b.example"}]), "/members/0/domain", "unknown_domain"),
        (json!([{"domain": "a.example"}, {"domain": "A.example"}]), "/members/1/domain", "conflict"),
        (json!([{"domain": "a.example", "weight": 0}]), "/members/0/weight", "invalid_limit"),
        (json!([{"domain": "a.example", "wait": 1}]), "/members/0/wait", "unknown_field"),
    ] {
        assert_eq!(faults(members).await, [(at.to_owned(), code.to_owned())]);
    }
    for name in ["a%20b", "%F0%9F%98%80"] {
        let body = json!({"members": [{"domain": "a.example"}]}).to_string().into_bytes();
        let answer = app.call_as(&key, "PUT", &format!("/v1/domain-pools/{name}"), &[], body).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
    }
}

/// Days ago, to any receiver: what its servers took, and refused because of the sender.
async fn fared(database: &Database, domain: &str, days: &[(i32, u32, u32)]) {
    for (ago, accepted, rejected) in days {
        database
            .execute(&format!(
                "INSERT INTO outcomes SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '{ago} days', \
                 id, '{domain}', 'other', {accepted}, 0, {rejected}, 0, 0, {rejected} FROM projects WHERE name = 'shop'"
            ))
            .await;
    }
}

#[tokio::test]
async fn a_warm_up_goes_by_volume_and_result_and_the_warm_domain_sends_the_rest() {
    let relay = "127.0.0.1:9".parse().unwrap();
    let app = Setup::new().paused().route_to(relay).set("dkim.cache", "0s").start().await;
    let key = domains(&app, &["old.example", "cold.example", "grown.example", "idle.example", "sick.example"]).await;
    fared(&app.database, "grown.example", &[(2, 50, 0), (1, 100, 0)]).await;
    fared(&app.database, "idle.example", &[(2, 49, 0), (1, 20, 0)]).await;
    fared(&app.database, "sick.example", &[(3, 50, 0), (2, 100, 0), (1, 150, 20)]).await;
    for (name, allowed) in [("cold", 50), ("grown", 200), ("idle", 100), ("sick", 100)] {
        let new = format!("{name}.example");
        let members = json!([{"domain": new, "weight": 1000, "warmup": true}, {"domain": "old.example"}]);
        put(&app, &key, name, members).await;
        let count = allowed + 10;
        assert_eq!(
            shares(&app, name, count).await,
            HashMap::from([(new, allowed), ("old.example".to_owned(), 10)]),
            "{name}"
        );
    }
    app.service.door.pools.report().await.unwrap();
    let shown = app.get_as(&key, "/v1/domain-pools/grown").await.json();
    assert_eq!(
        shown["members"][0]["receivers"],
        json!([{"receiver": "other", "step": 2, "steps": 12, "allowance": 200, "sent_today": 200}])
    );
    // Where no member has room, mail goes nevertheless.
    put(&app, &key, "alone", json!([{"domain": "cold.example", "warmup": true}])).await;
    assert_eq!(shares(&app, "alone", 3).await, HashMap::from([("cold.example".to_owned(), 3)]));
    // Through relays nobody knows whose servers take it at last.
    put(&app, &key, "alone", json!([{"domain": "idle.example", "warmup": true}])).await;
    app.send(&pooled("a@gmail.com", "alone")).await;
    app.service.door.pools.report().await.unwrap();
    let shown = app.get_as(&key, "/v1/domain-pools/alone").await.json();
    let receivers = shown["members"][0]["receivers"].as_array().unwrap();
    assert!(receivers.len() == 1 && receivers[0]["receiver"] == "other", "{shown}");
    // A trial costs nothing.
    let mut trial = pooled("x@example.net", "grown");
    trial["to"] = json!("x@example.org");
    assert_eq!(app.post("/v1/send?dry_run=true", &trial).await.status, 200);
    app.service.door.pools.report().await.unwrap();
    let shown = app.get_as(&key, "/v1/domain-pools/grown").await.json();
    assert_eq!(shown["members"][0]["receivers"][0]["sent_today"], 200);
}

#[tokio::test]
async fn processes_share_what_a_warm_up_allows_and_a_new_day_has_room() {
    let database = std::sync::Arc::new(Database::new().await);
    let first = Setup::new().paused().set("dkim.cache", "0s").on(&database).start().await;
    let key = domains(&first, &["old.example", "cold.example"]).await;
    let members = json!([{"domain": "cold.example", "weight": 1000, "warmup": true}, {"domain": "old.example"}]);
    put(&first, &key, "codes", members).await;
    assert_eq!(shares(&first, "codes", 30).await["cold.example"], 30);
    first.service.door.pools.report().await.unwrap();
    let second = Setup::new().paused().set("dkim.cache", "0s").on(&database).start().await;
    // Each takes the other to send as much as it does, until both have told.
    let mut cold = 30;
    for app in [&second, &first, &second, &first, &second] {
        for app in [&first, &second] {
            app.service.door.pools.report().await.unwrap();
        }
        cold += shares(app, "codes", 30).await.get("cold.example").copied().unwrap_or(0);
    }
    assert!((45..=50).contains(&cold), "{cold} of 50");
    fared(&database, "cold.example", &[(0, 50, 0)]).await;
    first.clock.advance(std::time::Duration::from_hours(24));
    first.service.store.ensure_day(first.clock.now().date()).await.unwrap();
    first.service.door.pools.report().await.unwrap();
    let next = shares(&first, "codes", 110).await["cold.example"];
    assert!((50..=100).contains(&next), "of 100, and half of them at once: {next}");
}

#[tokio::test]
async fn what_was_sent_is_told_once_a_report_returns_whoever_took_it() {
    let app = Setup::new().paused().set("dkim.cache", "0s").start().await;
    let key = domains(&app, &["cold.example"]).await;
    put(&app, &key, "codes", json!([{"domain": "cold.example", "warmup": true}])).await;
    let mut holder = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE warmup_days IN EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    assert_eq!(shares(&app, "codes", 7).await["cold.example"], 7);
    let pools = std::sync::Arc::clone(&app.service.door.pools);
    let taker = tokio::spawn(async move { pools.report().await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'warmup_days'::regclass AND NOT granted";
    within("a report to wait for the table", async { while app.database.count(waiting).await == 0 {} }).await;
    let report = async {
        app.service.door.pools.report().await.unwrap();
        app.database.count("SELECT coalesce(sum(messages), 0)::bigint FROM warmup_days").await
    };
    let release = async {
        for _ in 0..50 {
            app.database.count("SELECT 1::bigint").await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    };
    assert_eq!(tokio::join!(report, release).0, 7);
    taker.await.unwrap().unwrap();
}

#[tokio::test]
async fn each_receiver_is_warmed_up_by_itself() {
    let dns = Dns::start(&[
        ("corp.example", Zone::Mx(vec![(1, "aspmx.l.google.com")])),
        ("aspmx.l.google.com", Zone::A(Ipv4Addr::LOCALHOST)),
    ])
    .await;
    let app = Setup::new().paused().set("dkim.cache", "0s").set("dns.servers", dns.address).set("delivery.route", "mx");
    let app = app.set("net.allow_private", "127.0.0.0/8").start().await;
    let key = domains(&app, &["cold.example"]).await;
    put(&app, &key, "codes", json!([{"domain": "cold.example", "warmup": true}])).await;
    app.send(&pooled("a@gmail.com", "codes")).await;
    app.send(&pooled("a@corp.example", "codes")).await;
    // Who runs its servers was asked for meanwhile.
    let sent = within("the receiver to be known", async {
        loop {
            app.send(&pooled("b@corp.example", "codes")).await;
            app.service.door.pools.report().await.unwrap();
            let shown = app.get_as(&key, "/v1/domain-pools/codes").await.json();
            let receivers = shown["members"][0]["receivers"].as_array().unwrap().clone();
            let of =
                |name: &str| receivers.iter().find(|one| one["receiver"] == name).map(|one| one["sent_today"].clone());
            if of("google").is_some_and(|sent| sent.as_u64() > Some(1)) {
                return of("google").unwrap();
            }
        }
    })
    .await;
    assert!(sent.as_u64() >= Some(2), "that of gmail.com, and one of corp.example: {sent}");
}

#[tokio::test]
async fn what_is_scheduled_is_from_the_pool_as_it_is_then() {
    let app = Setup::new().paused().set("dkim.cache", "0s").start().await;
    let key = domains(&app, &["a.example", "b.example"]).await;
    put(&app, &key, "codes", json!([{"domain": "a.example"}])).await;
    let mut later = pooled("r@example.net", "codes");
    let at = app.clock.now() + std::time::Duration::from_hours(1);
    later["send_at"] = json!(mailwright::domain::clock::rfc3339(at));
    let id = app.send(&later).await;
    assert!(app.message(&id).await["from"].as_str().unwrap().contains("@a.example"));
    put(&app, &key, "codes", json!([{"domain": "b.example"}])).await;
    // A key for some domains alone chooses at once: nobody's key asks later.
    put(&app, &key, "both", json!([{"domain": "a.example", "weight": 1000}, {"domain": "b.example"}])).await;
    let body = json!({"mode": "live", "scopes": ["send"], "from_domains": ["b.example"]}).to_string().into_bytes();
    let bound = app.call_as(&key, "POST", "/v1/keys", &[], body).await.json()["key"].as_str().unwrap().to_owned();
    later["domain_pool"] = json!("both");
    let body = later.to_string().into_bytes();
    let own = app.call_as(&bound, "POST", "/v1/send", &[], body).await.json()["id"].as_str().unwrap().to_owned();
    app.clock.advance(std::time::Duration::from_secs(3601));
    for id in [id, own] {
        let message = app.until(&id, "its time", |message| message["status"] != "scheduled").await;
        assert!(message["from"].as_str().unwrap().contains("@b.example"), "{message}");
    }
}

/// Messages of today that a pool's first member has sent.
async fn sent_today(app: &App, key: &str, pool: &str) -> Value {
    app.service.door.pools.report().await.unwrap();
    let shown = app.get_as(key, &format!("/v1/domain-pools/{pool}")).await.json();
    shown["members"][0]["receivers"][0]["sent_today"].clone()
}

#[tokio::test]
async fn what_is_stored_counts_once_for_each_recipient_and_nothing_else_does() {
    let app = Setup::new().paused().set("dkim.cache", "0s").start().await;
    let key = domains(&app, &["cold.example"]).await;
    put(&app, &key, "codes", json!([{"domain": "cold.example", "warmup": true}])).await;
    let mut many = pooled("r@example.net", "codes");
    many["to"] = json!((0..20).map(|n| format!("r{n}@example.net")).collect::<Vec<_>>());
    app.send(&many).await;
    assert_eq!(sent_today(&app, &key, "codes").await, 20);
    let one = pooled("r@example.net", "codes").to_string().into_bytes();
    for _ in 0..3 {
        let key = [("idempotency-key", "once")];
        assert_eq!(app.call_as(&app.live, "POST", "/v1/send", &key, one.clone()).await.status, 202);
    }
    let batch = json!({"messages": [pooled("r@example.net", "codes"), pooled("nobody", "codes")]});
    assert_eq!(app.post("/v1/send/batch?mode=strict", &batch).await.status, 422);
    let mut large = pooled("r@example.net", "codes");
    large["text"] = json!("x".repeat(1000));
    large["attachments"] = json!([{"filename": "a", "content": "YQ==", "content_type": "message/rfc822"}]);
    assert_eq!(sent_today(&app, &key, "codes").await, 21);
}

#[tokio::test]
async fn a_member_that_fell_a_moment_ago_is_passed_by() {
    let app = Setup::new().paused().set("dkim.cache", "1h").start().await;
    let key = domains(&app, &["a.example", "b.example"]).await;
    app.database.execute("UPDATE projects SET requires_verified_domain = true").await;
    put(&app, &key, "codes", json!([{"domain": "a.example"}, {"domain": "b.example"}])).await;
    // The pool is known from now on, and so is one of its members.
    let first = domain_of(&app, &pooled("r0@example.net", "codes")).await;
    let other = if first == "a.example" { "b.example" } else { "a.example" };
    app.database.execute(&format!("UPDATE domains SET state = 'failed' WHERE name = '{other}'")).await;
    assert_eq!(shares(&app, "codes", 12).await, HashMap::from([(first, 12)]));
}
