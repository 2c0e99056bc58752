//! A bounded amount of something, memory as a rule, that is shared out to those who take of it: whoever is charged has no more than they
//! leave free, half of all while they are alone, and less as others come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::id::ProjectId;
use super::net::network;

/// Who is charged.
pub type Payer = u128;

/// A project, as who is charged.
pub const fn of_project(project: ProjectId) -> Payer {
    project.uuid().as_u128()
}

/// The network of an address, as who is charged for what a stranger takes.
pub fn of_stranger(address: IpAddr) -> Payer {
    match network(address) {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Octets, in whole blocks.
#[derive(Debug)]
pub struct Budget {
    block: usize,
    blocks: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_payer: HashMap<Payer, usize>,
}

/// Why there is nothing more to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// The payer has its share.
    Share,
    /// All of it is taken.
    All,
}

impl Budget {
    /// So many octets, in blocks of so many.
    pub fn new(octets: usize, block: usize) -> Arc<Self> {
        let block = block.max(1);
        Arc::new(Self { block, blocks: (octets / block).max(1), taken: Mutex::default() })
    }

    /// Nothing yet, charged to that payer. Without a payer there is no share.
    pub fn hold(self: &Arc<Self>, payer: Option<Payer>) -> Held {
        Held { budget: Arc::clone(self), payer, blocks: 0 }
    }

    /// Whether nothing is held.
    pub fn is_free(&self) -> bool {
        self.taken().all == 0
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody holds, as long as this lives.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    payer: Option<Payer>,
    blocks: usize,
}

impl Held {
    /// Takes what is missing to hold so many octets.
    pub fn grow_to(&mut self, octets: usize) -> Result<(), NoRoom> {
        let more = octets.div_ceil(self.budget.block).saturating_sub(self.blocks);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.budget.taken();
        let free = self.budget.blocks - taken.all;
        if more > free {
            return Err(NoRoom::All);
        }
        if let Some(payer) = self.payer {
            let own = taken.by_payer.entry(payer).or_default();
            // What would be left must be as much as what would be theirs.
            if *own + more > free - more {
                if *own == 0 {
                    taken.by_payer.remove(&payer);
                }
                return Err(NoRoom::Share);
            }
            *own += more;
        }
        taken.all += more;
        drop(taken);
        self.blocks += more;
        Ok(())
    }

    /// Gives all of it back.
    pub fn release(&mut self) {
        if self.blocks == 0 {
            return;
        }
        let mut taken = self.budget.taken();
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
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 1024;

    #[test]
    fn one_alone_has_half_and_others_find_room() {
        let budget = Budget::new(100 * BLOCK, BLOCK);
        let mut all: Vec<_> = (0..10).map(|_| budget.hold(Some(1))).collect();
        let taken = all.iter_mut().map(|held| usize::from(held.grow_to(10 * BLOCK).is_ok())).sum::<usize>();
        assert_eq!(taken, 5);
        assert_eq!(all[9].grow_to(BLOCK), Err(NoRoom::Share));
        let mut other = budget.hold(Some(2));
        assert_eq!(other.grow_to(25 * BLOCK), Ok(()));
        assert_eq!(other.grow_to(26 * BLOCK), Err(NoRoom::Share));
        assert_eq!(budget.hold(None).grow_to(25 * BLOCK), Ok(()), "without a share, all that is free");
        assert_eq!(budget.hold(None).grow_to(26 * BLOCK), Err(NoRoom::All));
        drop(all);
        assert_eq!(other.grow_to(50 * BLOCK), Ok(()));
        drop(other);
        assert!(budget.is_free());
        assert!(budget.taken().by_payer.is_empty(), "and nobody is remembered");
    }

    #[test]
    fn however_many_take_all_they_can_the_next_finds_something() {
        let budget = Budget::new(1024 * BLOCK, BLOCK);
        let mut all = Vec::new();
        for payer in 0..8 {
            let mut held = budget.hold(Some(payer));
            let mut taken = 0;
            while held.grow_to((taken + 1) * BLOCK).is_ok() {
                taken += 1;
            }
            assert!(taken >= 4, "{payer}: {taken}");
            all.push(held);
        }
    }
}
