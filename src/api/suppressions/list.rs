//! `GET /v1/suppressions`

use axum::extract::State;
use axum::response::Response;

use super::get::SuppressionView;
use super::{REASONS, SCOPES};
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::parse_rfc3339;
use crate::domain::suppression::{SuppressionReason, SuppressionScope};
use crate::store::mail::suppressions::SuppressionFilter;

/// The project's suppressions, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let limit = params.limit();
    let filter = SuppressionFilter {
        reason: params.parsed("reason", REASONS, SuppressionReason::parse),
        scope: params.parsed("scope", SCOPES, SuppressionScope::parse),
        prefix: params.text("q").map(|text| text.to_lowercase()),
        since: params.parsed("since", "an RFC 3339 instant", parse_rfc3339),
        before: params.cursor(),
        limit: limit.rows(),
    };
    params.finish()?;
    let _turn = api.turn(caller.project).await?;
    let rows = api.lists.list_suppressions(caller.project, caller.mode, &filter).await?;
    Ok(ok_json(&PageView::of(&rows, limit, SuppressionView::of, |entry| entry.id.to_string())))
}
