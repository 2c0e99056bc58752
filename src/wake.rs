//! An in-process signal that a queue has something due. A hint, never the truth: whoever misses it
//! finds the row by polling.

use tokio::sync::Notify;

use crate::domain::shard::{Shard, ShardSet};

/// Which shards have fresh work, and a bell.
#[derive(Debug, Default)]
pub struct Wake {
    shards: ShardSet,
    bell: Notify,
}

impl Wake {
    /// Says that `shard` has something due.
    pub fn ring(&self, shard: Shard) {
        self.shards.mark(shard);
        self.bell.notify_one();
    }

    /// Waits for a ring; one that came before is not lost.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The shards that were rung for since the last call.
    pub fn take(&self) -> Vec<Shard> {
        self.shards.take()
    }

    /// Rings without naming a shard: capacity came free.
    pub fn nudge(&self) {
        self.bell.notify_one();
    }
}
