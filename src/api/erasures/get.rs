//! `GET /v1/erasures/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::erasure::ErasedCounts;
use crate::domain::id::ErasureId;
use crate::store::accounts::erasures::StoredErasure;

/// The schema `Erasure`.
#[derive(Serialize)]
pub(super) struct ErasureView<'e> {
    id: ErasureId,
    status: &'static str,
    /// Of the address, salted with the project's id.
    address_hash: String,
    keep_suppressed: bool,
    requested_at: String,
    finished_at: Option<String>,
    counts: &'e ErasedCounts,
}

impl<'e> ErasureView<'e> {
    pub fn of(erasure: &'e StoredErasure) -> Self {
        Self {
            id: erasure.id,
            status: if erasure.finished_at.is_some() { "done" } else { "pending" },
            address_hash: format!("sha256:{}", erasure.hash),
            keep_suppressed: erasure.keep_suppressed,
            requested_at: rfc3339(erasure.requested_at),
            finished_at: erasure.finished_at.map(rfc3339),
            counts: &erasure.counts,
        }
    }
}

/// How far an erasure is, or what it has erased.
pub async fn get(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Admin, &api, project).await?;
    let id = ErasureId::parse(&id).filter(|_| caller.sees_only().is_none()).ok_or_else(Problem::not_found)?;
    let found = api.store.list_erasures(caller.project, (Some(id), None), 1).await?;
    Ok(ok_json(&ErasureView::of(found.first().ok_or_else(Problem::not_found)?)))
}
