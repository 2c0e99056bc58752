//! `POST /v1/webhooks/{id}/rotate-secret`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::create::EndpointWithSecretView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::webhook::Secret;
use crate::request::fields::Fields;

/// How long the old secret goes on signing when nothing is said.
const OVERLAP: Duration = Duration::from_hours(24);
const OVERLAP_MAX: i64 = 7 * 86_400;

/// Gives the endpoint a new secret and key; for a while the old ones sign as well.
pub async fn rotate_secret(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let overlap = fields.seconds("overlap_seconds", 0..=OVERLAP_MAX);
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let mut endpoint = super::find(&api, &caller, &id).await?;
    let secret = Secret::new(&*api.rng);
    let until = api.clock.now() + overlap.unwrap_or(OVERLAP);
    if !api.store.rotate_secret(caller.project, endpoint.id, &secret, until).await? {
        return Err(Problem::not_found());
    }
    endpoint.signing_seed.clone_from(&secret.seed);
    Ok(ok_json(&EndpointWithSecretView::of(&endpoint, &secret)))
}
