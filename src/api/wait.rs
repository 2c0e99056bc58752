//! Waiting for something new, as lists offer it by `wait`.

use std::time::Duration;

use tokio::time::Instant;

use super::Api;
use super::page::Params;
use super::problem::Problem;
use crate::domain::span::Span;

/// The longest that an answer is waited for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long somebody waits.
pub struct Wait(Duration);

/// The end of a wait that has begun.
pub struct Waiting(Instant);

impl Wait {
    /// The parameter `wait`; nothing is waited for without it.
    pub fn read(params: &mut Params) -> Self {
        let wait = params.parsed("wait", "a time of at most 30s, such as 10s", |text| {
            text.parse::<Span>().ok().map(|Span(wait)| wait).filter(|wait| *wait <= WAIT_MAX)
        });
        Self(wait.unwrap_or_default())
    }

    pub fn begin(self) -> Waiting {
        Waiting(Instant::now() + self.0)
    }
}

impl Waiting {
    /// Waits until it is time for another look; `false`: the time is over.
    pub async fn goes_on(&self, api: &Api, look: Duration) -> Result<bool, Problem> {
        if Instant::now() >= self.0 {
            return Ok(false);
        }
        // Those who wait take turns: what they cost the store does not grow with their number.
        let Ok(_turn) = api.waiting.acquire().await else { return Err(Problem::internal()) };
        tokio::time::sleep_until(self.0.min(Instant::now() + look)).await;
        Ok(true)
    }
}
