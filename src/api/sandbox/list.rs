//! `GET /v1/sandbox/messages`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::clock::rfc3339;
use crate::domain::id::{MessageId, RecipientId};
use crate::store::mail::sandbox::{SandboxEntry, SandboxFilter};

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

/// What was delivered to the sandbox, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let to = params.parsed("to", "an address", |text| Address::parse(text).ok());
    let q = params.text("q");
    let (cursor, limit) = (params.cursor(), params.limit());
    params.finish()?;
    let narrowed = SandboxFilter { mode: caller.sees_only(), to: to.as_ref().map(Address::as_str), q: q.as_deref() };
    let rows = api.store.list_sandbox(caller.project, narrowed, cursor, limit.rows()).await?;
    Ok(ok_json(&PageView::of(&rows, limit, EntryView::of, |entry| entry.id.to_string())))
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
