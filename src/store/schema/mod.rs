//! The schema: migrations, the partitions by day of the wide tables, and the eras of the event log.

pub(in crate::store) mod days;
pub mod eras;
mod migrate;
pub mod partitions;

pub use migrate::application_name;
