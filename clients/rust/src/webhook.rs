//! Webhooks: their signature (Standard Webhooks 1.0) verified, their body read.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;

use crate::message::{Mode, Reply};

/// How old a webhook may be, and how far ahead its clock.
const TOLERANCE: Duration = Duration::from_mins(5);

/// Tells webhooks of the service from those of anybody else.
///
/// ```
/// use mailwright_client::{Rejected, SignedHeaders, Verifier};
///
/// /// Called by your HTTP server with the headers and the body as it came, before anything reads it.
/// fn on_webhook(id: &str, timestamp: &str, signature: &str, body: &[u8]) -> Result<(), Rejected> {
///     # const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
///     let verifier = Verifier::new(SECRET).expect("the secret that the endpoint's creation answered");
///     let event = verifier.verify(SignedHeaders { id, timestamp, signature }, body)?;
///     if let Some(about) = event.message() {
///         println!("{}: {} of {}", event.kind, about.email, about.message_id);
///     }
///     Ok(())
/// }
/// # assert_eq!(on_webhook("evt_1", "1", "v1,AAAA", b"{}"), Err(Rejected::Signature));
/// ```
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<hmac::Key>,
}

/// The secret is not `whsec_` and base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook's secret is 'whsec_' and base64")]
pub struct InvalidSecret;

/// The headers of a webhook that its signature speaks of.
#[derive(Debug, Clone, Copy)]
pub struct SignedHeaders<'h> {
    /// `webhook-id`: the same on every try of one webhook. Drop what came before.
    pub id: &'h str,
    /// `webhook-timestamp`.
    pub timestamp: &'h str,
    /// `webhook-signature`: one or several, with spaces between.
    pub signature: &'h str,
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the signature is not one of the secret's")]
    Signature,
    #[error("the webhook is older than five minutes, or from the future")]
    Time,
    #[error("the body is no webhook's")]
    Body,
}

impl Verifier {
    /// With the `secret` of an endpoint.
    pub fn new(secret: &str) -> Result<Self, InvalidSecret> {
        Ok(Self { keys: vec![key(secret)?] })
    }

    /// Believes another secret too, while one replaces the other.
    pub fn or(mut self, secret: &str) -> Result<Self, InvalidSecret> {
        self.keys.push(key(secret)?);
        Ok(self)
    }

    /// Gives the event of a webhook that the service sent, now. `body` is what came, byte for byte.
    pub fn verify(&self, headers: SignedHeaders<'_>, body: &[u8]) -> Result<WebhookEvent, Rejected> {
        #[expect(clippy::disallowed_methods, reason = "a client has no other clock")]
        self.verify_at(SystemTime::now(), headers, body)
    }

    /// The same at another instant.
    pub fn verify_at(
        &self,
        now: SystemTime,
        headers: SignedHeaders<'_>,
        body: &[u8],
    ) -> Result<WebhookEvent, Rejected> {
        let signed = [headers.id.as_bytes(), b".", headers.timestamp.as_bytes(), b".", body].concat();
        let signatures = headers.signature.split(' ').filter_map(|text| BASE64.decode(text.strip_prefix("v1,")?).ok());
        let is_ours = |signature: Vec<u8>| self.keys.iter().any(|key| hmac::verify(key, &signed, &signature).is_ok());
        if !signatures.into_iter().any(is_ours) {
            return Err(Rejected::Signature);
        }
        let seconds = headers.timestamp.parse().map_err(|_| Rejected::Time)?;
        let sent = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(Rejected::Time)?;
        let apart = now.duration_since(sent).unwrap_or_else(|ahead| ahead.duration());
        if apart > TOLERANCE {
            return Err(Rejected::Time);
        }
        serde_json::from_slice(body).map_err(|_| Rejected::Body)
    }
}

fn key(secret: &str) -> Result<hmac::Key, InvalidSecret> {
    let bytes = BASE64.decode(secret.strip_prefix("whsec_").ok_or(InvalidSecret)?).map_err(|_| InvalidSecret)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// What a webhook tells, or a line of the project's events.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WebhookEvent {
    /// Such as `message.delivered`.
    #[serde(rename = "type")]
    pub kind: String,
    pub timestamp: String,
    /// As it came; read by [`WebhookEvent::message`] where it speaks of a message.
    pub data: Value,
}

impl WebhookEvent {
    /// What an event of a message says; none for other events.
    pub fn message(&self) -> Option<MessageEvent> {
        self.kind.starts_with("message.").then(|| MessageEvent::deserialize(&self.data).ok()).flatten()
    }
}

/// An event of one recipient of a message.
#[derive(Debug, Clone, Deserialize)]
pub struct MessageEvent {
    pub event_id: String,
    pub message_id: String,
    pub recipient_id: String,
    pub mode: Mode,
    /// Empty in a list of events, as is all else that the message says of itself, if it is past its retention.
    #[serde(default)]
    pub email: String,
    /// The recipient's place in the request, from 0.
    pub position: Option<u64>,
    /// The message's author.
    #[serde(default)]
    pub from: String,
    #[serde(default)]
    pub subject: String,
    /// The key under which the message was sent.
    pub idempotency_key: Option<String>,
    /// Orders the events of one recipient: webhooks may come in another order.
    pub sequence: u64,
    pub attempt: Option<u64>,
    pub reply: Option<Reply>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}
