//! The queues: what is owed (deliveries) and what is to be said (webhook jobs), under leases. Claim, renew, settle, rescue.

pub mod cancel;
pub mod cancel_project;
pub mod claims;
pub mod deliveries;
pub mod expiry;
pub mod floors;
pub mod leases;
pub mod recall;
pub mod settle;
pub mod webhook_calls;
pub mod webhook_claims;
pub mod webhook_events;
pub mod webhook_feed;
pub mod webhook_jobs;
pub mod webhook_log;
pub mod webhook_replays;
