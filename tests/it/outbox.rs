//! Mail that a transaction of a user's own enqueues by `mailwright.enqueue`: sent when that commits, with the validation and
//! the effects of the API, by a role that may do nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mailwright::domain::shard::Shard;
use serde_json::{Map, Value, json};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use uuid::Uuid;

use crate::support::app::{App, Setup, message_to, status_of};
use crate::support::database::Database;
use crate::support::process::{Server, command, create_key, create_operator_key, run};
use crate::support::receiver::Receiver;
use crate::support::sink::Sink;
use crate::support::within;

/// A role of the database that may log in, and nothing else.
pub struct Role {
    pub name: String,
    database: Arc<Database>,
}

impl Role {
    pub async fn new(database: &Arc<Database>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("outbox_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        database.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'secret'")).await;
        Self { name, database: Arc::clone(database) }
    }

    /// One that may enqueue for the project `shop`.
    pub async fn granted(database: &Arc<Database>, modes: &str) -> Self {
        let role = Self::new(database).await;
        role.grant("shop", &["--mode", modes]).await;
        role
    }

    pub async fn grant(&self, project: &str, more: &[&str]) {
        let arguments = [&["outbox", "grant", "--role", &*self.name, "--project", project], more].concat();
        let output = run(&self.database.url, &arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn options(&self) -> PgConnectOptions {
        let options: PgConnectOptions = self.database.url.parse().unwrap();
        options.username(&self.name).password("secret").disable_statement_logging()
    }

    /// As a program of another language takes it.
    pub fn url(&self) -> String {
        let (scheme, rest) = self.database.url.split_once("://").unwrap();
        let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
        // A socket's directory is a host that every one of them understands.
        let (place, socket) = rest.split_once("?host=").unwrap_or((rest, ""));
        let (host, database) = place.split_once('/').unwrap();
        let host = if socket.is_empty() { host.to_owned() } else { socket.replace('/', "%2F") };
        format!("{scheme}://{}:secret@{host}/{database}", self.name)
    }

    pub async fn connect(&self) -> PgConnection {
        self.options().connect().await.unwrap()
    }

    pub async fn drop(self) {
        self.database.execute(&format!("DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.name)).await;
    }
}

/// What is said when something is refused: the state, the message, and the faults with their pointers.
#[derive(Debug)]
struct Refused {
    state: String,
    message: String,
    faults: BTreeSet<(String, String)>,
}

fn refused(error: sqlx::Error) -> Refused {
    let sqlx::Error::Database(error) = error else { panic!("{error}") };
    let error = error.downcast::<PgDatabaseError>();
    let lines = error.detail().unwrap_or_default().lines().filter_map(|line| {
        let (pointer, rest) = line.split_once(": ")?;
        let (_, code) = rest.strip_suffix(']')?.rsplit_once('[')?;
        Some((pointer.to_owned(), code.to_owned()))
    });
    Refused { state: error.code().to_owned(), message: error.message().to_owned(), faults: lines.collect() }
}

async fn enqueue(conn: &mut PgConnection, message: &Value, rest: &str) -> Result<String, Refused> {
    let sql = format!("SELECT mailwright.enqueue($1{rest})");
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(message).fetch_one(conn).await.map_err(refused)
}

async fn execute(conn: &mut PgConnection, sql: &str) -> Result<(), Refused> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(|_| ()).map_err(refused)
}

async fn keyed(app: &App, key: &str, message: &Value) -> (u16, Value) {
    let headers = [("idempotency-key", key)];
    let answer = app.call_as(&app.live, "POST", "/v1/send", &headers, message.to_string().into_bytes()).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn what_commits_is_sent_and_what_is_rolled_back_never_was() {
    let sink = Sink::start().await;
    let app = Setup::new().route_to(sink.address).start().await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    execute(&mut conn, "BEGIN").await.unwrap();
    let lost = enqueue(&mut conn, &message_to("rolled-back@example.net"), "").await.unwrap();
    execute(&mut conn, "ROLLBACK; BEGIN").await.unwrap();
    let mut message = message_to("a@example.net");
    message["cc"] = json!(["C <c@example.net>", "A@EXAMPLE.net"]);
    message["bcc"] = json!({"email": "d@example.net"});
    message["tags"] = json!(["receipt"]);
    message["metadata"] = json!({"order": "17"});
    message["attachments"] = json!([{"filename": "a.txt", "content": "aGVsbG8"}]);
    let kept = enqueue(&mut conn, &message, "").await.unwrap();
    execute(&mut conn, "SAVEPOINT s").await.unwrap();
    enqueue(&mut conn, &message_to("savepoint@example.net"), "").await.unwrap();
    execute(&mut conn, "ROLLBACK TO s").await.unwrap();
    // Nobody else sees it before it commits.
    for id in [&lost, &kept] {
        assert_eq!(app.get(&format!("/v1/messages/{id}")).await.status, 404);
    }
    assert_eq!(app.database.count("SELECT count(*) FROM scheduled_messages").await, 0);
    execute(&mut conn, "COMMIT").await.unwrap();
    let taken = sink.until_taken(3).await;
    let mut to: Vec<_> = taken.iter().map(|taken| taken.recipient.clone()).collect();
    to.sort();
    assert_eq!(to, ["a@example.net", "c@example.net", "d@example.net"]);
    let sent = app.settled(&kept).await;
    assert_eq!((&sent["tags"], &sent["metadata"]), (&json!(["receipt"]), &json!({"order": "17"})));
    assert_eq!(app.get(&format!("/v1/messages/{lost}")).await.status, 404);
    let created = mailwright::domain::clock::parse_rfc3339(sent["created_at"].as_str().unwrap()).unwrap();
    let settled =
        mailwright::domain::clock::parse_rfc3339(sent["recipients"][0]["settled_at"].as_str().unwrap()).unwrap();
    assert!(settled - created < time::Duration::seconds(5), "{}", settled - created);
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn the_grant_opens_one_function_and_nothing_else() {
    let app = Setup::new().paused().start().await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    let relations: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname IN ('public', 'mailwright')",
    )
    .fetch_all(&app.database.pool)
    .await
    .unwrap();
    assert!(relations.len() > 30, "{relations:?}");
    for relation in &relations {
        for sql in [
            format!("SELECT FROM {relation} LIMIT 1"),
            format!("DELETE FROM {relation}"),
            format!("TRUNCATE {relation}"),
            format!("INSERT INTO {relation} DEFAULT VALUES"),
        ] {
            let why = execute(&mut conn, &sql).await.unwrap_err();
            assert!(why.state == "42501", "{sql}: {why:?}");
        }
    }
    let mut open = Vec::new();
    let functions = sqlx::query(
        "SELECT p.proname::text AS name, has_function_privilege($1, p.oid, 'EXECUTE') AS may \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname IN ('public', 'mailwright') AND p.proname <> 'announce'",
    );
    for row in functions.bind(&role.name).fetch_all(&app.database.pool).await.unwrap() {
        if row.get::<bool, _>("may") {
            open.push(row.get::<String, _>("name"));
        }
    }
    assert_eq!(open, ["enqueue"]);
    for sql in [
        "SELECT mailwright.grant_to(current_user)",
        "SELECT mailwright.canonical('{}')",
        "CREATE TABLE mailwright.t ()",
        "CREATE FUNCTION mailwright.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION mailwright.enqueue SECURITY INVOKER",
    ] {
        assert_eq!(execute(&mut conn, sql).await.unwrap_err().state, "42501", "{sql}");
    }
    // It is listed, and what was granted is taken back whole.
    let listed = run(&app.database.url, &["outbox", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["role"], &listed[0]["project"]), (&json!(role.name), &json!("shop")));
    let revoke = ["outbox", "revoke", "--role", &*role.name, "--project", "shop"];
    assert!(run(&app.database.url, &revoke).await.status.success());
    assert_eq!(enqueue(&mut conn, &message_to("a@example.net"), "").await.unwrap_err().state, "42501");
    assert!(!run(&app.database.url, &revoke).await.status.success(), "twice");
    let nobody = ["outbox", "grant", "--role", "nobody-at-all", "--project", "shop"];
    assert!(!run(&app.database.url, &nobody).await.status.success());
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_role_enqueues_for_its_own_project_mode_and_domains_whatever_role_it_puts_on() {
    let app = Setup::new().paused().start().await;
    let (own, other) = (Role::granted(&app.database, "test").await, Role::new(&app.database).await);
    other.grant("other", &["--from-domains", "example.org,bücher.example"]).await;
    let message = message_to("a@example.net");
    let mut conn = own.connect().await;
    for rest in [", 'shop', 'live'", ", 'other', 'test'", ", 'no-such', 'test'", ", ''' OR true --', 'test'", ""] {
        let why = enqueue(&mut conn, &message, rest).await.unwrap_err();
        assert!(why.state == "42501" && why.message.contains("may not enqueue"), "{rest}: {why:?}");
    }
    assert_eq!(enqueue(&mut conn, &message, ", NULL, 'both'").await.unwrap_err().state, "22023");
    enqueue(&mut conn, &message, ", 'shop', 'test'").await.unwrap();
    // Another role that it may put on counts as its own; one that it may not, cannot be put on.
    assert!(execute(&mut conn, &format!("SET ROLE {}", other.name)).await.is_err());
    app.database.execute(&format!("GRANT {} TO {}", other.name, own.name)).await;
    execute(&mut conn, &format!("SET ROLE {}", other.name)).await.unwrap();
    let id = enqueue(&mut conn, &message, ", 'other'").await.unwrap();
    assert_eq!(app.get(&format!("/v1/messages/{id}")).await.status, 404, "it is another project's");
    let mut foreign = message.clone();
    foreign["from"] = json!("x@sub.example.org");
    let why = enqueue(&mut conn, &foreign, ", 'other'").await.unwrap_err();
    assert!(why.state == "42501" && why.message.contains("may not send as sub.example.org"), "{why:?}");
    let mut pooled = message.clone();
    pooled["domain_pool"] = json!("codes");
    let why = enqueue(&mut conn, &pooled, ", 'other'").await.unwrap_err();
    assert!(why.state == "42501" && why.message.contains("some domains alone"), "{why:?}");
    enqueue(&mut conn, &pooled, ", 'shop', 'test'").await.unwrap();
    drop(conn);
    // Both, and neither is named.
    app.database.execute("UPDATE outbox_senders SET modes = '{live,test}'").await;
    let mut conn = own.connect().await;
    let why = enqueue(&mut conn, &message, "").await.unwrap_err();
    assert!(why.message.contains("name one"), "{why:?}");
    drop(conn);
    own.drop().await;
    other.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn what_a_caller_creates_does_not_come_between() {
    let app = Setup::new().paused().start().await;
    let role = Role::granted(&app.database, "live").await;
    // As it was usual before Postgres 15.
    app.database.execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let mut conn = role.connect().await;
    execute(
        &mut conn,
        "CREATE TEMP TABLE outbox_senders (role_name text, project_id uuid, modes text[], from_domains text[]);
         CREATE TEMP TABLE scheduled_messages (x int);
         CREATE TEMP TABLE idempotency_keys (x int);
         CREATE FUNCTION public.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT current_user::text $$;
         CREATE FUNCTION public.length(varchar) RETURNS integer LANGUAGE sql AS 'SELECT 1 / 0';
         CREATE FUNCTION public.never(jsonb, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1';
         CREATE OPERATOR public.<> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = public.never);
         SET search_path = pg_temp, public, pg_catalog;
         SET standard_conforming_strings = off;
         SET datestyle = 'German'; SET timezone = 'Asia/Kathmandu';",
    )
    .await
    .unwrap();
    let mut message = message_to("a@example.net");
    message["subject"] = json!("'); DROP TABLE scheduled_messages; --\\");
    let id = enqueue(&mut conn, &message, ", 'shop', 'live', 'k''1', now() + interval '1 hour'").await.unwrap();
    let waiting = app.message(&id).await;
    assert_eq!((&waiting["status"], &waiting["subject"]), (&json!("scheduled"), &message["subject"]));
    let ahead = mailwright::domain::clock::parse_rfc3339(waiting["send_at"].as_str().unwrap()).unwrap()
        - mailwright::domain::clock::Clock::now(&*app.clock);
    assert!(ahead > time::Duration::minutes(58) && ahead < time::Duration::minutes(61), "{ahead}");
    assert_eq!(app.database.count("SELECT count(*) FROM scheduled_messages").await, 1);
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_key_sends_once_here_and_over_http_and_two_transactions_wait_for_each_other() {
    let app = Setup::new().paused().start().await;
    let role = Role::granted(&app.database, "live,test").await;
    let (mut conn, mut second) = (role.connect().await, role.connect().await);
    let message = message_to("a@example.net");
    let first = enqueue(&mut conn, &message, ", 'shop', 'live', 'k-1'").await.unwrap();
    assert_eq!(enqueue(&mut conn, &message, ", 'shop', 'live', 'k-1'").await.unwrap(), first);
    let (status, answer) = keyed(&app, "k-1", &message).await;
    assert_eq!((status, &answer["id"]), (202, &json!(first)));
    assert_eq!(app.get("/v1/messages?idempotency_key=k-1").await.json()["data"][0]["id"], json!(first));
    assert_eq!(keyed(&app, "k-1", &message_to("b@example.net")).await.0, 422);
    assert_eq!(
        enqueue(&mut conn, &message_to("b@example.net"), ", 'shop', 'live', 'k-1'").await.unwrap_err().state,
        "23505"
    );
    assert_ne!(enqueue(&mut conn, &message, ", 'shop', 'test', 'k-1'").await.unwrap(), first, "test has its own");
    // The other way round, with the key in the body.
    let (_, answer) = keyed(&app, "k-2", &message).await;
    let mut own = message.clone();
    own["idempotency_key"] = json!("k-2");
    assert_eq!(json!(enqueue(&mut conn, &own, "").await.unwrap()), answer["id"]);
    // Two at once: the second waits, and has the answer of the first, or the key if that is rolled back.
    for (end, key) in [("COMMIT", ", NULL, 'live', 'k-3'"), ("ROLLBACK", ", NULL, 'live', 'k-4'")] {
        execute(&mut conn, "BEGIN").await.unwrap();
        let first = enqueue(&mut conn, &message, key).await.unwrap();
        let waiting = enqueue(&mut second, &message, key);
        let ending = async {
            until_blocked(&app.database).await;
            execute(&mut conn, end).await.unwrap();
        };
        let (waited, ()) = within("the second transaction", async { tokio::join!(waiting, ending) }).await;
        assert_eq!(waited.unwrap() == first, end == "COMMIT");
    }
    let all = "SELECT (SELECT count(*) FROM scheduled_messages) + (SELECT count(*) FROM messages)";
    assert_eq!(app.database.count(all).await, 5);
    drop((conn, second));
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn the_shard_and_the_fingerprint_of_a_key_are_the_same_in_sql() {
    let database = Database::new().await;
    let project = Uuid::from_u128(0x0192_aaaa_0000_7000_8000_0000_0000_0001);
    for n in 0..200 {
        let key = format!("live:{}{n}~", "order-".repeat(n % 43));
        let sql: i32 = sqlx::query_scalar("SELECT mailwright.shard(mailwright.shard_of_key($1, $2))")
            .bind(project)
            .bind(&key)
            .fetch_one(&database.pool)
            .await
            .unwrap();
        assert_eq!(sql, Shard::of_key(project, &key).value(), "{key}");
    }
    let mut nasty = Map::new();
    for (n, text) in [
        "",
        "\"\\/",
        "\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f} ",
        "\u{7f}\u{80}\u{9f}\u{a0}",
        "é用户😀\u{fffd}\u{10ffff}",
        "<>&'",
        "\u{2028}\u{feff}",
    ]
    .into_iter()
    .enumerate()
    {
        nasty
            .insert(text.to_owned(), json!({"b": text, "aa": [text, null, true, {"é": 1, "z": -5, "Z": 600, "": []}]}));
        nasty.insert(format!("k{n}"), json!(text));
    }
    let mut state = 7;
    for _ in 0..200 {
        let text: String = (0..12).map(|_| some_char(&mut state)).collect();
        nasty.insert(text.clone(), json!([text]));
    }
    let value = Value::Object(nasty);
    let sql: String =
        sqlx::query_scalar("SELECT mailwright.canonical($1)").bind(&value).fetch_one(&database.pool).await.unwrap();
    assert_eq!(sql, serde_json::to_string(&value).unwrap());
}

/// Some character, of those that nobody thinks of too.
fn some_char(state: &mut u64) -> char {
    loop {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = u32::try_from(*state >> 33).unwrap();
        match char::from_u32(if at.is_multiple_of(2) { (at >> 1) % 0x250 } else { at % 0x11_0000 }) {
            Some('\0') | None => {}
            Some(c) => return c,
        }
    }
}

/// Waits until a connection waits for another one's lock.
async fn until_blocked(database: &Database) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while database.count(waiting).await == 0 {
        tokio::task::yield_now().await;
    }
}

fn with(name: &str, value: Value) -> Value {
    let mut message = message_to("b@example.net");
    message[name] = value;
    message
}

/// Requests with something wrong, one fault or many.
fn bad_requests() -> Vec<Value> {
    let mut requests = bad_wholes();
    requests.extend(bad_addresses());
    requests.extend(bad_templates());
    requests.extend(bad_files().into_iter().chain(bad_values()).map(|(name, value)| with(name, value)));
    requests
}

fn with_template(template: Value) -> Value {
    json!({"from": "a@example.org", "to": "b@example.net", "template": template})
}

fn bad_templates() -> Vec<Value> {
    let mut requests: Vec<_> = [
        json!("welcome"),
        json!({}),
        json!({"alias": "welcome", "id": "tpl_0"}),
        json!({"id": "welcome"}),
        json!({"id": format!("tpl_{}", "0".repeat(32))}),
        json!({"alias": 5}),
        json!({"alias": "Welcome"}),
        json!({"alias": "settings"}),
        json!({"alias": "tpl_x"}),
        json!({"alias": "nobodys"}),
        json!({"alias": "draft"}),
        json!({"alias": "base"}),
        json!({"alias": "welcome", "version": 7}),
        json!({"alias": "welcome", "version": 2}),
        json!({"alias": "welcome", "version": 0}),
        json!({"alias": "welcome", "version": 1.5}),
        json!({"alias": "welcome", "version": "1"}),
        json!({"alias": "welcome", "locale": "englishlanguage"}),
        json!({"alias": "welcome", "locale": 1}),
        json!({"alias": "welcome", "variables": []}),
        json!({"alias": "welcome", "variables": {"name": "x".repeat(262_144)}}),
        json!({"alias": "welcome", "varables": {}}),
    ]
    .map(with_template)
    .into();
    for (name, value) in [("text", json!("x")), ("html", json!("x")), ("subject", json!(5)), ("to", json!("x"))] {
        let mut request = with_template(json!({"alias": "welcome", "variables": {"name": "Ada"}}));
        request[name] = value;
        requests.push(request);
    }
    requests
}

/// Templates of the project `shop`: one that can be sent and has a draft, one that was never published, and a layout.
async fn make_templates(app: &App) {
    for (alias, kind, text) in
        [("welcome", "message", "Hello {{ name }}."), ("draft", "message", "x"), ("base", "layout", "x")]
    {
        let parts = json!({"subject": "Welcome", "text": text});
        let parts = if kind == "layout" { json!({"text": text}) } else { parts };
        let body = json!({"alias": alias, "name": alias, "kind": kind, "locales": {"en": parts}});
        let made = app.post("/v1/templates", &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        if alias != "draft" {
            assert_eq!(app.post(&format!("/v1/templates/{alias}/publish"), &json!({})).await.status, 200);
        }
    }
    change_welcome(app, "Changed, {{ name }}.").await;
}

async fn change_welcome(app: &App, text: &str) {
    let body = json!({"locales": {"en": {"subject": "Welcome", "text": text}}}).to_string().into_bytes();
    let changed = app.call_as(&app.live, "PATCH", "/v1/templates/welcome", &[], body).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
}

fn bad_wholes() -> Vec<Value> {
    let raw = |text: &str| {
        use base64::Engine;
        json!({"from": "a@example.org", "to": "b@example.net", "raw": base64::engine::general_purpose::STANDARD.encode(text)})
    };
    let far = "x".repeat(999);
    let many = |count: usize| (0..count).map(|n| format!("r{n}@example.net")).collect::<Vec<_>>();
    let mut requests = vec![
        json!({}),
        json!({
            "from": "nobody", "to": [1, "a@b", "ok@example.net"], "cc": {"email": "x\u{1}@example.net"},
            "subject": "a\r\nBcc: evil@example.net", "sned_at": "now", "priority": "urgent", "ttl_seconds": "5",
            "headers": {"From": "x@example.net", "X-Ok": "a\nb", "Bad Name": "v", "X-Number": 5},
            "attachments": [{"filename": "a.txt", "content": "***", "extra": 1}, 7, {"content_type": "text"}],
            "tags": ["", "fine"], "metadata": {"k": 1, "n": true}, "text": 5
        }),
        json!({"from": {"name": 5, "mail": "x"}, "to": [{"email": 5}, {}, {"email": "a b@example.net"}], "bcc": [null]}),
        json!({"from": "a@example.org", "to": [], "cc": null, "subject": null, "text": null, "html": 5, "html_body": "x"}),
        with("to", json!(many(1001))),
        raw("From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"),
        raw("Date: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\nbody\r\n"),
        raw("From: c@example.org\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\nbody\r\n"),
        raw("From: a@example.org\r\nBcc: d@example.org\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\nbody\r\n"),
        raw("From: a@example.org\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\nbody\nbare\r\n"),
        raw(&format!("From: a@example.org\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n\r\n{far}\r\n")),
        json!({"from": "a@example.org", "to": "b@example.net", "raw": "***", "subject": "s", "text": "t"}),
        json!({"from": "a@example.org", "to": "b@example.net", "raw": 7, "tags": 7}),
    ];
    let mut both = with("expires_at", json!("2020-01-01T00:00:00Z"));
    both["ttl_seconds"] = json!(5);
    requests.push(both);
    let mut one_too_many = with("to", json!(many(999)));
    one_too_many["cc"] = json!(["x@example.net", "y@example.net"]);
    requests.push(one_too_many);
    requests
}

fn bad_addresses() -> Vec<Value> {
    let mut requests = Vec::new();
    let addresses = [
        "",
        "plain",
        "@b.example",
        "a..b@c.example",
        ".a@c.example",
        "a b@c.example",
        "a@b@c.example",
        "\"a\"b\"@c.example",
        "a@b",
        "a@b_c.com",
        "a@-b.com",
        "a@b..com",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@b.c>\r\nRCPT TO:<x@y.z",
        "\"@b.example",
        "a@b.c, d@e.f>",
        "c@x.test, Bob <d@x.test>",
        "c@x.test; Bob <d@x.test>",
        "Ann <c@x.test>, Bob <d@x.test>",
        "a@x.test, b@x.test",
        "a@x.test;b@x.test",
        "c@x.test <d@x.test>",
        "Lee, Ann <a@x.test>",
        "Team: Ann <a@x.test>",
        "\"Ann <a@x.test>",
        "\"a\"b\" <a@x.test>",
        "a@b.c.",
        "a@b.c ,",
        "<a@b.c",
        "a@ä_b.example",
        "a@b.c\u{85}",
        "a@b.1",
    ];
    let long = [
        format!("{}@b.example", "a".repeat(65)),
        format!("{} <a@b.example>", "n".repeat(321)),
        format!("a@{}.example", "b".repeat(64)),
    ];
    for text in addresses.into_iter().map(str::to_owned).chain(long) {
        requests.push(with("to", json!([text])));
        requests.push(with("from", json!(text)));
        requests.push(with("reply_to", json!([{"email": text, "name": "x"}])));
    }
    requests
}

fn file(more: &Value) -> Value {
    let mut file = json!({"filename": "f.txt", "content": "eA=="});
    for (name, value) in more.as_object().unwrap() {
        file[name] = value.clone();
    }
    json!([file])
}

fn bad_files() -> Vec<(&'static str, Value)> {
    let far = "x".repeat(999);
    let mut fields = vec![
        ("subject", json!(far)),
        ("subject", json!("a\u{9f}")),
        ("text", json!(["x"])),
        (
            "alternatives",
            json!([{"content_type": "text/plain", "content": "x"}, {"content_type": "image/png", "content": "x"}, {}, 5]),
        ),
        ("alternatives", json!([{"content_type": "text/calendar; charset=latin1", "content": "x", "more": 1}])),
        ("alternatives", json!("x")),
        ("alternatives", json!(vec![json!({}); 11])),
        ("attachments", json!(vec![json!({}); 101])),
        ("attachments", json!({})),
        ("attachments", file(&json!({"filename": ""}))),
        ("attachments", file(&json!({"filename": "x".repeat(256)}))),
        ("attachments", file(&json!({"filename": "a\nb"}))),
        ("attachments", file(&json!({"content": "aGVsb"}))),
        ("attachments", file(&json!({"content": "aGVsbG8=aGVs"}))),
        ("attachments", file(&json!({"content": "data:text/plain,hello"}))),
        ("attachments", file(&json!({"content": "é"}))),
        ("attachments", file(&json!({"content": 5, "content_type": 5, "content_id": 5, "disposition": 5}))),
        ("attachments", file(&json!({"content_id": "a b"}))),
        ("attachments", file(&json!({"content_id": "x".repeat(129)}))),
        ("attachments", file(&json!({"disposition": "hidden", "name": "x"}))),
        ("attachments", file(&json!({"content_type": "message/rfc822", "content": "AAA="}))),
        ("attachments", file(&json!({"upload_id": "upl_0192aaaa000070008000000000000001"}))),
        ("attachments", json!([{"upload_id": "upl_x"}, {"upload_id": 7}])),
    ];
    for text in [
        "text",
        "text/",
        "text/plain;",
        "text/plain; charset",
        "text/plain; a=\"b",
        "text/plain; a=b c",
        "multipart/mixed",
        "message/partial",
        "téxt/plain",
    ] {
        fields.push(("attachments", file(&json!({"content_type": text}))));
    }
    fields
}

fn bad_values() -> Vec<(&'static str, Value)> {
    let far = "x".repeat(999);
    vec![
        ("domain_pool", json!(7)),
        ("domain_pool", json!("a b")),
        ("domain_pool", json!({"name": "codes"})),
        ("unsubscribe", json!("news")),
        ("unsubscribe", json!({})),
        ("unsubscribe", json!({"stream": 7})),
        ("unsubscribe", json!({"stream": "a b", "list": 1})),
        ("tracking", json!([])),
        ("tracking", json!({"opens": "yes", "open": true})),
        (
            "headers",
            json!({"X-A": "1", "x-a": "2", "Content-Type": "x", "ARC-Seal": "x", "X-Mailwright-A": "x", "Reply-To": "x"}),
        ),
        ("headers", json!({"X-A": far, "X:B": "x", "": "x", "x".repeat(77): "x", "X-É": "x"})),
        ("headers", json!((0..51).map(|n| (format!("X-{n}"), json!("v"))).collect::<Map<_, _>>())),
        ("headers", json!([])),
        ("message_id", json!("a..b@c")),
        ("message_id", json!("<a@b")),
        ("message_id", json!(7)),
        ("return_path", json!("x@elsewhere.example")),
        ("return_path", json!("x@notexample.org")),
        ("return_path", json!("nobody")),
        ("return_path", json!(7)),
        ("otp", json!({"code": "1 2", "origin": "http://example.com", "more": 1})),
        ("otp", json!({"code": "", "origin": "https://example.com/"})),
        ("otp", json!({"code": "1", "origin": "https://example.com:0"})),
        ("otp", json!({})),
        ("otp", json!("x")),
        ("auto_replies", json!("never")),
        ("tags", json!(["a\nb", 5, "x".repeat(65)])),
        ("tags", json!(vec!["t"; 11])),
        ("metadata", json!({"k": "x".repeat(10_240)})),
        ("metadata", json!([])),
        ("tls", json!("yes")),
        ("ip_pool", json!(5)),
        ("expires_at", json!("2026-11-22 10:00")),
        ("expires_at", json!("2026-13-22T10:00:00Z")),
        ("expires_at", json!("2099-11-22T10:00:00Z")),
        ("ttl_seconds", json!(0)),
        ("ttl_seconds", json!(1.5)),
        ("ttl_seconds", json!(90 * 86_400 + 5)),
        ("send_at", json!("2020-11-22T10:00:00Z")),
        ("send_at", json!("2099-11-22T10:00:00+01:00")),
        ("send_at", json!("tomorrow")),
        ("idempotency_key", json!("a b")),
        ("replyTo", json!("x")),
        ("text_body", json!("x")),
        ("templat", json!("x")),
    ]
}

/// How the faults of a request differ here and over HTTP, if they do.
async fn differ(app: &App, conn: &mut PgConnection, request: &Value) -> Option<String> {
    let answer = app.post("/v1/send", request).await;
    let wanted: BTreeSet<_> = answer.faults().into_iter().collect();
    assert!([202, 422].contains(&answer.status), "{request}: {}", answer.text());
    let found = match enqueue(conn, request, "").await {
        Ok(_) => BTreeSet::new(),
        Err(why) if why.state == "22023" => why.faults,
        Err(why) => panic!("{request}: {why:?}"),
    };
    let shown: String = request.to_string().chars().take(300).collect();
    (found != wanted).then(|| format!("{shown}\n    API {wanted:?}\n    SQL {found:?}"))
}

#[tokio::test]
async fn what_the_api_refuses_is_refused_at_the_same_places_for_the_same_reasons() {
    let app = Setup::new().paused().start().await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    make_templates(&app).await;
    let (mut different, mut refused) = (Vec::new(), 0);
    for request in bad_requests() {
        different.extend(differ(&app, &mut conn, &request).await);
        refused += usize::from(enqueue(&mut conn, &request, "").await.is_err());
    }
    // The limits are those of the installation.
    drop(conn);
    role.drop().await;
    app.stop().await;
    let small = [("recipients", 2), ("tags", 1), ("headers", 1), ("attachments", 1), ("metadata", 9)];
    let setup =
        small.iter().fold(Setup::new().paused(), |setup, (name, most)| setup.set(&format!("limits.{name}"), most));
    let app = setup.set("limits.message", 3000).start().await;
    app.database.until_count("SELECT count(*) FROM outbox_limits", 6).await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    let file = json!({"filename": "a", "content": "aGVsbG8"});
    for (name, value) in [
        ("to", json!(["a@x.test", "b@x.test", "c@x.test"])),
        ("tags", json!(["a", "b"])),
        ("headers", json!({"X-A": "1", "X-B": "2"})),
        ("attachments", json!([file, file])),
        ("metadata", json!({"key": "0123456"})),
        ("text", json!("x".repeat(3001))),
        ("tags", json!(["a"])),
    ] {
        different.extend(differ(&app, &mut conn, &with(name, value)).await);
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
    assert!(refused > 150, "{refused}");
    let each = with("per_recipient", json!([{}]));
    assert!(enqueue(&mut conn, &each, "").await.unwrap_err().faults.iter().any(|(at, _)| at == "/per_recipient"));
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn what_the_api_takes_is_taken_and_says_the_same_of_itself() {
    let app = Setup::new().paused().start().await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    let in_an_hour = mailwright::domain::clock::rfc3339(
        mailwright::domain::clock::Clock::now(&*app.clock) + time::Duration::hours(1),
    );
    for (name, value) in [
        ("to", json!(["B, \"x\" <b@example.net>", "x@bücher.example"])),
        (
            "to",
            json!(["\"a b\"@example.org", "o'hara@example.org", "Dr. Ann (home) O'Hara <a@x.test>", "a@my--shop.test"]),
        ),
        ("to", json!(["\"Lee, \\\"Ann\\\"\" <l@x.test>", "L@X.test", {"email": " m@x.test ", "name": null}])),
        ("from", json!({"email": "First.Last+tag@Example.ORG", "name": "Kock, Arne"})),
        ("headers", json!({"X-A": "1", "List-Unsubscribe": null})),
        (
            "attachments",
            json!([{"filename": "ü.pdf", "content": "aGVs\r\n bG8", "content_type": "text/csv;header=present ; a=\"b; c\""}]),
        ),
        (
            "attachments",
            json!([{"filename": "a", "content": "data:image/png;base64,iVBORw0KGgo=", "content_id": "<logo@x>"}]),
        ),
        ("attachments", json!([{"filename": "a", "content": "-_-_"}, {"filename": "b", "content": ""}])),
        ("alternatives", json!([{"content_type": "text/calendar; method=REQUEST", "content": "BEGIN:VCALENDAR"}])),
        ("otp", json!({"code": "123456", "origin": "https://example.com"})),
        ("otp", json!({"code": "1", "origin": "http://localhost:3000"})),
        ("message_id", json!("<order-17@example.org>")),
        ("return_path", json!("bounce@mail.example.org")),
        ("priority", json!("high")),
        ("tls", json!("requiretls")),
        ("metadata", json!({"k": "v", "n": null})),
        ("ttl_seconds", json!(600)),
        ("auto_replies", json!("suppress")),
        ("html", json!("<p>x")),
        ("cc", json!(null)),
    ] {
        let mut message = with(name, value);
        message["send_at"] = json!(in_an_hour);
        if message["to"].is_array() && message["to"].to_string().contains("B, ") {
            message["to"][0] = json!("\"B, x\" <b@example.net>");
        }
        let by_http = app.send(&message).await;
        let by_sql = enqueue(&mut conn, &message, "").await.unwrap_or_else(|why| panic!("{message}: {why:?}"));
        let told = async |id: &str| {
            let mut told = app.message(id).await;
            for recipient in told["recipients"].as_array_mut().unwrap() {
                recipient["id"] = Value::Null;
                // The program writes a domain beyond ASCII when the time comes.
                if recipient["email"] == "x@bücher.example" {
                    recipient["email"] = json!("x@xn--bcher-kva.example");
                }
            }
            // What is made in SQL has no credential.
            for name in ["id", "created_at", "updated_at", "size", "message_id", "credential"] {
                told[name] = Value::Null;
            }
            told
        };
        let (mut http, mut sql) = (told(&by_http).await, told(&by_sql).await);
        // `ttl_seconds` counts from the instant of each.
        for told in [&mut http, &mut sql] {
            if !told["expires_at"].is_null() {
                told["expires_at"] = json!(told["expires_at"].as_str().unwrap()[..15]);
            }
        }
        assert_eq!(http, sql, "{message}");
    }
    // All of it is made and sent by the program.
    app.clock.advance(Duration::from_hours(1));
    app.database.until_count("SELECT count(*) FROM messages", 40).await;
    assert_eq!(app.database.count("SELECT count(*) FROM scheduled_messages").await, 0);
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn the_function_knows_every_field_of_a_send_request() {
    let database = Database::new().await;
    let known: Vec<String> =
        sqlx::query_scalar("SELECT unnest(mailwright.fields(false))").fetch_all(&database.pool).await.unwrap();
    let contract: Value = serde_saphyr::from_str(include_str!("../../openapi.yaml")).unwrap();
    let properties = contract["components"]["schemas"]["SendRequest"]["properties"].as_object().unwrap();
    let unknown: Vec<_> =
        properties.keys().filter(|name| *name != "idempotency_key" && !known.contains(name)).collect();
    assert!(unknown.is_empty(), "mailwright.fields lacks {unknown:?}: what is new is told to mailwright.enqueue too");
}

#[tokio::test]
async fn mail_of_a_test_role_ends_in_the_sandbox_and_mail_for_later_is_cancelled_by_the_api() {
    let app = App::start().await;
    let role = Role::granted(&app.database, "live,test").await;
    let mut conn = role.connect().await;
    let id = enqueue(&mut conn, &message_to("a@example.net"), ", NULL, 'test'").await.unwrap();
    app.settled(&id).await;
    assert_eq!(app.get("/v1/sandbox/messages").await.json()["data"][0]["message_id"], json!(id));
    let (message, in_two_days) = (message_to("a@example.net"), ", NULL, 'live', NULL, now() + interval '2 days'");
    let later = enqueue(&mut conn, &message, in_two_days).await.unwrap();
    let ids: Vec<_> = [app.message(&later).await["recipients"][0]["id"].clone()].into();
    let cancelled = app.post(&format!("/v1/messages/{later}/cancel"), &json!({})).await.json();
    assert_eq!(cancelled["recipients"][0]["result"], "cancelled");
    let told = app.message(&later).await;
    assert_eq!((&told["status"], &told["recipients"][0]["id"]), (&json!("cancelled"), &ids[0]));
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn what_only_the_program_can_judge_is_refused_when_it_is_read_and_says_why() {
    let app = Setup::new().paused().start().await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    let receiver = Receiver::start().await;
    let endpoint = json!({"url": receiver.url(), "events": ["message.bounced"]});
    assert_eq!(app.post("/v1/webhooks", &endpoint).await.status, 201);
    let pool = enqueue(&mut conn, &with("ip_pool", json!("no-such")), "").await.unwrap();
    let idn = enqueue(&mut conn, &message_to("a@xn--a.example"), "").await.unwrap();
    for (id, word) in [(pool, "no pool"), (idn, "malformed domain")] {
        within("the refusal", async {
            while app.message(&id).await["status"] != "failed" {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let told = app.message(&id).await;
        let (recipient, recipients) = (&told["recipients"][0], told["recipients"].as_array().unwrap().len());
        assert_eq!(
            (&recipient["status"], &recipient["last_reply"]["class"]),
            (&json!("bounced"), &json!("not_sendable"))
        );
        assert!(recipient["last_reply"]["text"].as_str().unwrap().contains(word), "{told}");
        let events = app.events(&id).await;
        assert_eq!(events.len(), recipients, "{events:?}");
        let [event, ..] = &*events else { unreachable!() };
        assert_eq!((&event["type"], &event["sequence"]), (&json!("message.bounced"), &json!(1)));
        assert!(event.to_string().contains(word), "{event}");
        let raw = app.get(&format!("/v1/messages/{id}/raw")).await.json();
        assert_eq!(raw["type"], "/problems/body-not-kept");
    }
    let webhooks = Setup::new().on(&app.database).roles(&[mailwright::app::Role::Webhooks]).start().await;
    let hooks = receiver.until(2).await;
    assert!(hooks.iter().all(|hook| hook.kind() == "message.bounced"));
    webhooks.stop().await;
    assert_eq!(app.database.count("SELECT count(*) FROM scheduled_messages").await, 0);
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn mail_of_a_suspended_project_waits_until_it_may_be_sent() {
    let sink = Sink::start().await;
    let accepting = Setup::new().paused().route_to(sink.address).start().await;
    let operator = create_operator_key(&accepting.database.url).await;
    let role = Role::granted(&accepting.database, "live").await;
    let mut conn = role.connect().await;
    let shop = accepting.get_as(&operator, "/v1/projects").await.json()["data"].as_array().unwrap().clone();
    let shop = shop.iter().find(|project| project["name"] == "shop").unwrap()["id"].as_str().unwrap().to_owned();
    let suspend = async |body: Value| {
        let path = format!("/v1/projects/{shop}");
        let answer = accepting.call_as(&operator, "PATCH", &path, &[], body.to_string().into_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    suspend(json!({"suspended": true, "reason": "test", "mail": "keep"})).await;
    let id = enqueue(&mut conn, &message_to("a@example.net"), "").await.unwrap();
    accepting.database.until_count("SELECT count(*) FROM deliveries", 1).await;
    let app = Setup::new().on(&accepting.database).route_to(sink.address).start().await;
    app.until_delivering().await;
    let neighbour = create_key(&app.database.url, "neighbour", "live", "").await;
    let other = message_to("other@example.net").to_string().into_bytes();
    assert_eq!(app.call_as(&neighbour, "POST", "/v1/send", &[], other).await.status, 202);
    sink.until_taken(1).await;
    assert_eq!(status_of(&app.message(&id).await, "a@example.net"), "queued");
    suspend(json!({"suspended": false})).await;
    app.settled(&id).await;
    drop(conn);
    role.drop().await;
    app.stop().await;
    accepting.stop().await;
}

#[tokio::test]
async fn what_a_transaction_sends_counts_and_waits_for_its_projects_quotas() {
    let app = Setup::new().set("delivery.route", "sandbox").start().await;
    let operator = create_operator_key(&app.database.url).await;
    let role = Role::granted(&app.database, "live").await;
    role.grant("neighbour", &[]).await;
    let mut conn = role.connect().await;
    let shop = app.get_as(&operator, "/v1/projects").await.json()["data"].as_array().unwrap().clone();
    let shop = shop.iter().find(|project| project["name"] == "shop").unwrap()["id"].as_str().unwrap().to_owned();
    let limit = async |recipients: u64| {
        let body = json!({"limits": {"recipients_per_day": recipients}}).to_string().into_bytes();
        let answer = app.call_as(&operator, "PATCH", &format!("/v1/projects/{shop}"), &[], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    limit(3).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let message = message_to(&format!("r{n}@example.net"));
        ids.push(enqueue(&mut conn, &message, ", project => 'shop'").await.unwrap());
    }
    let waiting = "SELECT count(*) FROM scheduled_messages";
    app.database.until_count(waiting, 2).await;
    // Nobody else waits with them.
    let other = message_to("other@example.net");
    enqueue(&mut conn, &other, ", project => 'neighbour'").await.unwrap();
    app.database.until_count("SELECT count(*) FROM recipients WHERE status = 'delivered'", 4).await;
    assert_eq!(app.database.count(waiting).await, 2);
    let used = app.get("/v1/limits").await.json()["usage"][0]["used"].clone();
    assert_eq!(used, 3);
    // What waits counts when it is sent, and can be cancelled until then.
    let mut states = Vec::new();
    for id in &ids {
        states.push(app.message(id).await["status"].as_str().unwrap().to_owned());
    }
    let scheduled = states.iter().position(|state| state == "scheduled").unwrap();
    let cancelled = app.post(&format!("/v1/messages/{}/cancel", ids[scheduled]), &json!({})).await.json();
    assert_eq!(cancelled["recipients"][0]["result"], "cancelled");
    limit(4).await;
    app.database.until_count(waiting, 0).await;
    app.database.until_count("SELECT count(*) FROM recipients WHERE status = 'delivered'", 5).await;
    drop(conn);
    role.drop().await;
    app.stop().await;
}

#[tokio::test]
async fn a_template_is_the_version_of_the_call_and_what_it_lacks_is_told() {
    let app = Setup::new().set("delivery.route", "sandbox").start().await;
    make_templates(&app).await;
    let role = Role::granted(&app.database, "live").await;
    let mut conn = role.connect().await;
    let named = with_template(json!({"alias": "welcome", "variables": {"name": "Ada"}}));
    let now = enqueue(&mut conn, &named, "").await.unwrap();
    let later = enqueue(&mut conn, &named, ", send_at => now() + interval '1 hour'").await.unwrap();
    let lacking = enqueue(&mut conn, &with_template(json!({"alias": "welcome"})), "").await.unwrap();
    app.settled(&now).await;
    assert_eq!(app.post("/v1/templates/welcome/publish", &json!({})).await.status, 200);
    app.clock.advance(Duration::from_mins(61));
    for id in [&now, &later] {
        let sent = app.settled(id).await;
        assert_eq!((&sent["status"], &sent["template"]), (&json!("delivered"), &json!("welcome")), "{sent}");
        let raw = app.get(&format!("/v1/messages/{id}/raw")).await.text();
        assert!(raw.contains("Subject: Welcome\r\n") && raw.contains("Hello Ada."), "{raw}");
    }
    let failed = app.settled(&lacking).await;
    let reply = &failed["recipients"][0]["last_reply"];
    assert_eq!(reply["class"], "not_sendable");
    assert!(reply["text"].as_str().unwrap().contains("/template/variables/name"), "{reply}");
    drop(conn);
    role.drop().await;
    app.stop().await;
}

async fn paused(database: &Database) -> Server {
    let arguments = ["serve", "--paused", "--set", "http.listen=127.0.0.1:0"];
    Server::from_command(command(&database.url, &arguments)).await
}

#[tokio::test]
async fn a_process_that_is_killed_in_between_sends_everything_once() {
    let database = Arc::new(Database::new().await);
    let role = Role::granted(&database, "live").await;
    let mut conn = role.connect().await;
    execute(&mut conn, "BEGIN").await.unwrap();
    for n in 0..300 {
        enqueue(&mut conn, &message_to(&format!("r{n}@example.net")), "").await.unwrap();
    }
    let first = paused(&database).await;
    execute(&mut conn, "COMMIT").await.unwrap();
    within("something to be released", async {
        while database.count("SELECT count(*) FROM messages").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.kill().await;
    let second = paused(&database).await;
    database.until_count("SELECT count(*) FROM recipients", 300).await;
    assert_eq!(database.count("SELECT count(DISTINCT address) FROM recipients").await, 300);
    assert_eq!(database.count("SELECT count(*) FROM scheduled_messages").await, 0);
    second.kill().await;
    drop(conn);
    role.drop().await;
}
