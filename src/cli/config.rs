//! `mailwright config show|check`

use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, out};
use crate::api::JwtKeys;
use crate::config::Config;
use crate::net::tls::TlsConfigs;
use crate::routing::Traffic;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the whole effective configuration as TOML, secrets redacted.
    Show,
    /// Say whether the configuration can be used, with the files that it names.
    Check,
}

pub fn run(command: &ConfigCommand, config: &Config) -> Result<ExitCode, CliError> {
    let text = match command {
        ConfigCommand::Show => config.show(),
        ConfigCommand::Check => {
            JwtKeys::new(&config.auth.jwt).map_err(CliError::new)?;
            TlsConfigs::new(&config.delivery.ca_file).map_err(CliError::new)?;
            Traffic::new(config).map_err(CliError::new)?;
            "the configuration is valid".to_owned()
        }
    };
    out::line(text.trim_end()).map_err(CliError::new)?;
    Ok(ExitCode::SUCCESS)
}
