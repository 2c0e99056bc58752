//! Aggregate reports about domains: whose they are, kept once each, and what they say together.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::aggregate::{AggregateKind, AggregateReport, Evidence};
use crate::domain::clock::Timestamp;
use crate::domain::dkim::aligned;
use crate::domain::id::{ProjectId, ReportId};
use crate::store::{Store, StoreError, decoded, on_pool};

/// Reports about one domain and those below it that are taken in a day.
const PER_DAY: i64 = 2_000;
/// And of one signer.
const OF_ONE_PER_DAY: i64 = 100;
/// How long a report is kept.
const KEPT: Duration = Duration::from_hours(24 * 180);
/// From how long ago reports speak for the mail of today.
const SPEAKS_FOR: Duration = Duration::from_hours(24 * 60);

/// A report as it is stored.
#[derive(Debug)]
pub struct StoredAggregate {
    pub id: ReportId,
    pub kind: AggregateKind,
    pub domain: String,
    pub reporter: String,
    pub report_id: String,
    pub signed_by: String,
    pub begin: Timestamp,
    pub end: Timestamp,
    pub received_at: Timestamp,
    pub total: i64,
    pub passed: i64,
    pub rows: serde_json::Value,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateStored {
    New,
    /// It came before.
    Repeated,
    /// Too many came today.
    Full,
}

/// What is asked for in a list of reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct AggregateFilter {
    pub kind: Option<AggregateKind>,
    pub before: Option<ReportId>,
}

impl Store {
    /// The project that has proved a domain, or the closest one above it, and that domain's name.
    pub async fn find_owner(&self, domain: &str) -> Result<Option<(ProjectId, String)>, StoreError> {
        let names: Vec<_> = aligned(domain).map(str::to_owned).collect();
        let row = on_pool!(
            self,
            "domains.find_owner",
            conn,
            sqlx::query!(
                r#"
                SELECT project_id, name FROM domains WHERE name = ANY($1) AND proved_at IS NOT NULL
                ORDER BY length(name) DESC LIMIT 1
                "#,
                &names,
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| (ProjectId::from_uuid(row.project_id), row.name)))
    }

    /// Keeps a report about a domain, once. `project` is `None` for the host of reports itself; `signed_by` an organization's domain.
    pub async fn put_aggregate(
        &self,
        id: ReportId,
        report: &AggregateReport,
        (project, covered_by): (Option<ProjectId>, &str),
        signed_by: &str,
    ) -> Result<AggregateStored, StoreError> {
        let now = self.now();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let row = on_pool!(
            self,
            "aggregate_reports.put",
            conn,
            sqlx::query!(
                r#"
                WITH same AS (
                    SELECT FROM aggregate_reports WHERE domain = $4 AND kind = $2 AND signed_by = $8
                      AND md5(reporter || ' ' || report_id) = md5($6 || ' ' || $7)),
                put AS (
                INSERT INTO aggregate_reports (id, kind, project_id, domain, covered_by, reporter, report_id, signed_by, begin_at,
                    end_at, received_at, total, passed, rows)
                SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
                WHERE (SELECT count(*) FROM aggregate_reports
                    WHERE covered_by = $5 AND received_at > $11::timestamptz - interval '1 day') < $15
                  -- Nobody fills the place of all others.
                  AND (SELECT count(*) FROM aggregate_reports WHERE covered_by = $5 AND signed_by = $8
                    AND received_at > $11::timestamptz - interval '1 day') < $16
                ON CONFLICT DO NOTHING RETURNING id)
                SELECT EXISTS (SELECT FROM put) AS "is_new!", EXISTS (SELECT FROM same) AS "is_known!"
                "#,
                id.uuid(),
                report.kind.name(),
                project.map(ProjectId::uuid),
                report.domain,
                covered_by,
                report.reporter,
                report.report_id,
                signed_by,
                report.begin,
                report.end,
                now,
                count(report.total),
                count(report.passed),
                serde_json::to_value(&report.rows).unwrap_or_default(),
                PER_DAY,
                OF_ONE_PER_DAY,
            )
            .fetch_one(conn)
        )?;
        Ok(match (row.is_new, row.is_known) {
            (true, _) => AggregateStored::New,
            (false, true) => AggregateStored::Repeated,
            (false, false) => AggregateStored::Full,
        })
    }

    /// The reports about a project's domain and what lies below it, newest first; of `None` those about the host of reports.
    pub async fn list_aggregates(
        &self,
        project: Option<ProjectId>,
        covered_by: &str,
        filter: AggregateFilter,
        limit: i64,
    ) -> Result<Vec<StoredAggregate>, StoreError> {
        let rows = on_pool!(
            self,
            "aggregate_reports.list",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT id, kind, domain, reporter, report_id, signed_by, begin_at, end_at, received_at, total, passed, rows
                FROM aggregate_reports
                WHERE covered_by = $1 AND project_id IS NOT DISTINCT FROM $2 AND ($3::text IS NULL OR kind = $3)
                  AND ($4::uuid IS NULL OR id < $4)
                ORDER BY id DESC LIMIT $5
                "#,
                covered_by,
                project.map(ProjectId::uuid),
                filter.kind.map(AggregateKind::name),
                filter.before.map(ReportId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// What DMARC reports of the last weeks say of a project's domain.
    pub async fn sum_aggregates(&self, project: ProjectId, domain: &str) -> Result<Evidence, StoreError> {
        let since = self.now() - SPEAKS_FOR;
        let row = on_pool!(
            self,
            "aggregate_reports.sum",
            conn,
            sqlx::query!(
                r#"
                SELECT count(*) AS "reports!", count(DISTINCT signed_by) AS "reporters!", LEAST(COALESCE(sum(total), 0), 1e15)::bigint AS "messages!",
                    LEAST(COALESCE(sum(passed), 0), 1e15)::bigint AS "passed!",
                    COALESCE(extract(epoch FROM max(end_at) - min(begin_at)) / 86400 + 0.01, 0)::bigint AS "days!"
                FROM aggregate_reports
                WHERE covered_by = $1 AND project_id = $2 AND kind = 'dmarc' AND begin_at > $3
                "#,
                domain,
                project.uuid(),
                since,
            )
            .fetch_one(conn)
        )?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Evidence {
            reports: count(row.reports),
            reporters: count(row.reporters),
            messages: count(row.messages),
            passed: count(row.passed),
            days: count(row.days),
        })
    }

    /// Forgets reports that were kept long enough, at most so many; how many they were.
    pub async fn forget_aggregates(&self, limit: i64) -> Result<u64, StoreError> {
        let before = self.now() - KEPT;
        let done = on_pool!(
            self,
            "aggregate_reports.forget",
            conn,
            sqlx::query!(
                r#"
                DELETE FROM aggregate_reports WHERE id IN (
                    SELECT id FROM aggregate_reports WHERE received_at < $1 ORDER BY received_at LIMIT $2)
                "#,
                before,
                limit,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}

struct Row {
    id: Uuid,
    kind: String,
    domain: String,
    reporter: String,
    report_id: String,
    signed_by: String,
    begin_at: Timestamp,
    end_at: Timestamp,
    received_at: Timestamp,
    total: i64,
    passed: i64,
    rows: serde_json::Value,
}

impl Row {
    fn decode(self) -> Result<StoredAggregate, StoreError> {
        let place = ("aggregate_reports", "kind");
        Ok(StoredAggregate {
            id: ReportId::from_uuid(self.id),
            kind: decoded(AggregateKind::parse(&self.kind), place, self.id, &self.kind)?,
            domain: self.domain,
            reporter: self.reporter,
            report_id: self.report_id,
            signed_by: self.signed_by,
            begin: self.begin_at,
            end: self.end_at,
            received_at: self.received_at,
            total: self.total,
            passed: self.passed,
            rows: self.rows,
        })
    }
}
