//! `POST /v1/messages/cancel`, `POST /v1/messages/retry`

use axum::extract::State;
use axum::response::Response;

use super::recall::{RecalledView, Wish, wish};
use crate::api::auth::Authed;
use crate::api::body::{JsonObject, UnreadBody};
use crate::api::page::PageView;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::draft::Tag;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::{BatchId, MessageId};
use crate::domain::recipient::RecipientStatus;
use crate::request::fields::{Fields, wrong_type};
use crate::store::mail::listing::{MessageFilter, StatusFilter};

/// Messages of one call.
const AT_ONCE: usize = 100;
const IDS_MAX: usize = 1000;

/// Cancels what has not begun of many messages.
pub async fn cancel(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    Box::pin(many(&api, &caller, body, Wish::Cancel)).await
}

/// Tries at once what waits of many messages.
pub async fn retry(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    Box::pin(many(&api, &caller, body, Wish::Retry)).await
}

async fn many(api: &crate::api::Api, caller: &Caller, body: UnreadBody, wished: Wish) -> Result<Response, Problem> {
    let JsonObject { map, .. } = body.object(api).await?;
    let filter = filter(map, caller)?;
    let listing = api.store.list_messages(caller.project, &filter).await?;
    let mut done: Vec<RecalledView> = Vec::with_capacity(listing.messages.len());
    for listed in listing.messages {
        done.push(wish(api, caller, listed.message, wished).await?);
    }
    Ok(ok_json(&PageView::whole(done, listing.next.map(|id| id.to_string()))))
}

/// The messages that are meant: by a tag, a batch, or their ids; of those, the ones that may still have something to begin.
fn filter(map: serde_json::Map<String, serde_json::Value>, caller: &Caller) -> Result<MessageFilter, Problem> {
    let mut faults = Vec::new();
    let mut fields = Fields::new(map, "", &mut faults);
    let given = ["tag", "batch_id", "ids"].iter().filter(|name| fields.has(name)).count();
    if given != 1 {
        let wrong = Flaw::new(FaultCode::Required, "give one of tag, batch_id and ids");
        fields.sound("tag", Err::<(), _>(wrong));
    }
    let tag = fields.string("tag").and_then(|text| fields.sound("tag", Tag::parse(text)));
    let wrong_id = || Flaw::new(FaultCode::InvalidParameter, "is not such an id");
    let batch =
        fields.string("batch_id").and_then(|id| fields.sound("batch_id", BatchId::parse(&id).ok_or_else(wrong_id)));
    let ids = fields.list("ids").map(|ids| {
        if ids.len() > IDS_MAX {
            fields.fault("ids", FaultCode::TooMany, format!("{}; the limit is {IDS_MAX}", ids.len()));
        }
        let parsed =
            ids.into_iter().take(IDS_MAX).enumerate().filter_map(|(at, id)| match id.as_str().map(MessageId::parse) {
                Some(Some(id)) => Some(id),
                Some(None) => {
                    fields.fault_at(&format!("ids/{at}"), FaultCode::InvalidParameter, "is not a message's id");
                    None
                }
                None => {
                    fields.faults.push(wrong_type(format!("/ids/{at}"), "a string", &id));
                    None
                }
            });
        parsed.collect()
    });
    let before = fields.string("cursor");
    let before = before.and_then(|id| fields.sound("cursor", MessageId::parse(&id).ok_or_else(wrong_id)));
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let open =
        [RecipientStatus::Scheduled, RecipientStatus::Queued, RecipientStatus::Sending, RecipientStatus::Deferred];
    // Of messages that are named, each is answered for.
    let statuses = if ids.is_some() { Vec::new() } else { open.map(StatusFilter::of_recipients).to_vec() };
    let limit = if ids.is_some() { IDS_MAX } else { AT_ONCE };
    Ok(MessageFilter {
        mode: caller.sees_only(),
        statuses,
        tag: tag.map(|tag| tag.as_str().to_owned()),
        batch,
        ids,
        before,
        limit,
        ..MessageFilter::default()
    })
}
