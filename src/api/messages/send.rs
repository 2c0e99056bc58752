//! `POST /v1/send`

use aws_lc_rs::digest;
use axum::extract::State;
use axum::http::header::{HeaderName, HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::body::{JsonObject, UnreadBody};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{MessageId, RecipientId};
use crate::domain::recipient::RecipientStatus;
use crate::request::draft;
use crate::submit::{AcceptedMessage, Content, RequestKey, Submission, SubmitError};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Answers 202 once the message is on disk.
pub async fn send(
    State(api): Shared,
    authed: Authed,
    headers: HeaderMap,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Send)?;
    let body = body.object(&api).await?;
    let key = idempotency_key(&headers)?.map(|key| {
        let mut fingerprint = [0; 32];
        // Maps are sorted by name, so that the same fields in another order give the same bytes.
        let canonical = serde_json::to_vec(&body.map).unwrap_or_default();
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &canonical).as_ref());
        RequestKey { key, fingerprint }
    });
    let JsonObject { map, .. } = body;
    let accepted = match draft::parse(map, &api.limits, api.clock.now()) {
        Ok(draft) => api.door.accept(&caller, Submission::one(Content::Draft(Box::new(draft)), key)).await?,
        // What was accepted once may be refused by now: its last instant has passed.
        Err(faults) => match key {
            Some(key) => api.door.answered(&caller, &key).await?.ok_or(Problem::validation(faults))?,
            None => return Err(Problem::validation(faults)),
        },
    };
    let replayed = accepted.replayed;
    let message = accepted.messages.into_iter().next().ok_or_else(Problem::internal)?;
    let view = AcceptedView::of(message.map_err(|refusal| Problem::from(SubmitError::Refused(0, refusal)))?);
    let mut response = ok_json(&view);
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/messages/{}", view.id)) {
        headers.insert(LOCATION, location);
    }
    if replayed {
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `MessageAccepted`: what the client may rely on from now.
#[derive(Debug, Serialize)]
struct AcceptedView {
    id: MessageId,
    status: RecipientStatus,
    created_at: String,
    recipients: Vec<AcceptedRecipientView>,
}

#[derive(Debug, Serialize)]
struct AcceptedRecipientView {
    id: RecipientId,
    email: String,
    status: RecipientStatus,
    pointers: Vec<String>,
}

impl AcceptedView {
    fn of(message: AcceptedMessage) -> Self {
        let recipients = message.recipients.into_iter().map(|recipient| AcceptedRecipientView {
            id: recipient.id,
            email: recipient.address,
            status: recipient.status,
            pointers: recipient.pointers,
        });
        Self {
            id: message.id,
            status: RecipientStatus::Queued,
            created_at: rfc3339(message.created_at),
            recipients: recipients.collect(),
        }
    }
}

/// 1–255 visible ASCII characters; the quotes of the IETF draft's structured string are taken off.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(key.to_owned()));
    }
    let detail = "must be 1 to 255 visible ASCII characters";
    Err(Problem::validation(vec![Fault::new("Idempotency-Key", FaultCode::InvalidIdempotencyKey, detail)]))
}
