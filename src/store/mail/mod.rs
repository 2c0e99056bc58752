//! Mail: the accepting commit, idempotency keys, and what is read of messages.

pub mod accept;
pub mod explain;
pub mod idempotency;
pub mod listing;
pub mod messages;
pub mod sandbox;
