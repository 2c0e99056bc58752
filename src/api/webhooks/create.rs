//! `POST /v1/webhooks`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;
use serde::Serialize;

use super::DISABLED;
use super::change::Change;
use super::get::EndpointView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Mode, Scope};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::EndpointId;
use crate::domain::webhook::{EndpointMode, PayloadForm, Secret};
use crate::store::accounts::endpoints::Endpoint;
use crate::webhook::sign;

/// The schema `WebhookEndpointWithSecret`.
#[derive(Serialize)]
pub(super) struct EndpointWithSecretView<'e> {
    #[serde(flatten)]
    endpoint: EndpointView<'e>,
    secret: String,
}

impl<'e> EndpointWithSecretView<'e> {
    pub fn of(endpoint: &'e Endpoint, secret: &Secret) -> Self {
        Self { endpoint: EndpointView::of(endpoint), secret: sign::secret_text(secret) }
    }
}

/// Makes an endpoint; the answer carries the secret, once.
pub async fn create(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let body = body.object(&api).await?;
    let now = api.clock.now();
    let change = Change::read(&api, &caller, body.map, true).await?;
    let secret = Secret::new(&*api.rng);
    let endpoint = Endpoint {
        id: EndpointId::new(now, &*api.rng),
        form: change.form.unwrap_or(PayloadForm::Standard),
        mode: change.mode.unwrap_or(match caller.mode {
            Mode::Live => EndpointMode::Live,
            Mode::Test => EndpointMode::Test,
        }),
        url: change.url.unwrap_or_default(),
        events: change.events.unwrap_or_else(|| vec!["*".to_owned()]),
        tags: change.tags.unwrap_or_default(),
        description: change.description.unwrap_or_default(),
        enabled: change.enabled.unwrap_or(true),
        disabled_reason: (change.enabled == Some(false)).then(|| DISABLED.to_owned()),
        failing_since: None,
        stalled_at: None,
        signing_seed: secret.seed.clone(),
        created_at: now,
    };
    let limit = api.limits.webhooks;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    if !api.store.insert_endpoint(caller.project, &endpoint, &secret, most).await? {
        let detail = format!("the project has {limit} webhook endpoints, which is the limit");
        return Err(Problem::validation(vec![Fault::new("", FaultCode::TooManyWebhooks, detail)]));
    }
    let mut response = ok_json(&EndpointWithSecretView::of(&endpoint, &secret));
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/webhooks/{}", endpoint.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
