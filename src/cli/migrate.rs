//! `mailwright migrate`

use std::process::ExitCode;

use super::{CliError, out, store};
use crate::config::Config;

pub async fn run(config: &Config) -> Result<ExitCode, CliError> {
    store(config)?.migrate().await.map_err(CliError::new)?;
    out::line("the schema is up to date").map_err(CliError::new)?;
    Ok(ExitCode::SUCCESS)
}
