//! The statements that every queue table shares. The law is the same for deliveries and webhook jobs:
//! a lease has owner, token and expiry by the database's clock, and every write names the token.

use uuid::Uuid;

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
}

/// Writes `renew_leases`, `shards_where_expired` and `release_expired` for one queue table.
/// `$also_cleared` names the further columns that hold only under a lease: `, column = NULL`.
///
/// Rows are found by key: `IS NOT DISTINCT FROM` keeps the planner from walking all that is leased in a shard.
macro_rules! lease_statements {
    ($table:literal, $also_cleared:literal) => {
        /// Puts off the expiry of leases that are still ours; returns the ids that are.
        async fn renew_leases(
            conn: &mut sqlx::PgConnection,
            leases: &[Lease],
            now: Timestamp,
            span: Duration,
        ) -> Result<Vec<uuid::Uuid>, StoreError> {
            Ok(sqlx::query_scalar!(
                "UPDATE "
                    + $table
                    + r#" d SET lease_until = $4::timestamptz + make_interval(secs => $5)
                          FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS l (shard, id, token)
                          WHERE d.shard = l.shard AND d.id = l.id AND d.lease_token IS NOT DISTINCT FROM l.token
                          RETURNING d.id"#,
                &leases.iter().map(|l| l.shard.value()).collect::<Vec<_>>(),
                &leases.iter().map(|l| l.id).collect::<Vec<_>>(),
                &leases.iter().map(|l| l.token).collect::<Vec<_>>(),
                now,
                span.as_secs_f64(),
            )
            .fetch_all(conn)
            .await?)
        }

        /// The shards in which a lease ran out: one index probe each.
        async fn shards_where_expired(conn: &mut sqlx::PgConnection, now: Timestamp) -> Result<Vec<Shard>, StoreError> {
            let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
            let rows = sqlx::query_scalar!(
                r#"SELECT s.shard AS "shard!" FROM unnest($1::int[]) AS s (shard), LATERAL (SELECT 1 FROM "#
                    + $table
                    + r#" d WHERE d.shard = s.shard AND d.lease_token IS NOT NULL AND d.lease_until < $2
                          ORDER BY d.lease_until LIMIT 1) AS expired"#,
                &shards,
                now,
            )
            .fetch_all(conn)
            .await?;
            Ok(rows.into_iter().filter_map(Shard::of_value).collect())
        }

        /// Takes back a window of the leases of one shard that ran out, oldest first. One statement: a row that is
        /// settled or renewed meanwhile no longer matches and stays as it is.
        async fn release_expired(
            conn: &mut sqlx::PgConnection,
            shard: Shard,
            Window { skip, limit }: Window,
            now: Timestamp,
        ) -> Result<Vec<Rescued>, StoreError> {
            let rows = sqlx::query!(
                "WITH expired AS (SELECT w.shard, w.id FROM "
                    + $table
                    + r#" w WHERE w.shard = $1 AND w.lease_token IS NOT NULL AND w.lease_until < $4
                          ORDER BY w.lease_until OFFSET $3 LIMIT $2 FOR UPDATE SKIP LOCKED)
                          UPDATE "#
                    + $table
                    + r#" d SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = $4"#
                    + $also_cleared
                    + r#" FROM expired WHERE d.shard = expired.shard AND d.id = expired.id AND d.lease_until < $4
                          RETURNING d.id, d.message_id, d.attempt"#,
                shard.value(),
                limit,
                skip,
                now,
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
