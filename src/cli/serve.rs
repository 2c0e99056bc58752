//! `mailwright serve`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CliError, observe, out, require_database};
use crate::app::{Ended, Plan, Role, Service};
use crate::config::Config;
use crate::telemetry::metrics::Metrics;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Parts to play: api, delivery, webhooks, upkeep. All if not given.
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<Role>,
    /// Accept messages, but deliver nothing: after a restore, until you have looked.
    #[arg(long)]
    paused: bool,
}

pub async fn run(args: ServeArgs, config: Config) -> Result<ExitCode, CliError> {
    require_database(&config)?;
    let metrics = observe(&config)?;
    let roles = if args.roles.is_empty() { Role::ALL.to_vec() } else { args.roles };
    let plan = Plan { roles, paused: args.paused };
    let signals = Signals::new()?;
    let service = start(config, &plan, metrics).await?;
    // A supervisor that has gone is no reason to stop serving.
    if let Err(error) = out::line(&format!("listening on http://{}", service.address)) {
        tracing::warn!(%error, "standard output cannot be written");
    }
    Ok(signals.serve(service).await)
}

/// Starts a service, installing what the process needs once.
pub(super) async fn start(config: Config, plan: &Plan, metrics: Arc<Metrics>) -> Result<Service, CliError> {
    Service::start(config, plan, metrics).await.map_err(CliError::new)
}

/// SIGTERM and SIGINT: the first one drains, the second one aborts. SIGHUP: shaping and rules are read anew.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

async fn next(terminate: &mut tokio::signal::unix::Signal, interrupt: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

impl Signals {
    pub fn new() -> Result<Self, CliError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(CliError::new)?,
            interrupt: signal(SignalKind::interrupt()).map_err(CliError::new)?,
            hangup: signal(SignalKind::hangup()).map_err(CliError::new)?,
        })
    }

    /// The next of either.
    pub async fn next(&mut self) {
        next(&mut self.terminate, &mut self.interrupt).await;
    }

    /// Serves until a signal, then stops; the exit code says whether everything in hand was finished.
    pub async fn serve(mut self, service: Service) -> ExitCode {
        loop {
            tokio::select! {
                () = next(&mut self.terminate, &mut self.interrupt) => break,
                _ = self.hangup.recv() => match service.reload() {
                    Ok(_) => out::note("shaping and rules were read anew"),
                    Err(why) => tracing::error!(why, "shaping or rules cannot be used; the ones before stay in force"),
                },
            }
        }
        out::note("stopping: work in hand is finished first; a second signal drops it");
        let abort = CancellationToken::new();
        let stopping = service.stop(&abort);
        tokio::pin!(stopping);
        let ended = tokio::select! {
            ended = &mut stopping => ended,
            () = self.next() => {
                abort.cancel();
                stopping.await
            }
        };
        match ended {
            Ended::Drained => ExitCode::SUCCESS,
            Ended::Aborted => {
                tracing::warn!("work in hand was dropped; it is tried again when its leases run out");
                ExitCode::from(75)
            }
        }
    }
}
