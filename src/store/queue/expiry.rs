//! Deliveries past their last instant that nobody has in hand: they end on time, whatever may be claimed for their next hop.

use sqlx::PgConnection;
use uuid::Uuid;

use super::claims::ClaimedRow;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, StoreError, on_connection};

/// Who ends them, and how many at once.
#[derive(Debug, Clone, Copy)]
pub struct ExpiryClaim {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: std::time::Duration,
    pub limit: i64,
}

impl OwnedConnection {
    /// The shards in which a delivery without a lease is past its last instant, and the first such instant: one index probe
    /// each.
    pub async fn shards_with_expiring_deliveries(&mut self) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
        let now = self.store.now();
        let floors = self.floors.expiring.for_probe();
        let found = on_connection!(self, "deliveries.find_expiring", conn, shards_where_expiring(conn, &floors, now))?;
        let visible = self.all_visible();
        self.floors.expiring.learn(&found, visible);
        Ok(found)
    }

    /// Takes a lease of those of one shard, the first first.
    pub async fn claim_expiring(
        &mut self,
        shard: Shard,
        from: Timestamp,
        claim: ExpiryClaim,
    ) -> Result<Vec<LeasedDelivery>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "deliveries.claim_expiring", conn, claim_expiring(conn, shard, (from, now), claim))
    }
}

async fn shards_where_expiring(
    conn: &mut PgConnection,
    floors: &[Timestamp],
    now: Timestamp,
) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.shard AS "shard!", over.expires_at FROM unnest($1::int[], $2::timestamptz[]) AS s (shard, floor), LATERAL (
            SELECT d.expires_at FROM deliveries d
            WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.expires_at > '-infinity' AND d.expires_at >= s.floor AND d.expires_at <= $3
            ORDER BY d.expires_at LIMIT 1) AS over
        "#,
        &shards,
        floors,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((Shard::of_value(row.shard)?, row.expires_at))).collect())
}

async fn claim_expiring(
    conn: &mut PgConnection,
    shard: Shard,
    (from, now): (Timestamp, Timestamp),
    claim: ExpiryClaim,
) -> Result<Vec<LeasedDelivery>, StoreError> {
    let rows = sqlx::query_as!(
        ClaimedRow,
        r#"
        WITH over AS MATERIALIZED (
            SELECT w.shard, w.id FROM deliveries w
            WHERE w.shard = $1 AND w.lease_token IS NULL AND w.expires_at > '-infinity' AND w.expires_at >= $6 AND w.expires_at <= $7
              -- Where time was moved, what was to be tried before its end still is.
              AND (w.as_of IS NULL OR w.as_of >= w.expires_at)
            ORDER BY w.expires_at LIMIT $5 FOR UPDATE SKIP LOCKED)
        UPDATE deliveries d SET lease_owner = $2, lease_token = $3, lease_until = $7::timestamptz + make_interval(secs => $4),
            attempt = d.attempt + 1, held = NULL
        FROM over WHERE d.shard = over.shard AND d.id = over.id
        RETURNING d.shard, d.id, d.message_id, d.project_id, d.priority, d.next_hop, d.tls, d.ip_pool, d.size, d.due_at, d.expires_at,
            d.attempt, d.rescued, d.uncertain, d.charged, d.as_of, d.lease_token
        "#,
        shard.value(),
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        claim.limit,
        from,
        now,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ClaimedRow::decode).collect()
}
