//! The edge to the network: names to addresses, which certificates to trust, small documents over HTTPS. Shared by
//! routing, delivering, webhooks and commands; it decides nothing about mail.

pub(crate) mod connect;
mod dane;
pub mod dns;
pub(crate) mod dns_error;
mod exchange;
pub(crate) mod fetch;
mod handshake;
pub(crate) mod http;
pub mod lists;
mod name;
pub(crate) mod own;
pub(crate) mod server_tls;
pub mod tls;
pub mod validated;
pub(crate) mod vantage;
