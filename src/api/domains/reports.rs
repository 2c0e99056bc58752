//! `GET /v1/domains/{id}/reports`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::aggregate::AggregateKind;
use crate::domain::clock::rfc3339;
use crate::domain::id::ReportId;
use crate::store::accounts::domain_reports::{AggregateFilter, StoredAggregate};

/// The schema `DomainReport`.
#[derive(Serialize)]
struct ReportView<'r> {
    id: ReportId,
    kind: AggregateKind,
    domain: &'r str,
    reporter: &'r str,
    report_id: &'r str,
    signed_by: &'r str,
    begin: String,
    end: String,
    received_at: String,
    total: i64,
    passed: i64,
    rows: &'r serde_json::Value,
}

/// What receivers say of the domain's mail, and of TLS sessions to it, newest first.
pub async fn reports(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let kind = params.parsed("kind", "dmarc or tls", AggregateKind::parse);
    let (before, limit) = (params.cursor(), params.limit());
    let caller = super::caller(&api, authed, params).await?;
    let domain = super::find(&api, &caller, &id).await?;
    let filter = AggregateFilter { kind, before };
    let _turn = api.turn(caller.project).await?;
    let rows = api.lists.list_aggregates(Some(caller.project), &domain.name, filter, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, ReportView::of, |row| row.id.to_string())))
}

impl<'r> ReportView<'r> {
    fn of(report: &'r StoredAggregate) -> Self {
        Self {
            id: report.id,
            kind: report.kind,
            domain: &report.domain,
            reporter: &report.reporter,
            report_id: &report.report_id,
            signed_by: &report.signed_by,
            begin: rfc3339(report.begin),
            end: rfc3339(report.end),
            received_at: rfc3339(report.received_at),
            total: report.total,
            passed: report.passed,
            rows: &report.rows,
        }
    }
}
