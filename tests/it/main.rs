//! One binary, so that it links once. Each module is a scenario family; `support` holds the real parts it
//! is played with: a Postgres database per test, a scripted SMTP server, a webhook receiver, a DNS server.
//!
//! Tests await events (rows, messages, requests); none sleeps.

#![expect(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "a test that cannot go on fails; its futures live on no hot path"
)]
#![expect(clippy::needless_pass_by_value, reason = "settings and addresses are written where they are used")]
#![expect(clippy::disallowed_methods, reason = "tests take time and the environment from the machine")]

mod accept;
mod access;
mod architecture;
mod audit;
mod cases;
mod clients;
mod compose;
mod console;
mod delivery;
mod dialects;
mod dkim;
mod domains;
mod door;
mod durability;
mod engine;
mod ephemeral;
mod event_log;
mod examples;
mod fair;
mod feedback;
mod finding;
mod fuzz;
mod handover;
mod hostile;
mod inbound;
mod lanes;
mod links;
mod listing;
mod logs;
mod mail_clients;
mod misfortune;
mod mx;
mod neighbours;
mod openapi;
mod operator;
mod outbox;
mod partitions;
mod plans;
mod policy;
mod pooler;
mod pools;
mod postfix;
#[cfg(feature = "dns-publishing")]
mod publishing;
mod races;
mod reading;
mod reputation;
mod requests;
mod retention;
mod sandbox;
mod schedule;
mod secrets;
mod sending;
mod servers;
mod store;
mod submission;
mod suites;
mod support;
mod suppressions;
mod templates;
mod tenancy;
mod time;
mod tls;
mod upgrade;
mod webhook_bars;
mod webhook_log;
mod webhooks;
