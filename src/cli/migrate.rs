//! `mailwright migrate`

use std::process::ExitCode;

use super::store;
use crate::config::Config;
use crate::terminal::{CommandError, out};

pub async fn run(config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.migrate().await.map_err(CommandError::new)?;
    // Nobody can be in there yet who would not find the key.
    if store.is_new().await.map_err(CommandError::new)? {
        store.seal_secrets().await.map_err(CommandError::new)?;
    }
    // Before it, there may be no table to say so in.
    super::audit::begin(&store, "migrate", (None, env!("CARGO_PKG_VERSION"))).await?.done(None).await?;
    out::print("the schema is up to date")?;
    Ok(ExitCode::SUCCESS)
}
