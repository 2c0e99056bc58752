//! `/v1/webhooks`: endpoints and what became of their webhooks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::auth::Authed;
use super::body::JsonObject;
use super::fields::Fields;
use super::page::{Params, PathId, page};
use super::problem::Problem;
use super::{Api, Shared, json as answer};
use crate::domain::access::{Caller, Scope};
use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{EndpointId, WebhookDeliveryId};
use crate::store::accounts::endpoints::{Endpoint, EndpointDelivery};
use crate::webhook::post::Target;
use crate::webhook::sign;

const DISABLED: &str = "disabled by request";
const DESCRIPTION_MAX: usize = 500;
const LIST_MAX: usize = 50;

/// `POST /v1/webhooks`: the answer carries the secret, once.
pub async fn create(State(api): Shared, authed: Authed, body: JsonObject) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    let now = api.clock.now();
    let change = Change::read(&api, body.map, true).await?;
    let endpoint = Endpoint {
        id: EndpointId::new(now, &*api.chance),
        url: change.url.unwrap_or_default(),
        events: change.events.unwrap_or_else(|| vec!["*".to_owned()]),
        tags: change.tags.unwrap_or_default(),
        description: change.description.unwrap_or_default(),
        enabled: change.enabled.unwrap_or(true),
        disabled_reason: (change.enabled == Some(false)).then(|| DISABLED.to_owned()),
        failing_since: None,
        created_at: now,
    };
    let mut secret = [0; sign::SECRET_BYTES];
    api.chance.fill(&mut secret);
    let limit = api.limits.webhooks;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    if !api.store.insert_endpoint(caller.project, &endpoint, &secret, most).await? {
        let detail = format!("the project has {limit} webhook endpoints, which is the limit");
        return Err(Problem::validation(vec![Fault::new("", FaultCode::TooManyWebhooks, detail)]));
    }
    let mut body = show(&endpoint);
    body["secret"] = json!(sign::secret_text(&secret));
    let mut response = answer(&body);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/webhooks/{}", endpoint.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/webhooks`
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let rows = api.store.list_endpoints(caller.project, cursor, limit).await?;
    Ok(answer(&page(&rows, limit, show, |endpoint| endpoint.id.to_string())))
}

/// `GET /v1/webhooks/{id}`
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    Ok(answer(&show(&find(&api, &caller, &id).await?)))
}

/// `PATCH /v1/webhooks/{id}`: what is not given stays.
pub async fn update(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    body: JsonObject,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    let mut endpoint = find(&api, &caller, &id).await?;
    let change = Change::read(&api, body.map, false).await?;
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
        Ok(answer(&show(&endpoint)))
    } else {
        Err(Problem::not_found())
    }
}

/// `DELETE /v1/webhooks/{id}`
pub async fn remove(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    let id = EndpointId::parse(&id).ok_or_else(Problem::not_found)?;
    if api.store.delete_endpoint(caller.project, id).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found())
    }
}

/// `GET /v1/webhooks/{id}/deliveries`: finished webhooks, newest event first.
pub async fn deliveries(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let endpoint = find(&api, &caller, &id).await?;
    let rows = api.store.list_endpoint_deliveries(endpoint.id, cursor, limit).await?;
    Ok(answer(&page(&rows, limit, show_delivery, |row| row.event.to_string())))
}

async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
    let id = EndpointId::parse(id).ok_or_else(Problem::not_found)?;
    api.store.find_endpoint(caller.project, id).await?.ok_or_else(Problem::not_found)
}

fn show(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "tags": endpoint.tags,
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since.map(rfc3339),
        "created_at": rfc3339(endpoint.created_at),
    })
}

fn show_delivery(row: &EndpointDelivery) -> Value {
    json!({
        "id": WebhookDeliveryId::from_uuid(row.id),
        "event_id": row.event,
        "message_id": row.message,
        "status": row.status,
        "attempts": row.attempts,
        "response_code": row.response_code,
        "detail": row.detail,
        "settled_at": rfc3339(row.settled_at),
    })
}

/// The fields of a creation or a change.
struct Change {
    url: Option<String>,
    events: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    description: Option<String>,
    enabled: Option<bool>,
}

impl Change {
    /// Reads the fields; a new endpoint must have a URL.
    async fn read(api: &Api, map: Map<String, Value>, is_new: bool) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fields = Fields::new(map, "", &mut faults);
        if is_new && !fields.has("url") {
            fields.fault("url", FaultCode::Required, "must be given");
        }
        let url = fields.string("url");
        let target = url.as_deref().map(Target::parse);
        if let Some(Err(error)) = &target {
            fields.fault("url", FaultCode::InvalidUrl, error.to_string());
        }
        let events = fields.strings("events", LIST_MAX);
        check_events(&mut fields, events.as_deref());
        let tags = fields.strings("tags", LIST_MAX);
        if tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag.contains('\0'))) {
            fields.fault("tags", FaultCode::ControlCharacter, "must not hold a NUL");
        }
        let description = fields.string("description");
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX || text.contains('\0')) {
            fields.fault(
                "description",
                FaultCode::TooLong,
                format!("must have at most {DESCRIPTION_MAX} characters and no NUL"),
            );
        }
        let enabled = fields.bool("enabled");
        fields.finish();
        if let Some(Ok(target)) = &target
            && let Err(error) = api.webhooks.permits(target).await
        {
            faults.push(Fault::new("/url", FaultCode::ForbiddenAddress, error.to_string()));
        }
        if faults.is_empty() {
            Ok(Self { url, events, tags, description, enabled })
        } else {
            Err(Problem::validation(faults))
        }
    }
}

fn check_events(fields: &mut Fields<'_>, events: Option<&[String]>) {
    let Some(events) = events else { return };
    if events.is_empty() {
        fields.fault("events", FaultCode::Required, "must name at least one event, or \"*\"");
    }
    for (index, event) in events.iter().enumerate() {
        if event != "*" && EventType::parse(event).is_none() {
            let known: Vec<_> = EventType::ALL.iter().map(|event| event.name()).collect();
            let detail = format!("must be \"*\" or one of {}", known.join(", "));
            fields.faults.push(Fault::new(format!("/events/{index}"), FaultCode::UnknownEvent, detail));
        }
    }
}
