//! `GET /v1/domains`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::id::DomainId;
use crate::domain::sending_domain::DomainState;
use crate::store::accounts::domains::StoredDomain;

/// The schema `DomainInList`.
#[derive(Serialize)]
pub(super) struct DomainInListView<'d> {
    id: DomainId,
    name: &'d str,
    state: DomainState,
    verified_at: Option<String>,
    wrong_since: Option<String>,
    checked_at: Option<String>,
    created_at: String,
}

/// The project's domains, newest first, without their records.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let (cursor, limit) = (params.cursor(), params.limit());
    let caller = super::caller(&api, authed, params).await?;
    let rows = match caller.mode {
        Mode::Live => api.store.list_domains(caller.project, None, cursor, limit.rows()).await?,
        Mode::Test => Vec::new(),
    };
    Ok(ok_json(&PageView::of(&rows, limit, DomainInListView::of, |row| row.id.to_string())))
}

impl<'d> DomainInListView<'d> {
    pub(super) fn of(domain: &'d StoredDomain) -> Self {
        Self {
            id: domain.id,
            name: &domain.name,
            state: domain.standing.state,
            verified_at: domain.proved_at.map(rfc3339),
            wrong_since: domain.standing.wrong_since.map(rfc3339),
            checked_at: domain.checked_at.map(rfc3339),
            created_at: rfc3339(domain.created_at),
        }
    }
}
