//! Mailwright.
pub mod ambient;
pub mod compose;
pub mod config;
pub mod domain;
pub mod shutdown;
pub mod store;
pub mod submit;
pub mod telemetry;
pub mod wake;
