//! What waits to be written by one commit: the first does not wait long for others.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

/// How much is written together, and how long the first of it waits for the rest.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    pub most: usize,
    pub linger: Duration,
}

impl Gathering {
    /// Waits for a first entry, and takes what comes within `linger` of it, up to `most` of them; `false` at the end.
    pub async fn take<T>(self, entries: &mut Receiver<T>, batch: &mut Vec<T>) -> bool {
        let Self { most, linger } = self;
        if entries.recv_many(batch, most).await == 0 {
            return false;
        }
        let end = Instant::now() + linger;
        while batch.len() < most {
            match timeout_at(end, entries.recv_many(batch, most - batch.len())).await {
                Ok(count) if count > 0 => {}
                _ => break,
            }
        }
        true
    }
}
