//! The protocol SMTP (RFC 5321), both sides of it: replies, commands, capabilities and transparency as bytes, and the
//! client that speaks them. Knows nothing of lanes, queues or stores.
//!
//! [`reply`] reads replies from bytes within bounds, [`capabilities`] what EHLO offers, [`stuffing`] writes a body for
//! DATA, [`wire`] is the connection in the clear or under TLS; [`client`] is our side of a delivery, [`server`] that of a stranger's.

pub(crate) mod capabilities;
pub mod client;
pub mod reply;
pub mod server;
pub mod stuffing;
mod wire;
