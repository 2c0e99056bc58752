//! `GET /v1/messages/{id}`

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, json as answer};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::message::MessageStatus;
use crate::domain::recipient::Counts;
use crate::store::mail::messages::{StoredMessage, StoredRecipient, StoredReply};

/// The message, with the truth about every recipient.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let message = super::find(&api, &caller, &id).await?;
    let recipients = api.store.list_recipients(message.id).await?;
    let mut counts = Counts::default();
    for recipient in &recipients {
        counts.count(recipient.status, 1);
    }
    let mut body = show(&message, &counts);
    body["recipients"] = recipients.iter().map(show_recipient).collect();
    Ok(answer(&body))
}

/// A message without its recipients.
pub(super) fn show(message: &StoredMessage, counts: &Counts) -> Value {
    json!({
        "id": message.id,
        "status": MessageStatus::of(counts),
        "mode": message.mode,
        "created_at": rfc3339(message.created_at),
        "from": message.author,
        "subject": message.subject,
        "tags": message.tags,
        "metadata": message.metadata,
        "priority": message.priority,
        "size": message.size,
        "expires_at": message.expires_at.map(rfc3339),
        "counts": counts,
    })
}

fn show_recipient(recipient: &StoredRecipient) -> Value {
    json!({
        "id": recipient.id,
        "email": recipient.address,
        "kind": recipient.kind,
        "status": recipient.status,
        "attempts": recipient.attempts,
        "settled_at": recipient.settled_at.map(rfc3339),
        "next_attempt_at": recipient.next_attempt_at.map(rfc3339),
        "last_reply": recipient.last_reply.as_ref().map(show_reply),
    })
}

pub(super) fn show_reply(reply: &StoredReply) -> Value {
    json!({
        "code": reply.code,
        "enhanced": reply.enhanced,
        "text": reply.text,
        "host": reply.host,
        "class": reply.class,
    })
}
