//! `GET /v1/webhooks/{id}/deliveries`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, EventId, MessageId, WebhookDeliveryId};
use crate::domain::webhook::{WebhookStatus, WebhookTry};
use crate::store::queue::webhook_log::{DeliveryFilter, EndpointDelivery};

/// The schema `WebhookDelivery`.
#[derive(Serialize)]
pub struct DeliveryView<'d> {
    id: WebhookDeliveryId,
    status: WebhookStatus,
    webhook_id: EndpointId,
    url: &'d str,
    event_id: EventId,
    event_type: Option<EventType>,
    message_id: Option<MessageId>,
    attempts: i32,
    response_code: Option<i16>,
    detail: &'d str,
    next_try_at: Option<String>,
    settled_at: Option<String>,
    tries: &'d [WebhookTry],
}

/// What the endpoint was told and is being told, newest event first.
pub async fn deliveries(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let (project, before, limit) = (params.project(), params.cursor(), params.limit());
    let status = params.parsed("status", "pending, succeeded or failed", WebhookStatus::parse);
    let event = params.parsed("event_id", "an event's id (evt_…)", EventId::parse);
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let _turn = api.turn(caller.project).await?;
    let endpoint = super::find(&api, &caller, &id).await?;
    let filter = DeliveryFilter { status, event, before };
    let rows = api.lists.list_endpoint_deliveries(endpoint.id, filter, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, DeliveryView::of, |row| row.event.to_string())))
}

impl<'d> DeliveryView<'d> {
    pub fn of(row: &'d EndpointDelivery) -> Self {
        let is_of_project = row.event_type.is_some_and(EventType::is_of_project);
        Self {
            id: WebhookDeliveryId::from_uuid(row.id),
            status: row.status,
            webhook_id: row.endpoint,
            url: &row.url,
            event_id: row.event,
            event_type: row.event_type,
            message_id: (!is_of_project).then_some(row.message),
            attempts: row.attempts,
            response_code: row.response_code,
            detail: &row.detail,
            next_try_at: row.next_try_at.map(rfc3339),
            settled_at: row.settled_at.map(rfc3339),
            tries: &row.tries,
        }
    }
}
