//! The memory that messages may hold while they come in: bounded as a whole, and shared out to those it is charged to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::BLOCK;
use super::reader;

/// Blocks of [`BLOCK`] octets.
#[derive(Debug)]
pub struct Memory {
    blocks: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_payer: HashMap<u128, usize>,
}

impl Memory {
    /// So many octets, in whole blocks.
    pub fn new(octets: usize) -> Arc<Self> {
        Arc::new(Self { blocks: (octets / BLOCK).max(1), taken: Mutex::default() })
    }

    /// Nothing yet, for a message that is charged to that payer: one payer has no more than it leaves free, half of all while it is alone,
    /// and less as others come. Without a payer there is no share.
    pub fn hold(self: &Arc<Self>, payer: Option<u128>) -> Held {
        Held { memory: Arc::clone(self), payer, blocks: 0 }
    }

    /// Whether nothing is held.
    pub fn is_free(&self) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all == 0
    }
}

/// What one message holds, as long as this lives.
#[derive(Debug)]
pub struct Held {
    memory: Arc<Memory>,
    payer: Option<u128>,
    blocks: usize,
}

impl reader::Memory for Held {
    fn grow_to(&mut self, octets: usize) -> bool {
        let more = octets.div_ceil(BLOCK).saturating_sub(self.blocks);
        if more == 0 {
            return true;
        }
        let mut taken = self.memory.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.memory.blocks - taken.all;
        let own = self.payer.map_or(0, |payer| taken.by_payer.get(&payer).copied().unwrap_or_default());
        // What would be left must be as much as what would be theirs.
        if more > free || (self.payer.is_some() && own + more > free - more) {
            return false;
        }
        taken.all += more;
        if let Some(payer) = self.payer {
            *taken.by_payer.entry(payer).or_default() += more;
        }
        drop(taken);
        self.blocks += more;
        true
    }

    fn release(&mut self) {
        let mut taken = self.memory.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= self.blocks;
        if let Some(payer) = self.payer
            && let Some(own) = taken.by_payer.get_mut(&payer)
        {
            *own -= self.blocks;
            if *own == 0 {
                taken.by_payer.remove(&payer);
            }
        }
        drop(taken);
        self.blocks = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.blocks > 0 {
            reader::Memory::release(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reader::Memory as _;
    use super::*;

    #[test]
    fn one_alone_has_half_and_others_find_room() {
        let memory = Memory::new(100 * BLOCK);
        let mut all: Vec<_> = (0..10).map(|_| memory.hold(Some(1))).collect();
        let taken = all.iter_mut().map(|held| usize::from(held.grow_to(10 * BLOCK))).sum::<usize>();
        assert_eq!(taken, 5);
        let mut other = memory.hold(Some(2));
        assert!(other.grow_to(25 * BLOCK) && !other.grow_to(26 * BLOCK));
        assert!(memory.hold(None).grow_to(25 * BLOCK), "without a share, all that is free");
        assert!(!memory.hold(None).grow_to(26 * BLOCK));
        drop(all);
        assert!(other.grow_to(50 * BLOCK));
        drop(other);
        assert!(memory.is_free());
    }
}
