//! Accounts: projects, API keys, DKIM keys and webhook endpoints. Small, read-mostly, never written on the hot path.

pub mod dkim_keys;
pub mod endpoints;
pub mod keys;
pub mod projects;
pub mod quotas;
