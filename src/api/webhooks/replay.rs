//! `POST /v1/webhooks/{id}/replay`

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::event_type;
use super::replays::ReplayView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::event::EventType;
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::domain::id::{EndpointId, EventId, ReplayId};
use crate::domain::webhook::WebhookStatus;
use crate::request::fields::Fields;
use crate::store::queue::webhook_replays::Replay;

/// Events of one replay that are named: they are put in line at once.
const IDS_MAX: usize = 249;
/// Replays of one endpoint that may go on.
const RUNNING_MAX: i64 = 5;

/// Tells the endpoint events again: those named, or those of a span of time. They come under the ids that they had.
pub async fn replay(
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
    let endpoint = super::find(&api, &caller, &id).await?;
    let replay = read(&api, endpoint.id, body.map)?;
    if !api.store.insert_replay(&replay, RUNNING_MAX).await? {
        let detail = format!("{RUNNING_MAX} replays of this endpoint go on already; wait until one is done");
        return Err(Problem::validation(vec![Fault::new("", FaultCode::TooMany, detail)]));
    }
    let mut response = ok_json(&ReplayView::of(&replay));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

fn read(api: &Api, endpoint: EndpointId, map: Map<String, Value>) -> Result<Replay, Problem> {
    let mut faults = Vec::new();
    let mut fields = Fields::new(map, "", &mut faults);
    let (has_ids, has_since) = (fields.has("event_ids"), fields.has("since"));
    if has_ids == has_since {
        fields.fault("event_ids", FaultCode::Required, "give either event_ids or since");
    }
    let ids = fields.parsed_strings("event_ids", IDS_MAX, |text| {
        EventId::parse(&text).ok_or_else(|| Flaw::new(FaultCode::InvalidParameter, "is not an event's id (evt_…)"))
    });
    // One that is named twice is told once.
    let mut seen = HashSet::new();
    let ids = ids.map(|ids| ids.into_iter().filter(|id| seen.insert(*id)).collect::<Vec<_>>());
    if ids.as_ref().is_some_and(Vec::is_empty) {
        fields.fault("event_ids", FaultCode::Required, "must name at least one event");
    }
    let (since, until) = (fields.instant("since"), fields.instant("until"));
    let types = fields.parsed_strings("types", EventType::ALL.len(), |name| event_type(&name));
    let status = fields.string("status");
    if status.as_ref().is_some_and(|status| status != WebhookStatus::Failed.name()) {
        fields.fault("status", FaultCode::InvalidParameter, "must be failed: only what was given up is told again");
    }
    if has_ids && (until.is_some() || types.is_some() || status.is_some()) {
        fields.fault("event_ids", FaultCode::Conflict, "stands alone: until, types and status narrow a span of time");
    }
    let now = api.clock.now();
    if since.is_some_and(|since| since >= until.unwrap_or(now)) {
        fields.fault("since", FaultCode::InvalidTime, "must be in the past, and before until");
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    Ok(Replay {
        id: ReplayId::new(now, &*api.rng),
        endpoint,
        event_ids: ids.unwrap_or_default(),
        since,
        until: until.map_or(now, |until| until.min(now)),
        types: types.unwrap_or_default(),
        only_failed: status.is_some(),
        events: 0,
        created_at: now,
        done_at: None,
    })
}
