//! From a route to the hosts to speak to, in order, a bounded number of them.

use std::net::SocketAddr;

use crate::domain::clock::Chance;
use crate::domain::outcome::{Outcome, Trouble};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::route::{Route, Smarthost, TlsPolicy};
use crate::net::dns::{DnsError, Exchanger, Resolver};

use super::smtp::session::Peer;

/// Addresses tried for one attempt (Postfix: `smtp_mx_address_limit` 5).
const PEERS_MAX: usize = 5;

/// Resolves a route for a recipient's domain.
pub struct Router {
    pub route: Route,
    pub resolver: Resolver,
    pub mx_port: u16,
}

impl Router {
    /// The hosts to try, or the outcome when there is none.
    pub async fn peers(&self, domain: &str, chance: &dyn Chance) -> Result<Vec<Peer>, Outcome> {
        match &self.route {
            Route::Smarthosts(hosts) => self.smarthosts(hosts, chance).await,
            Route::Mx => self.exchangers(domain, chance).await,
            Route::Sandbox => Err(Outcome::Deferred(Trouble::new("route", "the sandbox is not a network route"))),
        }
    }

    /// Smarthosts from a random start, so that each takes its share; the others are the fail-over.
    async fn smarthosts(&self, hosts: &[Smarthost], chance: &dyn Chance) -> Result<Vec<Peer>, Outcome> {
        let mut start = [0; 1];
        chance.fill(&mut start);
        let start = usize::from(start[0]) % hosts.len().max(1);
        let mut peers = Vec::new();
        let mut last = None;
        for host in hosts[start..].iter().chain(&hosts[..start]) {
            match self.resolver.any(&host.host).await {
                Ok(addresses) => peers.extend(addresses.into_iter().map(|ip| Peer {
                    host: host.host.clone(),
                    address: SocketAddr::new(ip, host.port),
                    tls: host.tls,
                    credentials: host.credentials.clone(),
                })),
                Err(error) => last = Some(error),
            }
        }
        peers.truncate(PEERS_MAX);
        match (peers.is_empty(), last) {
            // The operator's own host: whatever is wrong with it will be put right.
            (true, Some(error)) => Err(Outcome::Deferred(Trouble::new("dns", error.to_string()))),
            _ => Ok(peers),
        }
    }

    async fn exchangers(&self, domain: &str, chance: &dyn Chance) -> Result<Vec<Peer>, Outcome> {
        let mut exchangers = self.resolver.exchangers(domain).await.map_err(|error| of_dns(&error))?;
        shuffle_equals(&mut exchangers, chance);
        let mut peers = Vec::new();
        let mut last = None;
        for exchanger in exchangers {
            match self.resolver.permitted(&exchanger.host).await {
                Ok(addresses) => peers.extend(addresses.into_iter().map(|ip| Peer {
                    host: exchanger.host.clone(),
                    address: SocketAddr::new(ip, self.mx_port),
                    tls: TlsPolicy::Opportunistic,
                    credentials: None,
                })),
                Err(error) => last = Some(more_hopeful(last, error)),
            }
            if peers.len() >= PEERS_MAX {
                break;
            }
        }
        peers.truncate(PEERS_MAX);
        match (peers.is_empty(), last) {
            (true, Some(error)) => Err(of_dns(&error)),
            _ => Ok(peers),
        }
    }
}

/// Of two faults the one that leaves more hope decides.
fn more_hopeful(one: Option<DnsError>, other: DnsError) -> DnsError {
    match one {
        Some(temporary @ DnsError::Temporary(..)) => temporary,
        _ => other,
    }
}

/// RFC 5321 §5.1: exchangers of one preference are tried in random order.
fn shuffle_equals(exchangers: &mut [Exchanger], chance: &dyn Chance) {
    for group in exchangers.chunk_by_mut(|a, b| a.preference == b.preference) {
        for last in (1..group.len()).rev() {
            let mut random = [0; 4];
            chance.fill(&mut random);
            let pick = u32::from_le_bytes(random) as usize % (last + 1);
            group.swap(last, pick);
        }
    }
}

/// What a DNS answer means for the recipient.
fn of_dns(error: &DnsError) -> Outcome {
    let refused = |class, code, subject, detail| {
        let enhanced = Some(EnhancedStatus { class: 5, subject, detail });
        Outcome::Rejected(Trouble::from_reply(class, Reply { code, enhanced, text: error.to_string() }))
    };
    match error {
        // RFC 7505 §4.2, RFC 7504 §3.
        DnsError::NullMx(_) => refused("null_mx", 556, 1, 10),
        DnsError::NoName(_) => refused("no_such_domain", 550, 1, 2),
        DnsError::NoRecords(_) => refused("no_mail_host", 550, 4, 4),
        DnsError::Forbidden(_) => refused("forbidden_address", 550, 4, 4),
        DnsError::Temporary(..) => Outcome::Deferred(Trouble::new("dns", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededChance;

    #[test]
    fn only_exchangers_of_one_preference_change_places() {
        let exchanger = |preference, host: &str| Exchanger { preference, host: host.into() };
        let mut firsts = std::collections::HashSet::new();
        for seed in 0..50 {
            let mut list = vec![exchanger(10, "a"), exchanger(10, "b"), exchanger(20, "c")];
            shuffle_equals(&mut list, &SeededChance::new(seed));
            assert_eq!(list[2].host, "c");
            firsts.insert(list[0].host.clone());
        }
        assert_eq!(firsts.len(), 2);
    }

    #[test]
    fn a_domain_that_takes_no_mail_is_refused_and_a_sick_server_is_not() {
        assert_eq!(of_dns(&DnsError::NullMx("x".into())).reply().unwrap().code, 556);
        assert_eq!(of_dns(&DnsError::NoName("x".into())).name(), "rejected");
        assert_eq!(of_dns(&DnsError::Temporary("x".into(), "SERVFAIL".into())).name(), "deferred");
    }
}
