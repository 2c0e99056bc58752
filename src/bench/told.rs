//! What an endpoint was told of a run, and how far behind the deliveries that was.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::receiver::{Receiver, Tally};

/// Longest time without a single event before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(75);

/// The webhooks of one run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Told {
    /// Different events that came.
    pub events: usize,
    /// Deliveries of which none came.
    pub missing: usize,
    /// Calls that told one again.
    pub repeats: usize,
    /// From the first request to the last event.
    pub events_per_second: f64,
    /// From the last delivery to the last event.
    pub lag_ms: f64,
}

impl Told {
    /// Waits until `wanted` events came since `from`, in a run that began and whose last message was delivered then.
    pub async fn wait(receiver: &Receiver, from: Tally, wanted: usize, (began, delivered): (Instant, Instant)) -> Self {
        receiver.until(from.events + wanted, PATIENCE).await;
        let now = receiver.tally();
        let last = now.last.unwrap_or(delivered);
        let events = now.events - from.events;
        Self {
            events,
            missing: wanted.saturating_sub(events),
            repeats: now.repeats - from.repeats,
            events_per_second: events as f64 / (last - began).as_secs_f64().max(f64::EPSILON),
            lag_ms: last.saturating_duration_since(delivered).as_secs_f64() * 1e3,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, missing, repeats, events_per_second, lag_ms } = self;
        write!(
            f,
            "{events_per_second:.0} /s   {events} told, {missing} missing, {repeats} again, the last {lag_ms:.0} ms behind the last delivery"
        )
    }
}
