//! `mailwright config show|check`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use crate::ambient::SystemRng;
use crate::auth::JwtKeys;
use crate::config::Config;
use crate::net::server_tls::ServerTls;
use crate::net::tls::TlsConfigs;
use crate::routing::TrafficPolicy;
use crate::sealing::Vault;
use crate::store::connect_options;
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
            let faults = faults(config);
            if !faults.is_empty() {
                return Err(CommandError(faults.join("\n")));
            }
            "the configuration is valid".to_owned()
        }
    };
    out::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with the store's address and with the files that the configuration names.
fn faults(config: &Config) -> Vec<String> {
    let url = &config.database.url;
    let checks = [
        if url.is_empty() { None } else { connect_options(url).err().map(|fault| fault.to_string()) },
        JwtKeys::new(&config.auth).err(),
        TlsConfigs::new(&config.delivery.ca_file).err(),
        TrafficPolicy::new(config).err(),
        Vault::configured(&config.secrets, Arc::new(SystemRng)).err(),
        certificate("inbound.tls_cert", &config.inbound.tls_cert, &config.inbound.tls_key),
        certificate("submission.tls_cert", &config.submission.tls_cert, &config.submission.tls_key),
    ];
    checks.into_iter().flatten().collect()
}

fn certificate(setting: &str, cert: &Path, key: &Path) -> Option<String> {
    ServerTls::configured(cert, key).err().map(|why| format!("{setting}: {why}"))
}
