//! Mailwright: a self-hosted transactional email service. One binary, one Postgres.
//!
//! A program POSTs JSON to `/v1/send`; the message is validated, stored, delivered over SMTP, and every step
//! comes back by status, by signed webhooks and in metrics. The rooms, in the order in which a message meets
//! them:
//!
//! ```text
//!                                          ┌─────── handover: born leased, in memory ───────┐
//!  POST /v1/send ─► api ─► submit ─► batch writer ─► store ─► queue ─► deliver ─► SMTP sessions
//!                  parse   compose   (1 commit       rows     leases   routing,       │ reply
//!                          sign       for many)                        lane, session  ▼
//!       202 after COMMIT ◄───────────────┘             ▲               classify ─► settler (1 commit for many)
//!                                                      └── state + attempt + event ◄─────────────────┘
//!       your endpoint ◄─ signed POST ◄─ webhook ◄─ queue ◄─ webhook jobs ◄─ feeder ◄─ events
//! ```
//!
//! `SendRequest → Draft → NewMessage → (rows) → LeasedDelivery → AttemptReport → Settlement → (rows) → LeasedJob`:
//! each stage's output is the next one's only input. Accepting and delivering never call each other; they
//! meet in rows, and for a row that was born leased in the memory of one process as well ([`handover`]).
//!
//! The library is for the binary, the tests, the benchmarks and the fuzzers: what only the crate uses is private, so that
//! the compiler finds what nobody uses.
//!
//! * `docs/architecture.md`: what each room owns and may use, the states, what always holds, and three walks.
//! * `docs/decisions.md`: why it is so, and what would undo it.
//! * `docs/changing.md`: how to add what is added often, and which test fails when a step is forgotten.

// The vocabulary, and what every room may have of the machine.
pub mod domain;

pub mod ambient;
pub mod config;
mod descriptors;
mod sealing;
mod shutdown;
pub mod telemetry;
mod wake;

// Pure: bytes and rules.
pub mod classify;
pub mod compose;
pub mod feedback;
mod shaping;

// The edges: the network, the protocol, the store.
pub mod net;
pub mod smtp;
mod spam;
pub mod store;

// What both ways ask before they send, and what they believe of what comes back.
mod suppress;
mod tokens;

// In: who calls, the doors, the one entry.
mod auth;

mod accounts;
mod identity;
pub mod request;

pub mod api;
mod compat;
mod console;
pub mod ingress;
pub mod submit;

// Back: what returns by mail.
pub mod inbound;

// Out: hand-over, queue, route, delivery, webhooks, upkeep.
pub mod handover;
pub mod queue;
mod recall;
pub mod routing;

pub mod deliver;
pub mod reporting;
mod upkeep;
mod webhook;

// The root, and the commands.
pub mod app;

mod bench;
pub mod cli;
mod cluster;
mod terminal;
