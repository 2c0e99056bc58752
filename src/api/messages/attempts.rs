//! `GET /v1/messages/{id}/attempts`

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::get::show_reply;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId, page};
use crate::api::problem::Problem;
use crate::api::{Shared, json as answer};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;

/// Every try, with what was said.
pub async fn attempts(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let message = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_attempts(message.id, cursor, limit).await?;
    let body = page(
        &rows,
        limit,
        |attempt| {
            json!({
                "id": attempt.id,
                "recipient_id": attempt.recipient,
                "email": attempt.email,
                "number": attempt.number,
                "outcome": attempt.outcome,
                "class": attempt.class,
                "started_at": rfc3339(attempt.started_at),
                "duration_ms": attempt.duration_ms,
                "stage": attempt.stage,
                "host": attempt.host,
                "ip": attempt.ip,
                "source_ip": attempt.source_ip,
                "tls": attempt.tls,
                "provider": attempt.provider,
                "reply": show_reply(&attempt.reply),
                "rule": attempt.rule,
                "confidence": attempt.confidence,
                "action": attempt.action,
                "transcript": attempt.transcript,
            })
        },
        |attempt| attempt.id.to_string(),
    );
    Ok(answer(&body))
}
