//! `GET /v1/messages/export`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::stream::{Page, csv_line, format, stream};
use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::messages::get::{MessageView, RecipientView};
use crate::api::messages::list::filter_of;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::message::MessageStatus;
use crate::domain::report::ExportFormat;
use crate::store::mail::listing::{ListedMessage, MessageFilter};
use crate::store::mail::recipients::StoredRecipient;
use crate::store::{Store, StoreError};

const ROWS: usize = 200;
const COLUMNS: [&str; 15] = [
    "message_id",
    "status",
    "mode",
    "created_at",
    "send_at",
    "from",
    "subject",
    "tags",
    "recipient_id",
    "kind",
    "email",
    "recipient_status",
    "attempts",
    "settled_at",
    "class",
];

#[derive(Serialize)]
struct LineView<'m> {
    #[serde(flatten)]
    message: MessageView<'m>,
    recipients: Vec<RecipientView<'m>>,
}

/// The project's messages with all of their recipients, newest first. A line's id is where to go on behind it.
pub async fn export(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let format = format(&mut params);
    let filter = MessageFilter { limit: ROWS, ..filter_of(&api, &caller, &mut params).await? };
    params.finish()?;
    let (store, project, turn) = (api.lists.clone(), caller.project, api.turn(caller.project).await?);
    let first = page(store.clone(), project, filter.clone(), format).await?;
    let head = if format == ExportFormat::Csv { csv_line(COLUMNS) } else { String::new() };
    Ok(stream(format, "messages", head, first, move |before: MessageId| {
        // As long as it is written.
        let _ = &turn;
        page(store.clone(), project, MessageFilter { before: Some(before), ..filter.clone() }, format)
    }))
}

async fn page(
    store: Store,
    project: ProjectId,
    filter: MessageFilter,
    format: ExportFormat,
) -> Result<Page<MessageId>, StoreError> {
    let listing = store.list_messages(project, &filter).await?;
    let ids: Vec<_> = listing.messages.iter().filter(|m| m.message.scheduled.is_none()).map(|m| m.message.id).collect();
    let mut known = store.list_recipients_of(&ids).await?;
    let mut text = String::new();
    for listed in &listing.messages {
        let recipients = match &listed.message.scheduled {
            Some(scheduled) => StoredRecipient::of_scheduled(scheduled),
            None => known.remove(&listed.message.id).unwrap_or_default(),
        };
        match format {
            ExportFormat::Ndjson => {
                let line = LineView {
                    message: MessageView::of(&listed.message, &listed.counts),
                    recipients: recipients.iter().map(RecipientView::of).collect(),
                };
                text.push_str(&serde_json::to_string(&line).unwrap_or_default());
                text.push('\n');
            }
            ExportFormat::Csv => recipients.iter().for_each(|recipient| text.push_str(&csv(listed, recipient))),
        }
    }
    Ok(Page { text, next: listing.next })
}

fn csv(listed: &ListedMessage, recipient: &StoredRecipient) -> String {
    let message = &listed.message;
    let tags = message.tags.as_array().map(|tags| tags.iter().filter_map(|tag| tag.as_str()).collect::<Vec<_>>());
    let status = serde_json::to_value(MessageStatus::of(&listed.counts)).unwrap_or_default();
    csv_line([
        &*message.id.to_string(),
        status.as_str().unwrap_or_default(),
        message.mode.name(),
        &rfc3339(message.created_at),
        &message.send_at.map(rfc3339).unwrap_or_default(),
        &message.author,
        &message.subject,
        &tags.unwrap_or_default().join(";"),
        &recipient.id.to_string(),
        recipient.kind.name(),
        &recipient.address,
        recipient.status.name(),
        &recipient.attempts.to_string(),
        &recipient.settled_at.map(rfc3339).unwrap_or_default(),
        recipient.last_reply.as_ref().map_or("", |reply| reply.class.name()),
    ])
}
