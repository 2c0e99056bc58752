//! The edge to the network: names to addresses, and which certificates to trust. Shared by delivering
//! and webhooks; it decides nothing about mail.

pub mod dns;
pub mod tls;
