//! What the hot statements cost, by Postgres's own account: never more with a long backlog than with a short one.
//! The statements are those of `.sqlx`, under the settings and the generic plans of the service.

use std::fmt::Write;

use mailwright::domain::shard::{SHARDS, Shard};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

use crate::support::backlog::Backlog;
use crate::support::database::Database;

/// As `BY_INDEX` in `src/store/mod.rs`.
const LINK: &str = "SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; SET enable_sort = off; \
                    SET plan_cache_mode = force_generic_plan; SET cpu_index_tuple_cost = 1; SET random_page_cost = 1";
/// Half of the backlog: ready in twenty groups, waiting, due, leased, and with leases that ran out.
const MIXED: Shard = Shard::of_low_bits(9);
/// A quarter: all of it waits for next week.
const LATER: Shard = Shard::of_low_bits(10);
/// A quarter: all of it is leased.
const HELD: Shard = Shard::of_low_bits(11);
/// Rows that a statement over a batch is given.
const BATCH: usize = 25;
/// More than this many rows pass through no part of a plan.
const ROWS_MAX: f64 = 300.0;
/// Pages that a statement touches at most.
const PAGES_MAX: i64 = 2_500;
/// Pages that a long backlog may cost beside a factor of two: two levels more of an index, for each of 64 probes.
const DEEPER: i64 = 128;

/// A statement, found in `.sqlx` by a part of its text, and its arguments.
struct Statement {
    name: &'static str,
    part: &'static str,
    arguments: String,
}

/// Keys of rows to run over.
struct Keys {
    ids: Vec<Uuid>,
    messages: Vec<Uuid>,
    tokens: Vec<Uuid>,
}

impl Keys {
    async fn of(database: &Database, which: &str) -> Self {
        let sql = format!(
            "SELECT id, message_id, COALESCE(lease_token, id) FROM deliveries \
             WHERE shard = {} AND {which} ORDER BY id LIMIT {BATCH}",
            MIXED.value()
        );
        let rows: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&database.pool).await.unwrap();
        assert!(rows.is_empty() || rows.len() == BATCH, "{which}: {}", rows.len());
        let column = |of: fn(&(Uuid, Uuid, Uuid)) -> Uuid| rows.iter().map(of).collect();
        Self { ids: column(|r| r.0), messages: column(|r| r.1), tokens: column(|r| r.2) }
    }
}

fn array(ids: &[Uuid]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| format!("'{id}'")).collect();
    format!("ARRAY[{}]::uuid[]", ids.join(","))
}

/// One value for each row of a batch.
fn repeat(value: &str, kind: &str) -> String {
    format!("array_fill({value}, ARRAY[{BATCH}])::{kind}[]")
}

/// The one statement in `.sqlx` that has this part: its text, and the number of its arguments.
fn statement_of(part: &str) -> (String, usize) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let all = std::fs::read_dir(directory).unwrap().map(|entry| {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let json = serde_json::from_str::<Value>(&text).unwrap();
        let arguments = json["describe"]["parameters"]["Left"].as_array().unwrap().len();
        (json["query"].as_str().unwrap().to_owned(), arguments)
    });
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let found: Vec<_> = all.filter(|(text, _)| one_line(text).contains(part)).collect();
    assert_eq!(found.len(), 1, "{part}: {found:?}");
    found.into_iter().next().unwrap()
}

/// Adds `rows` deliveries.
async fn grow(database: &Database, rows: usize) {
    const STEP: usize = 20_000;
    let lane = "'lane' || lpad((n % 20)::text, 2, '0')";
    for (shard, rows) in [(MIXED, rows / 2), (LATER, rows / 4), (HELD, rows / 4)] {
        for from in (0..rows).step_by(STEP) {
            let rows = STEP.min(rows - from);
            Backlog { project: "shop", rows, shard: Some(shard), lane }.write(database).await;
        }
    }
}

/// A database whose statistics are the test's to make, and in which the backlog gets its kinds as it is written: a row that
/// is changed leaves a dead one behind, which stays for as long as any test's transaction lasts.
async fn database() -> Database {
    let database = Database::new().await;
    let (mixed, later, held) = (MIXED.value(), LATER.value(), HELD.value());
    database
        .execute(&format!(
            "CREATE FUNCTION kind() RETURNS trigger LANGUAGE plpgsql AS $$ \
             DECLARE \
                 -- By a hash of the id, so that each kind lies scattered over the table. \n\
                 part int := CASE NEW.shard WHEN {later} THEN 4 WHEN {held} THEN 6 \
                     WHEN {mixed} THEN abs(hashtext(NEW.id::text)::bigint) % 8 ELSE 0 END; \
             BEGIN \
                 IF part = 4 THEN NEW.ready := false; NEW.due_at := now() + interval '7 days' + random() * interval '1 day'; \
                 ELSIF part = 5 THEN NEW.ready := false; NEW.due_at := now() - random() * interval '1 hour'; \
                 ELSIF part >= 6 THEN \
                     NEW.lease_owner := gen_random_uuid(); NEW.lease_token := gen_random_uuid(); NEW.attempt := 1; \
                     NEW.lease_until := CASE part WHEN 6 THEN now() + (1 + random()) * interval '1 hour' \
                         ELSE now() - random() * interval '1 hour' END; \
                 END IF; \
                 RETURN NEW; \
             END $$; \
             CREATE TRIGGER kind BEFORE INSERT ON deliveries FOR EACH ROW WHEN (NEW.next_hop LIKE 'lane%') EXECUTE FUNCTION kind()"
        ))
        .await;
    database
        .execute(
            "DROP TRIGGER announce ON deliveries; \
             DO $$ DECLARE t text; BEGIN \
                 FOR t IN SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP \
                     EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', t); \
                 END LOOP; \
             END $$",
        )
        .await;
    database
}

const fn statement(name: &'static str, part: &'static str, arguments: String) -> Statement {
    Statement { name, part, arguments }
}

/// Every hot statement; those that run over one shard for each kind of shard.
async fn statements(database: &Database) -> Vec<Statement> {
    let project: Uuid =
        sqlx::query_scalar("SELECT id FROM projects WHERE name = 'shop'").fetch_one(&database.pool).await.unwrap();
    let mut all = over_all_shards("timestamptz 'epoch'");
    for shard in [MIXED, LATER, HELD] {
        all.extend(over_one_shard(shard.value(), project));
    }
    let leased = Keys::of(database, "lease_until > now()").await;
    let ready = Keys::of(database, "lease_token IS NULL AND ready").await;
    all.extend(over_leases(&leased));
    all.extend(accepting(&ready, project));
    all
}

/// Probes that begin at `floor`.
fn over_all_shards(floor: &str) -> Vec<Statement> {
    let floors = format!("array_fill({floor}, ARRAY[64])");
    let shards = format!("ARRAY[{}]", SHARDS.map(|value| value.to_string()).join(","));
    let expired = "FROM deliveries d WHERE d.shard = s.shard AND d.lease_token IS NOT NULL";
    vec![
        statement("shards_where_due", "d.ready = false AND d.due_at >= s.floor", format!("{shards}, {floors}, now()")),
        statement("shards_where_ready", ") AS ready", format!("{shards}, {floors}, true")),
        statement("shards_where_expired", expired, format!("{shards}, {floors}, now()")),
        statement("shards_where_expiring", ") AS over", format!("{shards}, {floors}, now()")),
    ]
}

fn over_one_shard(shard: i32, project: Uuid) -> Vec<Statement> {
    let (nil, max) = (Uuid::nil(), Uuid::max());
    vec![
        statement("ripen", "UPDATE deliveries d SET ready = true", format!("{shard}, {BATCH}, now(), 'epoch'")),
        statement(
            "ready_groups",
            "WITH RECURSIVE projects",
            format!(
                "array_fill({shard}, ARRAY[3]), ARRAY[0, 1, 2]::smallint[], array_fill('{nil}'::uuid, ARRAY[3]), \
                 ARRAY['{{}}', '{{}}', '{{}}']::jsonb[], array_fill(timestamptz 'epoch', ARRAY[3]), \
                 ARRAY['{nil}']::uuid[], 16, 16"
            ),
        ),
        statement(
            "claim_deliveries",
            "attempt = d.attempt + 1, held = NULL FROM due",
            format!(
                "'{max}', '{max}', 30, ARRAY[{shard}, {shard}], ARRAY[1, 1]::smallint[], ARRAY['{project}', '{project}']::uuid[], \
                 ARRAY['lane03', 'lane17'], ARRAY[10, {BATCH} - 10]::bigint[], now(), \
                 array_fill(timestamptz 'epoch', ARRAY[2])"
            ),
        ),
        statement(
            "release_expired",
            "FROM deliveries w WHERE w.shard = $1 AND w.lease_token IS NOT NULL",
            format!("{shard}, {BATCH}, 0, now(), '{{}}', 'epoch', '{nil}', '{{}}', 'epoch'"),
        ),
    ]
}

fn over_leases(leased: &Keys) -> Vec<Statement> {
    let (ids, messages, tokens) = (array(&leased.ids), array(&leased.messages), array(&leased.tokens));
    let (nil, max) = (Uuid::nil(), Uuid::max());
    let shards = repeat(&MIXED.value().to_string(), "int");
    let settle = |name, status: &str, due_at: &str, settled_at: &str| {
        let (due_at, settled_at) = (repeat(due_at, "timestamptz"), repeat(settled_at, "timestamptz"));
        let (one, now, code) = (repeat("1", "int"), repeat("now()", "timestamptz"), repeat("50", "smallint"));
        let bools = repeat("false", "boolean");
        let (text, data) = (repeat("'x'::text", "text"), repeat("'{}'::jsonb", "jsonb"));
        let (status, outcome) = (repeat(&format!("'{status}'::text"), "text"), repeat("'accepted'::text", "text"));
        let arguments = format!(
            "{shards}, {ids}, {tokens}, {one}, {messages}, {due_at}, {status}, {settled_at}, {ids}, {text}, {data}, {ids}, \
             {outcome}, {text}, {now}, {now}, {one}, {text}, {text}, {text}, {text}, {text}, {text}, {code}, {text}, {text}, \
             {text}, {code}, {text}, {text}, '{nil}', '{max}', 1, now(), {bools}"
        );
        statement(name, "gone AS ( DELETE FROM deliveries", arguments)
    };
    vec![
        statement(
            "load",
            "m.sender AS \"sender?\"",
            format!("{shards}, {ids}, {tokens}, {messages}, '{nil}', '{max}'"),
        ),
        statement(
            "renew",
            "renewed AS (UPDATE deliveries d SET lease_until",
            format!("{shards}, {ids}, {tokens}, now(), 30"),
        ),
        settle("settle what was delivered", "delivered", "NULL::timestamptz", "now()"),
        settle("settle what was deferred", "deferred", "now()", "NULL::timestamptz"),
    ]
}

fn accepting(known: &Keys, project: Uuid) -> Vec<Statement> {
    // Of the same day, and nobody's.
    let new: Vec<_> = known.messages.iter().map(|id| Uuid::from_u128(id.as_u128() ^ 0xffff_ffff << 8)).collect();
    let (new, max) = (array(&new), Uuid::max());
    let shards = repeat(&MIXED.value().to_string(), "int");
    let (text, projects) = (repeat("'x'::text", "text"), repeat(&format!("'{project}'::uuid"), "uuid"));
    let (now, size, rank) = (repeat("now()", "timestamptz"), repeat("64", "int"), repeat("1", "smallint"));
    let (live, to, json) =
        (repeat("'live'::text", "text"), repeat("'to'::text", "text"), repeat("'[]'::jsonb", "jsonb"));
    let (leased, bytes) = (repeat("true", "bool"), repeat("sha256('')", "bytea"));
    let keys = new.replace("uuid", "text");
    let lists = repeat(&format!("'{{{max}}}'::text"), "text");
    let (tls, queued) = (repeat("'opportunistic'::text", "text"), repeat("'queued'::text", "text"));
    let (never, shard) = (repeat("NULL::timestamptz", "timestamptz"), MIXED.value());
    vec![
        statement(
            "accept",
            "messages_ AS ( INSERT INTO messages",
            format!(
                "{shard}, {new}, {projects}, {live}, {text}, {text}, {text}, {json}, {json}, {rank}, {size}, {now}, {now}, \
                 {tls}, {text}, {bytes}, {new}, {new}, {projects}, {live}, {rank}, {to}, {text}, {text}, {queued}, {never}, \
                 {text}, {rank}, {size}, {now}, {tls}, {text}, {leased}, {new}, {text}, {now}, {text}, now(), '{max}', \
                 '{max}', 30, 1, {text}, {text}, {new}, {text}, {never}, {text}, {text}, {json}, {text}, {text}, {text}"
            ),
        ),
        statement(
            "claim keys",
            "INSERT INTO idempotency_keys",
            format!("{shards}, {projects}, {keys}, {bytes}, {lists}, {now}, now()"),
        ),
    ]
}

/// A connection as the service has it, on which every statement is prepared.
struct Prepared(PgConnection);

impl Prepared {
    async fn on(database: &Database) -> Self {
        let mut conn = PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(LINK).execute(&mut conn).await.unwrap();
        for (n, statement) in statements(database).await.iter().enumerate() {
            let prepare = format!("PREPARE hot{n} AS {}", statement_of(statement.part).0);
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut conn).await.unwrap();
        }
        Self(conn)
    }

    /// Makes the plan of every statement over what is there now, without running any.
    async fn plan(&mut self, database: &Database) {
        for (n, statement) in statements(database).await.iter().enumerate() {
            let nothing = vec!["NULL"; statement_of(statement.part).1].join(", ");
            let plan = format!("EXPLAIN EXECUTE hot{n} ({nothing})");
            sqlx::raw_sql(AssertSqlSafe(plan)).execute(&mut self.0).await.unwrap();
        }
    }

    /// Runs every statement and takes back what it did.
    async fn run(&mut self, database: &Database) -> Vec<Cost> {
        let mut costs = Vec::new();
        for (n, statement) in statements(database).await.into_iter().enumerate() {
            let execute = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot{n} ({})", statement.arguments);
            let mut plan = Value::Null;
            // The first time marks what it meets as committed or dead; the second shows what the statement costs.
            for _ in 0..2 {
                let mut tx = self.0.begin().await.unwrap();
                let row = sqlx::query_scalar::<_, Value>(AssertSqlSafe(execute.clone())).fetch_one(&mut *tx).await;
                plan = row.unwrap_or_else(|error| panic!("{}: {error}", statement.name))[0]["Plan"].take();
                tx.rollback().await.unwrap();
            }
            costs.push(Cost { name: statement.name, plan });
        }
        costs
    }
}

/// What a statement did.
struct Cost {
    name: &'static str,
    plan: Value,
}

impl Cost {
    /// Pages touched. What a `WITH` writes after the statement's own rows are out stands beside them.
    fn pages(&self) -> i64 {
        let of = |part: &Value| -> i64 {
            ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|name| part[name].as_i64().unwrap()).sum()
        };
        let parts = self.plan["Plans"].as_array().into_iter().flatten();
        of(&self.plan) + parts.filter(|part| part["Node Type"] == "ModifyTable").map(of).sum::<i64>()
    }

    /// What is wrong with it, beside what the same statement did over a short backlog.
    fn faults(&self, short: &Self) -> String {
        let mut faults = faults_of(&self.plan);
        let (pages, before) = (self.pages(), short.pages());
        if pages > PAGES_MAX || pages > before * 2 + DEEPER {
            writeln!(faults, "{pages} pages, {before} over the short backlog").unwrap();
        }
        faults
    }
}

/// What is wrong with a part of a plan and the parts below it.
fn faults_of(part: &Value) -> String {
    let kind = part["Node Type"].as_str().unwrap();
    let at = part["Index Name"].as_str().or(part["Relation Name"].as_str()).unwrap_or_default();
    let times = part["Actual Loops"].as_f64().unwrap();
    let mut faults = String::new();
    // Endpoints are configuration, and few.
    if kind == "Seq Scan" && at != "webhook_endpoints" && times > 0.0 {
        writeln!(faults, "Seq Scan on {at}").unwrap();
    }
    for what in
        ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"]
    {
        let rows = part[what].as_f64().unwrap_or(0.0) * times;
        if rows > ROWS_MAX {
            writeln!(faults, "{kind} {at}: {what} {rows}").unwrap();
        }
    }
    part["Plans"].as_array().into_iter().flatten().fold(faults, |faults, below| faults + &faults_of(below))
}

/// What is wrong with what the statements did over a long backlog, beside a short one.
fn assert_alike(short: &[Cost], long: &[Cost]) {
    let mut wrong = String::new();
    for (short, long) in short.iter().zip(long) {
        let faults = long.faults(short);
        if !faults.is_empty() {
            writeln!(wrong, "{}:\n{faults}", long.name).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Runs the statements over a short and a long backlog that the server has just counted.
async fn compare(short: usize, long: usize) {
    let database = database().await;
    let mut costs = Vec::new();
    for rows in [short, long - short] {
        grow(&database, rows).await;
        database.execute("VACUUM ANALYZE").await;
        costs.push(Prepared::on(&database).await.run(&database).await);
    }
    assert_alike(&costs[0], &costs[1]);
}

#[tokio::test]
async fn hot_statements_cost_the_same_over_a_long_backlog() {
    compare(1_000, 20_000).await;
}

#[tokio::test]
async fn hot_statements_cost_the_same_over_a_million_deliveries() {
    // Minutes: `scripts/nightly` asks for it.
    if std::env::var_os("MAILWRIGHT_NIGHTLY").is_some() {
        let rows = std::env::var("BACKLOG").map_or(1_000_000, |rows| rows.parse().unwrap());
        compare(1_000, rows).await;
    }
}

#[tokio::test]
async fn plans_made_over_a_short_backlog_serve_a_long_one() {
    let database = database().await;
    grow(&database, 1_000).await;
    let mut connection = Prepared::on(&database).await;
    let short = connection.run(&database).await;
    grow(&database, 19_000).await;
    assert_alike(&short, &connection.run(&database).await);
}

#[tokio::test]
async fn plans_made_over_empty_tables_serve_a_long_backlog() {
    let database = database().await;
    database.execute("INSERT INTO projects (id, name, created_at) VALUES (gen_random_uuid(), 'shop', now())").await;
    let mut early = Prepared::on(&database).await;
    early.plan(&database).await;
    grow(&database, 20_000).await;
    let long = early.run(&database).await;
    database.execute("VACUUM ANALYZE").await;
    assert_alike(&Prepared::on(&database).await.run(&database).await, &long);
}

#[tokio::test]
async fn hot_statements_need_no_statistics() {
    let database = database().await;
    let mut costs = Vec::new();
    for rows in [1_000, 19_000] {
        grow(&database, rows).await;
        database.execute("VACUUM deliveries").await;
        costs.push(Prepared::on(&database).await.run(&database).await);
    }
    assert_alike(&costs[0], &costs[1]);
}

/// What a reader of a log asks that has seen all but the last fifty transactions of `from..to`, two of which were under way when
/// it looked last.
async fn news(database: &Database, project: Uuid, (from, to): (usize, usize)) -> Vec<Cost> {
    let shards = format!("ARRAY[{}]", SHARDS.map(|value| value.to_string()).join(","));
    database
        .execute(&format!(
            "INSERT INTO events (shard, sequence, xid, era, id, project_id, message_id, recipient_id, mode, type, occurred_at, data) \
             SELECT (({shards})[1 + n % 64]), 1, n::text::xid8, 1, new_id(n), '{project}', new_id(n), new_id(n), 'live', 'message.queued', now(), '{{}}' \
             FROM generate_series({from}, {to}) AS n"
        ))
        .await;
    database.execute("VACUUM ANALYZE events").await;
    let (nil, max) = (Uuid::nil(), Uuid::max());
    let (seen, early, late, end) = (to - 49, to - 200, to - 100, to + 1);
    let arguments = [
        format!(
            "{shards}, '{project}', 1::smallint, ARRAY['{early}', '{late}'], 1::smallint, '{end}:{end}:', -1::smallint, '0', \
             '{nil}', 500, '{nil}', NULL, '{{}}', '{seen}', '{max}', 1::smallint, '{nil}', 1::smallint, '{end}'"
        ),
        format!(
            "ARRAY['{project}'::uuid], ARRAY[1]::smallint[], ARRAY['{end}'], ARRAY['{{{early},{late}}}'], {shards}"
        ),
    ];
    let mut conn = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql(LINK).execute(&mut conn).await.unwrap();
    let mut costs = Vec::new();
    for ((name, part), arguments) in
        [("a page", "page AS MATERIALIZED ( SELECT found.*"), ("find_news", "AS was_under_way")]
            .into_iter()
            .zip(arguments)
    {
        let prepare = format!("PREPARE read{} AS {}", costs.len(), statement_of(part).0);
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut conn).await.unwrap();
        let execute = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE read{} ({arguments})", costs.len());
        let mut plan = sqlx::query_scalar::<_, Value>(AssertSqlSafe(execute)).fetch_one(&mut conn).await.unwrap();
        costs.push(Cost { name, plan: plan[0]["Plan"].take() });
    }
    assert_eq!(costs[0].plan["Actual Rows"].as_f64(), Some(52.0), "fifty that are new, and two that were under way");
    costs
}

#[tokio::test]
async fn what_is_new_in_a_log_costs_the_same_behind_a_long_one() {
    let database = database().await;
    let project = Uuid::from_u128(1);
    // Ids of today, as the service makes them.
    database
        .execute(
            "CREATE FUNCTION new_id(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') \
             || '7000a000' || lpad(to_hex(n), 12, '0'))::uuid $$",
        )
        .await;
    let short = news(&database, project, (1, 600)).await;
    let long = news(&database, project, (601, 40_000)).await;
    for (short, long) in short.iter().zip(&long) {
        let (before, pages) = (short.pages(), long.pages());
        assert!(pages <= before + before / 4 + DEEPER, "{}: {pages} pages, {before} behind the short log", long.name);
    }
}

/// Pages that each probe over all shards touches when it begins at `floor`.
async fn probe(database: &Database, floor: &str) -> Vec<(&'static str, i64)> {
    let mut conn = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql(LINK).execute(&mut conn).await.unwrap();
    let mut pages = Vec::new();
    for statement in over_all_shards(floor) {
        let prepare = format!("PREPARE {} AS {}", statement.name, statement_of(statement.part).0);
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut conn).await.unwrap();
        let execute =
            format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {} ({})", statement.name, statement.arguments);
        let mut plan = sqlx::query_scalar::<_, Value>(AssertSqlSafe(execute)).fetch_one(&mut conn).await.unwrap();
        pages.push((statement.name, Cost { name: statement.name, plan: plan[0]["Plan"].take() }.pages()));
    }
    pages
}

#[tokio::test]
async fn under_a_held_snapshot_polls_and_rescues_do_not_pass_what_was_settled_since() {
    let is_nightly = std::env::var_os("MAILWRIGHT_NIGHTLY").is_some();
    let backlog = std::env::var("BACKLOG").map_or(1_000_000, |rows| rows.parse().unwrap());
    let settled = if is_nightly { backlog } else { 16_000 };
    let database = database().await;
    let mut dump = PgConnection::connect(&database.url).await.unwrap();
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM deliveries";
    sqlx::raw_sql(hold).execute(&mut dump).await.unwrap();
    // Later than whatever was settled.
    let floor = "clock_timestamp()";
    let before = probe(&database, floor).await;
    for lane in ["'hop'", "'lane'"] {
        for from in 0..64_u8 {
            let shard = Some(Shard::of_low_bits(from));
            Backlog { project: "shop", rows: settled / 64, shard, lane }.write(&database).await;
        }
        let past = "due_at = now() - interval '1 hour', expires_at = now() - interval '1 hour'";
        let leased = "lease_token = gen_random_uuid(), lease_owner = gen_random_uuid(), attempt = 1, \
                      lease_until = now() - interval '1 hour'";
        database
            .execute(&format!("UPDATE deliveries SET ready = false, {past}; UPDATE deliveries SET ready = true"))
            .await;
        database.execute(&format!("UPDATE deliveries SET {leased}; DELETE FROM deliveries")).await;
    }
    let after = probe(&database, floor).await;
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert!(*after <= before * 2 + 64, "{name}: {after} pages, {before} before");
    }
    // What a probe from the beginning costs meanwhile.
    let whole: i64 = probe(&database, "timestamptz 'epoch'").await.iter().map(|(_, pages)| pages).sum();
    assert!(whole > 10 * after.iter().map(|(_, pages)| pages).sum::<i64>(), "{whole}: nothing was held");
}
