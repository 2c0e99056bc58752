//! `GET /v1/webhooks/{id}/deliveries/{event}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::deliveries::DeliveryView;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathIds};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::id::EventId;
use crate::store::queue::webhook_feed::NewJob;
use crate::store::queue::webhook_log::DeliveryFilter;
use crate::webhook::forms;

/// The schema `WebhookDeliveryWithRequest`.
#[derive(Serialize)]
struct DeliveryWithRequestView<'d> {
    #[serde(flatten)]
    delivery: DeliveryView<'d>,
    /// `null` once the event or its message is past its retention.
    request: Option<RequestView>,
}

/// The schema `WebhookRequest`.
#[derive(Serialize)]
struct RequestView {
    url: String,
    body: String,
}

/// What the endpoint was told of one event, with the body that it was sent.
pub async fn delivery(
    State(api): Shared,
    authed: Authed,
    PathIds(id, event): PathIds,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Webhooks, &api, project).await?;
    let endpoint = super::find(&api, &caller, &id).await?;
    let event = EventId::parse(&event).ok_or_else(Problem::not_found)?;
    let filter = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
    let rows = api.store.list_endpoint_deliveries(endpoint.id, filter, 1).await?;
    let row = rows.first().ok_or_else(Problem::not_found)?;
    let call = NewJob { endpoint: endpoint.id, message: row.message, event: row.event };
    let told = api.store.load_told(&[call]).await?.remove(&row.event);
    let request = told.and_then(|event| {
        let body = String::from_utf8_lossy(&forms::body(endpoint.form, &event)?).into_owned();
        Some(RequestView { url: endpoint.url.clone(), body })
    });
    Ok(ok_json(&DeliveryWithRequestView { delivery: DeliveryView::of(row), request }))
}
