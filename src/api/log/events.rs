//! `GET /v1/events`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::EventView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::wait::Wait;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::clock::parse_rfc3339;
use crate::domain::event::EventType;
use crate::domain::log::LogCursor;
use crate::store::mail::log::LogFilter;

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
    let wait = Wait::read(&mut params);
    params.finish()?;
    let waiting = wait.begin();
    let rows = i64::try_from(limit.rows_of_page()).unwrap_or(i64::MAX);
    loop {
        let turn = api.turn(caller.project).await?;
        let page = api.lists.read_project_log(caller.project, &filter, &cursor, rows).await?;
        drop(turn);
        cursor = page.next;
        if !page.events.is_empty() || !waiting.goes_on(&api, LOOK).await? {
            let data = page.events.iter().map(EventView::of).collect();
            return Ok(ok_json(&PageView::whole(data, Some(cursor.to_string()))));
        }
    }
}
