//! How long a project keeps what is settled: at most as long as the installation does.

pub mod get;
pub mod put;
