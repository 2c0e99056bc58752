//! `POST /v1/sandbox/messages/{id}/spam-check`

use axum::extract::State;
use axum::response::Response;

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::id::RecipientId;

/// What the configured spam filter says of one delivered copy.
pub async fn spam_check(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let id = RecipientId::parse(&id).ok_or_else(Problem::not_found)?;
    let found = api.store.find_sandbox(caller.project, caller.sees_only(), id).await?;
    let (_, raw) = found.ok_or_else(Problem::not_found)?;
    let filter = api.spam_filter.as_ref().ok_or_else(Problem::no_spam_filter)?;
    // Few at a time: a filter takes as long as it takes, and its answers are for people.
    let Ok(_turn) = api.spam_checks.try_acquire() else {
        return Err(Problem::busy("other messages are being checked; try again"));
    };
    match filter.check(&raw).await {
        Ok(verdict) => Ok(ok_json(&verdict)),
        Err(why) => {
            tracing::warn!(%why, "the spam filter gave no verdict");
            Err(Problem::busy(&format!("the spam filter gave no verdict: {why}")))
        }
    }
}
