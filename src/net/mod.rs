//! The edge to the network: names to addresses, which certificates to trust, small documents over HTTPS. Shared by
//! routing, delivering and webhooks; it decides nothing about mail.

pub mod connect;
mod dane;
pub mod dns;
pub mod dns_error;
pub mod fetch;
mod handshake;
pub mod own;
pub mod tls;
pub mod validated;
