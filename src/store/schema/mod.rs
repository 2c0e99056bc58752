//! The schema: migrations, and the partitions by day of the wide tables.

pub mod migrate;
pub mod partitions;
