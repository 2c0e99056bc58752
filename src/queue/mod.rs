//! Leases at work: claim, renew, and hand each job to those who perform it. Knows nothing of mail.
//!
//! A queue is a [`Work`]; [`Runner`] is its loop. Polling is the truth, a [`Wake`](crate::wake::Wake) is a
//! hint. Room decides how much is claimed: a claimed job starts at once. No transaction is open while
//! a job is performed. A job that is in hand is never started a second time, and until its [`Gate`] is passed it can be
//! revoked ([`InHand::revoke`]).

mod in_hand;
mod runner;

pub use in_hand::{Gate, InHand, Revocation};
pub use runner::{Claiming, QueueSettings, Runner, Work};
