//! What endpoints are being told: jobs that the feeder made of events ([`webhook_feed`](super::webhook_feed)), a queue under the
//! same law as deliveries.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::floors::Floors;
use super::leases::{Rescued, Spared, Window, lease_statements};
use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, EventId, MessageId, ProjectId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::domain::webhook::WebhookStatus;
use crate::store::{OwnedConnection, Store, StoreError, decoded, on_connection, on_pool};

lease_statements!("webhook_jobs", "");

/// Who claims, how much, and for which endpoints nothing may be claimed.
#[derive(Debug)]
pub struct Claim {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    pub limit: usize,
    /// Most jobs of one endpoint.
    pub each: usize,
    /// Endpoints, and projects, that have as many calls under way as they may.
    pub full: Vec<EndpointId>,
    pub full_projects: Vec<ProjectId>,
}

/// A webhook call under our lease.
#[derive(Debug, Clone)]
pub struct LeasedJob {
    pub lease: Lease,
    pub endpoint: EndpointId,
    /// Whose the endpoint is; nobody's, if it is gone.
    pub project: ProjectId,
    pub message: MessageId,
    pub event: EventId,
    /// Calls of which nobody knows how they ended: they use up no retry.
    pub rescued: i32,
}

/// What a webhook call sends, and where.
#[derive(Debug)]
pub struct LoadedJob {
    pub url: String,
    pub secret: Vec<u8>,
    pub enabled: bool,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
    pub recipient: RecipientId,
    pub mode: Mode,
    pub email: String,
    pub sequence: i32,
    pub tags: serde_json::Value,
    pub metadata: serde_json::Value,
    pub data: serde_json::Value,
}

/// Where a job goes after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobNext {
    Succeeded,
    Due(Timestamp),
    /// Given up: the schedule ended, or the endpoint is gone.
    Failed,
}

/// A call and what follows from it, written in one commit.
#[derive(Debug, Clone)]
pub struct JobSettlement {
    pub job: LeasedJob,
    pub next: JobNext,
    pub response_code: Option<u16>,
    pub detail: String,
    /// The endpoint asked to be left alone, or failed for too long.
    pub disable: Option<&'static str>,
    pub finished_at: Timestamp,
}

impl Store {
    /// Everything that a call needs; `None` when the event or the endpoint is gone.
    pub async fn load_job(&self, job: &LeasedJob) -> Result<Option<LoadedJob>, StoreError> {
        on_pool!(self, "webhook_jobs.load", conn, load(conn, job))
    }

    /// Writes what calls led to; gives the jobs whose lease was still ours.
    pub async fn settle_jobs(
        &self,
        settlements: &[JobSettlement],
        disable_after: Duration,
    ) -> Result<HashSet<Uuid>, StoreError> {
        on_pool!(self, "webhook_jobs.settle", conn, settle(conn, settlements, disable_after))
    }
}

impl OwnedConnection {
    /// The shards that have a job due: one index probe each.
    pub async fn shards_with_due_jobs(&mut self) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.find_due", conn, shards_where_due(conn, now))
    }

    pub async fn claim_jobs(&mut self, shard: Shard, claim: &Claim) -> Result<Vec<LeasedJob>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.claim", conn, claim_due(conn, shard, claim, now))
    }

    /// Gives leases back, as if they had not been claimed.
    pub async fn put_back_jobs(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        let Some(first) = leases.first() else { return Ok(()) };
        on_connection!(self, "webhook_jobs.put_back", conn, put_back(conn, first, leases))
    }

    pub async fn renew_jobs(&mut self, leases: &[Lease], span: Duration) -> Result<Vec<Uuid>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.renew", conn, renew_leases(conn, leases, now, span))
    }

    pub async fn shards_with_expired_jobs(&mut self) -> Result<Vec<(Shard, Timestamp)>, StoreError> {
        let now = self.store.now();
        let floors = Floors::default().for_probe();
        on_connection!(self, "webhook_jobs.find_expired", conn, shards_where_expired(conn, &floors, now))
    }

    /// Makes jobs due again whose lease ran out. Gives their number.
    pub async fn rescue_jobs(&mut self, shard: Shard, window: Window) -> Result<usize, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.rescue", conn, rescue(conn, shard, window, now))
    }
}

async fn rescue(conn: &mut PgConnection, shard: Shard, window: Window, now: Timestamp) -> Result<usize, StoreError> {
    let rescued: Vec<Rescued> = release_expired(conn, shard, window, now, &Spared::default()).await?;
    Ok(rescued.len())
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
    shard: Shard,
    claim: &Claim,
    now: Timestamp,
) -> Result<Vec<LeasedJob>, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH RECURSIVE
        -- Endpoints that are owed something: one index probe each.
        p AS (
            (SELECT d.endpoint_id FROM webhook_jobs d WHERE d.shard = $1 AND d.lease_token IS NULL
             ORDER BY d.endpoint_id LIMIT 1)
            UNION ALL
            SELECT (SELECT d.endpoint_id FROM webhook_jobs d
                    WHERE d.shard = $1 AND d.lease_token IS NULL AND d.endpoint_id > p.endpoint_id
                    ORDER BY d.endpoint_id LIMIT 1)
            FROM p WHERE p.endpoint_id IS NOT NULL),
        turns AS MATERIALIZED (
            SELECT d.id, w.project_id FROM p LEFT JOIN webhook_endpoints w ON w.id = p.endpoint_id, LATERAL (
                SELECT d.id, d.due_at, row_number() OVER (ORDER BY d.due_at) AS turn FROM (
                    SELECT d.id, d.due_at FROM webhook_jobs d
                    WHERE d.shard = $1 AND d.endpoint_id = p.endpoint_id AND d.lease_token IS NULL AND d.due_at <= $7
                    ORDER BY d.due_at LIMIT $8) AS d) AS d
            WHERE p.endpoint_id <> ALL ($6::uuid[]) AND (w.project_id IS NULL OR w.project_id <> ALL ($9::uuid[]))
            ORDER BY d.turn, d.due_at LIMIT $2),
        due AS MATERIALIZED (
            SELECT d.id, t.project_id FROM webhook_jobs d JOIN turns t ON t.id = d.id
            WHERE d.shard = $1 AND d.lease_token IS NULL FOR UPDATE OF d SKIP LOCKED)
        UPDATE webhook_jobs j SET lease_owner = $3, lease_token = $4, lease_until = $7::timestamptz + make_interval(secs => $5),
            attempt = j.attempt + 1
        FROM due WHERE j.shard = $1 AND j.id = due.id
        RETURNING j.id, j.endpoint_id, due.project_id AS "project_id?", j.message_id, j.event_id, j.attempt, j.rescued
        "#,
        shard.value(),
        i64::try_from(claim.limit).unwrap_or(i64::MAX),
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        &claim.full.iter().map(|endpoint| endpoint.uuid()).collect::<Vec<_>>(),
        now,
        i64::try_from(claim.each).unwrap_or(i64::MAX),
        &claim.full_projects.iter().map(|project| project.uuid()).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LeasedJob {
            lease: Lease { shard, id: row.id, token: claim.token, attempt: row.attempt },
            endpoint: EndpointId::from_uuid(row.endpoint_id),
            project: ProjectId::from_uuid(row.project_id.unwrap_or_default()),
            message: MessageId::from_uuid(row.message_id),
            event: EventId::from_uuid(row.event_id),
            rescued: i32::from(row.rescued),
        })
        .collect())
}

/// Those of one claim.
async fn put_back(conn: &mut PgConnection, first: &Lease, leases: &[Lease]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE webhook_jobs SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, attempt = attempt - 1
        WHERE shard = $1 AND id = ANY ($2) AND lease_token IS NOT DISTINCT FROM $3
        "#,
        first.shard.value(),
        &leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        first.token,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn load(conn: &mut PgConnection, job: &LeasedJob) -> Result<Option<LoadedJob>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT w.url, w.secret, w.enabled, e.type AS event_type, e.occurred_at, e.recipient_id, e.sequence, e.data, e.mode,
            r.address, m.tags, m.metadata
        FROM events e
        JOIN webhook_endpoints w ON w.id = $3 AND w.project_id = e.project_id
        JOIN messages m ON m.shard = e.shard AND m.id = e.message_id
        JOIN recipients r ON r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id
        WHERE e.shard = $1 AND e.id = $2
        "#,
        job.lease.shard.value(),
        job.event.uuid(),
        job.endpoint.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let event_type = EventType::parse(&row.event_type);
        Ok(LoadedJob {
            url: row.url,
            secret: row.secret,
            enabled: row.enabled,
            event_type: decoded(event_type, ("events", "type"), job.event, &row.event_type)?,
            occurred_at: row.occurred_at,
            recipient: RecipientId::from_uuid(row.recipient_id),
            mode: decoded(Mode::parse(&row.mode), ("events", "mode"), job.event, &row.mode)?,
            email: row.address,
            sequence: row.sequence,
            tags: row.tags,
            metadata: row.metadata,
            data: row.data,
        })
    })
    .transpose()
}

async fn settle(
    conn: &mut PgConnection,
    settlements: &[JobSettlement],
    disable_after: Duration,
) -> Result<HashSet<Uuid>, StoreError> {
    let mut tx = conn.begin().await?;
    let due = |next: &JobNext| if let JobNext::Due(at) = next { Some(*at) } else { None };
    let status = |next: &JobNext| match next {
        JobNext::Succeeded => WebhookStatus::Succeeded.name(),
        JobNext::Failed | JobNext::Due(_) => WebhookStatus::Failed.name(),
    };
    let leases = || settlements.iter().map(|settlement| settlement.job.lease);
    let jobs = || settlements.iter().map(|settlement| &settlement.job);
    let ours: HashSet<Uuid> = sqlx::query_scalar!(
        r#"
        WITH
        s AS MATERIALIZED (
            SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::uuid[], $7::uuid[],
                $8::text[], $9::int[], $10::smallint[], $11::text[], $12::timestamptz[])
            AS s (shard, id, token, due_at, message_id, endpoint_id, event_id, status, attempts, code, detail, at)),
        gone AS (
            DELETE FROM webhook_jobs j USING s
            WHERE s.due_at IS NULL AND j.shard = s.shard AND j.id = s.id AND j.lease_token IS NOT DISTINCT FROM s.token
            RETURNING s.*),
        back AS (
            UPDATE webhook_jobs j SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = s.due_at FROM s
            WHERE s.due_at IS NOT NULL AND j.shard = s.shard AND j.id = s.id AND j.lease_token IS NOT DISTINCT FROM s.token
            RETURNING s.id),
        -- What became of those that leave the queue.
        records AS (
            INSERT INTO webhook_deliveries (shard, message_id, id, endpoint_id, event_id, status, attempts, response_code,
                detail, settled_at)
            SELECT shard, message_id, id, endpoint_id, event_id, status, attempts, code, detail, at FROM gone
            ON CONFLICT DO NOTHING)
        SELECT id AS "id!" FROM gone UNION ALL SELECT id FROM back
        "#,
        &leases().map(|lease| lease.shard.value()).collect::<Vec<_>>(),
        &leases().map(|lease| lease.id).collect::<Vec<_>>(),
        &leases().map(|lease| lease.token).collect::<Vec<_>>(),
        &settlements.iter().map(|s| due(&s.next)).collect::<Vec<_>>() as &[Option<Timestamp>],
        &jobs().map(|job| job.message.uuid()).collect::<Vec<_>>(),
        &jobs().map(|job| job.endpoint.uuid()).collect::<Vec<_>>(),
        &jobs().map(|job| job.event.uuid()).collect::<Vec<_>>(),
        &settlements.iter().map(|s| status(&s.next)).collect::<Vec<_>>() as &[&str],
        &leases().map(|lease| lease.attempt).collect::<Vec<_>>(),
        &settlements.iter().map(|s| s.response_code.and_then(|c| i16::try_from(c).ok())).collect::<Vec<_>>()
            as &[Option<i16>],
        &settlements.iter().map(|s| s.detail.as_str()).collect::<Vec<_>>() as &[&str],
        &settlements.iter().map(|s| s.finished_at).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    // One that answered and failed within one batch answers.
    let mut endpoints: BTreeMap<Uuid, &JobSettlement> = BTreeMap::new();
    for settlement in settlements.iter().filter(|settlement| ours.contains(&settlement.job.lease.id)) {
        let last = endpoints.entry(settlement.job.endpoint.uuid()).or_insert(settlement);
        if settlement.next == JobNext::Succeeded || settlement.disable.is_some() {
            *last = settlement;
        }
    }
    let answering: Vec<_> =
        endpoints.iter().filter(|(_, s)| s.next == JobNext::Succeeded).map(|(endpoint, _)| *endpoint).collect();
    if !answering.is_empty() {
        sqlx::query!(
            "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ANY ($1) AND failing_since IS NOT NULL",
            &answering,
        )
        .execute(&mut *tx)
        .await?;
    }
    for (endpoint, settlement) in endpoints.into_iter().filter(|(_, s)| s.next != JobNext::Succeeded) {
        record_failure(&mut tx, endpoint, settlement, disable_after).await?;
    }
    tx.commit().await?;
    Ok(ours)
}

/// Notes since when an endpoint fails, and disables it if that is long. Writes only when that changes.
async fn record_failure(
    conn: &mut PgConnection,
    endpoint: Uuid,
    settlement: &JobSettlement,
    disable_after: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL",
        endpoint,
        settlement.finished_at,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        UPDATE webhook_endpoints SET enabled = false, disabled_reason = COALESCE($2, 'failing for too long')
        WHERE id = $1 AND enabled AND ($2::text IS NOT NULL OR failing_since < $3)
        "#,
        endpoint,
        settlement.disable,
        settlement.finished_at - disable_after,
    )
    .execute(conn)
    .await?;
    Ok(())
}
