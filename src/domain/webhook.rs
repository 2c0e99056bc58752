//! What becomes of a webhook.

use super::access::Mode;
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

impl EndpointMode {
    /// Whether it hears of mail of that mode.
    pub fn covers(self, mode: Mode) -> bool {
        self == Self::Both || self.name() == mode.name()
    }
}
