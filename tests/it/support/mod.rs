//! The real parts that scenarios are played with.

pub mod app;
pub mod backlog;
pub mod bouncer;
pub mod browser;
pub mod contract;
pub mod conversation;
pub mod database;
pub mod dkim;
pub mod dns;
pub mod http;
pub mod listener;
pub mod postfix;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod schema;
pub mod sink;
pub mod spam;
pub mod tls;
pub mod witness;

use std::time::Duration;

/// The longest that anything awaited may take, before the test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Awaits `work`, failing the test by name when it takes too long.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
