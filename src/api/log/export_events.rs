//! `GET /v1/events/export`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::EventView;
use super::events::asked;
use super::stream::{Page, csv_line, format, stream};
use crate::api::Shared;
use crate::api::auth::Authed;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::ProjectId;
use crate::domain::log::LogCursor;
use crate::domain::report::ExportFormat;
use crate::store::mail::log::{LogFilter, ProjectEvent};
use crate::store::{Store, StoreError};

const ROWS: i64 = 500;
const COLUMNS: [&str; 12] = [
    "cursor",
    "event_id",
    "type",
    "timestamp",
    "mode",
    "message_id",
    "recipient_id",
    "email",
    "sequence",
    "attempt",
    "reply_code",
    "reply_class",
];

/// An event, and the cursor behind the page that it ends; of others of the page none.
#[derive(Serialize)]
struct LineView<'e> {
    #[serde(flatten)]
    event: EventView<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// All events behind a cursor, in the order of their commits. The last line of each page says where to go on.
pub async fn export(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let format = format(&mut params);
    let (filter, cursor) = asked(&mut params, &caller);
    params.finish()?;
    let (store, project, filter) = (api.lists.clone(), caller.project, Arc::new(filter));
    let turn = api.turn(project).await?;
    let first = page(store.clone(), project, Arc::clone(&filter), cursor, format).await?;
    let head = if format == ExportFormat::Csv { csv_line(COLUMNS) } else { String::new() };
    Ok(stream(format, "events", head, first, move |cursor| {
        // As long as it is written.
        let _ = &turn;
        page(store.clone(), project, Arc::clone(&filter), cursor, format)
    }))
}

async fn page(
    store: Store,
    project: ProjectId,
    filter: Arc<LogFilter>,
    cursor: LogCursor,
    format: ExportFormat,
) -> Result<Page<LogCursor>, StoreError> {
    let page = store.read_project_log(project, &filter, &cursor, ROWS).await?;
    let mut text = String::new();
    let last = page.events.len().saturating_sub(1);
    for (at, event) in page.events.iter().enumerate() {
        let cursor = (at == last).then(|| page.next.to_string());
        match format {
            ExportFormat::Ndjson => {
                let line = LineView { event: EventView::of(event), cursor };
                text.push_str(&serde_json::to_string(&line).unwrap_or_default());
                text.push('\n');
            }
            ExportFormat::Csv => text.push_str(&csv(event, cursor.as_deref().unwrap_or_default())),
        }
    }
    Ok(Page { text, next: page.is_full.then_some(page.next) })
}

fn csv(event: &ProjectEvent, cursor: &str) -> String {
    let of_message = |id: String| if event.event_type.is_of_project() { String::new() } else { id };
    let number = |value: &serde_json::Value| value.as_i64().map(|number| number.to_string()).unwrap_or_default();
    let reply = &event.data["reply"];
    csv_line([
        cursor,
        &event.id.to_string(),
        event.event_type.name(),
        &rfc3339(event.occurred_at),
        event.mode.name(),
        &of_message(event.message.to_string()),
        &of_message(event.recipient.to_string()),
        event.of_message.as_ref().map_or("", |message| &message.email),
        &event.sequence.to_string(),
        &number(&event.data["attempt"]),
        &number(&reply["code"]),
        reply["class"].as_str().unwrap_or_default(),
    ])
}
