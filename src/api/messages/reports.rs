//! `GET /v1/messages/{id}/reports`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::{RecipientId, ReportId};
use crate::domain::report_kept::{ReportOutcome, ReportSource};
use crate::store::mail::reports::StoredReport;

/// The schema `Report`.
#[derive(Serialize)]
struct ReportView<'r> {
    id: ReportId,
    recipient_id: Option<RecipientId>,
    received_at: String,
    source: ReportSource,
    sender: &'r str,
    meaning: &'r str,
    outcome: ReportOutcome,
    detail: &'r serde_json::Value,
    raw: std::borrow::Cow<'r, str>,
}

/// What came back by mail of a message, newest first, at most 100.
pub async fn reports(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let message = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_reports(caller.project, message.id).await?;
    Ok(ok_json(&PageView::whole(rows.iter().map(ReportView::of).collect(), None)))
}

impl<'r> ReportView<'r> {
    fn of(report: &'r StoredReport) -> Self {
        let kept = &report.kept;
        Self {
            id: report.id,
            recipient_id: report.recipient,
            received_at: rfc3339(kept.received_at),
            source: kept.source,
            sender: &kept.envelope_from,
            meaning: &kept.meaning,
            outcome: kept.outcome,
            detail: &kept.detail,
            raw: String::from_utf8_lossy(&kept.raw),
        }
    }
}
