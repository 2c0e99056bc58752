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
use crate::domain::webhook::{Secret, WebhookStatus, WebhookTry};
use crate::store::mail::log::{ProjectEvent, ProjectEventRow};
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

/// What a webhook call sends, and where.
#[derive(Debug)]
pub struct LoadedJob {
    pub url: String,
    /// Those that sign: the endpoint's, and those that were replaced a short while ago.
    pub secrets: Vec<Secret>,
    pub enabled: bool,
    pub event: ProjectEvent,
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
    /// Everything that a call needs; `None` when the event, its message or the endpoint is gone.
    pub async fn load_job(&self, call: NewJob) -> Result<Option<LoadedJob>, StoreError> {
        let now = self.now();
        on_pool!(self, "webhook_jobs.load", conn, load(conn, call, now))
    }

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

async fn load(conn: &mut PgConnection, call: NewJob, now: Timestamp) -> Result<Option<LoadedJob>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT w.url, w.enabled, w.secret, w.signing_seed, o.secrets AS old_secrets, o.seeds AS old_seeds,
            e.era, e.xid::text AS "xid!", e.recipient_id, e.mode, e.sequence, e.type AS event_type, e.occurred_at, e.data,
            r.address AS "address?", r.kind AS "kind?", r.position AS "position?", m.author AS "author?",
            m.subject AS "subject?", m.tags AS "tags?", m.metadata AS "metadata?", m.idempotency_key
        FROM webhook_endpoints w
        JOIN events e ON e.project_id = w.project_id AND e.shard = $2 AND e.message_id = $3 AND e.id = $4
        LEFT JOIN messages m ON m.shard = e.shard AND m.id = e.message_id
        LEFT JOIN recipients r ON r.shard = e.shard AND r.message_id = e.message_id AND r.id = e.recipient_id
        LEFT JOIN LATERAL (
            SELECT array_agg(secret ORDER BY until DESC) AS secrets, array_agg(signing_seed ORDER BY until DESC) AS seeds
            FROM webhook_old_secrets WHERE endpoint_id = w.id AND until > $5) AS o ON true
        WHERE w.id = $1
        "#,
        call.endpoint.uuid(),
        call.event.shard().value(),
        call.message.uuid(),
        call.event.uuid(),
        now,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let event = ProjectEventRow {
        id: call.event.uuid(),
        era: row.era,
        xid: row.xid,
        message_id: call.message.uuid(),
        recipient_id: row.recipient_id,
        mode: row.mode,
        sequence: row.sequence,
        event_type: row.event_type,
        occurred_at: row.occurred_at,
        data: row.data,
        address: row.address,
        kind: row.kind,
        position: row.position,
        author: row.author,
        subject: row.subject,
        tags: row.tags,
        metadata: row.metadata,
        idempotency_key: row.idempotency_key,
    };
    let event = event.decode()?;
    if !event.is_whole() {
        return Ok(None);
    }
    let old = row.old_secrets.into_iter().flatten().zip(row.old_seeds.into_iter().flatten());
    let secrets = std::iter::once((row.secret, row.signing_seed)).chain(old);
    let secrets = secrets.map(|(hmac, seed)| Secret { hmac, seed }).collect();
    Ok(Some(LoadedJob { url: row.url, secrets, enabled: row.enabled, event }))
}

async fn settle(
    conn: &mut PgConnection,
    settlements: &[JobSettlement],
    disable_after: Duration,
    at: Moment<'_>,
) -> Result<HashSet<Uuid>, StoreError> {
    let mut tx = conn.begin().await?;
    let due = |next: &JobNext| if let JobNext::Due(at) = next { Some(*at) } else { None };
    let status = |next: &JobNext| match next {
        JobNext::Succeeded => WebhookStatus::Succeeded.name(),
        JobNext::Failed | JobNext::Due(_) => WebhookStatus::Failed.name(),
    };
    let code = |made: Option<&WebhookTry>| made?.response_code.and_then(|code| i16::try_from(code).ok());
    let tries = |made: Option<&WebhookTry>| serde_json::to_value(Vec::from_iter(made)).unwrap_or_default();
    let leases = || settlements.iter().map(|settlement| settlement.job.lease);
    let jobs = || settlements.iter().map(|settlement| &settlement.job);
    let ours: HashSet<Uuid> = sqlx::query_scalar!(
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
                tries = jsonb_path_query_array(webhook_deliveries.tries || excluded.tries, '$[last - 19 to last]'))
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
            r#"
            UPDATE webhook_endpoints SET failing_since = NULL, stalled_at = NULL
            WHERE id = ANY ($1) AND (failing_since IS NOT NULL OR stalled_at IS NOT NULL)
            "#,
            &answering,
        )
        .execute(&mut *tx)
        .await?;
    }
    // A call that was not made says nothing of the endpoint.
    let failing = endpoints.into_iter().filter(|(_, s)| s.next != JobNext::Succeeded && s.made.is_some());
    for (endpoint, settlement) in failing {
        record_failure(&mut tx, endpoint, settlement, disable_after, at).await?;
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
