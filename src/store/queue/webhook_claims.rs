//! From due to leased, for webhook jobs: which shards have something, and what is claimed of them.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::webhook_jobs::LeasedJob;
use crate::domain::clock::Timestamp;
use crate::domain::id::{EndpointId, EventId, MessageId, ProjectId};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::store::{OwnedConnection, StoreError, on_connection};

/// How much there is room for.
#[derive(Debug)]
pub struct Rooms {
    pub named: Vec<(Uuid, usize)>,
    /// For each that is not named.
    pub of_others: usize,
}

impl Rooms {
    /// Whether there may be more than is taken here that found no room.
    fn is_exhausted_by(&self, taken: impl Iterator<Item = Uuid>) -> bool {
        let mut counts: HashMap<Uuid, usize> = HashMap::new();
        for id in taken {
            *counts.entry(id).or_default() += 1;
        }
        let mut named = self.named.iter();
        named.any(|(id, room)| counts.remove(id).unwrap_or_default() >= *room)
            || counts.into_values().any(|count| count >= self.of_others)
    }

    fn ids(&self) -> Vec<Uuid> {
        self.named.iter().map(|(id, _)| *id).collect()
    }

    fn rooms(&self) -> Vec<i64> {
        self.named.iter().map(|(_, room)| count(*room)).collect()
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Who claims, how much, and how much of each endpoint and of each project.
#[derive(Debug)]
pub struct Claim {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    pub limit: usize,
    pub endpoints: Rooms,
    pub projects: Rooms,
}

impl Claim {
    /// Whether something that is due may be left where these were claimed.
    pub fn may_have_left(&self, claimed: &[LeasedJob]) -> bool {
        claimed.len() >= self.limit
            || self.endpoints.is_exhausted_by(claimed.iter().map(|job| job.endpoint.uuid()))
            || self.projects.is_exhausted_by(claimed.iter().map(|job| job.project.uuid()))
    }
}

impl OwnedConnection {
    /// The shards that have a job due: one index probe each.
    pub async fn shards_with_due_jobs(&mut self) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.find_due", conn, shards_where_due(conn, now))
    }

    /// Claims jobs of these shards that are due, the first first. Also says how many endpoints of shards had something that
    /// waits: what the claim cost.
    pub async fn claim_jobs(&mut self, shards: &[Shard], claim: &Claim) -> Result<(Vec<LeasedJob>, usize), StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.claim", conn, claim_due(conn, shards, claim, now))
    }

    /// Gives leases back, as if they had not been claimed.
    pub async fn put_back_jobs(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        on_connection!(self, "webhook_jobs.put_back", conn, put_back(conn, leases))
    }
}

async fn shards_where_due(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<Shard>, StoreError> {
    let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT s.shard AS "shard!" FROM unnest($1::int[]) AS s (shard), LATERAL (
            SELECT 1 FROM webhook_jobs j WHERE j.shard = s.shard AND j.lease_token IS NULL AND j.due_at <= $2
            ORDER BY j.due_at LIMIT 1) AS due
        "#,
        &shards,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(Shard::of_value).collect())
}

async fn claim_due(
    conn: &mut PgConnection,
    shards: &[Shard],
    claim: &Claim,
    now: Timestamp,
) -> Result<(Vec<LeasedJob>, usize), StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH RECURSIVE
        -- Endpoints that are owed something: one index probe each.
        p AS (
            SELECT s.shard, (SELECT d.endpoint_id FROM webhook_jobs d WHERE d.shard = s.shard AND d.lease_token IS NULL
                             ORDER BY d.endpoint_id LIMIT 1) AS endpoint_id
            FROM unnest($1::int[]) AS s (shard)
            UNION ALL
            SELECT p.shard, (SELECT d.endpoint_id FROM webhook_jobs d
                             WHERE d.shard = p.shard AND d.lease_token IS NULL AND d.endpoint_id > p.endpoint_id
                             ORDER BY d.endpoint_id LIMIT 1)
            FROM p WHERE p.endpoint_id IS NOT NULL),
        -- What each has room for, in the order in which it is due.
        turns AS (
            SELECT d.shard, d.id, d.due_at, w.project_id, COALESCE(e.room, $8) AS room,
                row_number() OVER (PARTITION BY p.endpoint_id ORDER BY d.due_at) AS turn
            FROM p LEFT JOIN webhook_endpoints w ON w.id = p.endpoint_id
            LEFT JOIN unnest($6::uuid[], $9::bigint[]) AS e (id, room) ON e.id = p.endpoint_id, LATERAL (
                SELECT d.shard, d.id, d.due_at FROM webhook_jobs d
                WHERE d.shard = p.shard AND d.endpoint_id = p.endpoint_id AND d.lease_token IS NULL AND d.due_at <= $7
                ORDER BY d.due_at LIMIT LEAST(COALESCE(e.room, $8), $2)) AS d),
        shares AS (
            SELECT t.*, row_number() OVER (PARTITION BY t.project_id ORDER BY t.turn, t.due_at) AS of_project
            FROM turns t WHERE t.turn <= t.room),
        chosen AS MATERIALIZED (
            SELECT t.shard, t.id, t.project_id FROM shares t
            LEFT JOIN unnest($10::uuid[], $11::bigint[]) AS r (id, room) ON r.id = t.project_id
            WHERE t.of_project <= COALESCE(r.room, $12)
            ORDER BY t.turn, t.due_at LIMIT $2),
        due AS MATERIALIZED (
            -- Found by key: `IS NULL` would let the planner walk all that waits in a shard.
            SELECT d.shard, d.id, t.project_id FROM webhook_jobs d JOIN chosen t ON t.shard = d.shard AND t.id = d.id
            WHERE d.lease_token IS NOT DISTINCT FROM NULL::uuid FOR UPDATE OF d SKIP LOCKED),
        claimed AS (
            UPDATE webhook_jobs j SET lease_owner = $3, lease_token = $4,
                lease_until = $7::timestamptz + make_interval(secs => $5), attempt = j.attempt + 1
            FROM due WHERE j.shard = due.shard AND j.id = due.id
            RETURNING j.shard, j.id, j.endpoint_id, due.project_id, j.message_id, j.event_id, j.attempt, j.rescued, j.due_at)
        SELECT walked.count AS "walked!", c.shard AS "shard?", c.id AS "id?", c.endpoint_id AS "endpoint_id?", c.project_id AS "project_id?",
            c.message_id AS "message_id?", c.event_id AS "event_id?", c.attempt AS "attempt?", c.rescued AS "rescued?"
        FROM (SELECT count(*) FROM p) AS walked LEFT JOIN claimed c ON true ORDER BY c.due_at
        "#,
        &shards.iter().map(|shard| shard.value()).collect::<Vec<_>>(),
        count(claim.limit),
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        &claim.endpoints.ids(),
        now,
        count(claim.endpoints.of_others),
        &claim.endpoints.rooms(),
        &claim.projects.ids(),
        &claim.projects.rooms(),
        count(claim.projects.of_others),
    )
    .fetch_all(conn)
    .await?;
    let walked = rows.first().map_or(0, |row| usize::try_from(row.walked).unwrap_or_default());
    let claimed = rows.into_iter().filter_map(|row| {
        let shard = Shard::of_value(row.shard?)?;
        Some(LeasedJob {
            lease: Lease { shard, id: row.id?, token: claim.token, attempt: row.attempt? },
            endpoint: EndpointId::from_uuid(row.endpoint_id?),
            project: ProjectId::from_uuid(row.project_id.unwrap_or_default()),
            message: MessageId::from_uuid(row.message_id?),
            event: EventId::from_uuid(row.event_id?),
            rescued: i32::from(row.rescued?),
        })
    });
    Ok((claimed.collect(), walked))
}

/// Those of one claim.
async fn put_back(conn: &mut PgConnection, leases: &[Lease]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE webhook_jobs j SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, attempt = j.attempt - 1
        FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS l (shard, id, token)
        WHERE j.shard = l.shard AND j.id = l.id AND j.lease_token IS NOT DISTINCT FROM l.token
        "#,
        &leases.iter().map(|lease| lease.shard.value()).collect::<Vec<_>>(),
        &leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        &leases.iter().map(|lease| lease.token).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
