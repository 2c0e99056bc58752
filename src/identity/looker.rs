//! Looks at records from several places: the zone's own servers, this installation's resolver, and public ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::domain::clock::Rng;
use crate::domain::net::NetUse;
use crate::domain::sending_domain::dmarc::{self, Outlook};
use crate::domain::sending_domain::record::Expected;
use crate::domain::sending_domain::{Purpose, Sighting, Told, Vantage, WantedRecord};
use crate::net::dns::Resolver;
use crate::net::vantage::{Asked, ask};

/// Name servers of a zone that are asked.
const ZONE_SERVERS: usize = 4;
/// Names above a domain that may be where its zone begins.
const ZONE_DEPTH: usize = 6;
/// Domains that are looked at at once.
const AT_ONCE: usize = 32;

/// What looks.
pub struct Looker {
    resolver: Resolver,
    own: Vec<SocketAddr>,
    public: Vec<SocketAddr>,
    zone_port: u16,
    timeout: Duration,
    rng: Arc<dyn Rng>,
    /// Looks that may go on at once: each asks some dozens of questions.
    turns: Semaphore,
}

/// A server that can be asked.
struct Server {
    vantage: Vantage,
    name: String,
    address: SocketAddr,
}

impl Looker {
    pub fn new(config: &Config, resolver: Resolver, rng: Arc<dyn Rng>) -> Self {
        Self {
            resolver,
            own: crate::net::dns::servers(&config.dns),
            public: config.domains.resolvers.0.clone(),
            zone_port: config.domains.dns_port,
            timeout: config.dns.timeout.0,
            rng,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    pub const fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// What each record is seen as, in their order. Public resolvers are asked for what is known, and for what the zone or this
    /// installation's resolver has: a question before would have them remember that it is not there.
    pub async fn look_at(&self, domain: &str, records: &[WantedRecord], known: &[bool]) -> Vec<Vec<Sighting>> {
        let Ok(_turn) = self.turns.acquire().await else { return vec![Vec::new(); records.len()] };
        let zone = self.zone_servers(domain).await;
        join_all(records.iter().zip(known).map(|(record, is_known)| self.look(&zone, record, *is_known))).await
    }

    /// What receivers make of a domain; `None` when that cannot be found out now.
    pub async fn dmarc(&self, domain: &str) -> Option<Outlook> {
        let names = dmarc::walk(domain);
        let hosts: Vec<_> = names.iter().map(|name| format!("_dmarc.{name}")).collect();
        let told = join_all(hosts.iter().map(|host| self.ask_own(host, Asked::Txt))).await;
        let mut texts = Vec::with_capacity(names.len());
        for (name, told) in names.into_iter().zip(told) {
            texts.push(match told {
                Told::Values(values) => (name, values),
                Told::Absent => (name, Vec::new()),
                Told::Unknown(_) => return None,
            });
        }
        Some(dmarc::outlook(domain, &texts))
    }

    async fn look(&self, zone: &[Server], record: &WantedRecord, is_known: bool) -> Vec<Sighting> {
        let own = self.own.first().map(|address| named(Vantage::Own, *address));
        let mut sightings = join_all(zone.iter().chain(&own).map(|server| self.sight(server, record))).await;
        let has_it = |sighting: &Sighting| match &sighting.told {
            Told::Values(values) => record.expected.fault(values).is_none(),
            _ => false,
        };
        if is_known || sightings.iter().any(has_it) {
            let public: Vec<_> = self.public.iter().map(|address| named(Vantage::Public, *address)).collect();
            sightings.extend(join_all(public.iter().map(|server| self.sight(server, record))).await);
        }
        sightings
    }

    async fn sight(&self, server: &Server, record: &WantedRecord) -> Sighting {
        let host = record.host.as_str();
        let told = match &record.expected {
            Expected::Key(_) | Expected::Policy => self.ask_at(server, host, Asked::Txt).await,
            Expected::Host(_) => match self.ask_at(server, host, Asked::Cname).await {
                // Where no alias can stand, the host is the mail exchanger.
                Told::Absent if record.purpose == Purpose::ReturnPath => self.ask_at(server, host, Asked::Mx).await,
                told => told,
            },
        };
        Sighting { vantage: server.vantage.clone(), server: server.name.clone(), told }
    }

    async fn ask_at(&self, server: &Server, name: &str, asked: Asked) -> Told {
        let is_authority = server.vantage == Vantage::Authoritative;
        ask(server.address, (name, asked), is_authority, self.id(), self.timeout).await
    }

    /// Asks this installation's resolvers, one after the other.
    async fn ask_own(&self, name: &str, asked: Asked) -> Told {
        let mut told = Told::Unknown("no name server is configured".to_owned());
        for address in &self.own {
            told = ask(*address, (name, asked), false, self.id(), self.timeout).await;
            if !matches!(told, Told::Unknown(_)) {
                break;
            }
        }
        told
    }

    /// The servers of the zone that a domain lies in; none when they cannot be found, or may not be connected to.
    async fn zone_servers(&self, domain: &str) -> Vec<Server> {
        let mut above = Some(domain);
        for _ in 0..ZONE_DEPTH {
            let Some(name) = above.filter(|name| name.contains('.')) else { break };
            match self.ask_own(name, Asked::Ns).await {
                Told::Values(hosts) => {
                    let found = join_all(hosts.iter().take(ZONE_SERVERS).map(|host| self.zone_server(host))).await;
                    return found.into_iter().flatten().collect();
                }
                Told::Absent => above = name.split_once('.').map(|(_, parent)| parent),
                Told::Unknown(_) => break,
            }
        }
        Vec::new()
    }

    async fn zone_server(&self, host: &str) -> Option<Server> {
        let addresses = self.resolver.foreign(host, NetUse::Mail).await.ok()?;
        let address = SocketAddr::new(*addresses.first()?, self.zone_port);
        Some(Server { vantage: Vantage::Authoritative, name: host.to_owned(), address })
    }

    fn id(&self) -> u16 {
        let mut bytes = [0; 2];
        self.rng.fill(&mut bytes);
        u16::from_be_bytes(bytes)
    }
}

fn named(vantage: Vantage, address: SocketAddr) -> Server {
    Server { vantage, name: address.ip().to_string(), address }
}
