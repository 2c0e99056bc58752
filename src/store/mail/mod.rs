//! Mail: the accepting commit, idempotency keys, and what is read of messages.

pub mod accept;
pub mod accepted;
pub mod attempts;
pub mod erase;
pub mod events;
pub mod idempotency;
pub(in crate::store) mod later_events;
pub mod listing;
pub mod log;
pub mod mentions;
pub mod messages;
pub mod owed;
pub(in crate::store) mod project_events;
pub mod purge;
pub mod recipients;
pub mod reports;
pub mod sandbox;
pub mod sandbox_afterwards;
pub mod sandbox_clock;
pub mod sandbox_scripts;
pub mod scheduled;
pub mod stats;
pub mod suppressed;
pub mod suppressions;
pub mod unsent;
pub mod uploads;
