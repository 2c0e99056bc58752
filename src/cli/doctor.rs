//! `mailwright doctor`: what keeps mail from arriving, looked for before it does.

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::doctor_domains::{self, Inbound};
use super::list::ListArgs;
use super::{store, trace};
use crate::ambient::SystemClock;
use crate::auth::JwtKeys;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::draft::TlsDemand;
use crate::domain::id::ProjectId;
use crate::domain::net::is_global;
use crate::net::dns::Resolver;
use crate::net::lists::{Listing, ask, listed_as, never_listed};
use crate::net::own::hello_name;
use crate::net::own::{can_leave_from, source_towards};
use crate::routing::RouteQuery;
use crate::store::Store;
use crate::store::clock::OFFSET_TOLERATED;
use crate::store::fleet::processes::LIVE;
use crate::store::fleet::snapshots::{HeldSnapshot, SNAPSHOT_LONG};
use crate::terminal::{CommandError, out};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// A clock that is further off than this makes signatures and leases doubtful.
const DRIFT: f64 = 2.0;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Domains whose MX hosts are connected to, to see whether port 25 is open.
    #[arg(long, value_delimiter = ',', default_value = "gmail.com,outlook.com")]
    to: Vec<String>,
    /// Blocklists that source addresses are looked up in.
    #[arg(long, value_delimiter = ',', default_value = "zen.spamhaus.org,bl.spamcop.net,b.barracudacentral.org")]
    dnsbl: Vec<String>,
    /// Sending domains, looked at from here alone. Default: those of the store, looked at from several places.
    #[arg(long, value_delimiter = ',')]
    domains: Vec<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// What was found: said line by line, or kept for the end.
pub(super) struct Findings {
    bad: usize,
    list: ListArgs,
    kept: Vec<[Value; 3]>,
}

impl Findings {
    pub(super) fn say(&mut self, is_well: bool, what: &str, finding: &str) -> Result<(), CommandError> {
        self.bad += usize::from(!is_well);
        self.add(if is_well { "ok" } else { "FAIL" }, what, finding)
    }

    pub(super) fn note(&mut self, what: &str, finding: &str) -> Result<(), CommandError> {
        self.add("note", what, finding)
    }

    fn add(&mut self, mark: &str, what: &str, finding: &str) -> Result<(), CommandError> {
        if self.list.json {
            self.kept.push([json!(mark.to_lowercase()), json!(what), json!(finding)]);
            return Ok(());
        }
        out::print(&format!("{mark:4} {what}: {finding}"))
    }

    fn end(self) -> Result<ExitCode, CommandError> {
        if self.list.json {
            self.list.print(["result", "what", "finding"], self.kept)?;
        }
        Ok(if self.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

pub async fn run(args: DoctorArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let store = store(config)?;
    let mut findings = Findings { bad: 0, list: args.list, kept: Vec::new() };
    check_store(&store, &mut findings).await?;
    check_tokens(config, &mut findings)?;
    let policy = crate::net::policy(&config.net);
    let resolver = Resolver::new(&config.dns, policy).map_err(CommandError::new)?;
    check_egress(&args, config, &store, &mut findings).await?;
    check_sources(&args, config, &resolver, &mut findings).await?;
    let intake = Inbound { host: &config.inbound.host, is_taken: !config.inbound.listen.0.is_empty() };
    doctor_domains::check_inbound(&intake, &resolver, &mut findings).await?;
    if args.domains.is_empty() {
        doctor_domains::check_own(&store, config, &resolver, &mut findings).await?;
    } else {
        doctor_domains::check_named(&args.domains, &store, &resolver, &mut findings).await?;
    }
    store.close().await;
    findings.end()
}

async fn check_store(store: &Store, findings: &mut Findings) -> Result<(), CommandError> {
    let health = match store.server_health().await {
        Ok(health) => health,
        Err(error) => return findings.say(false, "store", &error.to_string()),
    };
    for (name, value) in &health.settings {
        let is_well = value != "off" && (name != "synchronous_commit" || value == "on" || value.starts_with("remote"));
        findings.say(is_well, &format!("store {name}"), value)?;
    }
    let drift = (SystemClock.now() - health.now).as_seconds_f64();
    findings.say(drift.abs() < DRIFT, "clock", &format!("{drift:+.3} s from the database's"))?;
    // A database that is not migrated yet has no list of processes.
    for (process, millis) in store.process_clocks(LIVE).await.unwrap_or_default() {
        let drift = millis as f64 / 1000.0;
        if drift.abs() >= OFFSET_TOLERATED.as_secs_f64() {
            let what = format!("clock of the process {process}");
            findings.say(false, &what, &format!("{drift:+.3} s from the database's: its machine's clock is wrong"))?;
        }
    }
    match store.oldest_snapshot().await {
        Ok(None) => findings.say(true, "store snapshots", "none is held"),
        Ok(Some(HeldSnapshot { age, holder })) => {
            let text = format!("the oldest is held for {} s by {holder}", age.as_secs());
            findings.say(age < SNAPSHOT_LONG, "store snapshots", &text)
        }
        Err(error) => findings.say(false, "store snapshots", &error.to_string()),
    }
}

/// Whether the keys that tokens are checked by can be used.
fn check_tokens(config: &Config, findings: &mut Findings) -> Result<(), CommandError> {
    match JwtKeys::new(&config.auth) {
        Err(fault) => findings.say(false, "tokens", &fault),
        Ok(keys) => {
            for (name, found) in keys.files() {
                findings.say(!found.starts_with("0 "), &format!("tokens of {name}"), &found)?;
            }
            Ok(())
        }
    }
}

/// Whether mail can leave: a connection to one MX host of each domain.
async fn check_egress(
    args: &DoctorArgs,
    config: &Config,
    store: &Store,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let router = trace::router(config, store).await?;
    for domain in &args.to {
        let project = ProjectId::from_uuid(uuid::Uuid::nil());
        let ask = RouteQuery { project, domain, tls: TlsDemand::Opportunistic };
        let what = format!("way to {domain}");
        let routed = match router.route(ask).await {
            Ok(routed) => routed,
            Err(no_route) => {
                findings.say(false, &what, &no_route.to_string())?;
                continue;
            }
        };
        let mut last = "no address".to_owned();
        let mut reached = None;
        for peer in &routed.targets {
            match tokio::time::timeout(CONNECT, TcpStream::connect(peer.address)).await {
                Ok(Ok(_)) => {
                    reached = Some(format!("{} at {} answers", peer.host, peer.address));
                    break;
                }
                Ok(Err(error)) => last = format!("{} at {}: {error}", peer.host, peer.address),
                Err(_) => last = format!("{} at {}: no connection: is port 25 closed to you?", peer.host, peer.address),
            }
        }
        findings.say(reached.is_some(), &what, reached.as_ref().unwrap_or(&last))?;
    }
    Ok(())
}

/// Names and blocklists of the addresses that mail leaves from.
async fn check_sources(
    args: &DoctorArgs,
    config: &Config,
    resolver: &Resolver,
    findings: &mut Findings,
) -> Result<(), CommandError> {
    let traffic = crate::routing::TrafficPolicy::new(config).map_err(CommandError::new)?;
    let plan = traffic.plan();
    let mut sources: Vec<(IpAddr, String)> =
        plan.shaping.sources().map(|(_, source)| (source.address, source.hello.clone())).collect();
    if sources.is_empty() {
        // The address that the system would choose; one that is reserved for documentation stands for the world.
        let world = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        let name = hello_name(&config.delivery.hello);
        sources.extend(source_towards(world).map(|ip| (ip, name)));
    }
    for (ip, hello) in sources {
        if !can_leave_from(ip) {
            findings.say(false, &format!("source {ip}"), "this machine does not have that address: no mail leaves")?;
            continue;
        }
        if !is_global(ip) {
            findings.note(
                &format!("source {ip}"),
                "is no public address: the world sees another address, whose names and listings must be looked up there",
            )?;
            continue;
        }
        let names = resolver.names(ip).await.unwrap_or_default();
        let agrees = names.contains(&hello.to_ascii_lowercase());
        findings.say(agrees, &format!("PTR of {ip}"), &format!("{names:?}, and EHLO says {hello}"))?;
        let back = resolver.any(&hello).await.unwrap_or_default();
        findings.say(
            back.contains(&ip),
            &format!("address of {hello}"),
            &format!("{back:?}, and mail leaves from {ip}"),
        )?;
        for list in &args.dnsbl {
            let (what, never) = (format!("{ip} at {list}"), never_listed(ip, list));
            match ask(resolver, &listed_as(ip, list), &never).await {
                Listing::Listed(answers) => findings.say(false, &what, &format!("listed: {}", answers.join(" ")))?,
                Listing::NotListed => findings.say(true, &what, "not listed")?,
                Listing::Unknown => findings.note(&what, "the list does not answer this resolver")?,
            }
        }
    }
    Ok(())
}
