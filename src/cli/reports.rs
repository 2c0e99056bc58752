//! `mailwright reports list|show|rotate-key`: what came back by mail and somebody has to look at, and the key that says whose it is.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::list::ListArgs;
use super::store;
use crate::ambient::SystemRng;
use crate::config::Config;
use crate::domain::clock::{Rng, rfc3339};
use crate::domain::id::ReportId;
use crate::terminal::{CommandError, out};

/// Most reports of a list.
const LISTED_MAX: i64 = 500;

#[derive(Debug, Subcommand)]
pub enum ReportsCommand {
    /// List what nobody can be charged with, and complaints whose sender nobody can tell: mail to `postmaster`, `abuse`, `fbl`.
    List(ListArgs),
    /// Print a letter as it came, its first 64 KiB.
    Show {
        /// The report's id, `rep_…`.
        id: String,
    },
    /// Make a new key for tokens in envelope senders. It makes them from two minutes later on; those of older keys stay good.
    RotateKey,
}

pub async fn run(command: ReportsCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CommandError::new)?;
    store.measure_clock().await.map_err(CommandError::new)?;
    match command {
        ReportsCommand::List(list) => {
            let reports = store.list_reports_to_look_at(None, LISTED_MAX).await.map_err(CommandError::new)?;
            let columns = ["id", "received_at", "from", "to", "meaning", "outcome"];
            let rows = reports.into_iter().map(|report| {
                [
                    json!(report.id),
                    json!(rfc3339(report.kept.received_at)),
                    json!(report.kept.envelope_from),
                    json!(report.kept.envelope_to),
                    json!(report.kept.meaning),
                    json!(report.kept.outcome),
                ]
            });
            list.print(columns, rows.collect())?;
        }
        ReportsCommand::Show { id } => {
            let unknown = || CommandError(format!("there is no report '{id}'"));
            let parsed = ReportId::parse(&id).ok_or_else(unknown)?;
            let found = store.list_reports_to_look_at(Some(parsed), 1).await.map_err(CommandError::new)?;
            let report = found.first().ok_or_else(unknown)?;
            out::print(String::from_utf8_lossy(&report.kept.raw).trim_end())?;
        }
        ReportsCommand::RotateKey => {
            let mut secret = [0; 32];
            SystemRng.fill(&mut secret);
            let noted = super::audit::begin(&store, "reports rotate-key", (None, "")).await?;
            let id = store.add_token_key(&secret).await.map_err(CommandError::new)?;
            noted.done(Some(&id.to_string())).await?;
            out::print(&format!("key {id} makes tokens from two minutes from now on"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
