//! Lists that name domains, or addresses that mail leaves from: asked now and then, told when something new stands there. An answer
//! that does not come changes nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{DomainInFull, Domains};
use crate::net::lists::{Listing, ask, listed_as, never_listed};
use crate::shutdown::Shutdown;
use crate::store::StoreError;

/// How often addresses are looked up.
const EVERY: Duration = Duration::from_hours(3);

/// The addresses that mail leaves from, as they are set now.
pub type Sources = Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>;

impl Domains {
    /// Asks lists of domains about one that somebody has proved.
    pub(super) async fn ask_lists(&self, found: &DomainInFull) -> Result<(), StoreError> {
        let domain = &found.domain;
        if domain.proved_at.is_none() || !self.store.take_list_look(domain.id, EVERY).await? {
            return Ok(());
        }
        for list in &self.domain_lists {
            let name = format!("{}.{list}", domain.name);
            match ask(self.looker.resolver(), &name, &format!("invalid.{list}")).await {
                Listing::Listed(answers) => {
                    if self.store.put_domain_listing(domain, list, &answers, &*self.rng).await? {
                        tracing::warn!(domain = domain.name, list, "a list names a sending domain");
                        self.events.nudge();
                    }
                }
                Listing::NotListed => drop(self.store.remove_listing(&domain.name, list).await?),
                Listing::Unknown => {}
            }
        }
        Ok(())
    }

    /// Asks lists of addresses about those that mail leaves from, until the service stops.
    pub async fn watch_sources(self: Arc<Self>, sources: Sources, shutdown: Shutdown) {
        // Not all processes of a fleet in one moment.
        while shutdown.pause(self.rng.jitter(EVERY / 2, 0.9)).await {
            for ip in sources() {
                if let Err(error) = self.ask_about(ip).await {
                    tracing::debug!(%error, "lists of addresses are asked later");
                }
            }
            if let Err(error) = self.store.forget_listings(EVERY * 16).await {
                tracing::debug!(%error, "listings that nobody confirms are forgotten later");
            }
            match self.store.list_all_listings().await {
                Ok(all) => self.metrics.listings.set(i64::try_from(all.len()).unwrap_or(i64::MAX)),
                Err(error) => tracing::debug!(%error, "listings are counted later"),
            }
        }
    }

    async fn ask_about(&self, ip: IpAddr) -> Result<(), StoreError> {
        for list in &self.address_lists {
            let never = never_listed(ip, list);
            let subject = ip.to_string();
            match ask(self.looker.resolver(), &listed_as(ip, list), &never).await {
                Listing::Listed(answers) => {
                    if self.store.put_listing(&subject, list, &answers).await? {
                        tracing::warn!(%ip, list, ?answers, "a list names an address that mail leaves from");
                    }
                }
                Listing::NotListed => drop(self.store.remove_listing(&subject, list).await?),
                Listing::Unknown => {}
            }
        }
        Ok(())
    }
}
