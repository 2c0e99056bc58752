//! Mailwright.
pub mod ambient;
pub mod api;
pub mod compose;
pub mod config;
pub mod deliver;
pub mod domain;
pub mod net;
pub mod queue;
pub mod shutdown;
pub mod store;
pub mod submit;
pub mod telemetry;
pub mod upkeep;
pub mod wake;
pub mod webhook;
