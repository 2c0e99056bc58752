//! Messages: send one or many, and read what became of it.

pub mod attempts;
pub mod batch;
pub mod erase;
pub mod events;
pub mod explain;
pub mod get;
pub mod list;
pub mod raw;
pub mod recall;
pub mod recall_many;
pub mod reports;
pub mod send;
pub(super) mod sending;
pub mod webhooks;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::id::MessageId;
use crate::store::mail::messages::StoredMessage;
use crate::store::mail::recipients::StoredRecipient;

/// The recipients of a message, also of one that waits for its time.
async fn recipients_of(api: &Api, message: &StoredMessage) -> Result<Vec<StoredRecipient>, Problem> {
    match &message.scheduled {
        Some(scheduled) => Ok(StoredRecipient::of_scheduled(scheduled)),
        None => Ok(api.store.list_recipients(message.id).await?),
    }
}

/// The caller's message named in a path. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<StoredMessage, Problem> {
    let id = MessageId::parse(id).ok_or_else(Problem::not_found)?;
    let found = api.store.find_message(caller.project, id).await?;
    let may_see = |message: &StoredMessage| caller.sees_only().is_none_or(|mode| mode == message.mode);
    found.filter(may_see).ok_or_else(Problem::not_found)
}
