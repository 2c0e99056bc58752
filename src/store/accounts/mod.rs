//! Accounts: projects, API keys, DKIM keys, webhook endpoints and templates. Small, read-mostly, never written on the hot path.

pub mod audit;
pub mod dkim_keys;
pub mod domain_checks;
pub mod domain_owners;
pub mod domain_pools;
pub mod domain_reports;
pub mod domains;
pub mod endpoint_secrets;
pub mod endpoints;
pub mod erasures;
pub mod keys;
pub mod outbox;
pub mod projects;
pub mod quotas;
pub mod retention;
pub mod secrets;
pub mod templates;
