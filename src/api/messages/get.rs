//! `GET /v1/messages/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Mode, Scope};
use crate::domain::clock::rfc3339;
use crate::domain::draft::Priority;
use crate::domain::id::{BatchId, MessageId, RecipientId};
use crate::domain::message::MessageStatus;
use crate::domain::recipient::{Counts, RecipientKind, RecipientStatus};
use crate::store::mail::messages::StoredMessage;
use crate::store::mail::recipients::{StoredRecipient, StoredReply};
use crate::webhook::payload::ReplyView;

/// The schema `Message`: a message without its recipients.
#[derive(Serialize)]
pub struct MessageView<'m> {
    id: MessageId,
    status: MessageStatus,
    mode: Mode,
    created_at: String,
    message_id: &'m str,
    from: &'m str,
    subject: &'m str,
    tags: &'m Value,
    metadata: &'m Value,
    priority: Priority,
    size: i32,
    expires_at: Option<String>,
    send_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<BatchId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'m str>,
    counts: &'m Counts,
}

/// The schema `MessageWithRecipients`.
#[derive(Serialize)]
struct MessageWithRecipientsView<'m> {
    #[serde(flatten)]
    message: MessageView<'m>,
    recipients: Vec<RecipientView<'m>>,
}

/// The schema `Recipient`.
#[derive(Serialize)]
pub struct RecipientView<'r> {
    id: RecipientId,
    email: &'r str,
    kind: RecipientKind,
    status: RecipientStatus,
    attempts: i32,
    settled_at: Option<String>,
    next_attempt_at: Option<String>,
    last_reply: Option<ReplyView<'r>>,
    opened_at: Option<String>,
    clicked_at: Option<String>,
    complained_at: Option<String>,
    unsubscribed_at: Option<String>,
}

/// The message, with the truth about every recipient.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let message = super::find(&api, &caller, &id).await?;
    let recipients = super::recipients_of(&api, &message).await?;
    let mut counts = Counts::default();
    for recipient in &recipients {
        counts.count(recipient.status, 1);
    }
    Ok(ok_json(&MessageWithRecipientsView {
        message: MessageView::of(&message, &counts),
        recipients: recipients.iter().map(RecipientView::of).collect(),
    }))
}

impl<'m> MessageView<'m> {
    pub fn of(message: &'m StoredMessage, counts: &'m Counts) -> Self {
        Self {
            id: message.id,
            status: MessageStatus::of(counts),
            mode: message.mode,
            created_at: rfc3339(message.created_at),
            message_id: &message.message_id,
            from: &message.author,
            subject: &message.subject,
            tags: &message.tags,
            metadata: &message.metadata,
            priority: message.priority,
            size: message.size,
            expires_at: message.expires_at.map(rfc3339),
            send_at: message.send_at.map(rfc3339),
            batch_id: message.batch,
            idempotency_key: message.key.as_deref(),
            template: message.template.as_deref(),
            credential: message.credential.as_deref(),
            counts,
        }
    }
}

impl<'r> RecipientView<'r> {
    pub fn of(recipient: &'r StoredRecipient) -> Self {
        Self {
            id: recipient.id,
            email: &recipient.address,
            kind: recipient.kind,
            status: recipient.status,
            attempts: recipient.attempts,
            settled_at: recipient.settled_at.map(rfc3339),
            next_attempt_at: recipient.next_attempt_at.map(rfc3339),
            last_reply: recipient.last_reply.as_ref().map(reply_view),
            opened_at: recipient.later.opened_at.map(rfc3339),
            clicked_at: recipient.later.clicked_at.map(rfc3339),
            complained_at: recipient.later.complained_at.map(rfc3339),
            unsubscribed_at: recipient.later.unsubscribed_at.map(rfc3339),
        }
    }
}

pub(super) fn reply_view(reply: &StoredReply) -> ReplyView<'_> {
    ReplyView {
        code: reply.code.map(i64::from),
        enhanced: reply.enhanced.as_deref(),
        text: reply.text.as_deref(),
        host: reply.host.as_deref(),
        class: Some(reply.class.name()),
    }
}
