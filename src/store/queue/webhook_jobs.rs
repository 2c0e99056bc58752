//! What endpoints are being told: jobs that the feeder made of events ([`webhook_feed`](super::webhook_feed)), a queue under the
//! same law as deliveries.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::floors::Floors;
use super::leases::{Rescued, Spared, Window, lease_statements};
use super::webhook_events::{EndpointInTrouble, insert_endpoint_events};
use super::webhook_feed::NewJob;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, EventId, MessageId, ProjectId};
use crate::domain::lease::Lease;
use crate::domain::shard::Shard;
use crate::domain::webhook::{WebhookStatus, WebhookTry};
use crate::store::{Moment, OwnedConnection, Store, StoreError, on_connection, on_pool};

lease_statements!("webhook_jobs", "");

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
    /// `None`: nothing was called.
    pub made: Option<WebhookTry>,
    /// Why it did not succeed.
    pub detail: String,
    /// The endpoint asked to be left alone, or failed for too long.
    pub disable: Option<&'static str>,
    pub finished_at: Timestamp,
}

impl LeasedJob {
    /// The call itself.
    pub const fn call(&self) -> NewJob {
        NewJob { endpoint: self.endpoint, message: self.message, event: self.event }
    }
}

impl Store {
    /// Writes what calls led to; gives the jobs whose lease was still ours.
    pub async fn settle_jobs(
        &self,
        settlements: &[JobSettlement],
        disable_after: Duration,
        rng: &dyn Rng,
    ) -> Result<HashSet<Uuid>, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "webhook_jobs.settle", conn, settle(conn, settlements, disable_after, at))
    }
}

impl OwnedConnection {
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

async fn settle(
    conn: &mut PgConnection,
    settlements: &[JobSettlement],
    disable_after: Duration,
    at: Moment<'_>,
) -> Result<HashSet<Uuid>, StoreError> {
    // A call that was not made says nothing of the endpoint.
    let is_failing = |settlement: &JobSettlement| settlement.next != JobNext::Succeeded && settlement.made.is_some();
    if !settlements.iter().any(is_failing) {
        return settle_rows(conn, settlements).await;
    }
    let mut tx = conn.begin().await?;
    let ours = settle_rows(&mut tx, settlements).await?;
    // One that answered and failed within one batch answers.
    let mut endpoints: BTreeMap<Uuid, &JobSettlement> = BTreeMap::new();
    for settlement in settlements.iter().filter(|settlement| ours.contains(&settlement.job.lease.id)) {
        let last = endpoints.entry(settlement.job.endpoint.uuid()).or_insert(settlement);
        if settlement.next == JobNext::Succeeded || settlement.disable.is_some() {
            *last = settlement;
        }
    }
    for (endpoint, settlement) in endpoints.into_iter().filter(|(_, settlement)| is_failing(settlement)) {
        record_failure(&mut tx, endpoint, settlement, disable_after, at).await?;
    }
    tx.commit().await?;
    Ok(ours)
}

/// Writes what became of jobs; an endpoint that answered has not been failing.
async fn settle_rows(conn: &mut PgConnection, settlements: &[JobSettlement]) -> Result<HashSet<Uuid>, StoreError> {
    let due = |next: &JobNext| if let JobNext::Due(at) = next { Some(*at) } else { None };
    let status = |next: &JobNext| match next {
        JobNext::Succeeded => WebhookStatus::Succeeded.name(),
        JobNext::Failed | JobNext::Due(_) => WebhookStatus::Failed.name(),
    };
    let code = |made: Option<&WebhookTry>| made?.response_code.and_then(|code| i16::try_from(code).ok());
    let tries = |made: Option<&WebhookTry>| serde_json::to_value(Vec::from_iter(made)).unwrap_or_default();
    let leases = || settlements.iter().map(|settlement| settlement.job.lease);
    let jobs = || settlements.iter().map(|settlement| &settlement.job);
    let ours = sqlx::query_scalar!(
        r#"
        WITH
        s AS MATERIALIZED (
            SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::uuid[], $7::uuid[],
                $8::text[], $9::int[], $10::smallint[], $11::text[], $12::timestamptz[], $13::jsonb[])
            AS s (shard, id, token, due_at, message_id, endpoint_id, event_id, status, attempts, code, detail, at, made)),
        gone AS (
            DELETE FROM webhook_jobs j USING s
            WHERE s.due_at IS NULL AND j.shard = s.shard AND j.id = s.id AND j.lease_token IS NOT DISTINCT FROM s.token
            RETURNING s.*, j.tries || s.made AS tries),
        back AS (
            UPDATE webhook_jobs j SET lease_owner = NULL, lease_token = NULL, lease_until = NULL, due_at = s.due_at,
                -- What was not called was not tried.
                attempt = j.attempt - CASE WHEN s.made = '[]' THEN 1 ELSE 0 END,
                tries = CASE WHEN jsonb_array_length(j.tries) >= 20 THEN j.tries - 0 ELSE j.tries END || s.made
            FROM s
            WHERE s.due_at IS NOT NULL AND j.shard = s.shard AND j.id = s.id AND j.lease_token IS NOT DISTINCT FROM s.token
            RETURNING s.id),
        -- What became of those that leave the queue.
        records AS (
            INSERT INTO webhook_deliveries (shard, message_id, id, endpoint_id, event_id, status, attempts, response_code,
                detail, settled_at, tries)
            SELECT shard, message_id, id, endpoint_id, event_id, status, attempts, code, detail, at, tries FROM gone
            -- It was told again: what came of it now counts.
            ON CONFLICT (shard, message_id, id) DO UPDATE SET status = excluded.status, detail = excluded.detail,
                response_code = excluded.response_code, settled_at = excluded.settled_at,
                attempts = webhook_deliveries.attempts + excluded.attempts,
                tries = jsonb_path_query_array(webhook_deliveries.tries || excluded.tries, '$[last - 19 to last]')),
        answering AS (
            UPDATE webhook_endpoints w SET failing_since = NULL, stalled_at = NULL
            WHERE (w.failing_since IS NOT NULL OR w.stalled_at IS NOT NULL)
              AND w.id IN (SELECT endpoint_id FROM gone WHERE status = 'succeeded'))
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
        &settlements.iter().map(|s| code(s.made.as_ref())).collect::<Vec<_>>() as &[Option<i16>],
        &settlements.iter().map(|s| s.detail.as_str()).collect::<Vec<_>>() as &[&str],
        &settlements.iter().map(|s| s.finished_at).collect::<Vec<_>>(),
        &settlements.iter().map(|s| tries(s.made.as_ref())).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(ours.into_iter().collect())
}

/// Notes since when an endpoint fails, and disables it if that is long. Writes only when that changes.
async fn record_failure(
    conn: &mut PgConnection,
    endpoint: Uuid,
    settlement: &JobSettlement,
    disable_after: Duration,
    at: Moment<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE webhook_endpoints SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL",
        endpoint,
        settlement.finished_at,
    )
    .execute(&mut *conn)
    .await?;
    let disabled = sqlx::query_as!(
        EndpointInTrouble,
        r#"
        UPDATE webhook_endpoints SET enabled = false, disabled_reason = COALESCE($2, 'failing for too long')
        WHERE id = $1 AND enabled AND ($2::text IS NOT NULL OR failing_since < $3)
        RETURNING id, project_id, mode, url, failing_since, disabled_reason AS "reason!"
        "#,
        endpoint,
        settlement.disable,
        settlement.finished_at - disable_after,
    )
    .fetch_all(&mut *conn)
    .await?;
    insert_endpoint_events(conn, EventType::EndpointDisabled, &disabled, at).await
}
