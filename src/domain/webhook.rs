//! What becomes of a webhook.

use super::words::words;

words! {
    /// How a webhook's calls ended.
    pub enum WebhookStatus {
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
