//! The statements that every queue table shares. The law is the same for deliveries and webhook jobs:
//! a lease has owner, token and expiry by the database's clock, and every write names the token.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::clock::Timestamp;

/// A row whose lease ran out and which is due again.
#[derive(Debug, Clone, Copy)]
pub struct Rescued {
    pub id: Uuid,
    pub message: Uuid,
    pub attempt: i32,
}

/// Some of the expired leases of a shard, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub skip: i64,
    pub limit: i64,
    /// The first lease that ran out lies here or later.
    pub from: Timestamp,
}

/// Whose leases are left alone although they ran out.
#[derive(Debug, Clone, Default)]
pub struct Spared {
    /// Processes that live: they renew what they hold as soon as the store lets them.
    pub owners: Vec<Uuid>,
    /// For how long beyond its end a lease of theirs is left alone.
    pub grace: Duration,
    /// This process and what it has in hand: what it does not have in hand it will never renew.
    pub own: Uuid,
    pub in_hand: Vec<Uuid>,
}

/// Writes `renew_leases`, `shards_where_expired` and `release_expired` for one queue table.
/// `$also_cleared` names the further columns that hold only under a lease: `, column = NULL`.
///
/// Locks are taken by key, and what somebody is settling is not waited for: no two statements wait for each other.
/// Rows are found by key: `IS NOT DISTINCT FROM` keeps the planner from walking all that is leased in a shard.
macro_rules! lease_statements {
    ($table:literal, $also_cleared:literal) => {
        /// Puts off the expiry of leases that are still ours; returns the ids that are. A row that is locked is being
        /// settled or put off: it is ours until that has happened.
        async fn renew_leases(
            conn: &mut sqlx::PgConnection,
            leases: &[Lease],
            now: Timestamp,
            span: Duration,
        ) -> Result<Vec<uuid::Uuid>, StoreError> {
            Ok(sqlx::query_scalar!(
                "WITH ours AS MATERIALIZED (
                    SELECT d.shard, d.id, l.token FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS l (shard, id, token)
                    JOIN "
                    + $table
                    + r#" d ON d.shard = l.shard AND d.id = l.id AND d.lease_token IS NOT DISTINCT FROM l.token),
                    free AS MATERIALIZED (
                        SELECT d.shard, d.id, ours.token FROM ours JOIN "#
                    + $table
                    + r#" d ON d.shard = ours.shard AND d.id = ours.id FOR UPDATE OF d SKIP LOCKED),
                    renewed AS (UPDATE "#
                    + $table
                    + r#" d SET lease_until = $4::timestamptz + make_interval(secs => $5)
                        FROM free WHERE d.shard = free.shard AND d.id = free.id
                        AND d.lease_token IS NOT DISTINCT FROM free.token RETURNING d.id)
                    SELECT ours.id FROM ours"#,
                &leases.iter().map(|l| l.shard.value()).collect::<Vec<_>>(),
                &leases.iter().map(|l| l.id).collect::<Vec<_>>(),
                &leases.iter().map(|l| l.token).collect::<Vec<_>>(),
                now,
                span.as_secs_f64(),
            )
            .fetch_all(conn)
            .await?)
        }

        /// The shards in which a lease ran out, and when the first did: one index probe each, from the shard's floor on.
        async fn shards_where_expired(
            conn: &mut sqlx::PgConnection,
            floors: &[Timestamp],
            now: Timestamp,
        ) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
            let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
            let rows = sqlx::query!(
                r#"SELECT s.shard AS "shard!", expired.lease_until AS "first!"
                   FROM unnest($1::int[], $2::timestamptz[]) AS s (shard, floor), LATERAL (SELECT d.lease_until FROM "#
                    + $table
                    + r#" d WHERE d.shard = s.shard AND d.lease_token IS NOT NULL AND d.lease_until >= s.floor
                          AND d.lease_until < $3 ORDER BY d.lease_until LIMIT 1) AS expired"#,
                &shards,
                floors,
                now,
            )
            .fetch_all(conn)
            .await?;
            Ok(rows.into_iter().filter_map(|row| Some((Shard::of_value(row.shard)?, row.first))).collect())
        }

        /// Takes back a window of the leases of one shard that ran out, oldest first. One statement: a row that is
        /// settled or renewed meanwhile no longer matches and stays as it is.
        async fn release_expired(
            conn: &mut sqlx::PgConnection,
            shard: Shard,
            Window { skip, limit, from }: Window,
            now: Timestamp,
            spared: &Spared,
        ) -> Result<Vec<Rescued>, StoreError> {
            let rows = sqlx::query!(
                "WITH expired AS (SELECT w.shard, w.id FROM "
                    + $table
                    + r#" w WHERE w.shard = $1 AND w.lease_token IS NOT NULL AND w.lease_until >= $9
                            AND w.lease_until < $4 AND (w.lease_owner <> ALL ($5) OR w.lease_until < $6
                              OR (w.lease_owner = $7 AND w.id <> ALL ($8)))
                          ORDER BY w.lease_until OFFSET $3 LIMIT $2 FOR UPDATE SKIP LOCKED)
                          UPDATE "#
                    + $table
                    + r#" d SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, rescued = d.rescued + 1,
                            -- What ended its process twice waits before it does so again, and longer each time.
                            due_at = $4::timestamptz + CASE WHEN d.rescued < 2 THEN interval '0'
                                ELSE make_interval(secs => LEAST(30 * 2 ^ (LEAST(d.rescued, 12) - 2), 3600)) END"#
                    + $also_cleared
                    + r#" FROM expired WHERE d.shard = expired.shard AND d.id = expired.id AND d.lease_until < $4
                          RETURNING d.id, d.message_id, d.attempt"#,
                shard.value(),
                limit,
                skip,
                now,
                &spared.owners,
                now - spared.grace,
                spared.own,
                &spared.in_hand,
                from,
            )
            .fetch_all(conn)
            .await?;
            Ok(rows
                .into_iter()
                .map(|row| Rescued { id: row.id, message: row.message_id, attempt: row.attempt })
                .collect())
        }
    };
}
pub(super) use lease_statements;
