//! `GET /v1/messages/{id}/attempts`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::get::reply_view;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::class::Class;
use crate::domain::clock::rfc3339;
use crate::domain::id::{AttemptId, RecipientId};
use crate::domain::outcome::OutcomeKind;
use crate::domain::stage::Stage;
use crate::store::mail::attempts::StoredAttempt;
use crate::webhook::payload::ReplyView;

/// The schema `Attempt`.
#[derive(Serialize)]
struct AttemptView<'a> {
    id: AttemptId,
    recipient_id: RecipientId,
    email: &'a str,
    number: i32,
    outcome: OutcomeKind,
    class: &'a Class,
    started_at: String,
    duration_ms: i32,
    stage: Option<Stage>,
    host: Option<&'a str>,
    ip: Option<&'a str>,
    source_ip: Option<&'a str>,
    tls: Option<&'a str>,
    provider: Option<&'a str>,
    reply: ReplyView<'a>,
    rule: Option<&'a str>,
    confidence: Option<i16>,
    action: Option<&'a str>,
    transcript: &'a str,
}

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
    let rows = api.store.list_attempts(message.id, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, AttemptView::of, |attempt| attempt.id.to_string())))
}

impl<'a> AttemptView<'a> {
    fn of(attempt: &'a StoredAttempt) -> Self {
        Self {
            id: attempt.id,
            recipient_id: attempt.recipient,
            email: &attempt.email,
            number: attempt.number,
            outcome: attempt.outcome,
            class: &attempt.reply.class,
            started_at: rfc3339(attempt.started_at),
            duration_ms: attempt.duration_ms,
            stage: attempt.stage,
            host: attempt.reply.host.as_deref(),
            ip: attempt.ip.as_deref(),
            source_ip: attempt.source_ip.as_deref(),
            tls: attempt.tls.as_deref(),
            provider: attempt.provider.as_deref(),
            reply: reply_view(&attempt.reply),
            rule: attempt.rule.as_deref(),
            confidence: attempt.confidence,
            action: attempt.action.as_deref(),
            transcript: &attempt.transcript,
        }
    }
}
