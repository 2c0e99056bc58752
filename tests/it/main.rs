//! One binary, so that it links once. Each module is a scenario family; `support` holds the real parts it
//! is played with: a Postgres database per test, a scripted SMTP server, a webhook receiver, a DNS server.
//!
//! Tests await events (rows, messages, requests); none sleeps.

mod accept;
mod access;
mod architecture;
mod console;
mod delivery;
mod durability;
mod listing;
mod mx;
mod openapi;
mod operator;
mod store;
mod support;
mod tls;
mod webhooks;
