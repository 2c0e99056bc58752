//! The vocabulary: pure types, parsers and transitions.
//!
//! Takes strings and instants, gives values that are valid by construction. No I/O, no async, no
//! ambient time or randomness; it knows nothing of HTTP, SQL or configuration.

pub mod access;
pub mod address;
pub mod aggregate;
pub mod alarm;
pub mod bounded;
pub mod budget;
pub mod class;
pub mod clock;
pub mod delivery;
pub mod dkim;
pub mod draft;
pub mod envelope;
pub mod erasure;
pub mod event;
pub mod fault;
pub mod hint;
pub mod hold;
pub mod id;
pub mod judgement;
pub mod lane;
pub mod lease;
pub mod log;
pub mod message;
pub mod named_tag;
pub mod nesting;
pub mod net;
pub mod outcome;
pub mod quota;
pub mod readiness;
pub mod recipient;
pub mod rendezvous;
pub mod reply;
pub mod report;
pub mod report_kept;
pub mod retention;
pub mod retry;
pub mod reverse_path;
pub mod route;
pub mod script;
pub mod search;
pub mod sending_domain;
pub mod shard;
pub mod span;
pub mod stage;
pub mod suppression;
pub mod target;
pub mod template;
pub mod tls_result;
pub mod tlsa;
pub mod warmup;
pub mod webhook;
mod words;
