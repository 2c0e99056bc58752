//! From a message's project and its recipient's domain to the targets to speak to, in order, a bounded number of them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::dane::Dane;
use super::resolve::{Host, Resolution, Resolutions};
use super::sts::{self, Policies};
use super::traffic::{PolicySnapshot, TrafficPolicy};
use crate::classify::OTHER;
use crate::config::Config;
use crate::domain::clock::{Clock, Rng};
use crate::domain::draft::TlsDemand;
use crate::domain::id::ProjectId;
use crate::domain::route::{Route, Smarthost, TlsPolicy};
use crate::domain::target::{Target, TlsBasis};
use crate::net::dns::Resolver;
use crate::net::dns_error::DnsError;
use crate::net::tls::TlsConfigs;
use crate::shaping::{Choice, DEFAULT_POOL};
use crate::store::Store;

/// Addresses tried for one attempt (Postfix: `smtp_mx_address_limit` 5).
const TARGETS_MAX: usize = 5;
/// Addresses of one host that come before other hosts' turn.
const ADDRESSES_FIRST: usize = 2;
/// For how long an address that did not answer comes last.
const DEAD: Duration = Duration::from_mins(1);
/// Addresses that are remembered so.
const DEAD_MAX: usize = 10_000;
/// Domains that are asked for at once before anybody waits for them.
const ASKED_AHEAD_MAX: usize = 32;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct RouteQuery<'a> {
    pub project: ProjectId,
    /// The recipient's, as A-labels.
    pub domain: &'a str,
    pub tls: TlsDemand,
}

/// Whom to speak to, and on which terms.
#[derive(Debug, Clone)]
pub struct RoutePlan {
    /// The route in words: `mx`, or the smarthosts.
    pub route: String,
    /// In the order in which they are tried.
    pub targets: Vec<Arc<Target>>,
    /// The lane's name.
    pub group: String,
    pub provider: Option<String>,
    /// The pool of source addresses.
    pub pool: String,
    /// What the DNS said; `None` through smarthosts.
    pub resolution: Option<Arc<Resolution>>,
}

impl RoutePlan {
    /// Whether a policy that only tests does not name that host (RFC 8461 §4.1).
    pub fn is_unnamed(&self, target: &Target) -> bool {
        let policy = self.resolution.as_ref().and_then(|resolution| resolution.sts.policy.as_deref());
        target.basis == TlsBasis::StsTesting && policy.is_some_and(|policy| !policy.names(&target.host))
    }
}

/// Why there is no host to speak to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    #[error(transparent)]
    Dns(DnsError),
    /// The operator's own host cannot be resolved: it will be put right.
    #[error("{0}")]
    Smarthost(DnsError),
    #[error("the MTA-STS policy of {0} lists none of its MX hosts")]
    Sts(String),
    #[error("the message asks for REQUIRETLS, and neither MTA-STS nor DANE vouches for the hosts of {0}")]
    RequireTls(String),
    #[error("the sandbox is not a network route")]
    Sandbox,
}

/// The way from a domain to its hosts.
pub struct Router {
    pub traffic: Arc<TrafficPolicy>,
    resolutions: Resolutions,
    rng: Arc<dyn Rng>,
    dead: Mutex<HashMap<IpAddr, Instant>>,
    /// Domains that are asked for before anybody waits for them.
    asked_ahead: Arc<Semaphore>,
}

/// What a router is made of.
pub struct RouterParts {
    pub traffic: Arc<TrafficPolicy>,
    pub store: Store,
    pub resolver: Resolver,
    pub tls: TlsConfigs,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

impl Router {
    pub fn new(config: &Config, parts: RouterParts) -> Self {
        let policies = config.delivery.mta_sts.then(|| Policies {
            store: parts.store,
            resolver: parts.resolver.clone(),
            tls: parts.tls,
            clock: parts.clock,
            port: config.delivery.mta_sts_port,
            known: Mutex::default(),
        });
        let resolutions = Resolutions {
            resolver: parts.resolver,
            policies,
            mx_port: config.delivery.mx_port,
            rng: Arc::clone(&parts.rng),
            cells: Mutex::default(),
            providers: Mutex::default(),
        };
        Self {
            traffic: parts.traffic,
            resolutions,
            rng: parts.rng,
            dead: Mutex::default(),
            asked_ahead: Arc::new(Semaphore::new(ASKED_AHEAD_MAX)),
        }
    }

    /// The targets to try, or why there is none.
    pub async fn route(&self, ask: RouteQuery<'_>) -> Result<RoutePlan, NoRoute> {
        let plan = self.traffic.plan();
        let rule = plan.shaping.route(ask.project, ask.domain);
        let pool = rule.and_then(|rule| rule.pool.as_deref()).unwrap_or(DEFAULT_POOL).to_owned();
        let required = match (ask.tls, rule.and_then(|rule| rule.tls)) {
            (TlsDemand::Required | TlsDemand::RequireTls, _) => Some(TlsBasis::Message),
            (_, Some(Choice::Required)) => Some(TlsBasis::Route),
            _ => None,
        };
        match plan.route(ask.project, ask.domain) {
            Route::Smarthosts(hosts) => self.smarthosts(hosts, required, pool).await,
            Route::Mx => self.exchangers(&plan, ask, required, pool).await,
            Route::Sandbox => Err(NoRoute::Sandbox),
        }
    }

    /// Who runs the servers of a recipient's domain, by what is known by now; `other` if that is nobody known. What is not known is
    /// asked for meanwhile, so that it is next time; nobody waits for it.
    pub fn known_receiver(self: &Arc<Self>, project: ProjectId, domain: &str) -> String {
        self.known_provider(project, domain).unwrap_or_else(|| OTHER.to_owned())
    }

    fn known_provider(self: &Arc<Self>, project: ProjectId, domain: &str) -> Option<String> {
        let plan = self.traffic.plan();
        // Of what goes through smarthosts nobody is known.
        if !matches!(plan.route(project, domain), Route::Mx) {
            return None;
        }
        let known = self.resolutions.provider(domain);
        if let Some((provider, false)) = known {
            return provider;
        }
        if let Ok(place) = Arc::clone(&self.asked_ahead).try_acquire_owned() {
            let (this, domain) = (Arc::clone(self), domain.to_owned());
            tokio::spawn(async move {
                let _ = this.resolutions.of(&domain, &this.traffic.plan().classifier).await;
                drop(place);
            });
        }
        match known {
            Some((provider, _)) => provider,
            None => plan.classifier.provider_of_domain(domain).map(str::to_owned),
        }
    }

    /// Notes that an address did not answer: it is asked last for a while.
    pub fn note_dead(&self, ip: IpAddr) {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        if dead.len() >= DEAD_MAX {
            dead.retain(|_, since| since.elapsed() < DEAD);
        }
        dead.insert(ip, Instant::now());
    }

    /// Notes that an address answered.
    pub fn note_alive(&self, ip: IpAddr) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).remove(&ip);
    }

    /// Smarthosts in a random order in which weights count, so that each takes its share; the later ones are the
    /// fail-over.
    async fn smarthosts(
        &self,
        hosts: &[Smarthost],
        required: Option<TlsBasis>,
        pool: String,
    ) -> Result<RoutePlan, NoRoute> {
        let mut targets = Vec::new();
        let mut last = None;
        for (rank, host) in (0_u16..).zip(self.by_weight(hosts)) {
            let (tls, basis) = match required {
                Some(basis) if !host.tls.validates() => (TlsPolicy::Required, basis),
                _ => (host.tls, TlsBasis::Route),
            };
            match self.resolutions.resolver.any(&host.host).await {
                Ok(addresses) => targets.extend(addresses.into_iter().map(|ip| {
                    Arc::new(Target {
                        host: host.host.clone(),
                        address: SocketAddr::new(ip, host.port),
                        preference: rank,
                        tls,
                        basis,
                        tlsa: None,
                        credentials: host.credentials.clone(),
                    })
                })),
                Err(error) => last = Some(error),
            }
        }
        if let (true, Some(error)) = (targets.is_empty(), last) {
            return Err(NoRoute::Smarthost(error));
        }
        self.dead_last(&mut targets);
        targets.truncate(TARGETS_MAX);
        let group = Smarthost::names(hosts);
        Ok(RoutePlan { route: format!("smarthost {group}"), targets, group, provider: None, pool, resolution: None })
    }

    async fn exchangers(
        &self,
        plan: &PolicySnapshot,
        RouteQuery { domain, tls: demand, .. }: RouteQuery<'_>,
        required: Option<TlsBasis>,
        pool: String,
    ) -> Result<RoutePlan, NoRoute> {
        if domain.is_empty() {
            return Err(NoRoute::Dns(DnsError::Temporary(
                String::new(),
                "the recipient's domain is not known".to_owned(),
            )));
        }
        let resolution = self.resolutions.of(domain, &plan.classifier).await.map_err(NoRoute::Dns)?;
        let policy_in = |mode| resolution.sts.policy.as_deref().filter(|policy| policy.mode == mode);
        let policy = policy_in(sts::Mode::Enforce);
        let nobody = if policy_in(sts::Mode::Testing).is_some() { TlsBasis::StsTesting } else { TlsBasis::Route };
        let mut hosts: Vec<&Host> = resolution
            .hosts
            .iter()
            // RFC 8461 §2: DANE, where it is there, says more.
            .filter(|host| host.has_records() || policy.is_none_or(|policy| policy.names(&host.name)))
            // RFC 8689 §4.2.1: what names the host must itself be vouched for.
            .filter(|host| demand != TlsDemand::RequireTls || host.has_records() || policy.is_some())
            .collect();
        if hosts.is_empty() && demand == TlsDemand::RequireTls {
            return Err(NoRoute::RequireTls(domain.to_owned()));
        }
        if hosts.is_empty() {
            return Err(NoRoute::Sts(domain.to_owned()));
        }
        self.shuffle_equals(&mut hosts);
        let targets_of = |host: &Host, addresses: &[IpAddr]| -> Vec<Arc<Target>> {
            let (tls, basis, tlsa) = match (&host.dane, policy, required) {
                (Dane::Records(records), ..) => (TlsPolicy::Dane, TlsBasis::Dane, Some(Arc::clone(records))),
                (_, Some(_), _) => (TlsPolicy::Required, TlsBasis::Sts, None),
                (Dane::Unusable, _, None) => (TlsPolicy::Encrypted, TlsBasis::Dane, None),
                (_, None, Some(basis)) => (TlsPolicy::Required, basis, None),
                (Dane::None, None, None) => (TlsPolicy::Opportunistic, nobody, None),
            };
            let target = |ip: &IpAddr| {
                Arc::new(Target {
                    host: host.name.clone(),
                    address: SocketAddr::new(*ip, self.resolutions.mx_port),
                    preference: host.preference,
                    tls,
                    basis,
                    tlsa: tlsa.clone(),
                    credentials: None,
                })
            };
            addresses.iter().map(target).collect()
        };
        // Every host has a turn before the many addresses of one.
        let first = |host: &&Host| targets_of(host, &host.addresses[..host.addresses.len().min(ADDRESSES_FIRST)]);
        let later = |host: &&Host| targets_of(host, host.addresses.get(ADDRESSES_FIRST..).unwrap_or_default());
        let mut targets: Vec<_> = hosts.iter().flat_map(first).chain(hosts.iter().flat_map(later)).collect();
        self.dead_last(&mut targets);
        targets.truncate(TARGETS_MAX);
        Ok(RoutePlan {
            route: "mx".to_owned(),
            targets,
            group: resolution.group.clone(),
            provider: resolution.provider.clone(),
            pool,
            resolution: Some(resolution),
        })
    }

    /// Moves addresses that did not answer a moment ago behind the others, otherwise in order.
    fn dead_last(&self, targets: &mut [Arc<Target>]) {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        if !dead.is_empty() {
            targets.sort_by_key(|target| dead.get(&target.address.ip()).is_some_and(|since| since.elapsed() < DEAD));
        }
    }

    fn by_weight<'h>(&self, hosts: &'h [Smarthost]) -> Vec<&'h Smarthost> {
        let mut left: Vec<_> = hosts.iter().collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let total: u32 = left.iter().map(|host| host.weight).sum();
            let mut pick = if left.len() == 1 { 0 } else { self.below(total) };
            let place = left.iter().position(|host| {
                let is_here = pick < host.weight;
                pick = pick.saturating_sub(host.weight);
                is_here
            });
            order.push(left.swap_remove(place.unwrap_or(0)));
        }
        order
    }

    /// RFC 5321 §5.1: exchangers of one preference are tried in random order.
    fn shuffle_equals(&self, hosts: &mut [&Host]) {
        for group in hosts.chunk_by_mut(|a, b| a.preference == b.preference) {
            for last in (1..group.len()).rev() {
                let pick = self.below(u32::try_from(last + 1).unwrap_or(u32::MAX));
                group.swap(last, pick as usize);
            }
        }
    }

    /// A random number below `bound`.
    fn below(&self, bound: u32) -> u32 {
        let mut random = [0; 4];
        self.rng.fill(&mut random);
        u32::from_le_bytes(random) % bound.max(1)
    }
}
