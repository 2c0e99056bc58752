//! What a command has of its terminal: standard output and error, the signals of its user, and the error that ends it.
//!
//! Used by every room that is a command (`cli`, `bench`, `cluster`); knows nothing of mail.

pub mod out;
mod signals;

pub use signals::Signals;

/// Why a command did not do its work, in words for the person who gave it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

impl CommandError {
    pub fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}
