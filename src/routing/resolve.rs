//! What the DNS says of a domain, put together once and kept for a while: hosts, addresses, TLS policy, and the name
//! under which its hosts are one next hop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::dane::{self, Dane};
use super::sts::{Found, Policies};
use crate::classify::Classifier;
use crate::domain::bounded::make_room;
use crate::domain::clock::Rng;
use crate::domain::net::NetUse;
use crate::net::dns::{Exchanger, Resolver};
use crate::net::dns_error::DnsError;

/// How long an answer is kept; the resolver's own cache heeds the records' times.
const KEEP: Duration = Duration::from_secs(30);
/// How long a fault is kept: a sick name server is not asked for every message.
const KEEP_FAULT: Duration = Duration::from_secs(5);
/// Domains that are kept.
const MEMORY: usize = 20_000;
/// Hosts of a domain that are looked at together; RFC 5321 §5.1 asks for two at least.
const HOSTS_MAX: usize = 10;
/// Hosts that are looked at in all while none of those before can be used.
const HOSTS_ASKED: usize = 30;
/// Letters of a group's name.
const GROUP_MAX: usize = 200;

/// For so long it is believed who runs a domain's servers.
const PROVIDER_KEEP: Duration = Duration::from_hours(1);
/// Domains of which that is remembered.
const PROVIDERS_MAX: usize = 50_000;

/// A mail host of a domain.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: String,
    pub preference: u16,
    pub addresses: Vec<IpAddr>,
    pub dane: Dane,
}

impl Host {
    /// Whether DANE says how to check its certificate.
    pub const fn has_records(&self) -> bool {
        matches!(self.dane, Dane::Records(_))
    }
}

/// A domain as the DNS describes it.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// Hosts with addresses, the preferred first.
    pub hosts: Vec<Host>,
    /// Hosts that cannot be used, and why.
    pub unusable: Vec<(String, String)>,
    pub sts: Found,
    /// The lane's name.
    pub group: String,
    pub provider: Option<String>,
}

type Answer = Result<Arc<Resolution>, DnsError>;
type Cell = Arc<OnceCell<(Answer, Instant)>>;

/// The answers of the process, each asked for once however many wait for it.
pub struct Resolutions {
    pub resolver: Resolver,
    /// `None`: MTA-STS is switched off.
    pub policies: Option<Policies>,
    pub mx_port: u16,
    pub rng: Arc<dyn Rng>,
    pub cells: Mutex<HashMap<String, Cell>>,
    /// Who runs domains' servers: kept for longer, for whoever does not wait.
    pub providers: Mutex<HashMap<String, (Option<String>, Instant)>>,
}

impl Resolutions {
    /// What the DNS says of a domain.
    pub async fn of(&self, domain: &str, classifier: &Classifier) -> Answer {
        let cell = self.cell(domain);
        let asked = cell.get_or_init(|| async {
            let answer = Box::pin(self.ask(domain, classifier)).await.map(Arc::new);
            if let Ok(resolution) = &answer {
                let mut providers = self.providers();
                make_room(&mut providers, PROVIDERS_MAX, |(_, since)| since.elapsed() < PROVIDER_KEEP);
                providers.insert(domain.to_owned(), (resolution.provider.clone(), Instant::now()));
            }
            (answer, Instant::now())
        });
        asked.await.0.clone()
    }

    /// Who runs a domain's servers, as it was found last, and whether that should be asked again; `None`: it was not found yet.
    pub fn provider(&self, domain: &str) -> Option<(Option<String>, bool)> {
        let providers = self.providers();
        providers.get(domain).map(|(provider, since)| (provider.clone(), since.elapsed() > PROVIDER_KEEP))
    }

    fn providers(&self) -> MutexGuard<'_, HashMap<String, (Option<String>, Instant)>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<String, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of a domain; a new one when its answer is old.
    fn cell(&self, domain: &str) -> Cell {
        let mut cells = self.cells();
        if let Some(cell) = cells.get(domain).filter(|cell| is_fresh(cell)) {
            return Arc::clone(cell);
        }
        make_room(&mut cells, MEMORY, is_fresh);
        let cell = Cell::default();
        cells.insert(domain.to_owned(), Arc::clone(&cell));
        cell
    }

    async fn ask(&self, domain: &str, classifier: &Classifier) -> Result<Resolution, DnsError> {
        let policy = async {
            match &self.policies {
                Some(policies) => policies.of(domain).await,
                None => Ok(Found::default()),
            }
        };
        let (exchangers, sts) = tokio::join!(self.resolver.exchangers(domain), policy);
        let exchangers = exchangers?;
        // What a domain demanded before is not forgotten because it cannot be read just now.
        let sts = sts.map_err(|error| DnsError::Temporary(domain.to_owned(), error.to_string()))?;
        let is_secure = match self.resolver.validated() {
            Some(validated) => {
                let has_mx = exchangers.first().is_none_or(|only| only.host != domain);
                dane::is_secure(validated, domain, has_mx, &*self.rng).await?
            }
            None => false,
        };
        let provider = exchangers.first().and_then(|first| classifier.provider_of_host(&first.host));
        let provider = provider.or_else(|| classifier.provider_of_domain(domain)).map(str::to_owned);
        let group = group(&exchangers, provider.as_deref(), classifier);
        let (mut hosts, mut unusable, mut last) = (Vec::new(), Vec::new(), None);
        for some in exchangers.chunks(HOSTS_MAX) {
            if !hosts.is_empty() {
                break;
            }
            if unusable.len() >= HOSTS_ASKED {
                // What was not asked must not be why mail bounces.
                let why = format!("none of its first {HOSTS_ASKED} mail hosts can be used");
                last = Some(DnsError::Temporary(domain.to_owned(), why));
                break;
            }
            let found = join_all(some.iter().map(|exchanger| self.host(exchanger, is_secure))).await;
            for (exchanger, host) in some.iter().zip(found) {
                match host {
                    Ok(host) => hosts.push(host),
                    Err(error) => {
                        unusable.push((exchanger.host.clone(), error.to_string()));
                        last = Some(more_hopeful(last, error));
                    }
                }
            }
        }
        match (hosts.is_empty(), last) {
            (true, Some(error)) => Err(error),
            _ => Ok(Resolution { hosts, unusable, sts, group, provider }),
        }
    }

    async fn host(&self, exchanger: &Exchanger, is_secure: bool) -> Result<Host, DnsError> {
        let addresses = self.resolver.foreign(&exchanger.host, NetUse::Mail).await?;
        let dane = match self.resolver.validated().filter(|_| is_secure) {
            Some(validated) => dane::of_host(validated, &exchanger.host, self.mx_port, &*self.rng).await?,
            None => Dane::None,
        };
        Ok(Host { name: exchanger.host.clone(), preference: exchanger.preference, addresses, dane })
    }
}

fn is_fresh(cell: &Cell) -> bool {
    match cell.get() {
        // Somebody is asking.
        None => true,
        Some((Ok(_), at)) => at.elapsed() < KEEP,
        Some((Err(_), at)) => at.elapsed() < KEEP_FAULT,
    }
}

/// The name under which hosts are one next hop: the provider's where it has all of its hosts as one, else those of the
/// preferred hosts.
fn group(exchangers: &[Exchanger], provider: Option<&str>, classifier: &Classifier) -> String {
    if let Some(provider) = provider.filter(|provider| classifier.is_rolled_up(provider)) {
        return provider.to_owned();
    }
    let best = exchangers.first().map_or(0, |first| first.preference);
    let mut names: Vec<_> = exchangers.iter().filter(|e| e.preference == best).map(|e| e.host.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut name = names.join(",");
    name.truncate(name.floor_char_boundary(GROUP_MAX));
    name
}

/// Of two faults the one that leaves more hope decides.
fn more_hopeful(one: Option<DnsError>, other: DnsError) -> DnsError {
    match one {
        Some(temporary @ DnsError::Temporary(..)) => temporary,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_preference_are_one_next_hop_and_so_are_all_of_some_providers() {
        let classifier = Classifier::default();
        let exchanger = |preference, host: &str| Exchanger { preference, host: host.to_owned() };
        let list = [exchanger(10, "b.example"), exchanger(10, "a.example"), exchanger(20, "c.example")];
        assert_eq!(group(&list, None, &classifier), "a.example,b.example");
        assert_eq!(group(&[exchanger(5, "gmail-smtp-in.l.google.com")], Some("google"), &classifier), "google");
        assert_eq!(
            group(&[exchanger(0, "x.mail.protection.outlook.com")], Some("outlook"), &classifier),
            "x.mail.protection.outlook.com"
        );
    }
}
