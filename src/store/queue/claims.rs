//! From due to leased: what is ready in a shard and whose it is, the claim itself, and the bytes of what was
//! claimed. Every statement's cost follows from what it gives, never from what waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::address::Address;
use crate::domain::delivery::{Group, LeasedDelivery};
use crate::domain::draft::{Demand, TlsDemand};
use crate::domain::envelope::Content;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::store::{Link, StoreError, bounds, on_link};

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
pub struct Wanted {
    pub lease: Lease,
    pub message: MessageId,
}

/// What became of loading a delivery.
#[derive(Debug, Clone)]
pub enum Load {
    Ready(Content),
    /// The lease is no longer ours: somebody else delivers.
    LeaseLost,
    /// The message is no longer stored.
    Gone,
}

impl Link {
    /// Makes deliveries ready whose time has come, at most `limit` of each shard; gives the shards that then
    /// have something ready. Two index probes for a shard that has neither.
    pub async fn ready_shards(&mut self, limit: i64) -> Result<Vec<Shard>, StoreError> {
        let link = &mut *self;
        let due = on_link!(link, conn, shards_where_due(conn))?;
        for shard in due {
            let link = &mut *self;
            on_link!(link, conn, ripen(conn, shard, limit))?;
        }
        let link = self;
        on_link!(link, conn, shards_where_ready(conn))
    }

    /// Who has something ready: at most `limit` groups of each priority in each shard, in order of project and next
    /// hop from behind the shard's cursors on.
    pub async fn ready_groups(&mut self, shards: &[(Shard, Cursors)], limit: i64) -> Result<Vec<Group>, StoreError> {
        let link = self;
        on_link!(link, conn, groups(conn, shards, limit))
    }

    /// Claims each group's share, oldest first.
    pub async fn claim_deliveries(&mut self, claim: &Claim<'_>) -> Result<Vec<LeasedDelivery>, StoreError> {
        let link = self;
        on_link!(link, conn, claim_shares(conn, claim))
    }

    /// The envelopes and bytes of deliveries whose leases are still ours, in the order asked for.
    pub async fn load_deliveries(&mut self, wanted: &[Wanted]) -> Result<Vec<Load>, StoreError> {
        let link = self;
        on_link!(link, conn, load(conn, wanted))
    }
}

async fn shards_where_due(conn: &mut PgConnection) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        "SELECT s.shard AS \"shard!\" FROM unnest($1::int[]) AS s (shard), \
         LATERAL (SELECT 1 FROM deliveries d WHERE d.shard = s.shard AND d.lease_token IS NULL AND NOT d.ready \
                  AND d.due_at <= now() ORDER BY d.due_at LIMIT 1) AS due",
        &shards,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn shards_where_ready(conn: &mut PgConnection) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        "SELECT s.shard AS \"shard!\" FROM unnest($1::int[]) AS s (shard), \
         LATERAL (SELECT 1 FROM deliveries d WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready \
                  ORDER BY d.priority, d.project_id, d.next_hop, d.due_at, d.id LIMIT 1) AS ready",
        &shards,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn ripen(conn: &mut PgConnection, shard: Shard, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "WITH due AS MATERIALIZED (SELECT w.shard, w.id FROM deliveries w \
             WHERE w.shard = $1 AND w.lease_token IS NULL AND NOT w.ready AND w.due_at <= now() \
             ORDER BY w.due_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
         UPDATE deliveries d SET ready = true FROM due WHERE d.shard = due.shard AND d.id = due.id",
        shard.value(),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A walk over the index from group to group: each step is one probe.
async fn groups(conn: &mut PgConnection, shards: &[(Shard, Cursors)], limit: i64) -> Result<Vec<Group>, StoreError> {
    let walks = || shards.iter().flat_map(|(shard, cursors)| (0_i16..).zip(cursors).map(move |walk| (shard, walk)));
    let rows = sqlx::query!(
        "SELECT p.shard AS \"shard!\", p.priority AS \"priority!\", g.project_id AS \"project_id!\", g.next_hop AS \"next_hop!\" \
         FROM unnest($1::int[], $2::smallint[], $3::uuid[], $4::text[]) AS p (shard, priority, project_id, next_hop), \
         LATERAL (WITH RECURSIVE walk AS ( \
             (SELECT d.project_id, d.next_hop FROM deliveries d \
              WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready \
                AND (d.project_id, d.next_hop) > (p.project_id, p.next_hop) \
              ORDER BY d.project_id, d.next_hop LIMIT 1) \
             UNION ALL \
             SELECT n.project_id, n.next_hop FROM walk w, LATERAL ( \
                 SELECT d.project_id, d.next_hop FROM deliveries d \
                 WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready \
                   AND (d.project_id, d.next_hop) > (w.project_id, w.next_hop) \
                 ORDER BY d.project_id, d.next_hop LIMIT 1) AS n) \
             SELECT walk.project_id, walk.next_hop FROM walk LIMIT $5) AS g",
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

async fn claim_shares(conn: &mut PgConnection, claim: &Claim<'_>) -> Result<Vec<LeasedDelivery>, StoreError> {
    let groups = || claim.shares.iter().map(|(group, _)| group);
    let rows = sqlx::query!(
        "WITH due AS MATERIALIZED ( \
             SELECT w.shard, w.id FROM unnest($4::int[], $5::smallint[], $6::uuid[], $7::text[], $8::bigint[]) \
                 AS g (shard, priority, project_id, next_hop, share), \
             LATERAL (SELECT q.shard, q.id FROM deliveries q \
                      WHERE q.shard = g.shard AND q.priority = g.priority AND q.project_id = g.project_id \
                        AND q.next_hop = g.next_hop AND q.lease_token IS NULL AND q.ready \
                      ORDER BY q.due_at, q.id LIMIT g.share FOR UPDATE SKIP LOCKED) AS w) \
         UPDATE deliveries d SET lease_owner = $1, lease_token = $2, lease_until = now() + make_interval(secs => $3), \
             attempt = d.attempt + 1 \
         FROM due WHERE d.shard = due.shard AND d.id = due.id \
         RETURNING d.shard, d.id, d.message_id, d.project_id, d.next_hop, d.tls, d.ip_pool, d.size, d.due_at, d.expires_at, d.attempt",
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        &groups().map(|g| g.shard.value()).collect::<Vec<_>>(),
        &groups().map(|g| g.priority).collect::<Vec<_>>(),
        &groups().map(|g| g.project.uuid()).collect::<Vec<_>>(),
        &groups().map(|g| g.next_hop.clone()).collect::<Vec<_>>(),
        &claim.shares.iter().map(|(_, share)| i64::try_from(*share).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let shard = Shard::of_value(row.shard)
                .ok_or_else(|| StoreError::corrupt("deliveries", "shard", &row.shard.to_string()))?;
            Ok(LeasedDelivery {
                lease: Lease { shard, id: row.id, token: claim.token, attempt: row.attempt },
                message: MessageId::from_uuid(row.message_id),
                recipient: RecipientId::from_uuid(row.id),
                project: ProjectId::from_uuid(row.project_id),
                next_hop: row.next_hop,
                demand: Demand {
                    tls: TlsDemand::parse(&row.tls).map_err(|_| StoreError::corrupt("deliveries", "tls", &row.tls))?,
                    ip_pool: row.ip_pool,
                },
                size: usize::try_from(row.size).unwrap_or(0),
                due_at: row.due_at,
                expires_at: row.expires_at,
            })
        })
        .collect()
}

async fn load(conn: &mut PgConnection, wanted: &[Wanted]) -> Result<Vec<Load>, StoreError> {
    let (first, last) = bounds(wanted.iter().map(|w| w.message.uuid()));
    let rows = sqlx::query!(
        "SELECT w.id AS \"id!\", m.sender AS \"sender?\", r.address AS \"address?\", b.raw AS \"raw?\" \
         FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[]) AS w (shard, id, token, message_id) \
         JOIN deliveries d ON d.shard = w.shard AND d.id = w.id AND d.lease_token = w.token \
         LEFT JOIN messages m ON m.shard = w.shard AND m.id = w.message_id AND m.id BETWEEN $5 AND $6 \
         LEFT JOIN recipients r ON r.shard = w.shard AND r.message_id = w.message_id AND r.id = w.id \
             AND r.message_id BETWEEN $5 AND $6 \
         LEFT JOIN message_bodies b ON b.shard = w.shard AND b.message_id = w.message_id AND b.message_id BETWEEN $5 AND $6",
        &wanted.iter().map(|w| w.lease.shard.value()).collect::<Vec<_>>(),
        &wanted.iter().map(|w| w.lease.id).collect::<Vec<_>>(),
        &wanted.iter().map(|w| w.lease.token).collect::<Vec<_>>(),
        &wanted.iter().map(|w| w.message.uuid()).collect::<Vec<_>>(),
        first,
        last,
    )
    .fetch_all(conn)
    .await?;
    let address = |column, text: &str| Address::parse(text).map_err(|_| StoreError::corrupt("messages", column, text));
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let load = match (row.sender, row.address, row.raw) {
            (Some(sender), Some(recipient), Some(raw)) => Load::Ready(Content {
                sender: address("sender", &sender)?,
                recipient: address("address", &recipient)?,
                raw: Arc::new(raw),
            }),
            _ => Load::Gone,
        };
        found.insert(row.id, load);
    }
    Ok(wanted.iter().map(|w| found.remove(&w.lease.id).unwrap_or(Load::LeaseLost)).collect())
}
