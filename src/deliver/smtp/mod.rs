//! The SMTP client (RFC 5321): our own dialogue, since this is what the product is.
//!
//! [`dialogue`] is the conversation without I/O: it takes replies and gives actions. [`reply`] reads replies
//! from bytes within bounds. [`session`] carries both over a socket, with a deadline for every whole
//! reply (§4.5.3.2).

pub mod connection;
pub mod deadlines;
pub mod dialogue;
pub mod reply;
pub mod session;
pub mod stuffing;
mod wire;
