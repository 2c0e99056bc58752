//! Erasure of an address: asked for, followed, and proven afterwards without naming it.

pub mod create;
pub mod get;
pub mod list;
