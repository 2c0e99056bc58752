//! What becomes of a webhook.

use super::words::words;

words! {
    /// How a webhook's calls ended.
    pub enum WebhookStatus {
        Succeeded = "succeeded",
        Failed = "failed",
    }
}
