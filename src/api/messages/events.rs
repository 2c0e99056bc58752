//! `GET /v1/messages/{id}/events`

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::api::auth::Authed;
use crate::api::page::{Params, PathId, page};
use crate::api::problem::Problem;
use crate::api::{Shared, json as answer};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;

/// What happened to the message's recipients, oldest first.
pub async fn events(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let message = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_events(message.id, cursor, limit).await?;
    let body = page(
        &rows,
        limit,
        |event| {
            let mut shown = json!({
                "id": event.id,
                "type": event.event_type,
                "occurred_at": rfc3339(event.occurred_at),
                "recipient_id": event.recipient,
                "email": event.email,
                "sequence": event.sequence,
            });
            if let (Some(shown), Some(data)) = (shown.as_object_mut(), event.data.as_object()) {
                shown.extend(data.clone());
            }
            shown
        },
        |event| event.id.to_string(),
    );
    Ok(answer(&body))
}
