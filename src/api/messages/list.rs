//! `GET /v1/messages`

use axum::extract::State;
use axum::response::Response;

use super::get::MessageView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::address::{Address, parse_domain};
use crate::domain::clock::parse_rfc3339;
use crate::domain::message::MessageStatus;
use crate::store::mail::listing::MessageFilter;

/// The project's messages, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let limit = params.limit();
    let address = |text: &str| Address::parse(text).ok().map(|address| address.to_string());
    let filter = MessageFilter {
        mode: caller.sees_only(),
        status: params.parsed(
            "status",
            "queued, sending, delivered, partially_delivered, failed or cancelled",
            |text| MessageStatus::parse(text).map(|_| text.to_owned()),
        ),
        to: params.parsed("to", "an address", address),
        from: params.parsed("from", "an address", address),
        tag: params.text("tag"),
        domain: params.parsed("domain", "a domain", |text| parse_domain(text).ok()),
        since: params.parsed("since", "an RFC 3339 instant", parse_rfc3339),
        until: params.parsed("until", "an RFC 3339 instant", parse_rfc3339),
        q: params.text("q"),
        before: params.cursor(),
        limit: limit.rows(),
    };
    params.finish()?;
    let rows = api.store.list_messages(caller.project, &filter).await?;
    Ok(ok_json(&PageView::of(
        &rows,
        limit,
        |(message, counts)| MessageView::of(message, counts),
        |(message, _)| message.id.to_string(),
    )))
}
