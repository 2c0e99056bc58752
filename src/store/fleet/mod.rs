//! The fleet: what the processes that share a store tell each other, and what they remember together.

pub mod lane_states;
pub mod listings;
pub mod outcomes;
pub mod processes;
pub mod snapshots;
pub mod stats;
pub mod sts;
pub mod tls_reports;
pub mod warmups;
