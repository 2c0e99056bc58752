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
use crate::domain::id::{EventId, MessageId, WebhookDeliveryId};
use crate::domain::webhook::WebhookStatus;
use crate::store::accounts::endpoints::EndpointDelivery;

/// The schema `WebhookDelivery`.
#[derive(Serialize)]
struct DeliveryView<'d> {
    id: WebhookDeliveryId,
    status: WebhookStatus,
    event_id: EventId,
    message_id: MessageId,
    attempts: i32,
    response_code: Option<i16>,
    detail: &'d str,
    settled_at: String,
}

/// Finished webhooks, newest event first.
pub async fn deliveries(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let (project, cursor, limit) = (params.project(), params.cursor(), params.limit());
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let endpoint = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_endpoint_deliveries(endpoint.id, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, DeliveryView::of, |row| row.event.to_string())))
}

impl<'d> DeliveryView<'d> {
    fn of(row: &'d EndpointDelivery) -> Self {
        Self {
            id: WebhookDeliveryId::from_uuid(row.id),
            status: row.status,
            event_id: row.event,
            message_id: row.message,
            attempts: row.attempts,
            response_code: row.response_code,
            detail: &row.detail,
            settled_at: rfc3339(row.settled_at),
        }
    }
}
