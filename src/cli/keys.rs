//! `mailwright keys create|list|revoke`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::audit;
use super::list::ListArgs;
use super::store;
use crate::accounts::{AccountError, NewKeyRequest, create_key, default_scopes};
use crate::ambient::{SystemClock, SystemRng};
use crate::config::{Config, Span};
use crate::domain::access::{Mode, Scope};
use crate::domain::clock::{Clock, rfc3339};
use crate::domain::id::KeyId;
use crate::store::accounts::keys::KeyFilter;
use crate::terminal::{CommandError, out};

/// Most keys of a list.
const LISTED_MAX: i64 = 1000;

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Create a key and print it, alone, on standard output. It is shown this once.
    Create(CreateArgs),
    /// List all keys.
    List(ListArgs),
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
    /// What the key may do: send, messages:read, webhooks, admin, … Default: what this version asks for, without admin.
    #[arg(long, value_delimiter = ',', value_parser = scope, value_name = "SCOPE,…")]
    scopes: Vec<Scope>,
    /// How long the key is valid, such as 90d. Default: until revoked.
    #[arg(long, value_name = "SPAN")]
    expires: Option<Span>,
    /// Make an operator's key: it makes, limits and suspends projects over HTTP, and acts for any of them. Live only; with
    /// the scope admin if none is given.
    #[arg(long)]
    operator: bool,
    /// Requests of a dialect may be signed by it (SES, DirectMail): the key is kept, sealed by `secrets.sealing_key`. Its id, which is the
    /// access key's, is told beside it.
    #[arg(long)]
    signs: bool,
}

pub(super) fn mode(name: &str) -> Result<Mode, String> {
    Mode::parse(name).ok_or_else(|| "must be live or test".to_owned())
}

fn scope(name: &str) -> Result<Scope, String> {
    let names: Vec<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    Scope::parse(name).ok_or_else(|| format!("must be one of {}", names.join(", ")))
}

pub async fn run(command: KeysCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CommandError::new)?;
    match command {
        KeysCommand::Create(args) => {
            if args.operator && args.mode == Mode::Test {
                return Err(CommandError("--operator: a test key never acts for other projects".to_owned()));
            }
            let scopes = match args.scopes {
                given if !given.is_empty() => given,
                _ if args.operator => vec![Scope::Admin],
                _ => default_scopes(),
            };
            if args.signs && store.vault().current().is_none() {
                return Err(CommandError(
                    "--signs: set secrets.sealing_key or secrets.sealing_key_file first".to_owned(),
                ));
            }
            let request = NewKeyRequest {
                project: &args.project,
                requires_verified_domain: config.delivery.require_verified_domain,
                mode: args.mode,
                scopes: &scopes,
                lifetime: args.expires.map(|Span(span)| span),
                is_operator: args.operator,
                signs: args.signs,
            };
            let project = store.find_project(&args.project).await.map_err(CommandError::new)?;
            let noted = audit::begin(&store, "keys create", (project, &args.project)).await?;
            let made = create_key(&store, request, SystemClock.now(), &SystemRng).await;
            let (id, key) = made.map_err(named)?;
            noted.done(Some(&id.to_string())).await?;
            if args.signs {
                out::note(&format!("access key id {id}"));
            }
            // A key that nobody could read must not stay valid.
            if let Err(error) = out::line(&key) {
                store.revoke_key(id, SystemClock.now()).await.map_err(CommandError::new)?;
                return Err(CommandError(format!("the key could not be printed and was revoked: {error}")));
            }
        }
        KeysCommand::List(list) => {
            let now = SystemClock.now();
            let all = KeyFilter { with_operators: true, ..KeyFilter::default() };
            let keys = store.list_keys(all, LISTED_MAX).await.map_err(CommandError::new)?;
            let columns = [
                "id",
                "project",
                "mode",
                "prefix",
                "scopes",
                "state",
                "created_at",
                "expires_at",
                "revoked_at",
                "operator",
                "signs",
                "name",
            ];
            let rows = keys.into_iter().map(|key| {
                [
                    json!(key.id),
                    json!(key.project_name),
                    json!(key.rights.mode),
                    json!(key.prefix),
                    json!(key.rights.scopes),
                    json!(key.state(now)),
                    json!(rfc3339(key.created_at)),
                    json!(key.expires_at.map(rfc3339)),
                    json!(key.revoked_at.map(rfc3339)),
                    json!(key.rights.is_operator),
                    json!(key.signs),
                    json!(key.name),
                ]
            });
            list.print(columns, rows.collect())?;
        }
        KeysCommand::Revoke { id } => {
            let id = KeyId::parse(&id).ok_or_else(|| CommandError(format!("'{id}' is not a key's id (key_…)")))?;
            let filter = KeyFilter { id: Some(id), with_operators: true, ..KeyFilter::default() };
            let found = store.list_keys(filter, 1).await.map_err(CommandError::new)?;
            let project = found.first().map(|key| key.rights.project);
            let noted = audit::begin(&store, "keys revoke", (project, &id.to_string())).await?;
            if !store.revoke_key(id, SystemClock.now()).await.map_err(CommandError::new)? {
                return Err(CommandError(format!("there is no valid key {id}")));
            }
            noted.done(None).await?;
            out::print("revoked")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The error of a command that takes `--project`.
pub(super) fn named(error: AccountError) -> CommandError {
    match error {
        AccountError::ProjectName(name) => {
            CommandError(format!("--project {name}: must be 1 to 64 letters, digits or any of ._-"))
        }
        other => CommandError::new(other),
    }
}
