//! `DELETE /v1/messages/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::recall::{Wish, wish};
use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::domain::access::Scope;
use crate::store::mail::erase::Erased;

/// Erases a message that is settled; with `cancel=true` one that has not begun is cancelled first.
pub async fn erase(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let cancel = params.parsed("cancel", "true or false", |text| text.parse::<bool>().ok()).unwrap_or(false);
    params.finish()?;
    let caller = authed.with(Scope::MessagesWrite)?;
    let message = super::find(&api, &caller, &id).await?;
    let id = message.id;
    match &message.scheduled {
        // It is wished away: it leaves the schedule as if it had not been there.
        Some(_) if cancel => {}
        Some(_) => return Err(Problem::unsettled()),
        None if cancel => {
            wish(&api, &caller, message, Wish::Cancel).await?;
        }
        None => {}
    }
    match api.store.erase_message(caller.project, id).await? {
        Erased::Erased => Ok(StatusCode::NO_CONTENT.into_response()),
        Erased::Unsettled => Err(Problem::unsettled()),
        Erased::Absent => Err(Problem::not_found()),
    }
}
