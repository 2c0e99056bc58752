//! Where the bytes of a delivery are: carried from the hand-over, read ahead of its turn, or still in the store; and the
//! memory that they take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::lanes::{Lane, Lanes, Memory, Offer};
use super::loader::Loader;
use super::stopped::Stopped;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::draft::TlsDemand;
use crate::domain::envelope::{Content, Envelope, Needs};
use crate::domain::target::Target;
use crate::handover::CarriedContent;
use crate::queue::Gate;
use crate::store::queue::claims::ContentLoad;

/// The bytes of one delivery, on their way to a session.
pub struct Cargo<'a> {
    delivery: &'a LeasedDelivery,
    loader: &'a Loader,
    /// For how long what is in memory may be sent without asking the row whose lease it is.
    trusted_for: Duration,
    /// What is in memory, and since when its lease is known to be ours.
    content: Option<(Content, Instant)>,
    /// The memory that it takes since its hand-over.
    carrying: Option<OwnedSemaphorePermit>,
    /// The memory that it takes of its lane's.
    memory: Memory,
}

impl<'a> Cargo<'a> {
    pub fn new(
        delivery: &'a LeasedDelivery,
        carried: Option<CarriedContent>,
        loader: &'a Loader,
        trusted_for: Duration,
    ) -> Self {
        let (content, carrying) = match carried {
            Some(CarriedContent { content, since, memory }) => (Some((content, since)), Some(memory)),
            None => (None, None),
        };
        Self { delivery, loader, trusted_for, content, carrying, memory: None }
    }

    /// What is in memory.
    pub fn content(&self) -> Option<&Content> {
        self.content.as_ref().map(|(content, _)| content)
    }

    /// Reads it from the store, which also says whether the lease is still ours.
    pub async fn load(&mut self) -> Result<&Content, Stopped> {
        self.content = None;
        match self.loader.load(self.delivery).await {
            Some(ContentLoad::Ready(content)) => Ok(&self.content.insert((content, Instant::now())).0),
            Some(ContentLoad::Gone) => Err(Stopped::message_gone()),
            Some(ContentLoad::LeaseLost) => {
                tracing::warn!(message.id = %self.delivery.message, delivery.id = %self.delivery.recipient, "a lease ran out before its message was sent");
                Err(Stopped::NotOurs)
            }
            None => Err(Stopped::NotOurs),
        }
    }

    /// The recipient's domain, by its address alone: its bytes wait for memory.
    pub async fn domain(&self) -> Result<String, Stopped> {
        match self.loader.address(self.delivery).await {
            Some(Some(address)) => Ok(address.domain().to_owned()),
            Some(None) => Err(Stopped::message_gone()),
            None => Err(Stopped::NotOurs),
        }
    }

    /// Reads it before its turn, while there is memory to spare: what is in memory can follow on another's session.
    pub async fn ahead(&mut self, lanes: &Lanes, lane: &Lane) -> Result<(), Stopped> {
        if self.carrying.is_some() {
            return Ok(());
        }
        self.memory = lanes.spare_memory(lane, self.delivery.size);
        match (&self.memory, &self.content) {
            // What was read for its domain alone is not held while it waits.
            (None, _) => self.content = None,
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                self.load().await?;
            }
        }
        Ok(())
    }

    /// What can follow on a session of one of these targets, if it is in memory.
    pub fn offer(&self, targets: &[Arc<Target>], gate: &Arc<Gate>) -> Option<Offer> {
        let envelope = self.envelope(self.content()?);
        Some(Offer { envelope, targets: targets.to_vec(), gate: Arc::clone(gate) })
    }

    /// Has it in memory, under a lease that is known to be ours: what goes on the wire.
    pub async fn ready(&mut self, lanes: &Lanes, lane: &Lane) -> Result<(Envelope, Arc<Vec<u8>>), Stopped> {
        if self.carrying.is_none() && self.memory.is_none() {
            self.memory = lanes.memory(lane, self.delivery.size).await;
        }
        let is_trusted = self.content.as_ref().is_some_and(|(_, since)| since.elapsed() < self.trusted_for);
        if !is_trusted {
            self.load().await?;
        }
        let content = self.content().ok_or(Stopped::NotOurs)?;
        Ok((self.envelope(content), Arc::clone(&content.raw)))
    }

    fn envelope(&self, content: &Content) -> Envelope {
        let require_tls = self.delivery.demand.tls == TlsDemand::RequireTls;
        Envelope {
            needs: Needs { require_tls, ..Needs::of(&content.reverse_path, &content.recipient, &content.raw) },
            reverse_path: content.reverse_path.clone(),
            recipient: content.recipient.clone(),
            size: content.raw.len(),
            id: self.delivery.message.to_string(),
        }
    }
}
