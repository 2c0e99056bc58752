//! `POST /v1/suppressions/delete`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::sound;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::request::fields::Fields;

/// The schema `SuppressionsDeleted`.
#[derive(Serialize)]
struct DeletedView {
    deleted: u64,
}

/// Deletes what is suppressed of some addresses, of one scope or of all.
pub async fn remove_many(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let addresses = super::addresses(&mut fields);
    let scope = super::scope(&mut fields);
    fields.finish();
    sound(faults)?;
    let deleted = api.suppressions.delete_of(caller.project, caller.mode, &addresses, scope.as_ref()).await?;
    Ok(ok_json(&DeletedView { deleted }))
}
