//! From due to leased: what is ready in a shard and whose it is, the claim itself, and the bytes of what was
//! claimed. Every statement's cost follows from what it gives, never from what waits.

use std::collections::{BTreeMap, HashMap};
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

/// Where the walk over the groups of one priority in one shard goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// Behind this project; `None`: at the first.
    pub behind: Option<ProjectId>,
    /// Within these projects, behind a next hop of each.
    pub hops: BTreeMap<ProjectId, String>,
}

impl Walk {
    /// Whether it begins at the beginning, everywhere.
    pub fn is_fresh(&self) -> bool {
        self.behind.is_none() && self.hops.is_empty()
    }
}

/// The walks of one shard, by priority.
pub type Walks = [Walk; 3];

/// How far one look goes in each walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Projects.
    pub projects: usize,
    /// Next hops of each.
    pub hops: usize,
}

/// A project that a walk met, and one of its next hops, if it has one behind where the walk within it stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub shard: Shard,
    pub priority: i16,
    pub project: ProjectId,
    pub next_hop: Option<String>,
}

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
        let floors = self.floors.due.for_probe();
        let due = on_connection!(self, "deliveries.find_ready", conn, shards_where_due(conn, &floors, now))?;
        let visible = self.all_visible();
        self.floors.due.learn(&due, visible);
        let floors = self.floors.ready.for_probe();
        for (shard, first) in &due {
            on_connection!(self, "deliveries.find_ready", conn, mark_ready(conn, *shard, limit, *first, now))?;
            self.floors.ready.lower(*shard, *first);
        }
        // Not those of the probe: what was just made ready lies behind them.
        let floors: Vec<_> =
            Shard::all().zip(floors).map(|(shard, floor)| floor.min(self.floors.ready.of(shard))).collect();
        let ready = on_connection!(self, "deliveries.find_ready", conn, shards_where_ready(conn, &floors))?;
        self.floors.ready.learn(&ready, visible);
        Ok(ready.into_iter().map(|(shard, _)| shard).collect())
    }

    /// Who has something ready: of each priority in each shard the next projects and the next of their next hops, in order, from where
    /// the shard's walks stopped. Projects in `passed` are passed by, with one probe each.
    pub async fn ready_groups(
        &mut self,
        shards: &[(Shard, Walks)],
        passed: &[ProjectId],
        reach: Reach,
    ) -> Result<Vec<Stop>, StoreError> {
        let floors: Vec<_> = shards.iter().map(|(shard, _)| self.floors.ready.of(*shard)).collect();
        on_connection!(self, "deliveries.list_groups", conn, groups(conn, shards, &floors, passed, reach))
    }

    /// Claims each group's share, oldest first.
    pub async fn claim_deliveries(&mut self, claim: &Claim<'_>) -> Result<Vec<LeasedDelivery>, StoreError> {
        let now = self.store.now();
        let floors: Vec<_> = claim.shares.iter().map(|(group, _)| self.floors.ready.of(group.shard)).collect();
        on_connection!(self, "deliveries.claim", conn, claim_shares(conn, claim, &floors, now))
    }

    /// The envelopes and bytes of deliveries whose leases are still ours, in the order asked for.
    pub async fn load_deliveries(&mut self, wanted: &[ContentRequest]) -> Result<Vec<ContentLoad>, StoreError> {
        on_connection!(self, "deliveries.load", conn, load(conn, wanted))
    }
}

/// The shards in which something's time has come, and the first such instant.
async fn shards_where_due(
    conn: &mut PgConnection,
    floors: &[Timestamp],
    now: Timestamp,
) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.shard AS "shard!", due.due_at FROM unnest($1::int[], $2::timestamptz[]) AS s (shard, floor), LATERAL (
            SELECT d.due_at FROM deliveries d
            WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready = false AND d.due_at >= s.floor AND d.due_at <= $3
            ORDER BY d.due_at LIMIT 1) AS due
        "#,
        &shards,
        floors,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((Shard::of_value(row.shard)?, row.due_at))).collect())
}

/// The shards that have something ready, and since when the first of it is due.
async fn shards_where_ready(
    conn: &mut PgConnection,
    floors: &[Timestamp],
) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    // `$3` and not the word: the index in the order of claims would do too, and has no floor.
    let rows = sqlx::query!(
        r#"
        SELECT s.shard AS "shard!", ready.due_at FROM unnest($1::int[], $2::timestamptz[]) AS s (shard, floor), LATERAL (
            SELECT d.due_at FROM deliveries d
            WHERE d.shard = s.shard AND d.lease_token IS NULL AND d.ready = $3 AND d.due_at >= s.floor
            ORDER BY d.due_at LIMIT 1) AS ready
        "#,
        &shards,
        floors,
        true,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((Shard::of_value(row.shard)?, row.due_at))).collect())
}

async fn mark_ready(
    conn: &mut PgConnection,
    shard: Shard,
    limit: i64,
    first: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        WITH due AS MATERIALIZED (
            SELECT w.shard, w.id FROM deliveries w
            WHERE w.shard = $1 AND w.lease_token IS NULL AND w.ready = false AND w.due_at >= $4 AND w.due_at <= $3
            ORDER BY w.due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        UPDATE deliveries d SET ready = true FROM due WHERE d.shard = due.shard AND d.id = due.id
        "#,
        shard.value(),
        limit,
        now,
        first,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A walk over the index from project to project, and within each from next hop to next hop: each step is one probe.
async fn groups(
    conn: &mut PgConnection,
    shards: &[(Shard, Walks)],
    floors: &[Timestamp],
    passed: &[ProjectId],
    reach: Reach,
) -> Result<Vec<Stop>, StoreError> {
    let walks = || shards.iter().flat_map(|(shard, walks)| (0_i16..).zip(walks).map(move |walk| (shard, walk)));
    let floors = shards.iter().zip(floors).flat_map(|((_, walks), floor)| walks.iter().map(|_| *floor));
    let behind = |walk: &Walk| walk.behind.map_or(Uuid::nil(), ProjectId::uuid);
    let hops = |walk: &Walk| {
        let hops = walk.hops.iter().map(|(project, hop)| (project.uuid().to_string(), hop.clone().into()));
        serde_json::Value::Object(hops.collect())
    };
    let bound = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = sqlx::query!(
        r#"
        SELECT p.shard AS "shard!", p.priority AS "priority!", g.project_id AS "project_id!", g.next_hop AS "next_hop?"
        FROM unnest($1::int[], $2::smallint[], $3::uuid[], $4::jsonb[], $5::timestamptz[])
            AS p (shard, priority, behind, hops, floor),
        LATERAL (
            WITH RECURSIVE projects AS (
                (SELECT d.project_id FROM deliveries d
                 WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready
                   AND d.project_id > p.behind AND d.due_at >= p.floor
                 ORDER BY d.project_id LIMIT 1)
                UNION ALL
                SELECT n.project_id FROM projects w, LATERAL (
                    SELECT d.project_id FROM deliveries d
                    WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready
                      AND d.project_id > w.project_id AND d.due_at >= p.floor
                    ORDER BY d.project_id LIMIT 1) AS n)
            SELECT o.project_id, h.next_hop FROM (
                SELECT w.project_id FROM projects w WHERE w.project_id <> ALL ($6::uuid[]) LIMIT $7) AS o
            LEFT JOIN LATERAL (
                WITH RECURSIVE hops AS (
                    (SELECT d.next_hop FROM deliveries d
                     WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready
                       AND d.project_id = o.project_id AND d.next_hop > COALESCE(p.hops ->> o.project_id::text, '')
                       AND d.due_at >= p.floor
                     ORDER BY d.next_hop LIMIT 1)
                    UNION ALL
                    SELECT n.next_hop FROM hops w, LATERAL (
                        SELECT d.next_hop FROM deliveries d
                        WHERE d.shard = p.shard AND d.priority = p.priority AND d.lease_token IS NULL AND d.ready
                          AND d.project_id = o.project_id AND d.next_hop > w.next_hop AND d.due_at >= p.floor
                        ORDER BY d.next_hop LIMIT 1) AS n)
                SELECT hops.next_hop FROM hops LIMIT $8) AS h ON true) AS g
        "#,
        &walks().map(|(shard, _)| shard.value()).collect::<Vec<_>>(),
        &walks().map(|(_, (priority, _))| priority).collect::<Vec<_>>(),
        &walks().map(|(_, (_, walk))| behind(walk)).collect::<Vec<_>>(),
        &walks().map(|(_, (_, walk))| hops(walk)).collect::<Vec<_>>(),
        &floors.collect::<Vec<_>>(),
        &passed.iter().map(|project| project.uuid()).collect::<Vec<_>>(),
        bound(reach.projects),
        bound(reach.hops),
    )
    .fetch_all(conn)
    .await?;
    let stop = |shard, priority, project_id, next_hop| {
        Some(Stop { shard: Shard::of_value(shard)?, priority, project: ProjectId::from_uuid(project_id), next_hop })
    };
    Ok(rows.into_iter().filter_map(|row| stop(row.shard, row.priority, row.project_id, row.next_hop)).collect())
}

async fn claim_shares(
    conn: &mut PgConnection,
    claim: &Claim<'_>,
    floors: &[Timestamp],
    now: Timestamp,
) -> Result<Vec<LeasedDelivery>, StoreError> {
    let groups = || claim.shares.iter().map(|(group, _)| group);
    let rows = sqlx::query_as!(
        ClaimedRow,
        r#"
        WITH due AS MATERIALIZED (
            -- Each group's share, oldest first.
            SELECT w.shard, w.id
            FROM unnest($4::int[], $5::smallint[], $6::uuid[], $7::text[], $8::bigint[], $10::timestamptz[])
                AS g (shard, priority, project_id, next_hop, share, floor),
            LATERAL (
                SELECT q.shard, q.id FROM deliveries q
                WHERE q.shard = g.shard AND q.priority = g.priority AND q.project_id = g.project_id
                  AND q.next_hop = g.next_hop AND q.lease_token IS NULL AND q.ready AND q.due_at >= g.floor
                ORDER BY q.due_at, q.id LIMIT g.share FOR UPDATE SKIP LOCKED) AS w)
        UPDATE deliveries d SET lease_owner = $1, lease_token = $2, lease_until = $9::timestamptz + make_interval(secs => $3),
            attempt = d.attempt + 1, held = NULL
        FROM due WHERE d.shard = due.shard AND d.id = due.id
        RETURNING d.shard, d.id, d.message_id, d.project_id, d.priority, d.next_hop, d.tls, d.ip_pool, d.size, d.due_at, d.expires_at,
            d.attempt, d.rescued, d.uncertain, d.charged, d.as_of, d.lease_token
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
        floors,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(ClaimedRow::decode).collect()
}

/// A row of `deliveries` under a lease.
pub(super) struct ClaimedRow {
    pub(super) shard: i32,
    pub(super) id: Uuid,
    pub(super) message_id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) priority: i16,
    pub(super) next_hop: String,
    pub(super) tls: String,
    pub(super) ip_pool: Option<String>,
    pub(super) size: i32,
    pub(super) due_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) attempt: i32,
    pub(super) rescued: i16,
    pub(super) uncertain: i16,
    pub(super) charged: bool,
    pub(super) as_of: Option<Timestamp>,
    pub(super) lease_token: Option<Uuid>,
}

impl ClaimedRow {
    pub(super) fn decode(self) -> Result<LeasedDelivery, StoreError> {
        let corrupt = |column, value: &dyn std::fmt::Display| StoreError::corrupt("deliveries", column, self.id, value);
        let shard = Shard::of_value(self.shard).ok_or_else(|| corrupt("shard", &self.shard))?;
        let token = self.lease_token.ok_or_else(|| corrupt("lease_token", &"NULL"))?;
        let tls = TlsDemand::parse(&self.tls).map_err(|_| corrupt("tls", &self.tls))?;
        Ok(LeasedDelivery {
            lease: Lease { shard, id: self.id, token, attempt: self.attempt },
            message: MessageId::from_uuid(self.message_id),
            recipient: RecipientId::from_uuid(self.id),
            project: ProjectId::from_uuid(self.project_id),
            priority: self.priority,
            next_hop: self.next_hop,
            demand: Demand { tls, ip_pool: self.ip_pool },
            size: usize::try_from(self.size).unwrap_or(0),
            due_at: self.due_at,
            expires_at: self.expires_at,
            rescued: i32::from(self.rescued),
            uncertain: i32::from(self.uncertain),
            charged: self.charged,
            as_of: self.as_of,
        })
    }
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
