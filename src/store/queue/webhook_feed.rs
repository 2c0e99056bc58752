//! From the event log to webhook jobs: each endpoint has a position, and what is behind it is turned into jobs, a bounded number
//! at a time. One process does it at a time.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::id::{EndpointId, EventId, MessageId, ProjectId};
use crate::domain::lease::Lease;
use crate::domain::log::LogCursor;
use crate::domain::shard::Shard;
use crate::domain::webhook::{EndpointMode, PayloadForm};
use crate::store::mail::log::Unseen;
use crate::store::{Store, StoreError, decoded, on_pool};

/// What an endpoint hears of.
#[derive(Debug, Clone)]
pub struct Interest {
    pub mode: EndpointMode,
    /// `*`: all.
    pub events: Vec<String>,
    /// Empty: all.
    pub tags: Vec<String>,
    /// What has no word in it is not told.
    pub form: PayloadForm,
}

impl Interest {
    pub(super) fn decode(
        (id, mode, form): (Uuid, &str, &str),
        events: Vec<String>,
        tags: Vec<String>,
    ) -> Result<Self, StoreError> {
        let mode = decoded(EndpointMode::parse(mode), ("webhook_endpoints", "mode"), id, mode)?;
        let form = decoded(PayloadForm::parse(form), ("webhook_endpoints", "form"), id, form)?;
        Ok(Self { mode, events, tags, form })
    }
}

/// An enabled endpoint, and where it stands in the log.
#[derive(Debug, Clone)]
pub struct Feed {
    pub endpoint: EndpointId,
    pub project: ProjectId,
    pub interest: Interest,
    /// The text of a [`LogCursor`], as it is stored.
    pub position: String,
}

impl Feed {
    pub fn cursor(&self) -> Result<LogCursor, StoreError> {
        let corrupt = |_| StoreError::corrupt("webhook_positions", "position", self.endpoint, &self.position);
        self.position.parse().map_err(corrupt)
    }
}

/// A call that an endpoint is owed.
#[derive(Debug, Clone, Copy)]
pub struct NewJob {
    pub endpoint: EndpointId,
    pub message: MessageId,
    pub event: EventId,
}

/// Whose lease jobs are born under that begin at once.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    pub owner: Uuid,
    pub token: Uuid,
    pub span: Duration,
}

/// What jobs an endpoint has that are in nobody's hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Owed {
    /// Counted up to a bound.
    pub count: usize,
    /// Those that are due.
    pub waiting: usize,
}

impl Store {
    /// Whether this process is the one that turns events into jobs, for `span` from now on.
    pub async fn hold_feeder(&self, owner: Uuid, span: Duration) -> Result<bool, StoreError> {
        let now = self.now();
        let held = on_pool!(
            self,
            "webhook_feeder.hold",
            conn,
            sqlx::query!(
                "UPDATE webhook_feeder SET owner = $1, until = $3 WHERE owner = $1 OR until <= $2",
                owner,
                now,
                now + span,
            )
            .execute(conn)
        )?;
        Ok(held.rows_affected() == 1)
    }

    /// Gives a position to endpoints that have none: a process of an earlier version made them. They hear of what is committed
    /// from now on; what was before, that process wrote jobs for.
    pub async fn adopt_endpoints(&self) -> Result<(), StoreError> {
        let (era, now) = (self.era(), self.now());
        on_pool!(
            self,
            "webhook_positions.adopt",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO webhook_positions (endpoint_id, project_id, position, fed_until)
                SELECT w.id, w.project_id, $1::smallint || '.' || translate(pg_current_snapshot()::text, ':,', '-_') || '~', $2
                FROM webhook_endpoints w WHERE NOT EXISTS (SELECT 1 FROM webhook_positions p WHERE p.endpoint_id = w.id)
                ON CONFLICT DO NOTHING
                "#,
                era,
                now,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Lets another process turn events into jobs.
    pub async fn leave_feeder(&self, owner: Uuid) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "webhook_feeder.leave",
            conn,
            sqlx::query!("UPDATE webhook_feeder SET until = $2 WHERE owner = $1", owner, now).execute(conn)
        )?;
        Ok(())
    }

    /// The endpoints that are enabled.
    pub async fn list_feeds(&self) -> Result<Vec<Feed>, StoreError> {
        let rows = on_pool!(
            self,
            "webhook_positions.list",
            conn,
            sqlx::query!(
                r#"
                SELECT p.endpoint_id, p.project_id, p.position, w.mode, w.events, w.tags, w.form
                FROM webhook_positions p JOIN webhook_endpoints w ON w.id = p.endpoint_id WHERE w.enabled
                ORDER BY p.endpoint_id
                "#,
            )
            .fetch_all(conn)
        )?;
        let feeds = rows.into_iter().map(|row| {
            Ok(Feed {
                endpoint: EndpointId::from_uuid(row.endpoint_id),
                project: ProjectId::from_uuid(row.project_id),
                interest: Interest::decode((row.endpoint_id, &row.mode, &row.form), row.events, row.tags)?,
                position: row.position,
            })
        });
        feeds.collect()
    }

    /// Which of these positions of projects have events behind them in these shards: an index probe for each and shard.
    pub async fn with_news(
        &self,
        positions: &[(ProjectId, LogCursor)],
        shards: &[Shard],
    ) -> Result<Vec<usize>, StoreError> {
        let unseen = || positions.iter().map(|(_, cursor)| Unseen::of(cursor));
        let found = on_pool!(
            self,
            "events.find_news",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT p.n AS "n!" FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[])
                    WITH ORDINALITY AS p (project_id, era, since, under_way, n)
                WHERE EXISTS (SELECT 1 FROM unnest($5::int[]) AS s (shard), LATERAL (
                    SELECT 1 FROM events e
                    WHERE e.shard = s.shard AND e.project_id = p.project_id AND (e.era, e.xid) >= (p.era, p.since::xid8)
                    LIMIT 1) AS began_later)
                OR EXISTS (SELECT 1 FROM unnest($5::int[]) AS s (shard), LATERAL (
                    SELECT 1 FROM events e
                    WHERE e.shard = s.shard AND e.project_id = p.project_id AND e.era = p.era
                      AND e.xid = ANY (p.under_way::xid8[])
                    LIMIT 1) AS was_under_way)
                "#,
                &positions.iter().map(|(project, _)| project.uuid()).collect::<Vec<_>>(),
                &positions.iter().map(|(_, at)| at.seen.as_ref().map_or(0, |seen| seen.era)).collect::<Vec<i16>>(),
                &unseen().map(|unseen| unseen.from).collect::<Vec<_>>(),
                // An array of arrays would have to be square: each list travels as its text.
                &unseen().map(|unseen| format!("{{{}}}", unseen.under_way.join(","))).collect::<Vec<_>>(),
                &shards.iter().map(|shard| shard.value()).collect::<Vec<_>>(),
            )
            .fetch_all(conn)
        )?;
        Ok(found.into_iter().filter_map(|n| usize::try_from(n - 1).ok()).collect())
    }

    /// What calls each of these endpoints is owed that are in nobody's hand, counted up to `most`: an index probe in each shard.
    pub async fn count_jobs(
        &self,
        endpoints: &[EndpointId],
        most: i64,
    ) -> Result<HashMap<EndpointId, Owed>, StoreError> {
        let now = self.now();
        let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
        let rows = on_pool!(
            self,
            "webhook_jobs.count_of_endpoints",
            conn,
            sqlx::query!(
                r#"
                SELECT e.id AS "id!", c.count AS "count!", c.waiting AS "waiting!"
                FROM unnest($1::uuid[]) AS e (id), LATERAL (
                    SELECT count(*), count(*) FILTER (WHERE j.due_at <= $3) AS waiting FROM (
                        SELECT j.due_at FROM unnest($4::int[]) AS s (shard), LATERAL (
                            SELECT j.due_at FROM webhook_jobs j
                            WHERE j.shard = s.shard AND j.endpoint_id = e.id AND j.lease_token IS NULL
                            ORDER BY j.due_at LIMIT $2) AS j
                        LIMIT $2) AS j) AS c
                "#,
                &endpoints.iter().map(|endpoint| endpoint.uuid()).collect::<Vec<_>>(),
                most,
                now,
                &shards,
            )
            .fetch_all(conn)
        )?;
        let count = |count: i64| usize::try_from(count).unwrap_or_default();
        let owed = rows
            .into_iter()
            .map(|row| (EndpointId::from_uuid(row.id), Owed { count: count(row.count), waiting: count(row.waiting) }));
        Ok(owed.collect())
    }

    /// Writes jobs of events that are told again, `only_failed`: those that were given up; due in their order. Those that are
    /// there already are due at once. Gives how many were written or made due.
    pub async fn retell_jobs(&self, jobs: &[NewJob], only_failed: bool) -> Result<u64, StoreError> {
        let now = self.now();
        let done = on_pool!(
            self,
            "webhook_jobs.retell",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at)
                SELECT j.shard, j.id, j.endpoint_id, j.message_id, j.event_id,
                    $5::timestamptz - (cardinality($1::int[]) - j.n) * interval '1 microsecond'
                FROM (
                    SELECT n.*, md5(n.event_id::text || n.endpoint_id::text)::uuid AS id
                    FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[]) WITH ORDINALITY
                        AS n (shard, endpoint_id, message_id, event_id, n)) AS j
                WHERE NOT $6 OR EXISTS (
                    SELECT 1 FROM webhook_deliveries d
                    WHERE d.shard = j.shard AND d.message_id = j.message_id AND d.id = j.id AND d.status = 'failed')
                ON CONFLICT (shard, id) DO UPDATE SET due_at = LEAST(webhook_jobs.due_at, excluded.due_at)
                WHERE webhook_jobs.lease_token IS NULL
                "#,
                &jobs.iter().map(|job| job.event.shard().value()).collect::<Vec<_>>(),
                &jobs.iter().map(|job| job.endpoint.uuid()).collect::<Vec<_>>(),
                &jobs.iter().map(|job| job.message.uuid()).collect::<Vec<_>>(),
                &jobs.iter().map(|job| job.event.uuid()).collect::<Vec<_>>(),
                now,
                only_failed,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }

    /// Writes jobs of events that are told for the first time, those that are marked under a lease, and the others due in their
    /// order. Gives the leases of those that are: what is there already stays as it is.
    pub async fn bear_jobs(
        &self,
        jobs: &[(NewJob, bool)],
        birth: Birth,
    ) -> Result<HashMap<(EndpointId, EventId), Lease>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "webhook_jobs.bear",
            conn,
            sqlx::query!(
                r#"
                WITH born AS (
                    INSERT INTO webhook_jobs (shard, id, endpoint_id, message_id, event_id, due_at, attempt, lease_owner,
                        lease_token, lease_until)
                    SELECT n.shard, md5(n.event_id::text || n.endpoint_id::text)::uuid, n.endpoint_id, n.message_id, n.event_id,
                        $6::timestamptz - (cardinality($1::int[]) - n.n) * interval '1 microsecond',
                        CASE WHEN n.leased THEN 1 ELSE 0 END, CASE WHEN n.leased THEN $7::uuid END,
                        CASE WHEN n.leased THEN $8::uuid END,
                        CASE WHEN n.leased THEN $6 + make_interval(secs => $9) END
                    FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[]) WITH ORDINALITY
                        AS n (shard, endpoint_id, message_id, event_id, leased, n)
                    ON CONFLICT (shard, id) DO NOTHING
                    RETURNING shard, id, endpoint_id, event_id, lease_token)
                SELECT shard, id, endpoint_id, event_id FROM born WHERE lease_token IS NOT NULL
                "#,
                &jobs.iter().map(|(job, _)| job.event.shard().value()).collect::<Vec<_>>(),
                &jobs.iter().map(|(job, _)| job.endpoint.uuid()).collect::<Vec<_>>(),
                &jobs.iter().map(|(job, _)| job.message.uuid()).collect::<Vec<_>>(),
                &jobs.iter().map(|(job, _)| job.event.uuid()).collect::<Vec<_>>(),
                &jobs.iter().map(|(_, leased)| *leased).collect::<Vec<_>>(),
                now,
                birth.owner,
                birth.token,
                birth.span.as_secs_f64(),
            )
            .fetch_all(conn)
        )?;
        let leases = rows.into_iter().filter_map(|row| {
            let lease = Lease { shard: Shard::of_value(row.shard)?, id: row.id, token: birth.token, attempt: 1 };
            Some(((EndpointId::from_uuid(row.endpoint_id), EventId::from_uuid(row.event_id)), lease))
        });
        Ok(leases.collect())
    }

    /// Notes that all that happened before `fed_until` is behind these endpoints.
    pub async fn note_fed(&self, endpoints: &[EndpointId], fed_until: Timestamp) -> Result<(), StoreError> {
        on_pool!(
            self,
            "webhook_positions.note",
            conn,
            sqlx::query!(
                "UPDATE webhook_positions SET fed_until = $2 WHERE endpoint_id = ANY ($1)",
                &endpoints.iter().map(|endpoint| endpoint.uuid()).collect::<Vec<_>>(),
                fed_until,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Moves endpoints from one position to the next. `fed_until`: all that happened before is behind them.
    pub async fn advance_feeds(
        &self,
        endpoints: &[EndpointId],
        (from, to): (&str, &LogCursor),
        fed_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        on_pool!(
            self,
            "webhook_positions.advance",
            conn,
            sqlx::query!(
                r#"
                UPDATE webhook_positions SET position = $3, fed_until = COALESCE($4, fed_until)
                WHERE endpoint_id = ANY ($1) AND position = $2
                "#,
                &endpoints.iter().map(|endpoint| endpoint.uuid()).collect::<Vec<_>>(),
                from,
                to.to_string(),
                fed_until,
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
