//! The edge to the network: names to addresses, which certificates to trust, small documents over HTTPS. Shared by
//! routing, delivering and webhooks; it decides nothing about mail.

pub(crate) mod connect;
mod dane;
pub mod dns;
pub(crate) mod dns_error;
pub(crate) mod fetch;
mod handshake;
mod name;
pub(crate) mod own;
pub(crate) mod tls;
pub mod validated;
