//! `mailwright completions` and `mailwright manual`: what shells and `man` know of the commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::terminal::{CommandError, out};

const NAME: &str = "mailwright";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManualArgs {
    /// Directory to write the pages to; made if it is not there.
    directory: PathBuf,
}

/// Prints the script by which a shell completes commands and options.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    out::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for each command, section 1, and prints where.
pub fn manual(args: &ManualArgs) -> Result<ExitCode, CommandError> {
    let directory = &args.directory;
    let fault = |error: std::io::Error| CommandError(format!("{}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(fault)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(fault)?;
    out::print(&format!("written to {}; read one by `man -l {0}/{NAME}.1`", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
