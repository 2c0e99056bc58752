//! The client: our own dialogue, since this is what the product is.
//!
//! [`dialogue`] is the conversation without I/O: it takes replies and returns actions; [`commands`] writes an envelope in
//! words. [`session`] carries both over a socket, with a deadline for every whole reply ([`deadlines`], RFC 5321
//! §4.5.3.2); [`session_tls`] secures it; [`connection`] counts it against its lane's limit.

mod commands;
pub mod connection;
pub mod deadlines;
pub mod dialogue;
pub mod failure;
pub mod session;
pub mod session_tls;
