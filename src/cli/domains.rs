//! `mailwright domains …`: the DKIM keys that sign a domain's mail, and the records of both.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::keys::named;
use super::list::ListArgs;
use super::store;
use crate::accounts::{AccountError, Vouched, add_dkim_keys, dkim_records, ensure_project, retire_dkim_key};
use crate::ambient::{SystemClock, SystemRng};
use crate::config::Config;
use crate::domain::address::parse_domain;
use crate::domain::clock::{Clock, Timestamp, rfc3339};
use crate::domain::dkim::{Algorithm, parse_selector};
use crate::domain::id::ProjectId;
use crate::domain::sending_domain::dmarc::is_public_suffix;
use crate::domain::sending_domain::export::RecordsForm;
use crate::store::Store;
use crate::terminal::{CommandError, out};

#[derive(Debug, Subcommand)]
pub enum DomainsCommand {
    /// Make keys for a domain and print the TXT records to publish: name, type, value. Its mail, and that
    /// of its subdomains without keys, is signed with every key from `dkim.cache` later on.
    Add(AddArgs),
    /// List the keys of domains.
    List {
        /// Project by name or id. Default: all.
        #[arg(long)]
        project: Option<String>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Print the TXT records of a domain's keys that sign, as `add` did: name, type, value.
    Show {
        /// Project by name or id.
        #[arg(long)]
        project: String,
        #[arg(value_parser = domain)]
        domain: String,
    },
    /// Look at a domain's records now, from the zone's own servers, this machine's resolver and public ones, and print what is
    /// wanted, what was found, and from where. Exit code 1 unless the domain is verified.
    Verify(OneDomain),
    /// Print the records to publish for a domain.
    Records {
        #[command(flatten)]
        domain: OneDomain,
        /// `table`, `zone`, `terraform` or `dig`.
        #[arg(long, default_value = "table", value_parser = records_form)]
        format: RecordsForm,
    },
    /// Look at a domain's records, and publish those that are not there by the account of `domains.publish` that is for it. What is
    /// there is never changed.
    Publish(OneDomain),
    /// Print the zone of delegated keys (`domains.dkim_zone`) as a zone file, for a name server to serve.
    Zone,
    /// Let a key sign no more. Leave its record published for `delivery.lifetime`: mail that was accepted
    /// before is on its way.
    Retire(RetireArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// Project by name; made if it is new.
    #[arg(long)]
    project: String,
    /// The domain in the From of the mail, or a parent of it.
    #[arg(value_parser = domain)]
    domain: String,
    /// Selector of the key; with both algorithms, `r` and `e` are put behind it. Default: mw and the month.
    #[arg(long, value_parser = selector)]
    selector: Option<String>,
    /// `rsa-sha256`, `ed25519-sha256` or `both`: RSA is what every receiver verifies.
    #[arg(long, default_value = "both", value_parser = algorithms)]
    algorithm: Algorithms,
}

#[derive(Debug, Args)]
pub struct OneDomain {
    /// Project by name or id.
    #[arg(long)]
    project: String,
    #[arg(value_parser = domain)]
    domain: String,
}

#[derive(Debug, Args)]
pub struct RetireArgs {
    /// Project by name or id.
    #[arg(long)]
    project: String,
    #[arg(value_parser = domain)]
    domain: String,
    #[arg(value_parser = selector)]
    selector: String,
}

fn records_form(name: &str) -> Result<RecordsForm, String> {
    RecordsForm::parse(name).ok_or_else(|| "must be table, zone, terraform or dig".to_owned())
}

#[derive(Debug, Clone, Copy)]
enum Algorithms {
    One(Algorithm),
    Both,
}

fn algorithms(name: &str) -> Result<Algorithms, String> {
    match Algorithm::parse(name) {
        Some(algorithm) => Ok(Algorithms::One(algorithm)),
        None if name == "both" => Ok(Algorithms::Both),
        None => Err("must be rsa-sha256, ed25519-sha256 or both".to_owned()),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let domain = parse_domain(text).map_err(|_| "is not a domain such as example.com".to_owned())?;
    // It would be a project's with all that others have below it.
    if is_public_suffix(&domain) {
        return Err("is a public suffix, below which others have domains".to_owned());
    }
    Ok(domain)
}

fn selector(text: &str) -> Result<String, String> {
    parse_selector(text).ok_or_else(|| "must be 1 to 63 letters, digits, hyphens and dots".to_owned())
}

pub async fn run(command: DomainsCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    store.check_schema().await.map_err(CommandError::new)?;
    match command {
        DomainsCommand::Add(args) => add(&store, &args, config.delivery.require_verified_domain).await?,
        DomainsCommand::List { project, list } => {
            let project = match project {
                Some(name) => Some(find_project(&store, &name).await?),
                None => None,
            };
            let keys = store.list_dkim_keys(project).await.map_err(CommandError::new)?;
            let columns = ["project", "domain", "selector", "algorithm", "state", "created_at", "retired_at"];
            let rows = keys.into_iter().map(|key| {
                [
                    json!(key.project),
                    json!(key.domain),
                    json!(key.selector),
                    json!(key.algorithm),
                    json!(key.slot.name()),
                    json!(rfc3339(key.created_at)),
                    json!(key.retired_at.map(rfc3339)),
                ]
            });
            list.print(columns, rows.collect())?;
        }
        DomainsCommand::Show { project, domain } => {
            let id = find_project(&store, &project).await?;
            let records = dkim_records(&store, id, &domain).await.map_err(CommandError::new)?;
            if records.is_empty() {
                return Err(CommandError(format!("{project} has no key for {domain} that signs")));
            }
            out::print(&records.join("\n"))?;
        }
        DomainsCommand::Verify(one) => {
            return super::domain_records::verify(&store, config, &one.project, &one.domain).await;
        }
        DomainsCommand::Records { domain, format } => {
            super::domain_records::records(&store, config, &domain.project, &domain.domain, format).await?;
        }
        DomainsCommand::Publish(one) => {
            return super::domain_records::publish(&store, config, &one.project, &one.domain).await;
        }
        DomainsCommand::Zone => super::domain_records::zone(&store, config).await?,
        DomainsCommand::Retire(RetireArgs { project, domain, selector }) => {
            let id = find_project(&store, &project).await?;
            let noted =
                super::audit::begin(&store, "domains retire", (Some(id), &format!("{domain}/{selector}"))).await?;
            let retired = retire_dkim_key(&store, id, &domain, &selector, SystemClock.now()).await;
            if !retired.map_err(CommandError::new)? {
                return Err(CommandError(format!("{project} has no key {selector} for {domain} that signs")));
            }
            noted.done(None).await?;
            out::print("retired")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn find_project(store: &Store, name: &str) -> Result<ProjectId, CommandError> {
    let found = store.find_project(name).await.map_err(CommandError::new)?;
    found.ok_or_else(|| CommandError(format!("there is no project '{name}'")))
}

async fn add(store: &Store, args: &AddArgs, requires_verified: bool) -> Result<(), CommandError> {
    let now = SystemClock.now();
    let project = ensure_project(store, (&args.project, requires_verified), now, &SystemRng).await.map_err(named)?;
    let domain = &args.domain;
    let noted = super::audit::begin(store, "domains add", (Some(project), domain)).await?;
    let made = add_dkim_keys(store, Vouched { project, domain }, &selectors(args, now), now, &SystemRng).await;
    if made.is_ok() {
        noted.done(None).await?;
    }
    let records = made.map_err(|error| match error {
        AccountError::SelectorTaken { .. } => CommandError(format!("{error} by --selector")),
        other => named(other),
    })?;
    // Keys whose records nobody could read must not sign.
    if let Err(error) = out::line(&records.lines.join("\n")) {
        for selector in &records.selectors {
            let retired = retire_dkim_key(store, project, domain, selector, SystemClock.now()).await;
            retired.map_err(CommandError::new)?;
        }
        return Err(CommandError(format!("the records could not be printed and the keys were retired: {error}")));
    }
    Ok(())
}

/// The keys to make, by algorithm and selector.
fn selectors(args: &AddArgs, now: Timestamp) -> Vec<(Algorithm, String)> {
    match (args.algorithm, &args.selector) {
        (Algorithms::One(algorithm), Some(selector)) => vec![(algorithm, selector.clone())],
        (Algorithms::One(algorithm), None) => vec![(algorithm, format!("{}{}", of_month(now), algorithm.letter()))],
        (Algorithms::Both, selector) => {
            let stem = selector.clone().unwrap_or_else(|| of_month(now));
            Algorithm::ALL.map(|algorithm| (algorithm, format!("{stem}{}", algorithm.letter()))).into()
        }
    }
}

fn of_month(now: Timestamp) -> String {
    format!("mw{:04}{:02}", now.year(), u8::from(now.month()))
}
