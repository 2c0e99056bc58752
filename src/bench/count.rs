//! Waiting for what arrives.

use std::time::Duration;

use tokio::sync::watch;

/// Waits until a count reaches `wanted`; gives up when it did not change for `patience`.
pub async fn reaches(mut count: watch::Receiver<usize>, wanted: usize, patience: Duration) -> bool {
    loop {
        if *count.borrow_and_update() >= wanted {
            return true;
        }
        if !matches!(tokio::time::timeout(patience, count.changed()).await, Ok(Ok(()))) {
            return *count.borrow() >= wanted;
        }
    }
}
