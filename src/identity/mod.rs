//! The domains that projects send from: what is to be published for them, whether it is there, and which keys sign. A domain
//! is proved by its keys in the DNS, watched from then on, and falls only on answers that were wrong for days.
//!
//! `domain + keys → wanted records → looks from several places → standing → store, events`

mod changes;
mod lists;
mod looker;
mod publisher;
mod wanted;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use changes::{ChangeError, NewDomain};
pub use lists::Sources;
use looker::Looker;
pub use publisher::Published;
use publisher::Publisher;
pub use wanted::zone_line;
use wanted::{Hosts, wanted};

use serde::Deserialize;
use serde_json::json;

use crate::config::Config;
use crate::domain::aggregate::Evidence;
use crate::domain::clock::{Clock, Rng};
use crate::domain::dkim::{Algorithm, aligned};
use crate::domain::id::DkimKeyId;
use crate::domain::sending_domain::dmarc::Outlook;
use crate::domain::sending_domain::{Finding, KeySlot, Standing, WantedRecord};
use crate::net::dns::Resolver;
use crate::store::accounts::dkim_keys::StoredDkimKey;
use crate::store::accounts::domain_checks::{CheckStored, DomainCheck};
use crate::store::accounts::domains::StoredDomain;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Longest look at one domain.
const LOOK: Duration = Duration::from_secs(12);
/// How soon a domain is looked at again, whoever asks.
const MOMENT: Duration = Duration::from_secs(2);

/// What looks after sending domains.
pub struct Domains {
    store: Store,
    looker: Looker,
    publisher: Publisher,
    pub hosts: Hosts,
    /// Woken when a domain tells its project something.
    events: Arc<Wake>,
    /// Most domains of one project.
    limit: usize,
    /// Lists that are asked about domains, and about addresses that mail leaves from.
    domain_lists: Vec<String>,
    address_lists: Vec<String>,
    metrics: Arc<Metrics>,
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
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

impl Domains {
    pub fn new(config: &Config, parts: DomainParts) -> Self {
        let DomainParts { store, resolver, events, metrics, clock, rng } = parts;
        Self {
            looker: Looker::new(config, resolver, Arc::clone(&rng)),
            publisher: Publisher::new(config.domains.publish.clone()),
            hosts: Hosts::of(config),
            limit: config.limits.domains,
            domain_lists: config.reputation.domain_lists.0.clone(),
            address_lists: config.reputation.address_lists.0.clone(),
            metrics,
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

    /// Publishes what the look that was just taken at a domain did not find, where an account is for that.
    pub async fn publish_missing(&self, looked_at: &StoredDomain) -> Result<Vec<Published>, StoreError> {
        if !self.publisher.has_accounts() {
            return Ok(Vec::new());
        }
        let now = self.store.list_domains(looked_at.project, Some(looked_at.id), None, 1).await?.pop();
        let Some(now) = now else { return Ok(Vec::new()) };
        self.publisher.publish_missing(&self.store, &self.in_full(now).await?).await
    }

    /// Looks at all records of a domain; gives how it stands, and what receivers make of it if that can be found out.
    pub async fn look(&self, found: &DomainInFull) -> (Standing, Option<Outlook>) {
        let DomainInFull { domain, keys, records } = found;
        // What was seen before, or signs, is asked for by receivers: their resolvers know of it.
        let is_known = |record: &WantedRecord| {
            let signs = |key: &StoredDkimKey| {
                key.slot() == KeySlot::Signing && wanted::key_host(key, &domain.name) == record.host
            };
            let was_there = domain.standing.check_of(&record.host).is_some_and(|check| check.finding.is_there());
            was_there || (domain.checked_at.is_some() && keys.iter().any(signs))
        };
        let known: Vec<_> = records.iter().map(is_known).collect();
        let look =
            async { tokio::join!(self.looker.look_at(&domain.name, records, &known), self.looker.dmarc(&domain.name)) };
        // Servers that say nothing are not waited for without end: nobody answered, then.
        let (sightings, dmarc) =
            tokio::time::timeout(LOOK, look).await.unwrap_or_else(|_| (vec![Vec::new(); records.len()], None));
        (domain.standing.after(records, sightings, self.clock.now()), dmarc)
    }

    /// What receivers make of a domain, and what their reports bear; what was found last, where that cannot be found out now.
    async fn with_evidence(&self, domain: &StoredDomain, outlook: Option<Outlook>) -> Option<serde_json::Value> {
        let found = outlook.and_then(|outlook| serde_json::to_value(outlook).ok());
        let mut dmarc = found.or_else(|| domain.dmarc.clone())?;
        // Reports are strangers' words: whatever is wrong with them keeps no domain from being looked at.
        let evidence = self.store.sum_aggregates(domain.project, &domain.name).await.unwrap_or_else(|error| {
            tracing::warn!(domain = domain.name, %error, "what receivers report of a domain is summed later");
            let before = domain.dmarc.as_ref().and_then(|dmarc| Evidence::deserialize(&dmarc["evidence"]).ok());
            before.unwrap_or_default()
        });
        dmarc["evidence"] = json!(evidence);
        dmarc["advice"] = json!(evidence.advice());
        Some(dmarc)
    }

    /// Looks at all records of a domain, and writes what follows. One that was looked at a moment ago is not again.
    pub async fn check(&self, found: &DomainInFull) -> Result<CheckStored, StoreError> {
        let DomainInFull { domain, keys, .. } = found;
        if domain.checked_at.is_some_and(|at| self.clock.now() - at < MOMENT) {
            return Ok(CheckStored::Stale);
        }
        let (standing, dmarc) = self.look(found).await;
        // A key of the domain above may sign until now.
        let above = self
            .store
            .find_dkim_keys(domain.project, &aligned(&domain.name).map(str::to_owned).collect::<Vec<_>>())
            .await?;
        let finding =
            |key: &StoredDkimKey| standing.check_of(&wanted::key_host(key, &domain.name)).map(|check| &check.finding);
        let has_forerunner = |key: &StoredDkimKey| above.iter().any(|other| other.algorithm == key.algorithm);
        // One that takes another's place must be seen by everyone who was asked.
        let is_ready = |key: &&StoredDkimKey| {
            key.slot() == KeySlot::Pending
                && finding(key)
                    .is_some_and(|found| *found == Finding::Right || (!has_forerunner(key) && found.is_there()))
        };
        let is_rsa = |key: &&StoredDkimKey| key.algorithm == Algorithm::RsaSha256;
        let ready: Vec<_> = keys.iter().filter(is_ready).collect();
        // What every receiver verifies signs first.
        let signs_rsa = ready.iter().any(is_rsa)
            || keys.iter().filter(is_rsa).any(|key| key.slot() == KeySlot::Signing)
            || !keys.iter().any(|key| is_rsa(&key));
        let seen: Vec<DkimKeyId> = ready.iter().filter(|key| is_rsa(key) || signs_rsa).map(|key| key.id).collect();
        let waits_for_key = keys.iter().any(|key| key.slot() == KeySlot::Pending && !seen.contains(&key.id));
        let next_in = standing.next_look(domain.created_at, waits_for_key, self.clock.now());
        let check = DomainCheck {
            before: domain,
            standing: &standing,
            dmarc: self.with_evidence(domain, dmarc).await,
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
