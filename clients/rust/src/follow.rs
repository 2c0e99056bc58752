//! The events of the whole project, followed without webhooks.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use crate::client::escaped;
use crate::error::Error;
use crate::{Client, Retry, WebhookEvent};

/// Events in the order in which the service committed them.
#[derive(Debug, Clone, Deserialize)]
pub struct Events {
    pub data: Vec<WebhookEvent>,
    /// Where to go on: keep it together with what was done, also when `data` is empty.
    pub next_cursor: String,
}

impl Client {
    /// The next events behind a `next_cursor`, or the oldest that are kept: each comes once, and none is skipped. Waits for something
    /// new for as long as that, 30 s at most.
    pub async fn follow(&self, after: Option<&str>, wait: Duration) -> Result<Events, Error> {
        let wait = wait.min(Duration::from_secs(30));
        let mut path = format!("/v1/events?wait={}ms", wait.as_millis());
        if let Some(after) = after {
            path += &format!("&after={}", escaped(after));
        }
        let retry = Retry { timeout: self.retry.timeout.saturating_add(wait), ..self.retry };
        self.clone().with_retry(retry).call(Method::GET, &path, None).await
    }
}
