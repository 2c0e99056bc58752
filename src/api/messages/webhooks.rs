//! `GET /v1/messages/{id}/webhooks`

use axum::extract::State;
use axum::response::Response;

use crate::api::auth::Authed;
use crate::api::page::{PageView, PathId};
use crate::api::problem::Problem;
use crate::api::webhooks::deliveries::DeliveryView;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;

/// Those of a message that are shown: more than any page needs.
const MOST: i64 = 1000;

/// What endpoints were told, and are being told, of a message, oldest event first.
pub async fn webhooks(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Webhooks)?;
    let message = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_webhooks_of_message(message.id, caller.sees_only(), MOST).await?;
    Ok(ok_json(&PageView::whole(rows.iter().map(DeliveryView::of).collect(), None)))
}
