//! `PATCH /v1/webhooks/{id}`

use axum::extract::State;
use axum::response::Response;

use super::DISABLED;
use super::change::Change;
use super::get::EndpointView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// What is not given stays.
pub async fn update(
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
    let mut endpoint = super::find(&api, &caller, &id).await?;
    let change = Change::read(&api, &caller, body.map, false).await?;
    endpoint.mode = change.mode.unwrap_or(endpoint.mode);
    endpoint.form = change.form.unwrap_or(endpoint.form);
    endpoint.url = change.url.unwrap_or(endpoint.url);
    endpoint.events = change.events.unwrap_or(endpoint.events);
    endpoint.tags = change.tags.unwrap_or(endpoint.tags);
    endpoint.description = change.description.unwrap_or(endpoint.description);
    if let Some(enabled) = change.enabled {
        let reason = endpoint.disabled_reason.take().unwrap_or_else(|| DISABLED.to_owned());
        endpoint.disabled_reason = (!enabled).then_some(reason);
        endpoint.enabled = enabled;
    }
    if api.store.update_endpoint(caller.project, &endpoint).await? {
        Ok(ok_json(&EndpointView::of(&endpoint)))
    } else {
        Err(Problem::not_found())
    }
}
