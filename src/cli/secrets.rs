//! `mailwright secrets list|seal`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::list::ListArgs;
use super::{audit, store};
use crate::config::Config;
use crate::terminal::{CommandError, out};

#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Show how many secrets lie in the database, by table and by the key that seals them.
    List(ListArgs),
    /// Seal by the first of `secrets.sealing_key` what is not: what lies there as it is, or is sealed by another of these keys. All processes must have
    /// been started with that key before.
    Seal,
}

pub async fn run(command: SecretsCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CommandError::new)?;
    match command {
        SecretsCommand::List(list) => {
            let rows = store.count_secrets().await.map_err(CommandError::new)?.into_iter().map(|found| {
                let state = match found.key {
                    None => "not sealed",
                    key if key == store.vault().current() => "sealed by today's key",
                    Some(key) if store.vault().knows(key) => "sealed by another key",
                    Some(_) => "cannot be read: the key is missing",
                };
                let key = found.key.map(|key| key.to_string()).unwrap_or_default();
                [json!(found.table), json!(key), json!(found.count), json!(state)]
            });
            list.print(["table", "key", "count", "state"], rows.collect())?;
        }
        SecretsCommand::Seal => {
            let Some(key) = store.vault().current() else {
                return Err(CommandError("set secrets.sealing_key or secrets.sealing_key_file first".to_owned()));
            };
            let noted = audit::begin(&store, "secrets seal", (None, &key.to_string())).await?;
            let count = store.seal_secrets().await.map_err(CommandError::new)?;
            noted.done(None).await?;
            out::print(&format!("{count} sealed; all are sealed by the key {key}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
