//! `mailwright audit`, and what commands that change something leave there.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::list::ListArgs;
use super::store;
use crate::ambient::{SystemClock, SystemRng};
use crate::config::Config;
use crate::domain::clock::{Clock, rfc3339};
use crate::domain::id::{AuditId, ProjectId};
use crate::store::Store;
use crate::store::accounts::audit::{AuditFilter, NewAudit};
use crate::terminal::CommandError;

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Changes of this project alone, by name or id.
    #[arg(long)]
    project: Option<String>,
    /// By this credential alone: a key's id, `token:…` or `command:…`.
    #[arg(long)]
    actor: Option<String>,
    /// How many, the newest first.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    #[command(flatten)]
    list: ListArgs,
}

pub async fn run(args: AuditArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CommandError::new)?;
    let project = match &args.project {
        None => None,
        Some(name) => {
            let found = store.find_project(name).await.map_err(CommandError::new)?;
            Some(found.ok_or_else(|| CommandError(format!("there is no project {name}")))?)
        }
    };
    let filter = AuditFilter { project, actor: args.actor, before: None, limit: args.limit.into() };
    let entries = store.list_audit(&filter).await.map_err(CommandError::new)?;
    let rows = entries.into_iter().map(|entry| {
        [
            json!(rfc3339(entry.id.made_at())),
            json!(entry.project.map(|project| project.to_string())),
            json!(entry.actor),
            json!(entry.address),
            json!(entry.action),
            json!(entry.subject),
            json!(entry.status),
        ]
    });
    let columns = ["at", "project", "actor", "address", "action", "subject", "status"];
    args.list.print(columns, rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

/// A change that a command makes: noted before it.
pub(super) struct Noted<'s> {
    store: &'s Store,
    id: AuditId,
}

/// Notes that the command is about to change something; what cannot be noted is not done.
pub(super) async fn begin<'s>(
    store: &'s Store,
    action: &str,
    (project, subject): (Option<ProjectId>, &str),
) -> Result<Noted<'s>, CommandError> {
    let id = AuditId::new(SystemClock.now(), &SystemRng);
    let actor = format!("command:{}", user());
    let entry = NewAudit { id, project, actor: &actor, actor_project: None, address: None, action, subject };
    store.begin_audit(&entry).await.map_err(CommandError::new)?;
    Ok(Noted { store, id })
}

impl Noted<'_> {
    /// It was done, and this is what was changed, if that was not known before.
    pub async fn done(self, subject: Option<&str>) -> Result<(), CommandError> {
        self.store.end_audit(self.id, 200, subject).await.map_err(CommandError::new)
    }
}

/// The user of the machine.
#[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
