//! Delivering: from a leased row to an outcome that is on disk.
//!
//! [`attempt`] is the list of steps, [`tries`] its walk over hosts, [`worker`] what stands around it; the other files are
//! the steps' nouns. Takes
//! leases from the queue, gives settlements to the store; never called by whoever accepts.

mod attempt;
mod claims;
mod classify;
mod fleet;
mod lanes;
mod loader;
mod settler;
mod share;
mod sources;
mod tls_counts;
mod tries;
mod worker;

pub use fleet::Fleet;
pub use loader::Loader;
pub use settler::{Settler, SettlerParts};
pub use share::shares;
pub use worker::{Deliverer, DelivererParts};
