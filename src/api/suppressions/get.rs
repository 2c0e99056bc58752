//! `GET /v1/suppressions/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Mode, Scope};
use crate::domain::clock::rfc3339;
use crate::domain::id::SuppressionId;
use crate::domain::suppression::{Evidence, Suppression, SuppressionReason, SuppressionScope};

/// The schema `Suppression`.
#[derive(Serialize)]
pub(super) struct SuppressionView<'s> {
    id: SuppressionId,
    mode: Mode,
    email: &'s str,
    reason: SuppressionReason,
    scope: &'s SuppressionScope,
    class: Option<&'s str>,
    evidence: &'s Evidence,
    note: &'s str,
    created_at: String,
    expires_at: Option<String>,
    updated_at: String,
}

/// One suppression.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let found = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&SuppressionView::of(&found)))
}

impl<'s> SuppressionView<'s> {
    pub(super) fn of(entry: &'s Suppression) -> Self {
        Self {
            id: entry.id,
            mode: entry.mode,
            email: &entry.address,
            reason: entry.reason,
            scope: &entry.scope,
            class: entry.class.as_deref(),
            evidence: &entry.evidence,
            note: &entry.note,
            created_at: rfc3339(entry.created_at),
            expires_at: entry.expires_at.map(rfc3339),
            updated_at: rfc3339(entry.updated_at),
        }
    }
}
