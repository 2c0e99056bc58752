//! The options of `mailwright bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::weather::Fault;
use crate::config::Span;

/// How messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dkim {
    None,
    Ed25519,
    Rsa,
}

/// Where the services send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    Smarthost,
    Mx,
}

/// By which door messages come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// `POST /v1/send`
    Api,
    /// SMTP submission, in the clear on loopback.
    Smtp,
}

/// What a preloaded backlog waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Waiting {
    /// Its time: it is due next week.
    Deferred,
    /// A destination that never answers: it is due now, and its lane is full.
    Stuck,
    /// Its turn: another project's, due now, to the same destination.
    Rival,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Messages to send.
    #[arg(long, default_value_t = 20_000)]
    pub messages: usize,
    /// Stop sending after this time, such as 30s.
    #[arg(long, value_name = "SPAN")]
    pub duration: Option<Span>,
    /// Bytes of text in each message.
    #[arg(long, default_value_t = 4096)]
    pub size: usize,
    /// The door by which messages come in.
    #[arg(long, value_enum, default_value_t = Via::Api)]
    pub via: Via,
    /// Connections that send.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub recipients: usize,
    /// Requests a second; as many as are answered if not given.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Signature of each message.
    #[arg(long, value_enum, default_value_t = Dkim::None)]
    pub dkim: Dkim,
    /// The way to the sink: as a smarthost, or found by MX records.
    #[arg(long, value_enum, default_value_t = Way::Smarthost)]
    pub route: Way,
    /// Round trip to the sink, such as 10ms.
    #[arg(long, value_name = "SPAN", default_value = "0ms")]
    pub round_trip: Span,
    /// SMTP sessions to the sink.
    #[arg(long, default_value_t = 20)]
    pub sessions: usize,
    /// Whether the sink offers CHUNKING.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub chunking: bool,
    /// Deliveries that wait already.
    #[arg(long, default_value_t = 0)]
    pub backlog: i64,
    /// What they wait for.
    #[arg(long, value_enum, default_value_t = Waiting::Deferred)]
    pub waiting: Waiting,
    /// Addresses that the project has suppressed already, none of which is sent to.
    #[arg(long, default_value_t = 0)]
    pub suppressions: usize,
    /// Messages to a slow destination (5 s each), sent before what is measured; with `--route mx`.
    #[arg(long, default_value_t = 0)]
    pub slow: usize,
    /// Domains that are dead or mute, half each, to which 200 messages a second go beside what is measured; with
    /// `--route mx`.
    #[arg(long, default_value_t = 0)]
    pub ailing: usize,
    /// Send to so many domains, each of whose servers is up for 2 to 8 seconds and then away as long; with `--route mx`.
    #[arg(long, default_value_t = 0)]
    pub flapping: usize,
    /// Tell an endpoint of each delivery, and wait until it heard of all.
    #[arg(long, conflicts_with = "slow")]
    pub webhooks: bool,
    /// How long the endpoint takes to answer, such as 100ms.
    #[arg(long, value_name = "SPAN", default_value = "0ms", requires = "webhooks")]
    pub webhook_delay: Span,
    /// Services on the one store.
    #[arg(long, default_value_t = 1)]
    pub processes: usize,
    /// Runs; each on the same store, the median counts.
    #[arg(long, default_value_t = 1)]
    pub runs: usize,
    /// What goes wrong a third of the way through.
    #[arg(long, value_enum)]
    pub fault: Option<Fault>,
    /// An Idempotency-Key in each request; always with a fault.
    #[arg(long)]
    pub keyed: bool,
    /// A setting of the services; may be repeated.
    #[arg(long = "service", value_name = "NAME=VALUE")]
    pub service: Vec<String>,
    /// Write the reports as JSON to this file, `-` for standard output; the text for people then goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the private Postgres lies; a fresh directory under /tmp, removed at the end, if not given.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}
