//! What becomes of a webhook.

use serde::{Deserialize, Serialize};

use super::access::Mode;
use super::clock::Rng;
use super::words::words;

words! {
    /// Where a webhook's calls stand.
    pub enum WebhookStatus {
        /// It is tried, or tried again.
        Pending = "pending",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

words! {
    /// Of which mail an endpoint hears.
    pub enum EndpointMode {
        Live = "live",
        Test = "test",
        Both = "both",
    }
}

impl EndpointMode {
    /// Whether it hears of mail of that mode.
    pub fn covers(self, mode: Mode) -> bool {
        self == Self::Both || self.name() == mode.name()
    }
}

words! {
    /// In whose payload an endpoint is told of events, and by whose signature beside Standard Webhooks'.
    pub enum PayloadForm {
        Standard = "standard",
        Mailgun = "mailgun",
        Postmark = "postmark",
        Resend = "resend",
        SendCloud = "sendcloud",
        SendGrid = "sendgrid",
        Ses = "ses",
    }
}

/// Octets of a symmetric secret that we make (Standard Webhooks allows 24 to 64).
const SECRET_BYTES: usize = 32;
/// Octets of a private key of Ed25519 (RFC 8032 §5.1.5).
const SEED_BYTES: usize = 32;

/// By what an endpoint's webhooks are signed.
#[derive(Clone)]
pub struct Secret {
    /// The key of HMAC-SHA256.
    pub hmac: Vec<u8>,
    /// The private key of Ed25519.
    pub seed: Vec<u8>,
}

impl Secret {
    pub fn new(rng: &dyn Rng) -> Self {
        let (mut hmac, mut seed) = ([0; SECRET_BYTES], [0; SEED_BYTES]);
        rng.fill(&mut hmac);
        rng.fill(&mut seed);
        Self { hmac: hmac.to_vec(), seed: seed.to_vec() }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The most bytes of an endpoint's answer that are kept.
pub const ANSWER_KEPT: usize = 1024;

/// One call of an endpoint, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTry {
    /// RFC 3339.
    pub at: String,
    /// HTTP status; `None` when no answer came.
    pub response_code: Option<u16>,
    pub duration_ms: i64,
    /// What went wrong; empty after success.
    pub detail: String,
    /// The beginning of the answer's body, as far as it is text.
    pub answer: String,
}

/// The first [`ANSWER_KEPT`] bytes of an answer as text that can be stored.
pub fn kept_answer(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&body[..body.len().min(ANSWER_KEPT)]).replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(ANSWER_KEPT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_its_beginning_is_kept_and_no_byte_that_cannot_be_stored() {
        assert_eq!(kept_answer(b"a\0b"), "a\u{fffd}b");
        assert_eq!(kept_answer(&[b'x'; 5000]).len(), ANSWER_KEPT);
        let bad = kept_answer(&[0xff; 5000]);
        assert!(bad.len() <= ANSWER_KEPT && bad.chars().all(|c| c == '\u{fffd}'), "{bad}");
    }
}
