//! The outbox of webhooks: jobs are written in the statement that writes their event (accepting, settling), and are
//! a queue under the same law as deliveries.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::floors::Floors;
use super::leases::{Rescued, Spared, Window, lease_statements};
use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, EventId, MessageId, RecipientId};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::domain::webhook::WebhookStatus;
use crate::store::{OwnedConnection, Store, StoreError, decoded, on_connection, on_pool};

lease_statements!("webhook_jobs", "");

/// Who claims, how much, and for which endpoints nothing may be claimed.
#[derive(Debug)]
pub struct Claim<'a> {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
    pub limit: usize,
    /// Endpoints that have as many calls under way as they may.
    pub full: &'a [Uuid],
}

/// A webhook call under our lease.
#[derive(Debug, Clone)]
pub struct LeasedJob {
    pub lease: Lease,
    pub endpoint: EndpointId,
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

    /// Writes what a call led to; `false` when the lease was no longer ours.
    pub async fn settle_job(&self, settlement: &JobSettlement, disable_after: Duration) -> Result<bool, StoreError> {
        on_pool!(self, "webhook_jobs.settle", conn, settle(conn, settlement, disable_after))
    }
}

impl OwnedConnection {
    /// The shards that have a job due: one index probe each.
    pub async fn shards_with_due_jobs(&mut self) -> Result<Vec<Shard>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.find_due", conn, shards_where_due(conn, now))
    }

    pub async fn claim_jobs(&mut self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<LeasedJob>, StoreError> {
        let now = self.store.now();
        on_connection!(self, "webhook_jobs.claim", conn, claim_due(conn, shard, claim, now))
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
    claim: &Claim<'_>,
    now: Timestamp,
) -> Result<Vec<LeasedJob>, StoreError> {
    let rows = sqlx::query!(
        r#"
        UPDATE webhook_jobs j SET lease_owner = $3, lease_token = $4, lease_until = $7::timestamptz + make_interval(secs => $5),
            attempt = j.attempt + 1
        WHERE j.shard = $1 AND j.id IN (
            SELECT d.id FROM webhook_jobs d
            WHERE d.shard = $1 AND d.lease_token IS NULL AND d.due_at <= $7 AND d.endpoint_id <> ALL ($6)
            ORDER BY d.due_at, d.id LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING j.id, j.endpoint_id, j.message_id, j.event_id, j.attempt, j.rescued
        "#,
        shard.value(),
        i64::try_from(claim.limit).unwrap_or(i64::MAX),
        claim.owner,
        claim.token,
        claim.span.as_secs_f64(),
        claim.full,
        now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LeasedJob {
            lease: Lease { shard, id: row.id, token: claim.token, attempt: row.attempt },
            endpoint: EndpointId::from_uuid(row.endpoint_id),
            message: MessageId::from_uuid(row.message_id),
            event: EventId::from_uuid(row.event_id),
            rescued: i32::from(row.rescued),
        })
        .collect())
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
    settlement: &JobSettlement,
    disable_after: Duration,
) -> Result<bool, StoreError> {
    let lease = settlement.job.lease;
    let mut tx = conn.begin().await?;
    let ours = if let JobNext::Due(at) = settlement.next {
        sqlx::query!(
            r#"
            UPDATE webhook_jobs SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = $4
            WHERE shard = $1 AND id = $2 AND lease_token IS NOT DISTINCT FROM $3
            "#,
            lease.shard.value(),
            lease.id,
            lease.token,
            at,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected()
            == 1
    } else {
        let removed = sqlx::query!(
            "DELETE FROM webhook_jobs WHERE shard = $1 AND id = $2 AND lease_token IS NOT DISTINCT FROM $3",
            lease.shard.value(),
            lease.id,
            lease.token,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if removed == 1 {
            record(&mut tx, settlement).await?;
        }
        removed == 1
    };
    if ours {
        record_endpoint(&mut tx, settlement, disable_after).await?;
    }
    tx.commit().await?;
    Ok(ours)
}

/// Keeps what became of a job that leaves the queue.
async fn record(conn: &mut PgConnection, settlement: &JobSettlement) -> Result<(), StoreError> {
    let job = &settlement.job;
    sqlx::query!(
        r#"
        INSERT INTO webhook_deliveries (shard, message_id, id, endpoint_id, event_id, status, attempts, response_code, detail,
            settled_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING
        "#,
        job.lease.shard.value(),
        job.message.uuid(),
        job.lease.id,
        job.endpoint.uuid(),
        job.event.uuid(),
        if settlement.next == JobNext::Succeeded { WebhookStatus::Succeeded } else { WebhookStatus::Failed }.name(),
        job.lease.attempt,
        settlement.response_code.and_then(|code| i16::try_from(code).ok()),
        settlement.detail,
        settlement.finished_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes since when an endpoint fails. Writes only when that changes.
async fn record_endpoint(
    conn: &mut PgConnection,
    settlement: &JobSettlement,
    disable_after: Duration,
) -> Result<(), StoreError> {
    let endpoint = settlement.job.endpoint.uuid();
    if settlement.next == JobNext::Succeeded {
        sqlx::query!(
            "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL",
            endpoint,
        )
        .execute(conn)
        .await?;
        return Ok(());
    }
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
