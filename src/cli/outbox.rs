//! `mailwright outbox grant|revoke|list`: which roles of the database may send mail by `mailwright.enqueue`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::audit;
use super::keys::{mode, named};
use super::list::ListArgs;
use super::store;
use crate::accounts::ensure_project;
use crate::ambient::{SystemClock, SystemRng};
use crate::config::Config;
use crate::domain::access::Mode;
use crate::domain::address::parse_domain;
use crate::domain::clock::{Clock, rfc3339};
use crate::store::accounts::outbox::OutboxSender;
use crate::terminal::{CommandError, out};

#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Let a role, and its members, enqueue mail of a project in their own transactions. It may call that one function, and
    /// nothing else. Run as the owner of the schema.
    Grant(GrantArgs),
    /// Take that back.
    Revoke(RevokeArgs),
    /// List all grants.
    List(ListArgs),
}

#[derive(Debug, Args)]
pub struct GrantArgs {
    /// The role that an application connects as, or a role that it is a member of.
    #[arg(long)]
    role: String,
    /// Project by name; made if it is new.
    #[arg(long)]
    project: String,
    /// `live`, `test` or both.
    #[arg(long, value_delimiter = ',', value_parser = mode, value_name = "MODE,…", default_value = "live")]
    mode: Vec<Mode>,
    /// The domains that it may send as. Default: any.
    #[arg(long, value_delimiter = ',', value_parser = domain, value_name = "DOMAIN,…")]
    from_domains: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[arg(long)]
    role: String,
    /// Project by name or id.
    #[arg(long)]
    project: String,
}

fn domain(text: &str) -> Result<String, String> {
    parse_domain(text).map_err(|error| error.to_string())
}

pub async fn run(command: OutboxCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CommandError::new)?;
    let now = SystemClock.now();
    match command {
        OutboxCommand::Grant(args) => {
            let sender = OutboxSender {
                role: &args.role,
                project: ensure_project(
                    &store,
                    (&args.project, config.delivery.require_verified_domain),
                    now,
                    &SystemRng,
                )
                .await
                .map_err(named)?,
                modes: &args.mode,
                from_domains: Some(&*args.from_domains).filter(|domains| !domains.is_empty()),
            };
            let noted = audit::begin(&store, "outbox grant", (Some(sender.project), &args.role)).await?;
            if !store.grant_outbox(&sender, now).await.map_err(CommandError::new)? {
                return Err(CommandError(format!("the database has no role {}", args.role)));
            }
            noted.done(None).await?;
            out::print("granted")?;
        }
        OutboxCommand::Revoke(args) => {
            let project = store.find_project(&args.project).await.map_err(CommandError::new)?;
            let noted = audit::begin(&store, "outbox revoke", (project, &args.role)).await?;
            let is_revoked = match project {
                Some(project) => store.revoke_outbox(&args.role, project).await.map_err(CommandError::new)?,
                None => false,
            };
            if !is_revoked {
                return Err(CommandError(format!("{} has no grant for {}", args.role, args.project)));
            }
            noted.done(None).await?;
            out::print("revoked")?;
        }
        OutboxCommand::List(list) => {
            let senders = store.list_outbox_senders().await.map_err(CommandError::new)?;
            let rows = senders.into_iter().map(|sender| {
                [
                    json!(sender.role),
                    json!(sender.project),
                    json!(sender.modes),
                    json!(sender.from_domains),
                    json!(rfc3339(sender.created_at)),
                ]
            });
            list.print(["role", "project", "modes", "from_domains", "created_at"], rows.collect())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
