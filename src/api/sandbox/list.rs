//! `GET /v1/sandbox/messages`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::clock::{parse_rfc3339, rfc3339};
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::span::Span;
use crate::store::mail::sandbox::{SandboxEntry, SandboxFilter};

/// The longest that is waited for a message.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often it is looked for one.
const LOOK: Duration = Duration::from_millis(100);

/// The schema `SandboxMessage`.
#[derive(Serialize)]
pub(super) struct EntryView<'e> {
    id: RecipientId,
    message_id: MessageId,
    from: &'e str,
    to: &'e str,
    subject: &'e str,
    size: i32,
    has_attachments: bool,
    received_at: String,
}

/// What was delivered to the sandbox, newest first; with `wait` as soon as there is something.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let to = params.parsed("to", "an address", |text| Address::parse(text).ok());
    let (q, subject) = (params.text("q"), params.text("subject"));
    let since = params.parsed("since", "an RFC 3339 instant", parse_rfc3339);
    let wait = params.parsed("wait", "a time of at most 30s, such as 10s", |text| {
        text.parse::<Span>().ok().map(|Span(wait)| wait).filter(|wait| *wait <= WAIT_MAX)
    });
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let narrowed = SandboxFilter {
        mode: caller.sees_only(),
        to: to.as_ref().map(Address::as_str),
        q: q.as_deref(),
        subject: subject.as_deref(),
        since,
    };
    let end = Instant::now() + wait.unwrap_or_default();
    loop {
        let rows = api.store.list_sandbox(caller.project, narrowed, cursor, limit.rows()).await?;
        if !rows.is_empty() || Instant::now() >= end {
            return Ok(ok_json(&PageView::of(&rows, limit, EntryView::of, |entry| entry.id.to_string())));
        }
        // Those who wait take turns: what they cost the store does not grow with their number.
        let Ok(_turn) = api.waiting.acquire().await else { return Err(Problem::internal()) };
        tokio::time::sleep_until(end.min(Instant::now() + LOOK)).await;
    }
}

impl<'e> EntryView<'e> {
    pub(super) fn of(entry: &'e SandboxEntry) -> Self {
        Self {
            id: entry.id,
            message_id: entry.message,
            from: &entry.author,
            to: &entry.recipient,
            subject: &entry.subject,
            size: entry.size,
            has_attachments: entry.has_attachments,
            received_at: rfc3339(entry.received_at),
        }
    }
}
