//! Partitions by day of the wide tables: made days ahead, and dropped whole once everything in them is old
//! and settled. An id begins with its millisecond, so that a day's bounds are two ids.
//!
//! Days and ages go by the database's clock: one process with a wrong one must not drop what all keep. Names
//! cannot be parameters, so that the statements that change the schema are put together as text; all of them
//! may be repeated, take no lock that keeps writers out, and wait for none longer than [`LOCK_TIMEOUT`].

use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use time::macros::format_description;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::shard::Shard;
use crate::store::pooler::not_connected;
use crate::store::{Store, StoreError};

/// Days that are prepared, beside today.
pub const DAYS_AHEAD: i64 = 7;
/// Longest wait for a lock; then it is left to the next tick.
const LOCK_TIMEOUT: &str = "2s";
/// Longest time for all of one tick's changes: dropping files takes its time.
const DEADLINE: Duration = Duration::from_mins(1);
/// Held while partitions are made, and while they are dropped.
const MAKING: i64 = 0x6d77_0001;
const DROPPING: i64 = 0x6d77_0002;
/// The comment of a partition that is on its way out. Only a table that bears it is ever dropped, so that one
/// that somebody detached to keep it is left alone.
const MARK: &str = "mailwright: past its retention, to be dropped";

/// A table in partitions by day.
struct Wide {
    name: &'static str,
    /// Storage parameters: the table itself cannot have them, each partition must.
    with: &'static str,
    /// It is of no use without the bodies, and goes with them.
    is_body: bool,
}

const fn wide(name: &'static str) -> Wide {
    Wide { name, with: "", is_body: false }
}

/// All of them. Those that lead to others come first, so that nothing is found half.
const WIDE: [Wide; 8] = [
    Wide { is_body: true, ..wide("sandbox_messages") },
    Wide { is_body: true, with: "WITH (toast_tuple_target = 8160)", ..wide("message_bodies") },
    Wide { with: "WITH (toast_tuple_target = 128)", ..wide("message_blocks") },
    wide("messages"),
    Wide { with: "WITH (fillfactor = 80)", ..wide("recipients") },
    wide("attempts"),
    wide("events"),
    wide("webhook_deliveries"),
];

/// How long what is settled is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub messages: Duration,
    pub bodies: Duration,
}

/// What became of the partitions that are older than their retention.
#[derive(Debug, Default)]
pub struct Retired {
    pub dropped: Vec<String>,
    /// They hold something that is not settled.
    pub kept: Vec<String>,
    /// Their turn comes at the next tick.
    pub failed: Vec<StoreError>,
}

/// A partition and the ids that it holds. `None`: without an end on that side.
struct Partition {
    name: String,
    lower: Option<Uuid>,
    upper: Option<Uuid>,
    is_pending: bool,
}

impl Partition {
    fn holds(&self, day: Date) -> bool {
        let (first, end) = (first_id(day), first_id(next(day)));
        !self.is_pending && self.lower.is_none_or(|id| id <= first) && self.upper.is_none_or(|id| id >= end)
    }
}

impl Store {
    /// Makes what is missing of today's partitions and of the next [`DAYS_AHEAD`] days'. Two processes may do
    /// so at once.
    pub async fn ensure_partitions(&self) -> Result<(), StoreError> {
        self.unhurried("partitions.ensure", async {
            let mut conn = self.connect_unhurried().await?;
            if !missing(&mut conn).await?.is_empty() {
                sqlx::query!("SELECT pg_advisory_lock($1)", MAKING).fetch_one(&mut conn).await?;
                for (table, day) in missing(&mut conn).await? {
                    make(&mut conn, table, day).await?;
                }
            }
            Ok(conn.close().await?)
        })
        .await
    }

    /// Makes what is missing of one day's partitions: a message that was scheduled lies in the day for which it was, also
    /// when it is sent or cancelled on another.
    pub async fn ensure_day(&self, day: Date) -> Result<(), StoreError> {
        if self.days.is_known(day) {
            return Ok(());
        }
        let made = self.unhurried("partitions.ensure_day", async {
            let mut conn = self.connect_unhurried().await?;
            sqlx::query!("SELECT pg_advisory_lock($1)", MAKING).fetch_one(&mut conn).await?;
            for table in &WIDE {
                let present = partitions_of(&mut conn, table).await?;
                if !present.iter().any(|partition| partition.holds(day)) {
                    make(&mut conn, table, day).await?;
                }
            }
            Ok(conn.close().await?)
        });
        made.await?;
        self.days.learn(day);
        Ok(())
    }

    /// How many days after today are prepared in every table; -1 when not even today is.
    pub async fn partition_days_ahead(&self) -> Result<i64, StoreError> {
        self.unhurried("partitions.days_ahead", async {
            let mut conn = self.connect_unhurried().await?;
            let today = today(&mut conn).await?;
            let first = missing(&mut conn).await?.into_iter().map(|(_, day)| day).min();
            conn.close().await?;
            Ok(first.map_or(DAYS_AHEAD, |day| (day - today).whole_days() - 1))
        })
        .await
    }

    /// Drops the partitions that lie wholly before their retention and hold nothing unsettled, and finishes
    /// what an earlier call began. Does nothing while another process does it.
    pub async fn retire_partitions(&self, retention: Retention) -> Result<Retired, StoreError> {
        self.unhurried("partitions.retire", async {
            let mut conn = self.connect_unhurried().await?;
            let mut retired = Retired::default();
            let mine = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "mine!""#, DROPPING)
                .fetch_one(&mut conn)
                .await?;
            if mine {
                let now = now(&mut conn).await?;
                for table in &WIDE {
                    let age = if table.is_body { retention.bodies } else { retention.messages };
                    let end = first_id_at(now - age);
                    if let Err(error) = retire(&mut conn, table, end, &mut retired).await {
                        retired.failed.push(error);
                    }
                }
            }
            conn.close().await?;
            Ok(retired)
        })
        .await
    }

    /// A connection for changes of the schema: they wait for locks only briefly.
    async fn connect_unhurried(&self) -> Result<PgConnection, StoreError> {
        let millis = DEADLINE.as_millis().to_string();
        let options = [("statement_timeout", millis.as_str()), ("lock_timeout", LOCK_TIMEOUT)];
        self.direct.clone().options(options).connect().await.map_err(not_connected)
    }

    async fn unhurried<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        Self { timeout: DEADLINE, ..self.clone() }.within(name, work).await
    }
}

/// Days from today on that have no partition, with their tables.
async fn missing(conn: &mut PgConnection) -> Result<Vec<(&'static Wide, Date)>, StoreError> {
    let today = today(conn).await?;
    let mut missing = Vec::new();
    for table in &WIDE {
        let present = partitions_of(conn, table).await?;
        let days = (0..=DAYS_AHEAD).map(|ahead| today + time::Duration::days(ahead));
        let absent = days.filter(|day| !present.iter().any(|partition| partition.holds(*day)));
        missing.extend(absent.map(|day| (table, day)));
    }
    Ok(missing)
}

async fn make(conn: &mut PgConnection, table: &Wide, day: Date) -> Result<(), StoreError> {
    let suffix = day.format(format_description!("[year][month][day]")).unwrap_or_default();
    let (parent, with, from, to) = (table.name, table.with, first_id(day), first_id(next(day)));
    // In the schema of its table: a path that begins with "$user" may begin elsewhere.
    let schema = sqlx::query_scalar!(
        r#"SELECT c.relnamespace::regnamespace::text AS "schema!" FROM pg_class c WHERE c.oid = to_regclass($1)"#,
        parent,
    )
    .fetch_one(&mut *conn)
    .await?;
    let partition = format!("{schema}.{parent}_p{suffix}");
    // One message of several statements is one transaction. Attaching makes the indexes of the parent.
    let sql = format!(
        "CREATE TABLE {partition} \
             (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE) {with}; \
         ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ('{from}') TO ('{to}')"
    );
    change(conn, sql).await
}

async fn retire(conn: &mut PgConnection, table: &Wide, end: Uuid, retired: &mut Retired) -> Result<(), StoreError> {
    let parent = table.name;
    let (pending, whole): (Vec<_>, Vec<_>) =
        partitions_of(conn, table).await?.into_iter().partition(|partition| partition.is_pending);
    for partition in pending {
        change(conn, format!("ALTER TABLE {parent} DETACH PARTITION {} FINALIZE", quoted(&partition.name))).await?;
    }
    drop_marked(conn, table, retired).await?;
    for partition in whole {
        let Some(upper) = partition.upper.filter(|upper| *upper <= end) else { continue };
        if holds_unsettled(conn, partition.lower.unwrap_or_default(), upper).await? {
            retired.kept.push(partition.name);
            continue;
        }
        let name = quoted(&partition.name);
        change(conn, format!("COMMENT ON TABLE {name} IS '{MARK}'")).await?;
        // Readers and writers of the other days go on meanwhile; a plain DETACH would stop them all behind
        // the longest reader.
        change(conn, format!("ALTER TABLE {parent} DETACH PARTITION {name} CONCURRENTLY")).await?;
        drop_marked(conn, table, retired).await?;
    }
    Ok(())
}

/// Drops what was detached to be dropped.
async fn drop_marked(conn: &mut PgConnection, table: &Wide, retired: &mut Retired) -> Result<(), StoreError> {
    let names = sqlx::query_scalar!(
        r#"
        SELECT c.relname::text AS "name!" FROM pg_class c
        WHERE c.relnamespace = (SELECT t.relnamespace FROM pg_class t WHERE t.oid = to_regclass($3))
          AND c.relkind = 'r' AND NOT c.relispartition
          AND starts_with(c.relname::text, $1) AND obj_description(c.oid, 'pg_class') = $2
        "#,
        format!("{}_p", table.name),
        MARK,
        table.name,
    )
    .fetch_all(&mut *conn)
    .await?;
    for name in names {
        change(conn, format!("DROP TABLE {}", quoted(&name))).await?;
        retired.dropped.push(name);
    }
    Ok(())
}

/// Whether a delivery or a webhook job of a message with an id from `lower` to `upper` is still owed, or the webhook of
/// an event with such an id: an event may be days younger than its message. A delivery's id has the same millisecond as
/// its message's. Deliveries are asked first, and then whether an enabled endpoint lags so far behind that it was not told yet:
/// none can pass between the questions.
async fn holds_unsettled(conn: &mut PgConnection, lower: Uuid, upper: Uuid) -> Result<bool, StoreError> {
    for shard in Shard::all() {
        let found = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM deliveries WHERE shard = $1 AND id >= $2 AND id < $3) AS "found!""#,
            shard.value(),
            lower,
            upper,
        )
        .fetch_one(&mut *conn)
        .await?;
        if found {
            return Ok(true);
        }
    }
    let lags = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT 1 FROM webhook_positions p JOIN webhook_endpoints w ON w.id = p.endpoint_id AND w.enabled
            WHERE p.fed_until < now() - interval '1 hour'
              AND p.fed_until < to_timestamp(('x' || left(replace($1::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
                + interval '5 days') AS "lags!"
        "#,
        upper.to_string(),
    )
    .fetch_one(&mut *conn)
    .await?;
    if lags {
        return Ok(true);
    }
    let is_owed = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT 1 FROM webhook_endpoints w, LATERAL (
                SELECT 1 FROM webhook_jobs j WHERE j.endpoint_id = w.id AND j.event_id >= $1 AND j.event_id < $2 LIMIT 1) AS j
            WHERE w.enabled) AS "found!"
        "#,
        lower,
        upper,
    )
    .fetch_one(&mut *conn)
    .await?;
    if is_owed {
        return Ok(true);
    }
    for shard in Shard::all() {
        let found = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (
                SELECT 1 FROM webhook_jobs j JOIN webhook_endpoints w ON w.id = j.endpoint_id AND w.enabled
                WHERE j.shard = $1 AND j.message_id >= $2 AND j.message_id < $3) AS "found!"
            "#,
            shard.value(),
            lower,
            upper,
        )
        .fetch_one(&mut *conn)
        .await?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn partitions_of(conn: &mut PgConnection, table: &Wide) -> Result<Vec<Partition>, StoreError> {
    Ok(sqlx::query_as!(
        Partition,
        r#"
        SELECT c.relname::text AS "name!", i.inhdetachpending AS is_pending,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''(.{36})''\)')::uuid AS lower,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(.{36})''\)')::uuid AS upper
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass($1) ORDER BY c.relname
        "#,
        table.name,
    )
    .fetch_all(conn)
    .await?)
}

/// Runs statements that change the schema.
async fn change(conn: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

async fn now(conn: &mut PgConnection) -> Result<OffsetDateTime, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(conn).await?)
}

async fn today(conn: &mut PgConnection) -> Result<Date, StoreError> {
    Ok(now(conn).await?.to_offset(time::UtcOffset::UTC).date())
}

fn next(day: Date) -> Date {
    day.next_day().unwrap_or(Date::MAX)
}

/// The least id that can be made on `day`.
fn first_id(day: Date) -> Uuid {
    first_id_at(day.midnight().assume_utc())
}

/// The least id that can be made at that instant.
pub(in crate::store) fn first_id_at(at: OffsetDateTime) -> Uuid {
    let millis = u128::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::clock::SeededRng;
    use crate::domain::id::MessageId;

    #[test]
    fn an_id_lies_between_the_bounds_of_its_day() {
        let rng = SeededRng::new(1);
        for at in [datetime!(2026-11-24 00:00 UTC), datetime!(2026-11-24 23:59:59.999 UTC)] {
            for _ in 0..100 {
                let id = MessageId::new_in(Shard::of_low_bits(0), at, &rng).uuid();
                assert!(first_id(at.date()) <= id && id < first_id(next(at.date())), "{id}");
            }
        }
    }
}
