//! Logical shards: 64 constants that spread evenly over a distributed Postgres.
//!
//! Hot tables carry the value, ids carry the index. Neither may ever change.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// The values of the `shard` column, by index: Postgres's `hashint4` puts one into each 64th of
/// its hash ring, so that any power of two of data nodes up to 64 holds an even share.
pub const SHARDS: [i32; 64] = [
    60, 8, 82, 1, 31, 88, 79, 24, 10, 92, 48, 109, 5, 112, 50, 166, 4, 7, 17, 172, 16, 96, 170, 85, 36, 89, 19, 0, 37,
    45, 101, 3, 113, 52, 62, 99, 136, 168, 46, 28, 6, 66, 70, 21, 83, 39, 43, 13, 2, 351, 27, 95, 58, 149, 41, 179, 9,
    80, 59, 22, 12, 11, 44, 18,
];

/// One of the 64 logical shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..64).map(Self)
    }

    /// The shard whose index is the lowest six bits of `byte`.
    pub const fn of_low_bits(byte: u8) -> Self {
        Self(byte & 0x3f)
    }

    /// The shard of an idempotency key: a stable hash (FNV-1a) of project and key, where
    /// the unique row lies. Its message lies there too where a transaction may not touch all shards.
    pub fn of_key(project: Uuid, key: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in project.as_bytes().iter().chain(key.as_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self::of_low_bits((hash ^ (hash >> 29)).to_le_bytes()[0])
    }

    /// The shard whose column value is `value`.
    pub fn of_value(value: i32) -> Option<Self> {
        SHARDS.iter().position(|v| *v == value).and_then(|i| u8::try_from(i).ok()).map(Self)
    }

    pub const fn index(self) -> u8 {
        self.0
    }

    /// What stands in the `shard` column.
    pub const fn value(self) -> i32 {
        SHARDS[self.0 as usize]
    }
}

/// A set of shards that may be marked and taken from several tasks.
#[derive(Debug, Default)]
pub struct ShardSet(AtomicU64);

impl ShardSet {
    pub fn mark(&self, shard: Shard) {
        self.0.fetch_or(1 << shard.index(), Ordering::AcqRel);
    }

    /// Takes all marked shards, leaving none.
    pub fn take(&self) -> Vec<Shard> {
        let bits = self.0.swap(0, Ordering::AcqRel);
        Shard::all().filter(|s| bits & (1 << s.index()) != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_distinct_and_found_again() {
        for shard in Shard::all() {
            assert_eq!(Shard::of_value(shard.value()), Some(shard));
        }
    }

    #[test]
    fn keys_spread_over_all_shards() {
        let mut counts = [0; 64];
        for n in 0..6400 {
            counts[usize::from(Shard::of_key(Uuid::nil(), &format!("order-{n}")).index())] += 1;
        }
        assert!(counts.iter().all(|c| (40..=170).contains(c)), "{counts:?}");
    }

    #[test]
    fn a_set_gives_each_mark_once() {
        let set = ShardSet::default();
        set.mark(Shard(3));
        set.mark(Shard(3));
        set.mark(Shard(63));
        assert_eq!(set.take(), [Shard(3), Shard(63)]);
        assert!(set.take().is_empty());
    }
}
