//! `GET /v1/uploads`

use axum::extract::State;
use axum::response::Response;

use super::UploadView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// The project's uploads, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Send)?;
    let (limit, before) = (params.limit(), params.cursor());
    params.finish()?;
    let rows = api.store.list_uploads(caller.project, caller.sees_only(), before, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, UploadView::of, |upload| upload.id.to_string())))
}
