//! The built-in inbox, what is played to mail that ends there, and its time.

pub mod clock;
pub mod get;
pub mod list;
pub mod remove;
pub mod scripts;
pub mod spam_check;
