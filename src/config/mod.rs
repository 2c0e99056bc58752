//! Configuration: built-in defaults < TOML file < environment < flags.
//!
//! Every setting has one dotted name (`http.listen`). The environment spells it
//! `MAILWRIGHT_HTTP__LISTEN`. A name that does not exist is an error that says so: a misspelt setting must
//! not be ignored. Gives one [`Config`] value; never reads the environment itself.

mod dns_account;
mod faults;
mod layers;
mod scalars;
mod settings;

pub use dns_account::{DnsAccount, DnsProvider};
pub use layers::{ConfigError, ConfigFaults, Layers};
pub use scalars::{ByteSize, Delays, Dialect, List, Listen, LogLevel, RouteText, Security, Span, SubmissionListen};
pub use settings::{
    Auth, Config, Data, Database, Delivery, Dkim, Dns, Http, Inbound, JwtKey, Limits, LineEnds, Log, LogFormat, Net,
    Pooler, Queue, Retention, ReturnPathStyle, SETTINGS, SandboxSettings, Secrets, Shutdown, Submission, Webhooks,
};
