//! `GET /v1/sandbox/messages`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::wait::Wait;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::clock::{parse_rfc3339, rfc3339};
use crate::domain::id::{MessageId, RecipientId};
use crate::store::mail::sandbox::{SandboxEntry, SandboxFilter};

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
    let wait = Wait::read(&mut params);
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let narrowed = SandboxFilter {
        mode: caller.sees_only(),
        to: to.as_ref().map(Address::as_str),
        q: q.as_deref(),
        subject: subject.as_deref(),
        since,
    };
    let waiting = wait.begin();
    loop {
        let turn = api.turn(caller.project).await?;
        let rows = api.lists.list_sandbox(caller.project, narrowed, cursor, limit.rows()).await?;
        drop(turn);
        if !rows.is_empty() || !waiting.goes_on(&api, LOOK).await? {
            return Ok(ok_json(&PageView::of(&rows, limit, EntryView::of, |entry| entry.id.to_string())));
        }
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
