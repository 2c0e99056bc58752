//! Accounts: the rules by which projects, API keys and DKIM keys are made and ended, whoever asks.
//!
//! Takes a store, an instant and a source of randomness; returns what is shown once (a key's text, DNS records). Used by the
//! command line today and by the API's operators' endpoints; never asks who is calling: that is [`auth`](crate::auth)'s.

mod domains;
mod keys;

pub use domains::{Vouched, add_dkim_keys, dkim_records, make_dkim_keys, retire_dkim_key};
pub use keys::{MadeKey, NewKeyRequest, add_key, create_key, default_scopes, ensure_project};

use crate::store::StoreError;

/// Why an account was not changed. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("'{0}' cannot be a project's name: it must be 1 to 64 letters, digits or any of ._-")]
    ProjectName(String),
    #[error("{domain} has, or had, a key with selector {selectors}: choose another")]
    SelectorTaken { domain: String, selectors: String },
    #[error("another project has proved {0}, or a domain above it")]
    DomainTaken(String),
    #[error("a DKIM key could not be made: {0}")]
    DkimKey(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}
