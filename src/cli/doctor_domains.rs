//! What `mailwright doctor` says of sending domains, and of the host that reports come in at.

use super::doctor::Findings;
use crate::config::Config;
use crate::identity::Domains;
use crate::net::dns::Resolver;
use crate::net::dns_error::DnsError;
use crate::store::Store;
use crate::terminal::CommandError;

/// Domains that are looked at.
const MOST: i64 = 200;

/// Where reports come in.
pub struct Inbound<'c> {
    pub host: &'c str,
    /// This configuration listens for them.
    pub is_taken: bool,
}

/// Whether the world finds the host of reports, and mail may leave in its name.
pub async fn check_inbound(
    inbound: &Inbound<'_>,
    resolver: &Resolver,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let host = inbound.host;
    if host.is_empty() {
        return findings.note("reports", "inbound.host names no host: notices of non-delivery go to the senders");
    }
    let (is_well, finding) = match resolver.exchangers(host).await {
        Ok(exchangers) => {
            let names: Vec<_> = exchangers.into_iter().map(|exchanger| exchanger.host).collect();
            let mut addresses = Vec::new();
            for name in &names {
                addresses.extend(resolver.any(name).await.unwrap_or_default());
            }
            (!addresses.is_empty(), format!("{names:?} at {addresses:?}"))
        }
        Err(error) => (false, error.to_string()),
    };
    findings.say(is_well, &format!("MX of {host}"), &finding)?;
    spf(host, resolver, findings).await?;
    if !inbound.is_taken {
        findings.note(
            "reports",
            "inbound.listen is empty here: another process, or your own mail server, has to take them",
        )?;
    }
    Ok(())
}

/// The domains of the store, looked at from the zones' own servers, from here and from public resolvers.
pub async fn check_own(
    store: &Store,
    config: &Config,
    resolver: &Resolver,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let listed = store.list_all_domains(MOST).await.map_err(CommandError::new)?;
    if listed.is_empty() {
        return findings
            .note("sending domains", "there is none; add one by 'mailwright domains add', or name some by --domains");
    }
    let domains = super::domain_records::domains_with(store, config, resolver);
    for domain in listed {
        let name = domain.name.clone();
        let found = domains.in_full(domain).await.map_err(CommandError::new)?;
        check_one(&name, &domains, &found, findings).await?;
        let sent_from = found.domain.standing.has_return_path;
        let envelope = if sent_from { format!("{}.{name}", found.domain.return_path_label) } else { name };
        spf(&envelope, resolver, findings).await?;
    }
    Ok(())
}

async fn check_one(
    name: &str,
    domains: &Domains,
    found: &crate::identity::DomainInFull,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let (standing, dmarc) = domains.look(found).await;
    for (record, check) in found.records.iter().zip(&standing.checks) {
        let what = format!("{} of {name} at {}", record.purpose, record.host);
        let finding = match check.finding.reason() {
            Some(reason) => format!("{}: {reason}", check.finding.name()),
            None => check.finding.name().to_owned(),
        };
        if check.finding.is_there() || record.is_required {
            findings.say(check.finding.is_there(), &what, &finding)?;
        } else {
            findings.note(&what, &finding)?;
        }
    }
    for warning in dmarc.iter().flat_map(|outlook| &outlook.warnings) {
        findings.note(&format!("DMARC of {name}"), warning)?;
    }
    Ok(())
}

/// SPF and DMARC of domains that are named, and the keys that the store has of them.
pub async fn check_named(
    names: &[String],
    store: &Store,
    resolver: &Resolver,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let keys = store.list_dkim_keys(None).await.map_err(CommandError::new)?;
    for domain in names {
        spf(domain, resolver, findings).await?;
        let dmarc = resolver.texts(&format!("_dmarc.{domain}")).await.unwrap_or_default();
        let dmarc = dmarc.iter().find(|text| text.starts_with("v=DMARC1"));
        findings.say(dmarc.is_some(), &format!("DMARC of {domain}"), dmarc.map_or("no record", String::as_str))?;
        for key in keys.iter().filter(|key| key.domain == *domain && key.retired_at.is_none()) {
            let name = format!("{}._domainkey.{domain}", key.selector);
            let published = resolver.texts(&name).await.unwrap_or_default();
            let is_there = published.iter().any(|text| text.contains("p=") && !text.contains("p=;"));
            let finding = if is_there { "published" } else { "no key published" };
            findings.say(is_there, &format!("DKIM at {name}"), finding)?;
        }
    }
    Ok(())
}

/// The one SPF record of an envelope's domain.
async fn spf(domain: &str, resolver: &Resolver, findings: &mut Findings) -> Result<(), CommandError> {
    let what = format!("SPF of {domain}");
    let texts = match resolver.texts(domain).await {
        Ok(texts) => texts,
        Err(error @ DnsError::Temporary(..)) => {
            return findings.say(false, &what, &format!("cannot be looked up: {error}"));
        }
        Err(_) => Vec::new(),
    };
    let found: Vec<_> = texts.iter().filter(|text| *text == "v=spf1" || text.starts_with("v=spf1 ")).collect();
    let finding = match found.as_slice() {
        [] => "no record".to_owned(),
        [one] => (*one).clone(),
        more => format!("{} records, where one is allowed (RFC 7208 §4.5)", more.len()),
    };
    findings.say(found.len() == 1, &what, &finding)
}
