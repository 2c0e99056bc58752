//! A set of addresses in little memory: of what was never put in it says so almost always, of what was put in never.
//!
//! A Bloom filter that grows: 16 bits for each address and eight probes, so that of addresses that are not in it one in
//! some thousands is taken for one that is. Nothing is ever taken out: who is told "perhaps" asks the store.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::domain::id::ProjectId;

/// Addresses that the first part holds; each further one holds twice as many.
const FIRST: usize = 1 << 14;
/// Parts of a filter: together 128 MiB, for 67 million addresses. With more it says "perhaps" to all.
const PARTS_MAX: usize = 12;
const BITS_EACH: usize = 16;
const PROBES: u64 = 8;

/// The set.
#[derive(Debug, Default)]
pub struct Filter {
    parts: RwLock<Vec<Part>>,
}

/// Some of it, of a fixed size.
#[derive(Debug)]
struct Part {
    words: Vec<AtomicU64>,
    held: AtomicUsize,
    room: usize,
}

/// Two numbers that stand for an address of a project.
#[derive(Debug, Clone, Copy)]
struct Marks(u64, u64);

impl Marks {
    fn of(project: ProjectId, address: &str) -> Self {
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, project.uuid(), address).hash(&mut hasher);
            hasher.finish()
        };
        // Odd, so that the probes differ.
        Self(hash(0), hash(1) | 1)
    }

    /// Which bits of so many stand for it; their number is a power of two.
    fn bits(self, count: usize) -> impl Iterator<Item = (usize, u64)> {
        let mask = count as u64 - 1;
        (0..PROBES).map(move |probe| {
            let bit = self.0.wrapping_add(probe.wrapping_mul(self.1)) & mask;
            (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
        })
    }
}

impl Part {
    fn new(room: usize) -> Self {
        let words = room * BITS_EACH / 64;
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect(), held: AtomicUsize::new(0), room }
    }

    fn may_have(&self, marks: Marks) -> bool {
        marks.bits(self.words.len() * 64).all(|(word, bit)| self.words[word].load(Ordering::Acquire) & bit != 0)
    }

    fn add(&self, marks: Marks) {
        for (word, bit) in marks.bits(self.words.len() * 64) {
            self.words[word].fetch_or(bit, Ordering::AcqRel);
        }
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.room
    }
}

impl Filter {
    /// `false` only for what was never added.
    pub fn may_have(&self, project: ProjectId, address: &str) -> bool {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        if parts.is_empty() {
            return false;
        }
        let marks = Marks::of(project, address);
        is_overfull(&parts) || parts.iter().rev().any(|part| part.may_have(marks))
    }

    pub fn add(&self, project: ProjectId, address: &str) {
        let marks = Marks::of(project, address);
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        if is_overfull(&parts) || parts.iter().any(|part| part.may_have(marks)) {
            return;
        }
        if let Some(part) = parts.last().filter(|part| !part.is_full()) {
            return part.add(marks);
        }
        drop(parts);
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have made room meanwhile.
        if parts.last().is_none_or(Part::is_full) && parts.len() < PARTS_MAX {
            let part = Part::new(FIRST << parts.len());
            parts.push(part);
        }
        if let Some(part) = parts.last() {
            part.add(marks);
        }
    }
}

fn is_overfull(parts: &[Part]) -> bool {
    parts.len() == PARTS_MAX && parts.last().is_some_and(Part::is_full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_was_added_is_never_denied_and_what_was_not_almost_always() {
        let filter = Filter::default();
        let (ours, other) = (ProjectId::from_uuid(Uuid::nil()), ProjectId::from_uuid(Uuid::max()));
        assert!(!filter.may_have(ours, "a@example.net"));
        let address = |n: usize| format!("user{n}@example.net");
        for n in 0..100_000 {
            filter.add(ours, &address(n));
        }
        assert!((0..100_000).all(|n| filter.may_have(ours, &address(n))));
        let wrong = (100_000..200_000).filter(|n| filter.may_have(ours, &address(*n))).count();
        let foreign = (0..100_000).filter(|n| filter.may_have(other, &address(*n))).count();
        assert!(wrong < 500 && foreign < 500, "{wrong} and {foreign} of 100,000");
    }

    #[test]
    fn what_is_added_again_takes_no_room() {
        let filter = Filter::default();
        let project = ProjectId::from_uuid(Uuid::nil());
        for _ in 0..100 {
            (0..1000).for_each(|n| filter.add(project, &format!("user{n}@example.net")));
        }
        assert_eq!(filter.parts.read().unwrap().len(), 1);
    }
}
