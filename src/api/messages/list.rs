//! `GET /v1/messages`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::get::MessageView;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params};
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::{Caller, Mode, Scope};
use crate::domain::address::{Address, parse_domain, unbracketed};
use crate::domain::clock::parse_rfc3339;
use crate::domain::id::{BatchId, MessageId, RecipientId};
use crate::domain::message::Idempotency;
use crate::domain::recipient::{RecipientKind, RecipientStatus};
use crate::store::mail::listing::{ListedMessage, ListedRecipient, MessageFilter, StatusFilter};
use crate::submit::parse_key;

/// The schema `ListedMessage`.
#[derive(Serialize)]
struct ListedView<'m> {
    #[serde(flatten)]
    message: MessageView<'m>,
    recipient_count: u32,
    recipients: Vec<ListedRecipientView<'m>>,
}

#[derive(Serialize)]
struct ListedRecipientView<'m> {
    id: RecipientId,
    email: &'m str,
    kind: RecipientKind,
    status: RecipientStatus,
}

impl<'m> ListedView<'m> {
    fn of(listed: &'m ListedMessage) -> Self {
        let of_one = |recipient: &'m ListedRecipient| ListedRecipientView {
            id: recipient.id,
            email: &recipient.email,
            kind: recipient.kind,
            status: recipient.status,
        };
        Self {
            message: MessageView::of(&listed.message, &listed.counts),
            recipient_count: listed.counts.total(),
            recipients: listed.recipients.iter().map(of_one).collect(),
        }
    }
}

/// The project's messages, newest first.
pub async fn list(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let limit = params.limit();
    let filter = filter_of(&api, &caller, &mut params).await?;
    let filter = MessageFilter { limit: limit.rows_of_page(), ..filter };
    params.finish()?;
    let _turn = api.turn(caller.project).await?;
    let listing = api.lists.list_messages(caller.project, &filter).await?;
    let next = listing.next.map(|id| id.to_string());
    Ok(ok_json(&PageView::whole(listing.messages.iter().map(ListedView::of).collect(), next)))
}

/// The filters of lists of messages.
pub async fn filter_of(api: &Api, caller: &Caller, params: &mut Params) -> Result<MessageFilter, Problem> {
    let address = |text: &str| Address::parse(text).ok().map(|address| address.to_string());
    let key = params.parsed("idempotency_key", "1 to 255 visible ASCII characters", |text| parse_key(text).ok());
    let mut filter = MessageFilter {
        mode: caller.sees_only(),
        statuses: params.all("status", "a state of messages or of recipients", StatusFilter::parse),
        to: params.parsed("to", "an address", address),
        from: params.parsed("from", "an address", address),
        tag: params.text("tag"),
        domain: params.parsed("domain", "a domain", |text| parse_domain(text).ok()),
        since: params.parsed("since", "an RFC 3339 instant", parse_rfc3339),
        until: params.parsed("until", "an RFC 3339 instant", parse_rfc3339),
        q: params.text("q"),
        message_id: params.text("message_id").map(|id| unbracketed(&id).to_owned()),
        credential: params.text("credential"),
        batch: params.parsed("batch_id", "an id that a batch was answered with", BatchId::parse),
        before: params.cursor(),
        ..MessageFilter::default()
    };
    if let Some(key) = key {
        let mut ids = Vec::new();
        // Live and test mail have keys of their own; who sees both, asks both.
        let seen = caller.sees_only();
        for mode in Mode::ALL.iter().filter(|mode| seen.is_none_or(|only| only == **mode)) {
            ids.extend(api.store.find_messages_of_key(caller.project, &Idempotency::stored(*mode, &key)).await?);
        }
        filter.ids = Some(ids);
    }
    // A message that has no id of its own is known by ours.
    if let Some(id) = filter.message_id.as_deref().and_then(of_made) {
        filter.message_id = None;
        filter.ids = Some(vec![id]);
    }
    Ok(filter)
}

/// The message whose `Message-ID` was made by the service.
fn of_made(message_id: &str) -> Option<MessageId> {
    let (local, _) = message_id.split_once('@')?;
    MessageId::parse(&format!("msg_{local}"))
}
