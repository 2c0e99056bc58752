//! `POST /v1/inbound/raw`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::auth::Authed;
use super::body::UnreadBody;
use super::page::Params;
use super::problem::Problem;
use super::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::draft::with_crlf;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{MessageId, RecipientId, ReportId};
use crate::domain::report_kept::{ReportOutcome, ReportSource};
use crate::inbound::{Letter, NotTaken};

/// The schema `InboundTaken`.
#[derive(Serialize)]
struct TakenView {
    id: ReportId,
    meaning: &'static str,
    outcome: ReportOutcome,
    repeated: bool,
    message_id: Option<MessageId>,
    recipient_id: Option<RecipientId>,
}

/// Takes a letter that came back, for those who get their mail otherwise. A project's key may speak of its own mail alone.
pub async fn raw(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let (to, from) = (params.text("recipient"), params.text("sender"));
    params.finish()?;
    let (bytes, _grant) = body.bytes(&api, api.intake.limit).await?;
    let unreadable =
        || Problem::validation(vec![Fault::new("", FaultCode::InvalidMessage, "the body is no message (RFC 5322)")]);
    if bytes.is_empty() {
        return Err(unreadable());
    }
    let letter = Letter {
        source: ReportSource::Http,
        from: from.unwrap_or_default(),
        // A plus that nobody encoded comes in as a space, which no such address has.
        to: to.map(|to| to.replace(' ', "+")),
        raw: Arc::new(with_crlf(&bytes)),
        only: (!caller.is_operator).then_some((caller.project, caller.sees_only())),
    };
    let taken = async { api.intake.take(&letter, &api.intake.read(&letter.raw).await?).await };
    let taken = match taken.await {
        Ok(taken) => taken,
        Err(NotTaken::Unreadable) => return Err(unreadable()),
        Err(NotTaken::NotTheirs) => return Err(Problem::not_found()),
        Err(NotTaken::Full) => return Err(Problem::busy("too many reports that nobody can be charged with")),
        Err(NotTaken::Store(error)) => return Err(error.into()),
    };
    Ok(ok_json(&TakenView {
        id: taken.report,
        meaning: taken.meaning.name(),
        outcome: taken.outcome,
        repeated: taken.is_repeated,
        message_id: taken.about.map(|(message, _)| message),
        recipient_id: taken.about.map(|(_, recipient)| recipient),
    }))
}
