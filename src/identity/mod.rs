//! The domains that projects send from: what is to be published for them, whether it is there, and which keys sign. A domain
//! is proved by its keys in the DNS, watched from then on, and falls only on answers that were wrong for days.
//!
//! `domain + keys → wanted records → looks from several places → standing → store, events`

mod changes;
mod looker;
mod wanted;
mod watch;

use std::sync::Arc;

pub use changes::{ChangeError, NewDomain};
use looker::Looker;
pub use wanted::zone_line;
use wanted::{Hosts, wanted};

use crate::config::Config;
use crate::domain::clock::{Clock, Rng};
use crate::domain::id::DkimKeyId;
use crate::domain::sending_domain::{Finding, KeySlot, WantedRecord};
use crate::net::dns::Resolver;
use crate::store::accounts::dkim_keys::StoredDkimKey;
use crate::store::accounts::domain_checks::{CheckStored, DomainCheck};
use crate::store::accounts::domains::StoredDomain;
use crate::store::{Store, StoreError};
use crate::wake::Wake;

/// What looks after sending domains.
pub struct Domains {
    store: Store,
    looker: Looker,
    pub hosts: Hosts,
    /// Woken when a domain tells its project something.
    events: Arc<Wake>,
    /// Most domains of one project.
    limit: usize,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

/// A domain with its keys, and what is to be published for it.
#[derive(Debug)]
pub struct DomainInFull {
    pub domain: StoredDomain,
    pub keys: Vec<StoredDkimKey>,
    pub records: Vec<WantedRecord>,
}

/// What domains share with other parts.
pub struct DomainParts {
    pub store: Store,
    pub resolver: Resolver,
    pub events: Arc<Wake>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

impl Domains {
    pub fn new(config: &Config, parts: DomainParts) -> Self {
        let DomainParts { store, resolver, events, clock, rng } = parts;
        Self {
            looker: Looker::new(config, resolver, Arc::clone(&rng)),
            hosts: Hosts::of(config),
            limit: config.limits.domains,
            store,
            events,
            clock,
            rng,
        }
    }

    /// A stored domain, in full.
    pub async fn in_full(&self, domain: StoredDomain) -> Result<DomainInFull, StoreError> {
        let keys = self.store.list_domain_keys(domain.project, &domain.name).await?;
        let records = wanted(&domain, &keys, &self.hosts);
        Ok(DomainInFull { domain, keys, records })
    }

    /// Looks at all records of a domain, and writes what follows.
    pub async fn check(&self, found: &DomainInFull) -> Result<CheckStored, StoreError> {
        let DomainInFull { domain, keys, records } = found;
        let (sightings, dmarc) = tokio::join!(
            self.looker.look_at(&domain.name, records, domain.standing.state.is_good()),
            self.looker.dmarc(&domain.name)
        );
        let now = self.clock.now();
        let standing = domain.standing.after(records, sightings, now);
        let is_ready = |key: &&StoredDkimKey| {
            let check = standing.check_of(&wanted::key_host(key, &domain.name));
            let signs = |other: &StoredDkimKey| other.slot() == KeySlot::Signing && other.algorithm == key.algorithm;
            // One that takes another's place must be seen by everyone who was asked.
            let has_forerunner = keys.iter().any(signs);
            key.slot() == KeySlot::Pending
                && check.is_some_and(|check| {
                    check.finding == Finding::Right || (!has_forerunner && check.finding.is_there())
                })
        };
        let seen: Vec<DkimKeyId> = keys.iter().filter(is_ready).map(|key| key.id).collect();
        let waits_for_key = keys.iter().any(|key| key.slot() == KeySlot::Pending && !seen.contains(&key.id));
        let next_in = standing.next_look(domain.created_at, waits_for_key, now);
        let check = DomainCheck {
            before: domain,
            standing: &standing,
            dmarc: dmarc.and_then(|outlook| serde_json::to_value(outlook).ok()).or_else(|| domain.dmarc.clone()),
            next_in: self.rng.jitter(next_in, 0.1),
            seen: &seen,
        };
        let stored = self.store.put_domain_check(&check, &*self.rng).await?;
        if stored == CheckStored::Stored {
            self.events.nudge();
        }
        Ok(stored)
    }
}
