//! `mailwright keys create|list|revoke`

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};

use super::{CliError, out, store};
use crate::ambient::{SystemChance, SystemClock};
use crate::api::auth;
use crate::config::{Config, Span};
use crate::domain::access::{Mode, Scope, key_prefix, key_text};
use crate::domain::clock::{Chance, Clock, Timestamp, rfc3339};
use crate::domain::id::{KeyId, ProjectId};
use crate::store::projects::NewKey;
use crate::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Create a key and print it, alone, on standard output. It is shown this once.
    Create(CreateArgs),
    /// List all keys.
    List,
    /// Revoke a key; it works for at most `auth.cache` longer.
    Revoke {
        /// The key's id, `key_…`.
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Project by name; made if it is new.
    #[arg(long)]
    project: String,
    /// `live`, or `test`: its mail ends in the sandbox.
    #[arg(long, value_parser = mode)]
    mode: Mode,
    /// What the key may do: send, messages:read, webhooks, admin, … Default: everything but admin.
    #[arg(long, value_delimiter = ',', value_parser = scope, value_name = "SCOPE,…")]
    scopes: Vec<Scope>,
    /// How long the key is valid, such as 90d. Default: until revoked.
    #[arg(long, value_name = "SPAN")]
    expires: Option<Span>,
}

fn mode(name: &str) -> Result<Mode, String> {
    Mode::parse(name).ok_or_else(|| "must be live or test".to_owned())
}

fn scope(name: &str) -> Result<Scope, String> {
    let names: Vec<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    Scope::parse(name).ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

pub async fn run(command: KeysCommand, config: &Config) -> Result<ExitCode, CliError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CliError::new)?;
    match command {
        KeysCommand::Create(args) => {
            let scopes = if args.scopes.is_empty() { default_scopes() } else { args.scopes };
            let (id, key) = create(&store, &args.project, args.mode, &scopes, args.expires).await?;
            // A key that nobody could read must not stay valid.
            if let Err(error) = out::line(&key) {
                store.revoke_key(id, SystemClock.now()).await.map_err(CliError::new)?;
                return Err(CliError(format!("the key could not be printed and was revoked: {error}")));
            }
        }
        KeysCommand::List => {
            for key in store.list_keys().await.map_err(CliError::new)? {
                let state = key.revoked_at.map_or_else(|| "valid".to_owned(), |at| format!("revoked {}", rfc3339(at)));
                let scopes = key.scopes.join(",");
                let created = rfc3339(key.created_at);
                let line =
                    format!("{}  {}  {}  {}…  {scopes}  {created}  {state}", key.id, key.project, key.mode, key.prefix);
                out::line(&line).map_err(CliError::new)?;
            }
        }
        KeysCommand::Revoke { id } => {
            let id = KeyId::parse(&id).ok_or_else(|| CliError(format!("'{id}' is not a key's id (key_…)")))?;
            if !store.revoke_key(id, SystemClock.now()).await.map_err(CliError::new)? {
                return Err(CliError(format!("there is no valid key {id}")));
            }
            out::line("revoked").map_err(CliError::new)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a key may do when nothing is said: a program's needs, not an administrator's.
pub(super) fn default_scopes() -> Vec<Scope> {
    Scope::ALL.into_iter().filter(|scope| !matches!(scope, Scope::Admin | Scope::Keys)).collect()
}

/// Makes a key in a project, which is made if it is new.
pub(super) async fn create(
    store: &Store,
    project: &str,
    mode: Mode,
    scopes: &[Scope],
    expires: Option<Span>,
) -> Result<(KeyId, String), CliError> {
    let now = SystemClock.now();
    let mut secret = [0; 32];
    SystemChance.fill(&mut secret);
    let key = key_text(mode, &URL_SAFE_NO_PAD.encode(secret));
    let project = ensure_project(store, project, now).await?;
    let id = KeyId::new(now, &SystemChance);
    let new = NewKey {
        id,
        project,
        mode,
        scopes,
        prefix: &key_prefix(&key),
        hash: auth::hash(&key),
        created_at: now,
        expires_at: expires.map(|Span(span)| now + span),
    };
    store.insert_key(&new).await.map_err(CliError::new)?;
    Ok((id, key))
}

/// The project of that name, made if it is new.
pub(super) async fn ensure_project(store: &Store, name: &str, now: Timestamp) -> Result<ProjectId, CliError> {
    match store.ensure_project(ProjectId::new(now, &SystemChance), name, now).await {
        Ok(id) => Ok(id),
        Err(StoreError::Refused(_)) => {
            Err(CliError(format!("--project {name}: must be 1 to 64 letters, digits or any of ._-")))
        }
        Err(error) => Err(CliError::new(error)),
    }
}
