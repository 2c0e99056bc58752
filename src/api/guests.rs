//! Who is connected. When all places are taken, whoever has asked for nothing for longest makes room for who comes, first of the address that
//! has most such connections: nobody keeps others out by being there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::conversation::Phase;
use crate::domain::net::network;

/// All connections of a listener.
#[derive(Default)]
pub struct Guests {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    next: u64,
    guests: HashMap<u64, (IpAddr, Phase, Arc<Notify>)>,
}

/// A connection, known as long as this lives.
pub struct Guest {
    of: Arc<Guests>,
    number: u64,
    /// Rung when its place is wanted.
    pub leave: Arc<Notify>,
}

impl Guests {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(self: &Arc<Self>, address: IpAddr, phase: Phase) -> Guest {
        let mut known = self.known();
        let (number, leave) = (known.next, Arc::<Notify>::default());
        known.next += 1;
        known.guests.insert(number, (network(address), phase, Arc::clone(&leave)));
        Guest { of: Arc::clone(self), number, leave }
    }

    /// Has one that asks for nothing leave, if there is one.
    pub fn make_room(&self) {
        let known = self.known();
        let idle =
            || known.guests.values().filter_map(|(address, phase, leave)| Some((address, phase.idle_since()?, leave)));
        let mut counts: HashMap<&IpAddr, usize> = HashMap::new();
        for (address, ..) in idle() {
            *counts.entry(address).or_default() += 1;
        }
        let Some(most) = counts.values().max() else { return };
        let longest =
            idle().filter(|(address, ..)| counts.get(address) == Some(most)).min_by_key(|(_, since, _)| *since);
        if let Some((.., leave)) = longest {
            leave.notify_one();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.of.known().guests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_is_idle_for_longest_of_the_address_with_most_of_them_leaves() {
        let guests = Arc::<Guests>::default();
        let mut all = Vec::new();
        for address in ["192.0.2.1", "192.0.2.9", "192.0.2.9", "192.0.2.9"] {
            let phase = Phase::default();
            all.push((guests.enter(address.parse().unwrap(), phase.clone()), phase));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first of the many has a request in hand.
        all[1].1.begin();
        let leaves = |n: usize| all[n].0.leave.notified().now_or_never().is_some();
        guests.make_room();
        assert_eq!([0, 1, 2, 3].map(leaves), [false, false, true, false]);
        for (_, phase) in &all {
            phase.begin();
        }
        guests.make_room();
        assert_eq!([0, 1, 2, 3].map(leaves), [false; 4], "all are at work");
    }
}
