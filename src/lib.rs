//! Mailwright.
pub mod ambient;
pub mod config;
pub mod domain;
pub mod shutdown;
pub mod store;
pub mod telemetry;
