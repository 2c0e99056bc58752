//! `POST /v1/webhooks/{id}/test`

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;

use super::event_type;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::event::EventType;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{EventId, ProjectId};
use crate::domain::shard::Shard;
use crate::domain::webhook::{PayloadForm, WebhookTry};
use crate::request::fields::Fields;
use crate::store::accounts::endpoints::Endpoint;
use crate::webhook::post::Target;
use crate::webhook::{forms, sample, sign};

/// Test calls at once, of all projects.
const AT_ONCE: usize = 16;

/// Projects whose test call is under way: one each, so that none keeps the others waiting.
#[derive(Default)]
pub struct Testing(Mutex<HashSet<ProjectId>>);

/// A project's turn; it ends when this is dropped.
struct Turn<'t>(&'t Testing, ProjectId);

/// The schema `WebhookTestResult`.
#[derive(Serialize)]
struct TestResultView {
    event_id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    succeeded: bool,
    #[serde(flatten)]
    made: WebhookTry,
}

/// Calls the endpoint now, with an example of an event, and says what it answered. A disabled endpoint is called too.
pub async fn test(
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
    let event_type = fields.string("type").and_then(|name| fields.sound("type", event_type(&name)));
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let endpoint = super::find(&api, &caller, &id).await?;
    let _turn = api.testing.begin(caller.project)?;
    let event_type = event_type.unwrap_or(match endpoint.form {
        PayloadForm::Standard => EventType::EndpointTest,
        // Others have no word for a test.
        _ => EventType::Delivered,
    });
    if !forms::tells(endpoint.form, event_type) {
        let detail = format!("has no word in the form {}", endpoint.form);
        return Err(Problem::validation(vec![Fault::new("/type", FaultCode::UnknownEvent, detail)]));
    }
    Ok(ok_json(&call(&api, &endpoint, event_type).await?))
}

async fn call(api: &Api, endpoint: &Endpoint, event_type: EventType) -> Result<TestResultView, Problem> {
    let target = Target::parse(&endpoint.url)
        .map_err(|error| Problem::validation(vec![Fault::new("", FaultCode::InvalidUrl, error.to_string())]))?;
    let secrets = api.store.find_secrets(endpoint.id).await?;
    let now = api.clock.now();
    let event_id = EventId::new_in(Shard::of_low_bits(0), now, &*api.rng);
    let body = forms::body(endpoint.form, &sample::event(event_type, event_id, endpoint, now)).unwrap_or_default();
    let of = (event_id.to_string(), now.unix_timestamp());
    let signers = sign::Signers::of(&secrets);
    let sign::Signed { headers, body } = signers.signed(endpoint.form, (&of.0, of.1), body.into(), &*api.rng);
    let began = (now, Instant::now());
    let posted = api.webhooks.post(&target, &headers, body).await;
    let made = posted.as_try(began);
    Ok(TestResultView { event_id, event_type, succeeded: made.detail.is_empty(), made })
}

impl Testing {
    fn begin(&self, project: ProjectId) -> Result<Turn<'_>, Problem> {
        let mut projects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if projects.len() >= AT_ONCE || !projects.insert(project) {
            return Err(Problem::busy("another test call is under way; one at a time is made for a project"));
        }
        Ok(Turn(self, project))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
