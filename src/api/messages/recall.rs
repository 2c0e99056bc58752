//! `POST /v1/messages/{id}/cancel`, `PATCH /v1/messages/{id}`, `POST /v1/messages/{id}/retry`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::body::{JsonObject, UnreadBody};
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::clock::rfc3339;
use crate::domain::draft::{Expiry, SendAt};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::message::MessageStatus;
use crate::domain::recipient::{Counts, RecipientStatus};
use crate::recall::Done;
use crate::request::fields::Fields;
use crate::store::mail::messages::StoredMessage;
use crate::store::mail::scheduled::{ScheduledChange, StoredScheduled};
use crate::store::queue::recall::Recall;

/// The schema `Recalled`: what became of a wish, recipient by recipient.
#[derive(Serialize)]
pub struct RecalledView {
    id: MessageId,
    status: MessageStatus,
    send_at: Option<String>,
    expires_at: Option<String>,
    recipients: Vec<RecalledRecipientView>,
}

#[derive(Serialize)]
struct RecalledRecipientView {
    id: RecipientId,
    email: String,
    /// The word of the wish, or `too_late`.
    result: &'static str,
    status: RecipientStatus,
}

/// What is wished of a message.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    Cancel,
    Edit(ScheduledChange),
    Retry,
}

impl Wish {
    const fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancelled",
            Self::Edit(_) => "edited",
            Self::Retry => "retried",
        }
    }

    const fn recall(self) -> Recall {
        match self {
            Self::Cancel => Recall::Cancel,
            Self::Edit(change) => Recall::Edit { due_at: change.send_at, expires_at: change.expires_at },
            Self::Retry => Recall::Retry,
        }
    }
}

/// Cancels what has not begun.
pub async fn cancel(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let message = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&wish(&api, &caller, message, Wish::Cancel).await?))
}

/// Tries at once what waits for its next try.
pub async fn retry(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let message = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&wish(&api, &caller, message, Wish::Retry).await?))
}

/// Changes when a message is sent, and until when it is tried, as far as it has not begun.
pub async fn edit(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let message = super::find(&api, &caller, &id).await?;
    let JsonObject { map, .. } = body.object(&api).await?;
    let (now, mut faults) = (api.clock.now(), Vec::new());
    let mut fields = Fields::new(map, "", &mut faults);
    let send_at = fields.string("send_at").and_then(|text| fields.sound("send_at", SendAt::parse(&text, now)));
    let send_at = send_at.map(|at| at.instant().max(now));
    let base = send_at.unwrap_or(now);
    let expires_at = fields.string("expires_at");
    let expires_at = expires_at.and_then(|text| fields.sound("expires_at", Expiry::parse(&text, base)));
    if send_at.is_none() && expires_at.is_none() && fields.faults.is_empty() {
        let missing = Err::<(), _>(Flaw::new(FaultCode::Required, "give send_at or expires_at, or both"));
        fields.sound("send_at", missing);
    }
    let old_end = message.expires_at.filter(|_| expires_at.is_none());
    if let (Some(at), Some(end)) = (send_at, old_end)
        && at >= end
    {
        fields.fault("send_at", FaultCode::Conflict, "lies behind the message's expires_at; change both");
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let change = ScheduledChange { send_at, expires_at: expires_at.map(Expiry::instant) };
    Ok(ok_json(&wish(&api, &caller, message, Wish::Edit(change)).await?))
}

/// Looks of a message that leaves the schedule while it is asked back.
const LOOKS: usize = 3;

/// Does what is wished of a message, and says what became of it.
pub async fn wish(api: &Api, caller: &Caller, message: StoredMessage, wish: Wish) -> Result<RecalledView, Problem> {
    let mut message = message;
    for _ in 0..LOOKS {
        let Some(scheduled) = &message.scheduled else { break };
        if wish_of_scheduled(api, caller, scheduled, wish).await? {
            let found = api.store.find_message(caller.project, message.id).await?.ok_or_else(Problem::not_found)?;
            return view(api, &found, |_| wish.word()).await;
        }
        // It left the schedule, or was changed meanwhile.
        message = api.store.find_message(caller.project, message.id).await?.ok_or_else(Problem::not_found)?;
    }
    if message.scheduled.is_some() {
        return view(api, &message, |_| "too_late").await;
    }
    let recipients = api.store.list_recipients(message.id).await?;
    let open: Vec<_> = recipients.iter().filter(|r| !r.status.is_settled()).map(|recipient| recipient.id).collect();
    let done = if open.is_empty() { Vec::new() } else { api.recaller.recall(message.id, &open, wish.recall()).await? };
    let found = api.store.find_message(caller.project, message.id).await?.ok_or_else(Problem::not_found)?;
    view(api, &found, |id| if done.contains(&(id, Done::Done)) { wish.word() } else { "too_late" }).await
}

/// `false`: it is not in the schedule any more.
async fn wish_of_scheduled(api: &Api, caller: &Caller, message: &StoredScheduled, wish: Wish) -> Result<bool, Problem> {
    Ok(match wish {
        Wish::Edit(change) => api.store.change_scheduled(caller.project, message.id, change).await?,
        Wish::Retry => {
            let change = ScheduledChange { send_at: Some(api.clock.now()), expires_at: None };
            api.store.change_scheduled(caller.project, message.id, change).await?
        }
        Wish::Cancel => api.recaller.cancel_scheduled(message).await?,
    })
}

async fn view(
    api: &Api,
    message: &StoredMessage,
    result: impl Fn(RecipientId) -> &'static str,
) -> Result<RecalledView, Problem> {
    let recipients = super::recipients_of(api, message).await?;
    let mut counts = Counts::default();
    for recipient in &recipients {
        counts.count(recipient.status, 1);
    }
    Ok(RecalledView {
        id: message.id,
        status: MessageStatus::of(&counts),
        send_at: message.send_at.map(rfc3339),
        expires_at: message.expires_at.map(rfc3339),
        recipients: recipients
            .into_iter()
            .map(|recipient| RecalledRecipientView {
                id: recipient.id,
                result: result(recipient.id),
                email: recipient.address,
                status: recipient.status,
            })
            .collect(),
    })
}
