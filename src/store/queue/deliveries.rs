//! The queue of deliveries under a lease: renew, hold, rescue, count.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::leases::{Rescued, Spared, Window, lease_statements};
use crate::domain::class::OwnClass;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::delivery::Hold;
use crate::domain::hold::HoldReason;
use crate::domain::id::{AttemptId, ProjectId};
use crate::domain::lease::Lease;
use crate::domain::outcome::OutcomeKind;
use crate::domain::shard::Shard;
use crate::domain::stage::Stage;
use crate::store::{OwnedConnection, Store, StoreError, by_shard, on_connection, on_pool};

lease_statements!("deliveries", ", ready = d.rescued < 2, begun_at = NULL, revoked_at = NULL");

/// What a project has in one shard's queue: ready or in hand, and not what waits for its time.
#[derive(Debug, Clone, Copy)]
pub struct ShardCount {
    pub project: ProjectId,
    pub rows: u64,
    /// Those that nobody has in hand.
    pub ready: u64,
}

impl OwnedConnection {
    /// Puts off the expiry of leases; gives the ids that are still ours.
    pub async fn renew_deliveries(&mut self, leases: &[Lease], span: Duration) -> Result<Vec<Uuid>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "deliveries.renew", conn, renew_leases(conn, leases, now, span))
    }

    /// The shards in which a delivery's lease ran out, and when the first did.
    pub async fn shards_with_expired_deliveries(&mut self) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
        let now = self.store.now();
        let floors = self.floors.leased.for_probe();
        let found = on_connection!(self, "deliveries.find_expired", conn, shards_where_expired(conn, &floors, now))?;
        let visible = self.all_visible();
        self.floors.leased.learn(&found, visible);
        Ok(found)
    }

    /// Makes deliveries due again whose lease ran out, and records that nobody knows how their try
    /// ended. Gives their number.
    pub async fn rescue_deliveries(
        &mut self,
        shard: Shard,
        window: Window,
        spared: &Spared,
        rng: &dyn Rng,
    ) -> Result<usize, StoreError> {
        let now = self.store.now();
        on_connection!(self, "deliveries.rescue", conn, rescue(conn, shard, window, spared, now, rng))
    }

    /// What each project has in one shard's queue, counted up to `bound` rows.
    pub async fn count_shard(&mut self, shard: Shard, bound: i64) -> Result<Vec<ShardCount>, StoreError> {
        on_connection!(self, "deliveries.count_shard", conn, count_shard(conn, shard, bound))
    }

    /// For how long the delivery that has been due longest has been so: index probes for each shard.
    pub async fn oldest_due(&mut self) -> Result<Duration, StoreError> {
        let now = self.store.now();
        let mut first = now;
        for is_ready in [true, false] {
            let floors = if is_ready { self.floors.ready.for_probe() } else { self.floors.due.for_probe() };
            let found = on_connection!(self, "deliveries.oldest_due", conn, first_due(conn, &floors, is_ready, now))?;
            let visible = self.all_visible();
            let floors = if is_ready { &mut self.floors.ready } else { &mut self.floors.due };
            floors.learn(&found, visible);
            first = found.iter().map(|(_, at)| *at).chain([first]).min().unwrap_or(first);
        }
        Ok(Duration::try_from(now - first).unwrap_or_default())
    }
}

impl Store {
    /// The same as [`OwnedConnection::hold_deliveries`], of one.
    pub async fn hold_delivery(&self, hold: Hold) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(self, "deliveries.hold", conn, hold_all(conn, &[hold], now)).map(|_| ())
    }
}

impl OwnedConnection {
    /// Makes deliveries due that wait for the budget of retries of their lane; gives those that were.
    pub async fn recall_deliveries(&mut self, put_off: &[(Shard, Uuid)]) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "deliveries.recall", conn, recall(conn, put_off, now))
    }

    /// Puts deliveries off without a try, or lets go of them; those whose lease is no longer ours stay as they are. Gives the number
    /// of the others.
    pub async fn hold_deliveries(&mut self, holds: &[Hold]) -> Result<u64, StoreError> {
        let now = self.store.now();
        on_connection!(self, "deliveries.hold", conn, hold_all(conn, holds, now))
    }

    /// Makes at most `limit` deliveries due that were put off until that very instant, for that reason, and leave from that pool of
    /// addresses; gives the shards of those that were.
    pub async fn recall_held(
        &mut self,
        (until, why, pool): (Timestamp, HoldReason, Option<&str>),
        limit: i64,
    ) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        let mut recalled = Vec::new();
        for shards in by_shard(Shard::all().collect(), self.max_shards_per_tx(), |shard| *shard) {
            let left = limit - i64::try_from(recalled.len()).unwrap_or(limit);
            if left <= 0 {
                break;
            }
            let asked = (until, why, pool);
            let of =
                on_connection!(self, "deliveries.recall_held", conn, recall_until(conn, &shards, asked, (left, now)))?;
            recalled.extend(of);
        }
        Ok(recalled)
    }
}

/// Each under the lease that is still ours.
async fn hold_all(conn: &mut PgConnection, holds: &[Hold], now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE deliveries d SET held = h.why, due_at = h.until, ready = h.until <= $6::timestamptz, attempt = d.attempt - 1,
            lease_owner = NULL, lease_token = NULL, lease_until = NULL, begun_at = NULL, revoked_at = NULL
        FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[]) AS h (shard, id, token, until, why)
        WHERE d.shard = h.shard AND d.id = h.id AND d.lease_token IS NOT DISTINCT FROM h.token
        "#,
        &holds.iter().map(|hold| hold.lease.shard.value()).collect::<Vec<_>>(),
        &holds.iter().map(|hold| hold.lease.id).collect::<Vec<_>>(),
        &holds.iter().map(|hold| hold.lease.token).collect::<Vec<_>>(),
        &holds.iter().map(|hold| hold.until).collect::<Vec<_>>(),
        &holds.iter().map(|hold| hold.why.map(|why| why.name().to_owned())).collect::<Vec<_>>() as &[Option<String>],
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn recall_until(
    conn: &mut PgConnection,
    shards: &[Shard],
    (until, why, pool): (Timestamp, HoldReason, Option<&str>),
    (limit, now): (i64, Timestamp),
) -> Result<Vec<Shard>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        WITH held AS MATERIALIZED (
            SELECT w.shard, w.id FROM unnest($1::int[]) AS s (shard), LATERAL (
                SELECT d.shard, d.id FROM deliveries d
                WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready = false AND d.due_at = $2 AND d.held = $3
                  AND d.ip_pool IS NOT DISTINCT FROM $4
                LIMIT $5) AS w
            LIMIT $5)
        UPDATE deliveries d SET due_at = $6, ready = true, held = NULL
        FROM held WHERE d.shard = held.shard AND d.id = held.id AND d.lease_token IS NOT DISTINCT FROM NULL
        RETURNING d.shard
        "#,
        &shards.iter().map(|shard| shard.value()).collect::<Vec<_>>(),
        until,
        why.name(),
        pool,
        limit,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn recall(conn: &mut PgConnection, put_off: &[(Shard, Uuid)], now: Timestamp) -> Result<Vec<Shard>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        UPDATE deliveries d SET due_at = $3, ready = true, held = NULL
        FROM unnest($1::int[], $2::uuid[]) AS p (shard, id)
        WHERE d.shard = p.shard AND d.id = p.id AND d.lease_token IS NOT DISTINCT FROM NULL AND d.held = $4
        RETURNING d.shard
        "#,
        &put_off.iter().map(|(shard, _)| shard.value()).collect::<Vec<_>>(),
        &put_off.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
        now,
        HoldReason::Budget.name(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn count_shard(conn: &mut PgConnection, shard: Shard, bound: i64) -> Result<Vec<ShardCount>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT project_id AS "project_id!", count(*) AS "rows!", count(*) FILTER (WHERE is_ready) AS "ready!"
        FROM (SELECT d.project_id, d.lease_token IS NULL AS is_ready FROM deliveries d
              WHERE d.shard = $1 AND d.ready LIMIT $2) AS counted
        GROUP BY project_id
        "#,
        shard.value(),
        bound,
    )
    .fetch_all(conn)
    .await?;
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    Ok(rows
        .into_iter()
        .map(|row| ShardCount {
            project: ProjectId::from_uuid(row.project_id),
            rows: count(row.rows),
            ready: count(row.ready),
        })
        .collect())
}

/// The first instant since which something is due in each shard.
async fn first_due(
    conn: &mut PgConnection,
    floors: &[Timestamp],
    is_ready: bool,
    now: Timestamp,
) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.shard AS "shard!", first.due_at FROM unnest($1::int[], $2::timestamptz[]) AS s (shard, floor), LATERAL (
            SELECT d.due_at FROM deliveries d
            WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready = $3 AND d.due_at >= s.floor AND d.due_at <= $4
            ORDER BY d.due_at LIMIT 1) AS first
        "#,
        &shards,
        floors,
        is_ready,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((Shard::of_value(row.shard)?, row.due_at))).collect())
}

async fn rescue(
    conn: &mut PgConnection,
    shard: Shard,
    window: Window,
    spared: &Spared,
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<usize, StoreError> {
    let mut tx = conn.begin().await?;
    let rescued: Vec<Rescued> = release_expired(&mut tx, shard, window, now, spared).await?;
    if !rescued.is_empty() {
        sqlx::query!(
            r#"
            INSERT INTO attempts (shard, message_id, id, recipient_id, number, outcome, class, started_at, duration_ms,
                stage, reply_text)
            SELECT $1, r.message_id, r.id, r.recipient_id, r.number, $7, $8, $6, 0, $9,
                'the process that held this delivery stopped before it recorded how the try ended'
            FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::int[]) AS r (message_id, id, recipient_id, number)
            "#,
            shard.value(),
            &rescued.iter().map(|r| r.message).collect::<Vec<_>>(),
            &rescued.iter().map(|_| AttemptId::new_in(shard, now, rng).uuid()).collect::<Vec<_>>(),
            &rescued.iter().map(|r| r.id).collect::<Vec<_>>(),
            &rescued.iter().map(|r| r.attempt).collect::<Vec<_>>(),
            now,
            OutcomeKind::Uncertain.name(),
            OwnClass::LeaseExpired.name(),
            Stage::Lease.name(),
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(rescued.len())
}
