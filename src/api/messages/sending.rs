//! What sending one message and sending many have in common: the key of a repeated request, what a request refers to, and
//! what is answered.

use std::sync::Arc;

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::clock::rfc3339;
use crate::domain::fault::Fault;
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::message::MessageStatus;
use crate::domain::recipient::RecipientStatus;
use crate::request::fields::wrong_type;
use crate::request::found::{Found, uploads_of};
use crate::request::send::{Context, read};
use crate::request::template::{Filled, FilledPart};
use crate::submit::filling::fill;
use crate::submit::{AcceptedItem, Rehearsed, RequestKey, SubmitError};

pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The key in the header of a request, with the fingerprint of its body, or of what that was before.
pub fn request_key(
    headers: &HeaderMap,
    map: &Map<String, Value>,
    asked: Option<[u8; 32]>,
) -> Result<Option<RequestKey>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // The quotes of the IETF draft's structured string.
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let key = RequestKey::parse(key, asked.unwrap_or_else(|| fingerprint(map)));
    key.map(Some).map_err(|flaw| Problem::validation(vec![flaw.at("Idempotency-Key")]))
}

/// The key that a message has in its own body, which is taken out of it: the fingerprint is of the rest.
pub fn own_key(map: &mut Map<String, Value>, at: &str) -> Result<Option<RequestKey>, Fault> {
    let pointer = format!("{at}/idempotency_key");
    match map.remove("idempotency_key").filter(|key| !key.is_null()) {
        None => Ok(None),
        Some(Value::String(key)) => {
            RequestKey::parse(&key, fingerprint(map)).map(Some).map_err(|flaw| flaw.at(pointer))
        }
        Some(other) => Err(wrong_type(pointer, "a string", &other)),
    }
}

/// The SHA-256 of a body. Maps are sorted by name, so that the same fields in another order give the same bytes.
pub fn fingerprint(map: &Map<String, Value>) -> [u8; 32] {
    RequestKey::fingerprint_of(&serde_json::to_vec(map).unwrap_or_default())
}

/// Fills in the template of a request, if it names one.
pub async fn filled_for(
    api: &Api,
    caller: &Caller,
    map: &mut Map<String, Value>,
    at: &str,
) -> Result<Result<Option<Filled>, Vec<Fault>>, Problem> {
    let filled = fill(&api.templates, (caller.project, caller.mode), map, at).await;
    filled.map_err(|error| SubmitError::from(error).into())
}

/// Looks up what requests refer to.
pub async fn found_for<'m>(
    api: &Api,
    caller: &Caller,
    requests: impl Iterator<Item = &'m Map<String, Value>> + Clone,
) -> Result<Arc<Found>, Problem> {
    let mut found = Found::default();
    let uploads = uploads_of(requests);
    if !uploads.is_empty() {
        found.uploads = api.store.load_uploads(caller.project, caller.sees_only(), &uploads).await?;
    }
    Ok(Arc::new(found))
}

/// `MessageAccepted`: what the client may rely on from now.
#[derive(Debug, Serialize)]
pub struct AcceptedView {
    pub id: MessageId,
    status: MessageStatus,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_at: Option<String>,
    recipients: Vec<AcceptedRecipientView>,
}

#[derive(Debug, Serialize)]
struct AcceptedRecipientView {
    id: RecipientId,
    /// Of a request that makes one for each recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
    email: String,
    status: RecipientStatus,
    pointers: Vec<String>,
}

impl AcceptedView {
    /// Of several messages, the first is named; each recipient says which is its own.
    pub fn of(item: AcceptedItem) -> Result<Self, Problem> {
        let (status, is_several) = (item.status(), item.messages.len() > 1);
        let first = item.messages.first().ok_or_else(Problem::internal)?;
        let (id, created_at, send_at) = (first.id, rfc3339(first.created_at), first.send_at);
        let recipients = item.messages.into_iter().flat_map(|message| {
            let message_id = is_several.then_some(message.id);
            message.recipients.into_iter().map(move |recipient| AcceptedRecipientView {
                id: recipient.id,
                message_id,
                email: recipient.address,
                status: recipient.status,
                pointers: recipient.pointers,
            })
        });
        Ok(Self { id, status, created_at, send_at: send_at.map(rfc3339), recipients: recipients.collect() })
    }
}

/// `Rehearsed`: what would be done with a request.
#[derive(Debug, Serialize)]
pub struct RehearsedView {
    #[serde(flatten)]
    accepted: AcceptedView,
    dry_run: bool,
    messages: Vec<RehearsedMessageView>,
}

#[derive(Debug, Serialize)]
struct RehearsedMessageView {
    from: String,
    subject: String,
    size: usize,
    expires_at: Option<String>,
    next_hops: Vec<String>,
    raw: String,
}

/// Bytes of a message that are shown of what would be sent.
const SHOWN_MAX: usize = 256 << 10;

impl RehearsedView {
    pub fn of(item: AcceptedItem, messages: Vec<Rehearsed>) -> Result<Self, Problem> {
        let messages = messages.into_iter().map(|message| RehearsedMessageView {
            from: message.from,
            subject: message.subject,
            size: message.size,
            expires_at: message.expires_at.map(rfc3339),
            next_hops: message.next_hops,
            raw: String::from_utf8_lossy(&message.raw[..message.raw.len().min(SHOWN_MAX)]).into_owned(),
        });
        Ok(Self { accepted: AcceptedView::of(item)?, dry_run: true, messages: messages.collect() })
    }
}

/// The faults of a template, and those of the rest of the request: all are told at once.
pub fn with_others(mut faults: Vec<Fault>, map: Map<String, Value>, context: &Context<'_>) -> Vec<Fault> {
    let stand_in = FilledPart { subject: Some(String::new()), text: Some(String::new()), html: None };
    let filled = Filled { label: String::new(), parts: vec![stand_in] };
    if let Err(others) = read(map, "", Some(&filled), context) {
        faults.extend(others);
    }
    faults
}

/// The parameter `dry_run`.
pub fn dry_run(params: &mut crate::api::page::Params) -> bool {
    params.parsed("dry_run", "true or false", |text| text.parse().ok()).unwrap_or(false)
}

/// The faults of an object whose place is known.
pub fn wrong_object(at: &str, found: &Value) -> Vec<Fault> {
    vec![wrong_type(at.to_owned(), "an object", found)]
}
