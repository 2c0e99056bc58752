//! Delivering: from a leased row to an outcome that is on disk.
//!
//! [`worker`] is the list of steps; the other files are the steps' nouns. Takes leases from the queue,
//! gives settlements to the store; never called by whoever accepts.

mod claims;
pub mod classify;
mod lanes;
mod loader;
mod pool;
mod route;
mod settler;
pub mod smtp;
mod worker;

pub use loader::Loader;
pub use settler::{Settler, SettlerParts};
pub use worker::{Deliverer, DelivererParts};
