//! `mailwright bench`: the whole life of a message on one machine. Starts a private Postgres, services, a sink
//! and a load on loopback, and says what each of them cost. It measures; it holds no opinion.

mod args;
mod count;
mod dns;
mod load;
mod receiver;
mod report;
mod services;
mod sink;
mod stage;
mod stock;
mod submission;
mod thread;
mod told;
mod usage;
mod weather;

use std::path::Path;
use std::process::ExitCode;

pub use args::BenchArgs;

use crate::cluster::{Cluster, reachable};
use crate::terminal::Signals;
use crate::terminal::{CommandError, out};
use report::Report;
use stage::Stage;

/// Postgres as a server would be configured that does nothing else; durability stays as it is.
const SERVER: [(&str, &str); 4] =
    [("shared_buffers", "2GB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "15min"), ("max_connections", "300")];

pub async fn run(args: BenchArgs) -> Result<ExitCode, CommandError> {
    let fresh = std::env::temp_dir().join(format!("mailwright-bench-{}", std::process::id()));
    let directory = reachable(args.data_dir.as_deref().unwrap_or(&fresh))?;
    let mut signals = Signals::new()?;
    let mut cluster = Cluster::start_with(&directory, &SERVER).await?;
    let reports = tokio::select! {
        reports = measure(&args, &mut cluster) => reports,
        // The services end with what measured them.
        () = signals.stop() => Err(CommandError::new("stopped before the end")),
    };
    cluster.stop().await?;
    if args.data_dir.is_none() {
        std::fs::remove_dir_all(&directory).map_err(CommandError::new)?;
    }
    let mut reports = reports?;
    if args.runs > 1 {
        reports.sort_by(|a, b| a.delivered_per_second.total_cmp(&b.delivered_per_second));
        say(&args, &format!("median of {} runs by rate:\n{}", reports.len(), reports[reports.len() / 2]))?;
    }
    write_json(args.json.as_deref(), &reports)?;
    let is_whole = reports.iter().all(|r| {
        let is_told = r.webhooks.as_ref().is_none_or(|webhooks| webhooks.missing == 0);
        is_told && r.ledger.lost == 0 && i64::try_from(r.ledger.extra).is_ok_and(|n| n <= r.ledger.uncertain)
    });
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes text for people: to standard error while standard output is for JSON.
fn say(args: &BenchArgs, text: &str) -> Result<(), CommandError> {
    if args.json.as_deref() == Some(Path::new("-")) {
        out::note(text);
        return Ok(());
    }
    out::print(text)
}

fn write_json(path: Option<&Path>, reports: &[Report]) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(reports).map_err(CommandError::new)?;
    match path {
        None => Ok(()),
        Some(path) if path == Path::new("-") => out::print(&text),
        Some(path) => std::fs::write(path, text).map_err(|error| CommandError(format!("{}: {error}", path.display()))),
    }
}

async fn measure(args: &BenchArgs, cluster: &mut Cluster) -> Result<Vec<Report>, CommandError> {
    let mut stage = Stage::set(args, cluster).await?;
    let mut reports = Vec::new();
    for _ in 0..args.runs.max(1) {
        let report = stage.run().await?;
        say(args, &format!("{report}\n"))?;
        reports.push(report);
    }
    stage.strike().await?;
    Ok(reports)
}
