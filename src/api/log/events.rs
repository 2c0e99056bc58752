//! `GET /v1/events`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use tokio::time::Instant;

use super::EventView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::clock::parse_rfc3339;
use crate::domain::event::EventType;
use crate::domain::log::LogCursor;
use crate::domain::span::Span;
use crate::store::mail::log::LogFilter;

/// The longest that an answer is waited for.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two looks for something new.
const LOOK: Duration = Duration::from_millis(500);

/// What is asked of the log, and where to begin.
pub fn asked(params: &mut Params, caller: &Caller) -> (LogFilter, LogCursor) {
    let cursor = params.parsed("after", "the next_cursor of a page of this list", |text| text.parse().ok());
    let filter = LogFilter {
        mode: caller.sees_only(),
        types: params.all("type", "a type of event such as message.delivered", EventType::parse),
        since: params.parsed("since", "an RFC 3339 instant", parse_rfc3339),
        until: None,
    };
    (filter, cursor.unwrap_or_default())
}

/// The project's events in the order of their commits.
pub async fn events(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let limit = params.limit();
    let (filter, mut cursor) = asked(&mut params, &caller);
    let wait = params.parsed("wait", "a time of at most 30s, such as 10s", |text| {
        text.parse::<Span>().ok().map(|Span(wait)| wait).filter(|wait| *wait <= WAIT_MAX)
    });
    params.finish()?;
    let end = Instant::now() + wait.unwrap_or_default();
    let rows = i64::try_from(limit.rows_of_page()).unwrap_or(i64::MAX);
    loop {
        let page = api.store.read_project_log(caller.project, &filter, &cursor, rows).await?;
        cursor = page.next;
        if !page.events.is_empty() || Instant::now() >= end {
            let data = page.events.iter().map(EventView::of).collect();
            return Ok(ok_json(&PageView::whole(data, Some(cursor.to_string()))));
        }
        // Those who wait take turns: what they cost the store does not grow with their number.
        let Ok(_turn) = api.waiting.acquire().await else { return Err(Problem::internal()) };
        tokio::time::sleep_until(end.min(Instant::now() + LOOK)).await;
    }
}
