//! `GET /v1/audit`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::AuditId;
use crate::store::accounts::audit::{AuditFilter, Audited};

/// The schema `AuditEntry`.
#[derive(Serialize)]
struct EntryView<'a> {
    id: AuditId,
    at: String,
    actor: &'a str,
    address: Option<&'a str>,
    action: &'a str,
    subject: &'a str,
    status: Option<i16>,
}

impl<'a> EntryView<'a> {
    fn of(entry: &'a Audited) -> Self {
        Self {
            id: entry.id,
            at: rfc3339(entry.id.made_at()),
            actor: &entry.actor,
            address: entry.address.as_deref(),
            action: &entry.action,
            subject: &entry.subject,
            status: entry.status,
        }
    }
}

/// What was changed in the project, newest first. A test credential sees nothing of it: most of it is of live things.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let (project, before, limit) = (params.project(), params.cursor(), params.limit());
    let actor = params.text("actor");
    params.finish()?;
    let caller = authed.acting(Scope::Admin, &api, project).await?;
    let _turn = api.turn(caller.project).await?;
    let filter = AuditFilter { project: Some(caller.project), actor, before, limit: limit.rows() };
    let rows = match caller.sees_only() {
        Some(_) => Vec::new(),
        None => api.lists.list_audit(&filter).await?,
    };
    Ok(ok_json(&PageView::of(&rows, limit, EntryView::of, |entry| entry.id.to_string())))
}
