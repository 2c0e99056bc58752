//! The command line: each command is a file; this one knows their names and the layers of configuration.

mod audit;
mod config;
mod dev;
mod doctor;
mod doctor_domains;
mod domain_records;
mod domains;
mod http;
mod keys;
mod list;
mod manual;
mod messages;
mod migrate;
mod outbox;
mod reports;
mod rules;
mod secrets;
mod serve;
mod suite;
mod suppressions;
mod templates;
mod trace;
mod webhooks;
mod with_postgres;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::ambient::{SystemRng, store_clock};
use crate::bench;
use crate::config::{Config, Layers};
use crate::sealing::Vault;
use crate::store::Store;
use crate::telemetry::{self, metrics::Metrics};
use crate::terminal::{CommandError, out};

/// A self-hosted transactional email service: one binary, one Postgres.
#[derive(Debug, Parser)]
#[command(name = "mailwright", version)]
struct Cli {
    #[command(flatten)]
    layers: LayerArgs,
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from, beside defaults and environment.
#[derive(Debug, Args)]
struct LayerArgs {
    /// TOML file with settings; also `MAILWRIGHT_CONFIG`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be repeated.
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything with no configuration: private Postgres, sandbox inbox, keys.
    Dev(dev::DevArgs),
    /// Run the service on a Postgres of yours.
    Serve(serve::ServeArgs),
    /// Show who changed what.
    Audit(audit::AuditArgs),
    /// Bring the schema up to this binary's.
    Migrate,
    /// Create, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Let roles of the database send mail by `mailwright.enqueue`, in transactions of their own.
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Make, list and retire the DKIM keys of domains.
    #[command(subcommand)]
    Domains(domains::DomainsCommand),
    /// Send a message through a running service.
    Send(Box<messages::SendArgs>),
    /// Show what became of a message.
    Status(messages::StatusArgs),
    /// Say why a message is where it is.
    Why(messages::StatusArgs),
    /// Add, remove, look up, import and export suppressions, through a running service.
    #[command(subcommand)]
    Suppressions(suppressions::SuppressionsCommand),
    /// Tell a program on this machine of events, while you develop.
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Keep templates in files: push them to a service, or pull them from one.
    #[command(subcommand)]
    Templates(templates::TemplatesCommand),
    /// Show the way that mail to a domain would take: route, MX hosts, addresses, TLS policy, lanes.
    Trace(trace::TraceArgs),
    /// List what came back by mail and somebody has to look at; rotate the key of envelope senders.
    #[command(subcommand)]
    Reports(reports::ReportsCommand),
    /// Count the secrets in the database by the keys that seal them; seal them by the key of today.
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Say what a reply of a mail server means.
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Look for what keeps mail from arriving: port 25, names, DNS records, blocklists, clock, store.
    Doctor(doctor::DoctorArgs),
    /// Show or check the effective configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Exit 0 if the service at --url is ready.
    Healthcheck(messages::Connection),
    /// Measure the whole pipeline on this machine: private Postgres, services, load and sink on loopback.
    Bench(Box<bench::BenchArgs>),
    /// Print the script by which a shell completes commands: `source <(mailwright completions bash)`.
    Completions(manual::CompletionsArgs),
    /// Write the manual pages of all commands to a directory.
    Manual(manual::ManualArgs),
    /// Run a command with `DATABASE_URL` set to a private Postgres that ends with it.
    #[command(hide = true)]
    WithPostgres(with_postgres::WithPostgresArgs),
}

/// The bytes of a file, or what comes on standard input when it is `-`; at most so many.
fn file_or_input(file: &Path, most: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| CommandError(format!("{}: {error}", file.display())))?;
    Ok(bytes)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out::error(&format!("the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(code) => code,
        Err(error) => {
            out::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    async fn run(self) -> Result<ExitCode, CommandError> {
        let layers = self.layers;
        match self.command {
            Command::Dev(args) => Box::pin(dev::run(args, layers.read()?)).await,
            Command::Serve(args) => {
                Box::pin(serve::run(args, layers.read()?.finish().map_err(CommandError::new)?)).await
            }
            Command::Audit(args) => audit::run(args, &layers.finish()?).await,
            Command::Migrate => migrate::run(&layers.finish()?).await,
            Command::Keys(command) => keys::run(command, &layers.finish()?).await,
            Command::Outbox(command) => outbox::run(command, &layers.finish()?).await,
            Command::Domains(command) => domains::run(command, &layers.finish()?).await,
            Command::Send(args) => messages::send(*args, &layers.finish()?).await,
            Command::Status(args) => messages::status(args, &layers.finish()?).await,
            Command::Why(args) => messages::why(args, &layers.finish()?).await,
            Command::Suppressions(command) => suppressions::run(command, &layers.finish()?).await,
            Command::Webhooks(command) => webhooks::run(command, &layers.finish()?).await,
            Command::Templates(command) => Box::pin(templates::run(command, &layers.finish()?)).await,
            Command::Trace(args) => trace::run(args, &layers.finish()?).await,
            Command::Reports(command) => reports::run(command, &layers.finish()?).await,
            Command::Secrets(command) => secrets::run(command, &layers.finish()?).await,
            Command::Rules(command) => rules::run(&command, &layers.finish()?),
            Command::Doctor(args) => Box::pin(doctor::run(args, &layers.finish()?)).await,
            Command::Config(command) => config::run(&command, &layers.finish()?),
            Command::Healthcheck(connection) => messages::healthcheck(connection, &layers.finish()?).await,
            Command::Bench(args) => Box::pin(bench::run(*args)).await,
            Command::Completions(args) => manual::completions(&args),
            Command::Manual(args) => manual::manual(&args),
            Command::WithPostgres(args) => with_postgres::run(args).await,
        }
    }
}

impl LayerArgs {
    /// Defaults, file, environment and flags laid over each other.
    #[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
    fn read(&self) -> Result<Layers, CommandError> {
        let mut layers = Layers::default();
        let file = self.config.clone().or_else(|| std::env::var_os("MAILWRIGHT_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|error| CommandError(format!("{origin}: {error}")))?;
            layers.file(&origin, &text);
        }
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        layers.environment(variables);
        for pair in &self.set {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| CommandError("--set: must be NAME=VALUE".to_owned()))?;
            layers.text("--set", name, value);
        }
        Ok(layers)
    }

    fn finish(&self) -> Result<Config, CommandError> {
        self.read()?.finish().map_err(CommandError::new)
    }
}

/// The process's metrics, and logging started.
fn observe(config: &Config) -> Result<Arc<Metrics>, CommandError> {
    let metrics = Arc::new(Metrics::new().map_err(CommandError::new)?);
    telemetry::init(&config.log.level.0, config.log.format, &metrics).map_err(CommandError::new)?;
    Ok(metrics)
}

/// An error when no database is configured.
fn require_database(config: &Config) -> Result<(), CommandError> {
    if config.database.url.is_empty() {
        let how = "no database is configured: set DATABASE_URL=postgres://user:password@host/database";
        return Err(CommandError(format!("{how} (to try Mailwright without one: `mailwright dev`)")));
    }
    Ok(())
}

/// The configured store.
fn store(config: &Config) -> Result<Store, CommandError> {
    require_database(config)?;
    store_with(config, observe(config)?)
}

fn store_with(config: &Config, metrics: Arc<Metrics>) -> Result<Store, CommandError> {
    let vault = Vault::configured(&config.secrets, Arc::new(SystemRng)).map_err(CommandError)?;
    let store = Store::new(&config.database, metrics, store_clock()).map_err(CommandError::new)?;
    Ok(store.sealed_by(vault))
}
