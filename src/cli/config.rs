//! `mailwright config show|check`

use std::process::ExitCode;

use clap::Subcommand;

use crate::auth::JwtKeys;
use crate::config::Config;
use crate::net::tls::TlsConfigs;
use crate::routing::TrafficPolicy;
use crate::terminal::{CommandError, out};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the whole effective configuration as TOML, secrets redacted.
    Show,
    /// Say whether the configuration can be used, with the files that it names.
    Check,
}

pub fn run(command: &ConfigCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let text = match command {
        ConfigCommand::Show => config.show(),
        ConfigCommand::Check => {
            JwtKeys::new(&config.auth.jwt).map_err(CommandError::new)?;
            TlsConfigs::new(&config.delivery.ca_file).map_err(CommandError::new)?;
            TrafficPolicy::new(config).map_err(CommandError::new)?;
            "the configuration is valid".to_owned()
        }
    };
    out::line(text.trim_end()).map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}
