//! Where accepting and delivering of one process meet in memory: the permits that deliveries may take, and the
//! hand-over of *born leased* ones into them.
//!
//! While a permit is free, an accepted delivery's row is written with this process's lease, and after the commit
//! the delivery is handed over with its bytes: one insert and one settle, no claim in between. Like
//! [`wake`](crate::wake), it is a hint and never the truth: a delivery that was written but not handed over, or
//! handed over but not delivered, is found in its row when the lease runs out. It knows nothing of SMTP or HTTP.

mod capacity;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

pub use capacity::{Allowances, Capacity, Permit, Room};

use crate::domain::address::Address;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::envelope::Content;
use crate::domain::reverse_path::ReversePath;

/// A delivery that was accepted under this process's lease, with its permit.
#[derive(Debug)]
pub struct PlacedDelivery {
    pub delivery: LeasedDelivery,
    pub permit: Permit,
    /// What goes on the wire, while there is memory to carry it.
    pub carried: Option<CarriedContent>,
}

/// A message in memory, so that it need not be read back.
#[derive(Debug)]
pub struct CarriedContent {
    pub content: Content,
    /// Since when the lease is held: past its span the row must be asked.
    pub since: Instant,
    /// Of the memory that may be carried; kept until the message has left.
    pub memory: OwnedSemaphorePermit,
}

/// The hand-over of one process.
#[derive(Debug)]
pub struct Handover {
    pub capacity: Arc<Capacity>,
    /// Names this process in leases.
    pub owner: Uuid,
    /// How long a lease lasts.
    pub span: Duration,
    /// KiB of messages that may be carried.
    memory: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<PlacedDelivery>,
    receiver: Mutex<Option<mpsc::UnboundedReceiver<PlacedDelivery>>>,
}

impl Handover {
    /// At most `kib` KiB of messages are carried at once.
    pub fn new(capacity: Arc<Capacity>, owner: Uuid, span: Duration, kib: usize) -> Self {
        // Every entry holds a permit, so that their number bounds the channel.
        let (sender, receiver) = mpsc::unbounded_channel();
        let memory = Arc::new(Semaphore::new(kib));
        Self { capacity, owner, span, memory, sender, receiver: Mutex::new(Some(receiver)) }
    }

    /// Carries a message if there is memory for it. `since`: when its lease was asked for, however long the answer took.
    pub fn carry(
        &self,
        reverse_path: ReversePath,
        recipient: &Address,
        raw: &Arc<Vec<u8>>,
        since: Instant,
    ) -> Option<CarriedContent> {
        let kib = u32::try_from(raw.len() / 1024 + 1).ok()?;
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(kib).ok()?;
        Some(CarriedContent {
            content: Content { reverse_path, recipient: recipient.clone(), raw: Arc::clone(raw) },
            since,
            memory,
        })
    }

    /// Passes a delivery to those who deliver in this process. When none does any more, its lease runs out.
    pub fn hand_over(&self, fresh: PlacedDelivery) {
        let _ = self.sender.send(fresh);
    }

    /// Returns the deliveries that are handed over; the second call returns `None`.
    pub fn receive(&self) -> Option<mpsc::UnboundedReceiver<PlacedDelivery>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
