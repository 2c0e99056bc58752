//! `mailwright migrate`

use std::process::ExitCode;

use super::store;
use crate::config::Config;
use crate::terminal::{CommandError, out};

pub async fn run(config: &Config) -> Result<ExitCode, CommandError> {
    store(config)?.migrate().await.map_err(CommandError::new)?;
    out::print("the schema is up to date")?;
    Ok(ExitCode::SUCCESS)
}
