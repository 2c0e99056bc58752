//! The queue of deliveries: claim, load, renew, settle, rescue.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::accept::{NewEvent, insert_events};
use super::leases::{Rescued, Window, lease_statements};
use super::{Link, Store, StoreError, on_link, on_pool, webhook_jobs};
use crate::domain::address::Address;
use crate::domain::clock::{Chance, Timestamp};
use crate::domain::delivery::{LeasedDelivery, Next, Settlement};
use crate::domain::id::{AttemptId, EventId, MessageId, ProjectId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::outcome::AttemptReport;
use crate::domain::shard::Shard;

lease_statements!("deliveries");

/// Who claims, how much, and what may not be claimed.
#[derive(Debug)]
pub struct Claim<'a> {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    pub limit: usize,
    /// Lanes that are full.
    pub full: &'a [String],
    /// Rows of one lane in one claim.
    pub per_lane: usize,
}

/// What a claim gave.
#[derive(Debug)]
pub struct Claimed {
    pub deliveries: Vec<LeasedDelivery>,
    /// The shard may have more that is due.
    pub has_more: bool,
}

/// What became of loading a delivery.
#[derive(Debug)]
pub enum Load {
    Ready(Loaded),
    /// The lease is no longer ours: somebody else delivers.
    LeaseLost,
    /// The message is no longer stored.
    Gone,
}

/// What a delivery puts on the wire.
#[derive(Debug)]
pub struct Loaded {
    pub sender: Address,
    pub recipient: Address,
    pub raw: Vec<u8>,
}

/// How many rows are due, and for how long the oldest has been.
#[derive(Debug, Clone, Copy, Default)]
pub struct DueCount {
    pub rows: i64,
    pub oldest: Duration,
}

impl Store {
    /// The envelope and the bytes of a delivery, if its lease is still ours.
    pub async fn load_delivery(&self, delivery: &LeasedDelivery) -> Result<Load, StoreError> {
        let row = on_pool!(
            self,
            conn,
            sqlx::query!(
                "SELECT m.sender AS \"sender?\", r.address AS \"address?\", b.raw AS \"raw?\" FROM deliveries d \
                 LEFT JOIN messages m ON m.shard = d.shard AND m.id = d.message_id \
                 LEFT JOIN recipients r ON r.shard = d.shard AND r.message_id = d.message_id AND r.id = d.id \
                 LEFT JOIN message_bodies b ON b.shard = d.shard AND b.message_id = d.message_id \
                 WHERE d.shard = $1 AND d.id = $2 AND d.lease_token = $3",
                delivery.lease.shard.value(),
                delivery.lease.id,
                delivery.lease.token,
            )
            .fetch_optional(conn)
        )?;
        let Some(row) = row else { return Ok(Load::LeaseLost) };
        let (Some(sender), Some(recipient), Some(raw)) = (row.sender, row.address, row.raw) else {
            return Ok(Load::Gone);
        };
        let address =
            |column, text: &str| Address::parse(text).map_err(|_| StoreError::corrupt("messages", column, text));
        Ok(Load::Ready(Loaded { sender: address("sender", &sender)?, recipient: address("address", &recipient)?, raw }))
    }
}

impl Link {
    /// The shards that have a delivery due: three index probes each, whatever the backlog.
    pub async fn shards_with_due_deliveries(&mut self) -> Result<Vec<Shard>, StoreError> {
        let link = self;
        on_link!(link, conn, shards_where_due(conn))
    }

    /// Claims due deliveries of one shard, by priority and then by time.
    pub async fn claim_deliveries(&mut self, shard: Shard, claim: &Claim<'_>) -> Result<Claimed, StoreError> {
        let link = self;
        on_link!(link, conn, claim_due(conn, shard, claim))
    }

    /// Puts off the expiry of leases; gives the ids that are still ours.
    pub async fn renew_deliveries(&mut self, leases: &[Lease], span: Duration) -> Result<Vec<Uuid>, StoreError> {
        let link = self;
        on_link!(link, conn, renew_leases(conn, leases, span))
    }

    /// Writes what tries led to: attempts, states, events and webhook jobs, in one commit. Gives the
    /// recipients whose lease was no longer ours; of those only the attempt is recorded.
    pub async fn settle_deliveries(
        &mut self,
        settlements: &[Settlement],
        chance: &dyn Chance,
    ) -> Result<HashSet<RecipientId>, StoreError> {
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

    /// How many deliveries are due, counted up to `bound` for each shard and priority.
    pub async fn count_due_deliveries(&mut self, bound: i64) -> Result<DueCount, StoreError> {
        let link = self;
        on_link!(link, conn, count_due(conn, bound))
    }
}

async fn shards_where_due(conn: &mut PgConnection) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        "SELECT s.shard AS \"shard!\" FROM unnest($1::int[]) AS s (shard) WHERE EXISTS ( \
             SELECT 1 FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS p (priority), \
             LATERAL (SELECT 1 FROM deliveries d WHERE d.shard = s.shard AND d.priority = p.priority \
                      AND d.lease_token IS NULL AND d.due_at <= now() ORDER BY d.due_at LIMIT 1) AS due)",
        &shards,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn claim_due(conn: &mut PgConnection, shard: Shard, claim: &Claim<'_>) -> Result<Claimed, StoreError> {
    let rows = sqlx::query!(
        "WITH picked AS ( \
             SELECT due.id, due.next_hop FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS p (priority), \
             LATERAL (SELECT d.id, d.next_hop FROM deliveries d \
                      WHERE d.shard = $1 AND d.priority = p.priority AND d.lease_token IS NULL \
                        AND d.due_at <= now() AND d.next_hop <> ALL ($6) \
                      ORDER BY d.due_at, d.id LIMIT $2 FOR UPDATE SKIP LOCKED) AS due \
             LIMIT $2), \
         shared AS (SELECT id, row_number() OVER (PARTITION BY next_hop) AS place, count(*) OVER () AS found FROM picked) \
         UPDATE deliveries d SET lease_owner = $3, lease_token = $4, lease_until = now() + make_interval(secs => $5), \
             attempt = d.attempt + 1 \
         FROM shared WHERE d.shard = $1 AND d.id = shared.id AND shared.place <= $7 \
         RETURNING d.id, d.message_id, d.project_id, d.next_hop, d.size, d.due_at, d.expires_at, d.attempt, \
             shared.found AS \"found!\"",
        shard.value(),
        i64::try_from(claim.limit).unwrap_or(i64::MAX),
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        claim.full,
        i64::try_from(claim.per_lane).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    let has_more = rows.first().is_some_and(|row| usize::try_from(row.found).is_ok_and(|found| found == claim.limit));
    let deliveries = rows
        .into_iter()
        .map(|row| LeasedDelivery {
            lease: Lease { shard, id: row.id, token: claim.token, attempt: row.attempt },
            message: MessageId::from_uuid(row.message_id),
            recipient: RecipientId::from_uuid(row.id),
            project: ProjectId::from_uuid(row.project_id),
            next_hop: row.next_hop,
            size: usize::try_from(row.size).unwrap_or(0),
            due_at: row.due_at,
            expires_at: row.expires_at,
        })
        .collect();
    Ok(Claimed { deliveries, has_more })
}

async fn settle(
    conn: &mut PgConnection,
    settlements: &[Settlement],
    chance: &dyn Chance,
) -> Result<HashSet<RecipientId>, StoreError> {
    let mut tx = conn.begin().await?;
    let mut ours = remove_settled(&mut tx, settlements).await?;
    ours.extend(put_back_deferred(&mut tx, settlements).await?);
    let (owned, lost): (Vec<_>, Vec<_>) = settlements.iter().partition(|s| ours.contains(&s.delivery.lease.id));
    insert_attempts(&mut tx, settlements).await?;
    if !owned.is_empty() {
        update_recipients(&mut tx, &owned).await?;
        let events: Vec<_> = owned.iter().map(|s| event_of(s, chance)).collect();
        insert_events(&mut tx, &events).await?;
        webhook_jobs::enqueue(&mut tx, &events).await?;
    }
    tx.commit().await?;
    Ok(lost.into_iter().map(|s| s.delivery.recipient).collect())
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
        "UPDATE deliveries d SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = l.due_at \
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
    let outcomes = || owned.iter().map(|s| &s.report.outcome);
    let replies = || outcomes().map(|o| o.reply());
    sqlx::query!(
        "UPDATE recipients r SET status = u.status, attempts = u.attempts, settled_at = u.settled_at, \
             reply_code = u.code, reply_status = u.enhanced, reply_text = u.text, reply_host = u.host, reply_class = u.class \
         FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::timestamptz[], $7::smallint[], \
             $8::text[], $9::text[], $10::text[], $11::text[]) \
             AS u (shard, message_id, id, status, attempts, settled_at, code, enhanced, text, host, class) \
         WHERE r.shard = u.shard AND r.message_id = u.message_id AND r.id = u.id AND r.settled_at IS NULL",
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
         FROM unnest($1::int[]) AS s (shard), (VALUES (0::smallint), (1::smallint), (2::smallint)) AS p (priority), \
         LATERAL (SELECT d.due_at FROM deliveries d WHERE d.shard = s.shard AND d.priority = p.priority \
                  AND d.lease_token IS NULL AND d.due_at <= now() ORDER BY d.due_at LIMIT $2) AS due",
        &shards,
        bound,
    )
    .fetch_one(conn)
    .await?;
    Ok(DueCount { rows: row.rows, oldest: Duration::try_from_secs_f64(row.oldest).unwrap_or_default() })
}
