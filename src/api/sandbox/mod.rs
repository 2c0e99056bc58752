//! The built-in inbox.

pub mod get;
pub mod list;
pub mod remove;
