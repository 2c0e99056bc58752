//! The queue of deliveries under a lease: renew, settle, rescue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::leases::{Rescued, Window, lease_statements};
use crate::domain::clock::{Chance, Timestamp};
use crate::domain::delivery::{Next, Settlement};
use crate::domain::hold::HoldReason;
use crate::domain::id::{AttemptId, EventId, ProjectId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::outcome::AttemptReport;
use crate::domain::shard::Shard;
use crate::store::{Link, Store, StoreError, bounds, on_link, on_pool};

lease_statements!("deliveries");

/// What a settling commit wrote.
#[derive(Debug)]
pub struct Settled {
    /// Recipients whose lease was no longer ours: of those only the attempt is recorded.
    pub lost: HashSet<RecipientId>,
    pub webhook_jobs: u64,
}

/// How many rows are due, and for how long the oldest has been.
#[derive(Debug, Clone, Copy, Default)]
pub struct DueCount {
    pub rows: i64,
    pub oldest: Duration,
}

impl Link {
    /// Puts off the expiry of leases; gives the ids that are still ours.
    pub async fn renew_deliveries(&mut self, leases: &[Lease], span: Duration) -> Result<Vec<Uuid>, StoreError> {
        let link = self;
        on_link!(link, conn, renew_leases(conn, leases, span))
    }

    /// Writes what tries led to: attempts, states, events and webhook jobs, in one commit.
    pub async fn settle_deliveries(
        &mut self,
        settlements: &[Settlement],
        chance: &dyn Chance,
    ) -> Result<Settled, StoreError> {
        let link = self;
        on_link!(link, conn, settle(conn, settlements, chance))
    }

    /// The shards in which a delivery's lease ran out.
    pub async fn shards_with_expired_deliveries(&mut self) -> Result<Vec<Shard>, StoreError> {
        let link = self;
        on_link!(link, conn, shards_where_expired(conn))
    }

    /// Makes deliveries due again whose lease ran out, and records that nobody knows how their try
    /// ended. Gives their number.
    pub async fn rescue_deliveries(
        &mut self,
        shard: Shard,
        window: Window,
        now: Timestamp,
        chance: &dyn Chance,
    ) -> Result<usize, StoreError> {
        let link = self;
        on_link!(link, conn, rescue(conn, shard, window, now, chance))
    }

    /// How many deliveries each project has in the queue.
    pub async fn count_backlog(&mut self) -> Result<HashMap<ProjectId, u64>, StoreError> {
        let link = self;
        on_link!(link, conn, census(conn))
    }

    /// How many deliveries are ready, counted up to `bound` for each shard, and the age of the oldest of these.
    pub async fn count_due_deliveries(&mut self, bound: i64) -> Result<DueCount, StoreError> {
        let link = self;
        on_link!(link, conn, count_due(conn, bound))
    }
}

impl Store {
    /// Puts a delivery off without a try: it is due at `until`, and its claim does not count as an attempt. `false`:
    /// its lease was no longer ours.
    pub async fn hold_delivery(&self, lease: Lease, until: Timestamp, why: HoldReason) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            conn,
            sqlx::query!(
                "UPDATE deliveries SET held = $5, due_at = $4, ready = $4 <= now(), attempt = attempt - 1, \
                     lease_owner = NULL, lease_token = NULL, lease_until = NULL WHERE shard = $1 AND id = $2 AND lease_token = $3",
                lease.shard.value(),
                lease.id,
                lease.token,
                until,
                why.name(),
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}

/// A walk over the whole queue: for now and then, not for the way in.
async fn census(conn: &mut PgConnection) -> Result<HashMap<ProjectId, u64>, StoreError> {
    let rows = sqlx::query!("SELECT project_id, count(*) AS \"rows!\" FROM deliveries GROUP BY project_id")
        .fetch_all(conn)
        .await?;
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    Ok(rows.into_iter().map(|row| (ProjectId::from_uuid(row.project_id), count(row.rows))).collect())
}

/// One statement is the whole transaction: a round trip for each table would cost more than the rows. The row of a
/// final outcome is ours too when its lease ran out and it was not claimed again (same attempt, no token): nobody else
/// has tried meanwhile. Attempts are written for all; what follows, only for what was ours.
async fn settle(
    conn: &mut PgConnection,
    settlements: &[Settlement],
    chance: &dyn Chance,
) -> Result<Settled, StoreError> {
    let (first, last) = bounds(settlements.iter().map(|s| s.delivery.message.uuid()));
    let reports = || settlements.iter().map(|s| &s.report);
    let replies = || reports().map(|r| r.outcome.reply());
    let rules = || reports().map(|r| r.outcome.trouble().and_then(|t| t.rule.as_ref()));
    let rows = sqlx::query!(
        "WITH s AS MATERIALIZED (SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::uuid[], $6::uuid[], \
                 $7::timestamptz[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::uuid[], $12::text[], $13::jsonb[], \
                 $14::uuid[], $15::text[], $16::text[], $17::timestamptz[], $18::int[], $19::text[], $20::text[], $21::text[], \
                 $22::text[], $23::text[], $24::smallint[], $25::text[], $26::text[], $27::text[], $30::text[], $31::text[], $32::smallint[], $33::text[]) \
             AS s (shard, id, token, attempt, message_id, project_id, due_at, status, settled_at, finished_at, event_id, event_type, data, \
                 attempt_id, outcome, class, started_at, duration_ms, stage, host, ip, source_ip, tls, code, enhanced, text, transcript, \
                 provider, rule, confidence, action)), \
         t AS (INSERT INTO attempts (shard, message_id, id, recipient_id, number, outcome, class, started_at, duration_ms, \
                 stage, host, ip, source_ip, tls, reply_code, reply_status, reply_text, transcript, provider, rule, confidence, action) \
             SELECT s.shard, s.message_id, s.attempt_id, s.id, s.attempt, s.outcome, s.class, s.started_at, s.duration_ms, \
                 s.stage, s.host, s.ip, s.source_ip, s.tls, s.code, s.enhanced, s.text, s.transcript, s.provider, s.rule, s.confidence, s.action FROM s ON CONFLICT DO NOTHING), \
         gone AS (DELETE FROM deliveries d USING s WHERE s.due_at IS NULL AND d.shard = s.shard AND d.id = s.id \
                 AND d.attempt = s.attempt AND (d.lease_token = s.token OR d.lease_token IS NULL) RETURNING s.*), \
         back AS (UPDATE deliveries d SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = s.due_at, ready = false, held = NULL \
             FROM s WHERE s.due_at IS NOT NULL AND d.shard = s.shard AND d.id = s.id AND d.lease_token = s.token RETURNING s.*), \
         o AS MATERIALIZED (SELECT * FROM gone UNION ALL SELECT * FROM back), \
         p AS (UPDATE recipients r SET status = o.status, attempts = o.attempt, settled_at = o.settled_at, reply_code = o.code, \
                 reply_status = o.enhanced, reply_text = o.text, reply_host = o.host, reply_class = o.class \
             FROM o WHERE r.shard = o.shard AND r.message_id = o.message_id AND r.id = o.id AND r.settled_at IS NULL \
                 AND r.message_id BETWEEN $28 AND $29), \
         e AS (INSERT INTO events (shard, message_id, id, project_id, recipient_id, sequence, type, occurred_at, data) \
             SELECT o.shard, o.message_id, o.event_id, o.project_id, o.id, o.attempt + 1, o.event_type, o.finished_at, o.data FROM o), \
         j AS (INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at) \
             SELECT o.shard, md5(o.event_id::text || w.id::text)::uuid, w.id, o.message_id, o.event_id, now() \
             FROM o JOIN webhook_endpoints w ON w.project_id = o.project_id AND w.enabled \
                  AND ('*' = ANY (w.events) OR o.event_type = ANY (w.events)) \
             WHERE w.tags = '{}' OR EXISTS (SELECT 1 FROM messages m WHERE m.shard = o.shard AND m.id = o.message_id \
                  AND m.id BETWEEN $28 AND $29 AND m.tags ?| w.tags) ON CONFLICT DO NOTHING RETURNING 1) \
         SELECT o.id AS \"id!\", (SELECT count(*) FROM j) AS \"jobs!\" FROM o",
        &settlements.iter().map(|s| s.delivery.lease.shard.value()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.lease.id).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.lease.token).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.lease.attempt).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.message.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.project.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(due_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &settlements.iter().map(|s| s.transition.status.name().to_owned()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.transition.status.is_settled().then_some(s.finished_at)).collect::<Vec<_>>()
            as &[Option<Timestamp>],
        &settlements.iter().map(|s| s.finished_at).collect::<Vec<_>>(),
        &settlements.iter().map(|s| EventId::new(s.finished_at, chance).uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.transition.event.name().to_owned()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| reply_data(&s.report, s.delivery.lease.attempt)).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.attempt.uuid()).collect::<Vec<_>>(),
        &reports().map(|r| r.outcome.name().to_owned()).collect::<Vec<_>>(),
        &reports().map(|r| r.outcome.class().to_owned()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.started_at).collect::<Vec<_>>(),
        &settlements.iter().map(duration_ms).collect::<Vec<_>>(),
        &reports().map(|r| r.stage.map(|stage| stage.name().to_owned())).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.host.clone()).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.ip.clone()).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.source_ip.clone()).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.tls.clone()).collect::<Vec<_>>() as &[Option<String>],
        &replies().map(|r| r.and_then(|r| i16::try_from(r.code).ok())).collect::<Vec<_>>() as &[Option<i16>],
        &replies().map(|r| r.and_then(|r| r.enhanced).map(|e| e.to_string())).collect::<Vec<_>>()
            as &[Option<String>],
        &reports().map(|r| r.outcome.text().to_owned()).collect::<Vec<_>>(),
        &reports().map(|r| r.transcript.clone()).collect::<Vec<_>>(),
        first,
        last,
        &reports().map(|r| r.provider.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rules().map(|rule| rule.map(|(id, _)| id.to_string())).collect::<Vec<_>>() as &[Option<String>],
        &rules().map(|rule| rule.map(|(_, confidence)| i16::from(*confidence))).collect::<Vec<_>>() as &[Option<i16>],
        &reports().map(|r| r.outcome.trouble().map(|t| t.action.to_string())).collect::<Vec<_>>() as &[Option<String>],
    )
    .fetch_all(conn)
    .await?;
    let webhook_jobs = rows.first().map_or(0, |row| row.jobs.unsigned_abs());
    let ours: HashSet<Uuid> = rows.into_iter().map(|row| row.id).collect();
    let lost = settlements.iter().map(|s| s.delivery.recipient).filter(|recipient| !ours.contains(&recipient.uuid()));
    Ok(Settled { lost: lost.collect(), webhook_jobs })
}

/// When a delivery that goes back is due; `None` for one that is settled.
const fn due_at(settlement: &Settlement) -> Option<Timestamp> {
    match settlement.transition.next {
        Next::Due(at) => Some(at),
        Next::Settled => None,
    }
}

fn duration_ms(settlement: &Settlement) -> i32 {
    let spent = settlement.finished_at - settlement.started_at;
    i32::try_from(spent.whole_milliseconds()).unwrap_or(i32::MAX)
}

fn reply_data(report: &AttemptReport, attempt: i32) -> serde_json::Value {
    let reply = report.outcome.reply();
    json!({
        "attempt": attempt,
        "reply": {
            "code": reply.map(|r| r.code),
            "enhanced": reply.and_then(|r| r.enhanced).map(|e| e.to_string()),
            "text": report.outcome.text(),
            "host": report.host,
            "class": report.outcome.class(),
        },
    })
}

async fn rescue(
    conn: &mut PgConnection,
    shard: Shard,
    window: Window,
    now: Timestamp,
    chance: &dyn Chance,
) -> Result<usize, StoreError> {
    let mut tx = conn.begin().await?;
    let rescued: Vec<Rescued> = release_expired(&mut tx, shard, window).await?;
    if !rescued.is_empty() {
        sqlx::query!(
            "INSERT INTO attempts (shard, message_id, id, recipient_id, number, outcome, class, started_at, duration_ms, stage, reply_text) \
             SELECT $1, r.message_id, r.id, r.recipient_id, r.number, 'uncertain', 'lease_expired', $6, 0, 'lease', \
                 'the process that held this delivery stopped before it recorded how the try ended' \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::int[]) AS r (message_id, id, recipient_id, number)",
            shard.value(),
            &rescued.iter().map(|r| r.message).collect::<Vec<_>>(),
            &rescued.iter().map(|_| AttemptId::new(now, chance).uuid()).collect::<Vec<_>>(),
            &rescued.iter().map(|r| r.id).collect::<Vec<_>>(),
            &rescued.iter().map(|r| r.attempt).collect::<Vec<_>>(),
            now,
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(rescued.len())
}

async fn count_due(conn: &mut PgConnection, bound: i64) -> Result<DueCount, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let row = sqlx::query!(
        "SELECT count(due.due_at) AS \"rows!\", COALESCE(EXTRACT(EPOCH FROM now() - min(due.due_at)), 0)::float8 AS \"oldest!\" \
         FROM unnest($1::int[]) AS s (shard), \
         LATERAL (SELECT d.due_at FROM deliveries d WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready LIMIT $2) AS due",
        &shards,
        bound,
    )
    .fetch_one(conn)
    .await?;
    Ok(DueCount { rows: row.rows, oldest: Duration::try_from_secs_f64(row.oldest).unwrap_or_default() })
}
