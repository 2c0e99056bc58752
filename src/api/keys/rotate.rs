//! `POST /v1/keys/{id}/rotate`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::change::may_hold;
use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::domain::access::{KeyState, Scope};
use crate::domain::fault::{Fault, FaultCode};
use crate::request::fields::Fields;

/// How long the old key goes on working when nothing is said.
const OVERLAP: Duration = Duration::from_hours(24);
const OVERLAP_MAX: i64 = 30 * 86_400;

/// Makes another key with the same rights; the old one ends when both have worked for a while.
pub async fn rotate(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Keys, &api, project).await?;
    let body = body.object(&api).await?;
    let mut old = super::find(&api, &caller, &id).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let overlap = fields.seconds("overlap_seconds", 0..=OVERLAP_MAX);
    fields.finish();
    let now = api.clock.now();
    if old.state(now) != KeyState::Valid {
        faults.push(Fault::new("", FaultCode::Conflict, format!("the key is {}", old.state(now))));
    }
    if old.signs && api.store.vault().current().is_none() {
        faults.push(Fault::new(
            "",
            FaultCode::Conflict,
            "the key signs, and needs secrets.sealing_key, which is not set",
        ));
    }
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    may_hold(&caller, &old.rights)?;
    // The new one first: should the rest fail, both work.
    let response = super::create::make(&api, old.name.clone(), old.rights.clone(), (old.expires_at, old.signs)).await?;
    let ends_at = now + overlap.unwrap_or(OVERLAP);
    old.expires_at = Some(old.expires_at.map_or(ends_at, |at| at.min(ends_at)));
    api.store.update_key(&old).await?;
    Ok(response)
}
