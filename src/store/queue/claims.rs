//! From due to leased: what is ready in a shard and whose it is, the claim itself, and the bytes of what was
//! claimed. Every statement's cost follows from what it gives, never from what waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Group, LeasedDelivery};
use crate::domain::draft::{Demand, TlsDemand};
use crate::domain::envelope::Content;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::reverse_path::ReversePath;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, StoreError, bounds, on_connection};

/// Where an enumeration of groups goes on: behind this project and next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub project: ProjectId,
    pub next_hop: String,
}

/// Where an enumeration goes on in one shard, by priority; `None` at the beginning.
pub type Cursors = [Option<Cursor>; 3];

/// Who claims, and how many deliveries of each group.
#[derive(Debug)]
pub struct Claim<'a> {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    pub shares: &'a [(&'a Group, usize)],
}

/// A delivery whose bytes are wanted, under the lease that its reader must still hold.
#[derive(Debug, Clone, Copy)]
pub struct ContentRequest {
    pub lease: Lease,
    pub message: MessageId,
}

/// What became of loading a delivery.
#[derive(Debug, Clone)]
pub enum ContentLoad {
    Ready(Content),
    /// The lease is no longer ours: somebody else delivers.
    LeaseLost,
    /// The message is no longer stored.
    Gone,
}

impl OwnedConnection {
    /// Makes deliveries ready whose time has come, at most `limit` of each shard; gives the shards that then
    /// have something ready. Two index probes for a shard that has neither.
    pub async fn ready_shards(&mut self, limit: i64) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        let due = on_connection!(self, "deliveries.find_ready", conn, shards_where_due(conn, now))?;
        for shard in due {
            on_connection!(self, "deliveries.find_ready", conn, mark_ready(conn, shard, limit, now))?;
        }
        on_connection!(self, "deliveries.find_ready", conn, shards_where_ready(conn))
    }

    /// Who has something ready: at most `limit` groups of each priority in each shard, in order of project and next
    /// hop from behind the shard's cursors on.
    pub async fn ready_groups(&mut self, shards: &[(Shard, Cursors)], limit: i64) -> Result<Vec<Group>, StoreError> {
        on_connection!(self, "deliveries.list_groups", conn, groups(conn, shards, limit))
    }

    /// Claims each group's share, oldest first.
    pub async fn claim_deliveries(&mut self, claim: &Claim<'_>) -> Result<Vec<LeasedDelivery>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "deliveries.claim", conn, claim_shares(conn, claim, now))
    }

    /// The envelopes and bytes of deliveries whose leases are still ours, in the order asked for.
    pub async fn load_deliveries(&mut self, wanted: &[ContentRequest]) -> Result<Vec<ContentLoad>, StoreError> {
        on_connection!(self, "deliveries.load", conn, load(conn, wanted))
    }
}

async fn shards_where_due(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT s.shard AS "shard!" FROM unnest($1::int[]) AS s (shard), LATERAL (
            SELECT 1 FROM deliveries d
            WHERE d.shard = s.shard AND d.lease_token IS NULL AND NOT d.ready AND d.due_at <= $2
            ORDER BY d.due_at LIMIT 1) AS due
        "#,
        &shards,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn shards_where_ready(conn: &mut PgConnection) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT s.shard AS "shard!" FROM unnest($1::int[]) AS s (shard), LATERAL (
            SELECT 1 FROM deliveries d WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready
            ORDER BY d.priority, d.project_id, d.next_hop, d.due_at, d.id LIMIT 1) AS ready
        "#,
        &shards,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn mark_ready(conn: &mut PgConnection, shard: Shard, limit: i64, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        WITH due AS MATERIALIZED (
            SELECT w.shard, w.id FROM deliveries w
            WHERE w.shard = $1 AND w.lease_token IS NULL AND NOT w.ready AND w.due_at <= $3
            ORDER BY w.due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        UPDATE deliveries d SET ready = true FROM due WHERE d.shard = due.shard AND d.id = due.id
        "#,
        shard.value(),
        limit,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A walk over the index from group to group: each step is one probe.
async fn groups(conn: &mut PgConnection, shards: &[(Shard, Cursors)], limit: i64) -> Result<Vec<Group>, StoreError> {
    let walks = || shards.iter().flat_map(|(shard, cursors)| (0_i16..).zip(cursors).map(move |walk| (shard, walk)));
    let rows = sqlx::query!(
        r#"
        SELECT p.shard AS "shard!", p.priority AS "priority!", g.project_id AS "project_id!", g.next_hop AS "next_hop!"
        -- One walk for each priority of each shard, from behind its cursor on.
        FROM unnest($1::int[], $2::smallint[], $3::uuid[], $4::text[]) AS p (shard, priority, project_id, next_hop),
        LATERAL (
            WITH RECURSIVE walk AS (
                (SELECT d.project_id, d.next_hop FROM deliveries d
                 WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready
                   AND (d.project_id, d.next_hop) > (p.project_id, p.next_hop)
                 ORDER BY d.project_id, d.next_hop LIMIT 1)
                UNION ALL
                SELECT n.project_id, n.next_hop FROM walk w, LATERAL (
                    SELECT d.project_id, d.next_hop FROM deliveries d
                    WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready
                      AND (d.project_id, d.next_hop) > (w.project_id, w.next_hop)
                    ORDER BY d.project_id, d.next_hop LIMIT 1) AS n)
            SELECT walk.project_id, walk.next_hop FROM walk LIMIT $5) AS g
        "#,
        &walks().map(|(shard, _)| shard.value()).collect::<Vec<_>>(),
        &walks().map(|(_, (priority, _))| priority).collect::<Vec<_>>(),
        &walks().map(|(_, (_, c))| c.as_ref().map_or(Uuid::nil(), |c| c.project.uuid())).collect::<Vec<_>>(),
        &walks().map(|(_, (_, c))| c.as_ref().map_or_else(String::new, |c| c.next_hop.clone())).collect::<Vec<_>>(),
        limit,
    )
    .fetch_all(conn)
    .await?;
    let group = |shard, priority, project_id, next_hop| {
        Some(Group { shard: Shard::of_value(shard)?, priority, project: ProjectId::from_uuid(project_id), next_hop })
    };
    Ok(rows.into_iter().filter_map(|row| group(row.shard, row.priority, row.project_id, row.next_hop)).collect())
}

async fn claim_shares(
    conn: &mut PgConnection,
    claim: &Claim<'_>,
    now: Timestamp,
) -> Result<Vec<LeasedDelivery>, StoreError> {
    let groups = || claim.shares.iter().map(|(group, _)| group);
    let rows = sqlx::query!(
        r#"
        WITH due AS MATERIALIZED (
            -- Each group's share, oldest first.
            SELECT w.shard, w.id
            FROM unnest($4::int[], $5::smallint[], $6::uuid[], $7::text[], $8::bigint[])
                AS g (shard, priority, project_id, next_hop, share),
            LATERAL (
                SELECT q.shard, q.id FROM deliveries q
                WHERE q.shard = g.shard AND q.priority = g.priority AND q.project_id = g.project_id
                  AND q.next_hop = g.next_hop AND q.lease_token IS NULL AND q.ready
                ORDER BY q.due_at, q.id LIMIT g.share FOR UPDATE SKIP LOCKED) AS w)
        UPDATE deliveries d SET lease_owner = $1, lease_token = $2, lease_until = $9::timestamptz + make_interval(secs => $3),
            attempt = d.attempt + 1, held = NULL
        FROM due WHERE d.shard = due.shard AND d.id = due.id
        RETURNING d.shard, d.id, d.message_id, d.project_id, d.next_hop, d.tls, d.ip_pool, d.size, d.due_at, d.expires_at,
            d.attempt
        "#,
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        &groups().map(|g| g.shard.value()).collect::<Vec<_>>(),
        &groups().map(|g| g.priority).collect::<Vec<_>>(),
        &groups().map(|g| g.project.uuid()).collect::<Vec<_>>(),
        &groups().map(|g| g.next_hop.clone()).collect::<Vec<_>>(),
        &claim.shares.iter().map(|(_, share)| i64::try_from(*share).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
        now,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let corrupt =
                |column, value: &dyn std::fmt::Display| StoreError::corrupt("deliveries", column, row.id, value);
            let shard = Shard::of_value(row.shard).ok_or_else(|| corrupt("shard", &row.shard))?;
            Ok(LeasedDelivery {
                lease: Lease { shard, id: row.id, token: claim.token, attempt: row.attempt },
                message: MessageId::from_uuid(row.message_id),
                recipient: RecipientId::from_uuid(row.id),
                project: ProjectId::from_uuid(row.project_id),
                next_hop: row.next_hop,
                demand: Demand {
                    tls: TlsDemand::parse(&row.tls).map_err(|_| corrupt("tls", &row.tls))?,
                    ip_pool: row.ip_pool,
                },
                size: usize::try_from(row.size).unwrap_or(0),
                due_at: row.due_at,
                expires_at: row.expires_at,
            })
        })
        .collect()
}

async fn load(conn: &mut PgConnection, wanted: &[ContentRequest]) -> Result<Vec<ContentLoad>, StoreError> {
    let (first, last) = bounds(wanted.iter().map(|w| w.message.uuid()));
    let rows = sqlx::query!(
        r#"
        SELECT w.id AS "id!", m.sender AS "sender?", r.address AS "address?", r.return_path, b.raw AS "raw?"
        FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[]) AS w (shard, id, token, message_id)
        -- Only under a lease that is still ours.
        JOIN deliveries d ON d.shard = w.shard AND d.id = w.id AND d.lease_token IS NOT DISTINCT FROM w.token
        LEFT JOIN messages m ON m.shard = w.shard AND m.id = w.message_id AND m.id BETWEEN $5 AND $6
        LEFT JOIN recipients r ON r.shard = w.shard AND r.message_id = w.message_id AND r.id = w.id
            AND r.message_id BETWEEN $5 AND $6
        LEFT JOIN message_bodies b ON b.shard = w.shard AND b.message_id = w.message_id
            AND b.message_id BETWEEN $5 AND $6
        "#,
        &wanted.iter().map(|w| w.lease.shard.value()).collect::<Vec<_>>(),
        &wanted.iter().map(|w| w.lease.id).collect::<Vec<_>>(),
        &wanted.iter().map(|w| w.lease.token).collect::<Vec<_>>(),
        &wanted.iter().map(|w| w.message.uuid()).collect::<Vec<_>>(),
        first,
        last,
    )
    .fetch_all(conn)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let load = match (row.sender, row.address, row.raw) {
            (Some(sender), Some(recipient), Some(raw)) => ContentLoad::Ready(Content {
                reverse_path: reverse_path(row.id, &sender, row.return_path.as_deref())?,
                recipient: Address::parse(&recipient)
                    .map_err(|_| StoreError::corrupt("recipients", "address", row.id, &recipient))?,
                raw: Arc::new(raw),
            }),
            _ => ContentLoad::Gone,
        };
        found.insert(row.id, load);
    }
    Ok(wanted.iter().map(|w| found.remove(&w.lease.id).unwrap_or(ContentLoad::LeaseLost)).collect())
}

/// The recipient's own path, or the message's sender.
fn reverse_path(recipient: Uuid, sender: &str, own: Option<&str>) -> Result<ReversePath, StoreError> {
    let corrupt = |column, value: &str| StoreError::corrupt("recipients", column, recipient, value);
    match own {
        Some(path) => ReversePath::parse(path).ok_or_else(|| corrupt("return_path", path)),
        None => Address::parse(sender).map(ReversePath::Address).map_err(|_| corrupt("sender", sender)),
    }
}
