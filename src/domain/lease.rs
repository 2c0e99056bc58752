//! A lease: the right to work on one queue row until an instant by the database's clock.

use uuid::Uuid;

use super::shard::Shard;

/// Held by whoever claimed the row. Every write of an outcome names the token: a worker that lost
/// its lease cannot write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    pub shard: Shard,
    pub id: Uuid,
    pub token: Uuid,
    /// Counted at the claim, from 1.
    pub attempt: i32,
}
