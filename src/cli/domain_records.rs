//! `mailwright domains verify|records|publish|zone`: what is published for domains, and whether it is there.

use std::process::ExitCode;
use std::sync::Arc;

use super::domains::find_project;
use crate::ambient::SystemRng;
use crate::config::Config;
use crate::domain::sending_domain::export::{RecordsForm, write};
use crate::domain::sending_domain::{RecordCheck, Told};
use crate::identity::{DomainInFull, DomainParts, Domains, zone_line};
use crate::net::dns::Resolver;
use crate::store::Store;
use crate::store::accounts::domain_checks::CheckStored;
use crate::terminal::{CommandError, out};

/// Looks, and prints what was seen.
pub async fn verify(store: &Store, config: &Config, project: &str, domain: &str) -> Result<ExitCode, CommandError> {
    // What is written goes by the store's clock, and into its log.
    store.measure_clock().await.map_err(CommandError::new)?;
    let domains = domains(store, config)?;
    let found = find(store, &domains, project, domain).await?;
    let stored = domains.check(&found).await.map_err(CommandError::new)?;
    if stored == CheckStored::Taken {
        return Err(CommandError(format!("another project has proved {domain}, or one above it")));
    }
    let found = find(store, &domains, project, domain).await?;
    for record in &found.records {
        let check = found.domain.standing.check_of(&record.host);
        let finding = check.map_or("unknown", |check| check.finding.name());
        let needed = if record.is_required { "required" } else { "advised" };
        out::print(&format!("{finding:10} {needed}  {}  {}  {}", record.host, record.record_type, record.value))?;
        for line in check.iter().flat_map(|check| seen(check)) {
            out::print(&format!("           {line}"))?;
        }
    }
    let dmarc = found.domain.dmarc.as_ref();
    for warning in dmarc.and_then(|dmarc| dmarc["warnings"].as_array()).into_iter().flatten() {
        out::print(&format!("note       {}", warning.as_str().unwrap_or_default()))?;
    }
    let state = found.domain.standing.state;
    out::print(&format!("{domain} is {state}"))?;
    Ok(if state.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line a look, and one of what is wrong.
fn seen(check: &RecordCheck) -> Vec<String> {
    let told = |told: &Told| match told {
        Told::Values(values) => values.join(" | "),
        Told::Absent => "nothing".to_owned(),
        Told::Unknown(why) => format!("no answer: {why}"),
    };
    let looks = check.sightings.iter().map(|sighting| format!("{} says {}", sighting.server, told(&sighting.told)));
    let reason = check.finding.reason().map(str::to_owned);
    reason.into_iter().chain(looks).collect()
}

/// Looks, publishes what is missing, and prints what became of that.
pub async fn publish(store: &Store, config: &Config, project: &str, domain: &str) -> Result<ExitCode, CommandError> {
    if config.domains.publish.is_empty() {
        return Err(CommandError("domains.publish names no account to publish by".to_owned()));
    }
    store.measure_clock().await.map_err(CommandError::new)?;
    let domains = domains(store, config)?;
    let found = find(store, &domains, project, domain).await?;
    domains.check(&found).await.map_err(CommandError::new)?;
    let published = domains.publish_missing(&found.domain).await.map_err(CommandError::new)?;
    if published.is_empty() {
        out::print(
            "nothing was published: nothing is missing by the zone's own servers, or no account is for this domain",
        )?;
    }
    let mut all_well = true;
    for one in published {
        all_well &= one.result.is_ok();
        match one.result {
            Ok(()) => out::print(&format!("published  {}", one.host))?,
            Err(why) => out::print(&format!("failed     {}  {why}", one.host))?,
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the records to publish.
pub async fn records(
    store: &Store,
    config: &Config,
    project: &str,
    domain: &str,
    form: RecordsForm,
) -> Result<(), CommandError> {
    let domains = domains(store, config)?;
    let found = find(store, &domains, project, domain).await?;
    out::print(write(form, domain, &found.records).trim_end())
}

/// Prints the zone of delegated keys.
pub async fn zone(store: &Store, config: &Config) -> Result<(), CommandError> {
    let origin = &config.domains.dkim_zone;
    if origin.is_empty() {
        return Err(CommandError("domains.dkim_zone names no zone: nothing is delegated".to_owned()));
    }
    out::print(&format!("$ORIGIN {origin}.\n$TTL 3600"))?;
    for (domain, key) in store.list_delegated_keys().await.map_err(CommandError::new)? {
        out::print(&zone_line(domain, &key).map_err(CommandError)?)?;
    }
    Ok(())
}

fn domains(store: &Store, config: &Config) -> Result<Domains, CommandError> {
    let policy = crate::net::policy(&config.net);
    let resolver = Resolver::new(&config.dns, policy).map_err(CommandError::new)?;
    Ok(domains_with(store, config, &resolver))
}

/// What looks at domains, for a command.
pub(super) fn domains_with(store: &Store, config: &Config, resolver: &Resolver) -> Domains {
    let parts = DomainParts {
        store: store.clone(),
        resolver: resolver.clone(),
        events: Arc::default(),
        metrics: Arc::clone(store.metrics()),
        clock: Arc::<crate::store::StoreClock>::clone(store.clock()),
        rng: Arc::new(SystemRng),
    };
    Domains::new(config, parts)
}

async fn find(store: &Store, domains: &Domains, project: &str, name: &str) -> Result<DomainInFull, CommandError> {
    let id = find_project(store, project).await?;
    let domain = store.find_domain(id, name).await.map_err(CommandError::new)?;
    let domain = domain.ok_or_else(|| CommandError(format!("{project} has no domain {name}")))?;
    domains.in_full(domain).await.map_err(CommandError::new)
}
