//! The queue of deliveries under a lease: renew, settle, rescue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::accept::{NewEvent, insert_events};
use super::leases::{Rescued, Window, lease_statements};
use super::{Link, StoreError, bounds, on_link, webhook_jobs};
use crate::domain::clock::{Chance, Timestamp};
use crate::domain::delivery::{Next, Settlement};
use crate::domain::id::{AttemptId, EventId, ProjectId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::outcome::AttemptReport;
use crate::domain::shard::Shard;

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

/// A walk over the whole queue: for now and then, not for the way in.
async fn census(conn: &mut PgConnection) -> Result<HashMap<ProjectId, u64>, StoreError> {
    let rows = sqlx::query!("SELECT project_id, count(*) AS \"rows!\" FROM deliveries GROUP BY project_id")
        .fetch_all(conn)
        .await?;
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    Ok(rows.into_iter().map(|row| (ProjectId::from_uuid(row.project_id), count(row.rows))).collect())
}

async fn settle(
    conn: &mut PgConnection,
    settlements: &[Settlement],
    chance: &dyn Chance,
) -> Result<Settled, StoreError> {
    let mut tx = conn.begin().await?;
    let mut ours = remove_settled(&mut tx, settlements).await?;
    ours.extend(put_back_deferred(&mut tx, settlements).await?);
    let (owned, lost): (Vec<_>, Vec<_>) = settlements.iter().partition(|s| ours.contains(&s.delivery.lease.id));
    insert_attempts(&mut tx, settlements).await?;
    let mut webhook_jobs = 0;
    if !owned.is_empty() {
        update_recipients(&mut tx, &owned).await?;
        let events: Vec<_> = owned.iter().map(|s| event_of(s, chance)).collect();
        insert_events(&mut tx, &events).await?;
        webhook_jobs = webhook_jobs::enqueue(&mut tx, &events).await?;
    }
    tx.commit().await?;
    Ok(Settled { lost: lost.into_iter().map(|s| s.delivery.recipient).collect(), webhook_jobs })
}

/// Deletes the rows of final outcomes. The row of a lease that ran out and was not claimed again
/// (same attempt, no token) is ours too: nobody else has tried meanwhile.
async fn remove_settled(conn: &mut PgConnection, settlements: &[Settlement]) -> Result<HashSet<Uuid>, StoreError> {
    let leases: Vec<Lease> =
        settlements.iter().filter(|s| s.transition.next == Next::Settled).map(|s| s.delivery.lease).collect();
    if leases.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = sqlx::query_scalar!(
        "DELETE FROM deliveries d USING unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[]) AS l (shard, id, token, attempt) \
         WHERE d.shard = l.shard AND d.id = l.id AND d.attempt = l.attempt \
           AND (d.lease_token = l.token OR d.lease_token IS NULL) RETURNING d.id",
        &leases.iter().map(|l| l.shard.value()).collect::<Vec<_>>(),
        &leases.iter().map(|l| l.id).collect::<Vec<_>>(),
        &leases.iter().map(|l| l.token).collect::<Vec<_>>(),
        &leases.iter().map(|l| l.attempt).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().collect())
}

async fn put_back_deferred(conn: &mut PgConnection, settlements: &[Settlement]) -> Result<Vec<Uuid>, StoreError> {
    let deferred: Vec<(Lease, Timestamp)> = settlements
        .iter()
        .filter_map(|s| match s.transition.next {
            Next::Due(at) => Some((s.delivery.lease, at)),
            Next::Settled => None,
        })
        .collect();
    if deferred.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar!(
        "UPDATE deliveries d SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = l.due_at, ready = false \
         FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::timestamptz[]) AS l (shard, id, token, due_at) \
         WHERE d.shard = l.shard AND d.id = l.id AND d.lease_token = l.token RETURNING d.id",
        &deferred.iter().map(|(l, _)| l.shard.value()).collect::<Vec<_>>(),
        &deferred.iter().map(|(l, _)| l.id).collect::<Vec<_>>(),
        &deferred.iter().map(|(l, _)| l.token).collect::<Vec<_>>(),
        &deferred.iter().map(|(_, at)| *at).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?)
}

async fn insert_attempts(conn: &mut PgConnection, settlements: &[Settlement]) -> Result<(), StoreError> {
    let reports = || settlements.iter().map(|s| &s.report);
    let replies = || reports().map(|r| r.outcome.reply());
    sqlx::query!(
        "INSERT INTO attempts (shard, message_id, id, recipient_id, number, outcome, class, started_at, duration_ms, \
             stage, host, ip, source_ip, tls, reply_code, reply_status, reply_text, transcript) \
         SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::text[], \
             $8::timestamptz[], $9::int[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], \
             $15::smallint[], $16::text[], $17::text[], $18::text[]) ON CONFLICT DO NOTHING",
        &settlements.iter().map(|s| s.delivery.lease.shard.value()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.message.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.attempt.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.recipient.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.delivery.lease.attempt).collect::<Vec<_>>(),
        &reports().map(|r| r.outcome.name().to_owned()).collect::<Vec<_>>(),
        &reports().map(|r| r.outcome.class().to_owned()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.started_at).collect::<Vec<_>>(),
        &settlements.iter().map(duration_ms).collect::<Vec<_>>(),
        &reports().map(|r| r.stage.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.host.clone()).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.ip.clone()).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.source_ip.clone()).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.tls.clone()).collect::<Vec<_>>() as &[Option<String>],
        &replies().map(|r| r.and_then(|r| i16::try_from(r.code).ok())).collect::<Vec<_>>() as &[Option<i16>],
        &replies().map(|r| r.and_then(|r| r.enhanced).map(|e| e.to_string())).collect::<Vec<_>>()
            as &[Option<String>],
        &reports().map(|r| Some(r.outcome.text().to_owned())).collect::<Vec<_>>() as &[Option<String>],
        &reports().map(|r| r.transcript.clone()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn duration_ms(settlement: &Settlement) -> i32 {
    let spent = settlement.finished_at - settlement.started_at;
    i32::try_from(spent.whole_milliseconds()).unwrap_or(i32::MAX)
}

async fn update_recipients(conn: &mut PgConnection, owned: &[&Settlement]) -> Result<(), StoreError> {
    let (first, last) = bounds(owned.iter().map(|s| s.delivery.message.uuid()));
    let outcomes = || owned.iter().map(|s| &s.report.outcome);
    let replies = || outcomes().map(|o| o.reply());
    sqlx::query!(
        "UPDATE recipients r SET status = u.status, attempts = u.attempts, settled_at = u.settled_at, \
             reply_code = u.code, reply_status = u.enhanced, reply_text = u.text, reply_host = u.host, reply_class = u.class \
         FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::timestamptz[], $7::smallint[], \
             $8::text[], $9::text[], $10::text[], $11::text[]) \
             AS u (shard, message_id, id, status, attempts, settled_at, code, enhanced, text, host, class) \
         WHERE r.shard = u.shard AND r.message_id = u.message_id AND r.id = u.id AND r.settled_at IS NULL \
           AND r.message_id BETWEEN $12 AND $13",
        &owned.iter().map(|s| s.delivery.lease.shard.value()).collect::<Vec<_>>(),
        &owned.iter().map(|s| s.delivery.message.uuid()).collect::<Vec<_>>(),
        &owned.iter().map(|s| s.delivery.recipient.uuid()).collect::<Vec<_>>(),
        &owned.iter().map(|s| s.transition.status.name().to_owned()).collect::<Vec<_>>(),
        &owned.iter().map(|s| s.delivery.lease.attempt).collect::<Vec<_>>(),
        &owned.iter().map(|s| s.transition.status.is_settled().then_some(s.finished_at)).collect::<Vec<_>>() as &[Option<Timestamp>],
        &replies().map(|r| r.and_then(|r| i16::try_from(r.code).ok())).collect::<Vec<_>>() as &[Option<i16>],
        &replies().map(|r| r.and_then(|r| r.enhanced).map(|e| e.to_string())).collect::<Vec<_>>() as &[Option<String>],
        &outcomes().map(|o| o.text().to_owned()).collect::<Vec<_>>(),
        &owned.iter().map(|s| s.report.host.clone()).collect::<Vec<_>>() as &[Option<String>],
        &outcomes().map(|o| o.class().to_owned()).collect::<Vec<_>>(),
        first,
        last,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn event_of(settlement: &Settlement, chance: &dyn Chance) -> NewEvent {
    let delivery = &settlement.delivery;
    NewEvent {
        shard: delivery.lease.shard,
        message: delivery.message.uuid(),
        id: EventId::new(settlement.finished_at, chance),
        project: delivery.project,
        recipient: delivery.recipient.uuid(),
        // The claim counted this attempt, and a claim ends in one event at most.
        sequence: delivery.lease.attempt + 1,
        event: settlement.transition.event,
        occurred_at: settlement.finished_at,
        data: reply_data(&settlement.report, delivery.lease.attempt),
    }
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
