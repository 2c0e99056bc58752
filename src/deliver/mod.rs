//! Delivering: from a leased row to an outcome that is on disk.
//!
//! [`worker`] does a job of the queue: it has the [`courier`] make an [`attempt`], which is the list of steps, with
//! [`tries`] as its walk over hosts and [`cargo`] as its bytes; then it concludes and settles, or puts off. The other
//! files are the steps' nouns. Takes leases from the queue, passes settlements to the store; never called by those who
//! accept.

mod attempt;
mod cargo;
mod claims;
mod classify;
mod courier;
mod fleet;
mod gather;
mod holder;
mod lanes;
mod loader;
mod outcome_counts;
mod quirks;
mod sandbox;
mod sandbox_afterwards;
mod settler;
mod share;
mod sources;
mod stopped;
mod suppressed;
mod suspended;
mod tls_counts;
mod tries;
mod worker;

pub use courier::{Courier, CourierParts};
pub use fleet::Fleet;
pub use holder::Holder;
pub use loader::Loader;
pub use sandbox_afterwards::Returns;
pub use settler::{Settler, SettlerParts};
pub use share::allot;
pub use suppressed::SuppressionCheck;
pub use suspended::Suspended;
pub use worker::Deliverer;
