//! `mailwright with-postgres -- COMMAND`: for the tests, and for writing the statements' offline data.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::process::Command;

use crate::cluster::{Cluster, reachable};
use crate::terminal::CommandError;
use crate::terminal::Signals;

#[derive(Debug, Args)]
pub struct WithPostgresArgs {
    /// Where the cluster lies.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The command to run.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub async fn run(args: WithPostgresArgs) -> Result<ExitCode, CommandError> {
    // A Ctrl-C reaches the command by itself; we stay to stop the cluster.
    let signals = Signals::new()?;
    let cluster = Cluster::start(&reachable(&args.data_dir)?).await?;
    let (program, arguments) = args.command.split_first().ok_or_else(|| CommandError("no command".to_owned()))?;
    let status = Command::new(program).args(arguments).env("DATABASE_URL", cluster.url()).status().await;
    drop(signals);
    cluster.stop().await?;
    let status = status.map_err(|error| CommandError(format!("{program}: {error}")))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
