//! `mailwright serve`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{observe, require_database};
use crate::ambient::{SystemRng, store_clock};
use crate::app::{Ended, Plan, Role, Service};
use crate::config::Config;
use crate::descriptors;
use crate::telemetry::metrics::Metrics;
use crate::terminal::{CommandError, Signals, out};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Parts to play: api, delivery, webhooks, submission, inbound, upkeep. All if not given.
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<Role>,
    /// Accept messages, but deliver nothing: after a restore, until you have looked.
    #[arg(long)]
    paused: bool,
}

pub async fn run(args: ServeArgs, config: Config) -> Result<ExitCode, CommandError> {
    require_database(&config)?;
    let metrics = observe(&config)?;
    let roles = if args.roles.is_empty() { Role::ALL.to_vec() } else { args.roles };
    let plan = Plan { roles, paused: args.paused };
    let signals = Signals::new()?;
    let service = start(config, &plan, metrics).await?;
    // A supervisor that has gone is no reason to stop serving.
    let mut lines = format!("listening on http://{}", service.address);
    for address in &service.admin {
        lines.push_str(&format!("\noperators on http://{address}"));
    }
    for address in &service.submission {
        lines.push_str(&format!("\nsubmission on {address}"));
    }
    if let Err(error) = out::line(&lines) {
        tracing::warn!(%error, "standard output cannot be written");
    }
    Ok(serve(service, signals).await)
}

/// Starts a service, installing what the process needs once.
pub(super) async fn start(mut config: Config, plan: &Plan, metrics: Arc<Metrics>) -> Result<Service, CommandError> {
    if let Some(limit) = descriptors::raise() {
        for (setting, wanted, part) in descriptors::fit(&mut config, limit).map_err(CommandError)? {
            tracing::warn!(setting, wanted, part, limit, "this machine allows fewer descriptors: less is let in");
        }
    }
    let starting = Service::start(config, plan, metrics, store_clock(), Arc::new(SystemRng));
    Box::pin(starting).await.map_err(CommandError::new)
}

/// Serves until SIGTERM or SIGINT, then stops: the first one drains, the second one aborts. SIGHUP: shaping and rules
/// are read anew. The exit code says whether everything in hand was finished.
pub(super) async fn serve(service: Service, mut signals: Signals) -> ExitCode {
    let died = loop {
        let is_stop = tokio::select! {
            is_stop = signals.stop_or_hangup() => is_stop,
            part = service.died() => {
                out::note(&format!("stopping: {part} died; the log says of what"));
                break true;
            }
        };
        if is_stop {
            out::note("stopping: work in hand is finished first; a second signal drops it");
            break false;
        }
        match service.reload() {
            Ok(_) => out::note("shaping and rules were read anew"),
            Err(why) => tracing::error!(why, "shaping or rules cannot be used; the ones before stay in force"),
        }
    };
    let abort = CancellationToken::new();
    let stopping = service.stop(&abort);
    tokio::pin!(stopping);
    let ended = tokio::select! {
        ended = &mut stopping => ended,
        () = signals.stop() => {
            abort.cancel();
            stopping.await
        }
    };
    match ended {
        // EX_SOFTWARE: a supervisor starts it again.
        _ if died => ExitCode::from(70),
        Ended::Drained => ExitCode::SUCCESS,
        Ended::Aborted => {
            tracing::warn!("work in hand was dropped; it is tried again when its leases run out");
            ExitCode::from(75)
        }
    }
}
