//! `GET /v1/webhooks/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::EndpointId;
use crate::domain::webhook::{EndpointMode, PayloadForm};
use crate::store::accounts::endpoints::Endpoint;
use crate::webhook::sign;

/// The schema `WebhookEndpoint`.
#[derive(Serialize)]
pub(super) struct EndpointView<'e> {
    id: EndpointId,
    mode: EndpointMode,
    form: PayloadForm,
    url: &'e str,
    events: &'e [String],
    tags: &'e [String],
    description: &'e str,
    enabled: bool,
    disabled_reason: Option<&'e str>,
    failing_since: Option<String>,
    stalled_since: Option<String>,
    public_key: String,
    form_public_key: Option<String>,
    created_at: String,
}

/// The endpoint, without its secret.
pub async fn get(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let endpoint = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&EndpointView::of(&endpoint)))
}

impl<'e> EndpointView<'e> {
    pub(super) fn of(endpoint: &'e Endpoint) -> Self {
        Self {
            id: endpoint.id,
            mode: endpoint.mode,
            form: endpoint.form,
            url: &endpoint.url,
            events: &endpoint.events,
            tags: &endpoint.tags,
            description: &endpoint.description,
            enabled: endpoint.enabled,
            disabled_reason: endpoint.disabled_reason.as_deref(),
            failing_since: endpoint.failing_since.map(rfc3339),
            stalled_since: endpoint.stalled_at.map(rfc3339),
            public_key: sign::public_key(&endpoint.signing_seed),
            form_public_key: sign::form_public_key(endpoint.form, &endpoint.signing_seed),
            created_at: rfc3339(endpoint.created_at),
        }
    }
}
