//! Suppressions as the rooms above the store use them: stored, found, and surely absent.
//!
//! A filter in the process stands in front of the store, so that an address of which nothing is suppressed costs no round
//! trip. What this process stores is in it before it is on disk; what others store is read once a second. A filter that
//! has not heard from the store for [`TRUSTED`] denies nothing any more: the store is asked, and when it is away nobody is
//! told that an address is not suppressed. [`dialects`] reads and writes the lists of other services.

pub mod dialects;
mod filter;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::access::Mode;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::id::ProjectId;
use crate::domain::suppression::{Added, NewSuppression, Suppression, SuppressionScope, domain_form};
use crate::shutdown::Shutdown;
use crate::store::accounts::erasures::erased_form;
use crate::store::mail::suppressed::Walk;
use crate::store::{OwnedConnection, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use filter::Filter;

/// How often what others stored is read: so long it takes until this process heeds it.
const LOOK: Duration = Duration::from_secs(1);
/// For so long after it last heard from the store the filter is believed.
const TRUSTED: Duration = Duration::from_secs(5);
/// Addresses that one statement reads until all were.
const STRIDE: i64 = 10_000;
/// And then at each look, for ever: a million in a quarter of an hour.
const STEP: i64 = 1000;

/// The suppressions of all projects.
pub struct Suppressions {
    store: Store,
    filter: Filter,
    /// When the store was last asked for what changed; `None` before all were read.
    heard: Mutex<Option<Instant>>,
    rng: Arc<dyn Rng>,
    metrics: Arc<Metrics>,
}

impl Suppressions {
    pub fn new(store: Store, rng: Arc<dyn Rng>, metrics: Arc<Metrics>) -> Self {
        Self { store, filter: Filter::default(), heard: Mutex::default(), rng, metrics }
    }

    /// Whether nothing of this address is suppressed, as far as can be told without asking.
    pub fn has_surely_none(&self, project: ProjectId, address: &str) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let may_have = |form: &str| self.filter.may_have(project, form);
        heard.is_some_and(|at| at.elapsed() < TRUSTED)
            && !may_have(address)
            && !may_have(&domain_form(address))
            && !may_have(&erased_form(project, address))
    }

    /// The suppressions of these addresses, in lower case, and of their domains, of all scopes; of one mode or of both. An address that was erased
    /// is found by its hash.
    pub async fn find(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        addresses: &[String],
    ) -> Result<Vec<Suppression>, StoreError> {
        let hashed: HashMap<_, _> = addresses.iter().map(|address| (erased_form(project, address), address)).collect();
        let domains: HashSet<_> = addresses.iter().map(|address| domain_form(address)).collect();
        let forms: Vec<_> = addresses.iter().chain(hashed.keys()).chain(&domains).cloned().collect();
        let mut found = self.store.find_suppressions(project, mode, &forms).await?;
        for entry in &mut found {
            // Whoever asks knows the address.
            if let Some(address) = hashed.get(&entry.address) {
                (*address).clone_into(&mut entry.address);
            }
        }
        Ok(found)
    }

    /// Deletes the suppressions of these addresses, also those that are known by their hash alone; gives their number.
    pub async fn delete_of(
        &self,
        project: ProjectId,
        mode: Mode,
        addresses: &[String],
        scope: Option<&SuppressionScope>,
    ) -> Result<u64, StoreError> {
        let hashed = addresses.iter().map(|address| erased_form(project, address));
        let forms: Vec<_> = addresses.iter().cloned().chain(hashed).collect();
        self.store.delete_suppressions_of(project, mode, &forms, scope).await
    }

    /// Stores suppressions, and heeds them from now on. Of several of one address and scope the weightiest counts, of
    /// equals the youngest.
    pub async fn add(&self, entries: Vec<NewSuppression>) -> Result<Added, StoreError> {
        let entries = distinct(entries);
        for entry in &entries {
            self.filter.add(entry.project, &entry.address);
        }
        let count = entries.len() as u64;
        let written = self.store.put_suppressions(entries, &*self.rng).await?;
        for entry in &written {
            self.metrics.suppressions.with_label_values(&[entry.reason.name()]).inc();
        }
        let added = written.iter().filter(|entry| entry.is_new).count() as u64;
        let updated = written.len() as u64 - added;
        Ok(Added { added, updated, unchanged: count.saturating_sub(added + updated) })
    }

    /// Keeps the filter true until the service stops.
    pub async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        let mut connection = self.store.connection();
        let mut reading = Reading { walk: Walk::default(), is_whole: false, since: connection.changes_from() };
        loop {
            match self.look(&mut connection, &mut reading).await {
                // There is more to read before the filter can be believed.
                Ok(()) if !reading.is_whole && !shutdown.soft.is_cancelled() => continue,
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "suppressions cannot be read; they are asked for one by one"),
            }
            if !shutdown.pause(LOOK).await {
                return;
            }
        }
    }

    /// Reads what changed, and a little of all: what was committed later than anybody would wait for is found by that.
    async fn look(&self, connection: &mut OwnedConnection, reading: &mut Reading) -> Result<(), StoreError> {
        let (began, from) = (Instant::now(), connection.changes_from());
        if reading.is_whole {
            self.heed(connection.suppressed_since(reading.since).await?);
            reading.since = from;
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
        let limit = if reading.is_whole { STEP } else { STRIDE };
        let (found, is_over) = connection.walk_suppressed(&mut reading.walk, limit).await?;
        self.heed(found);
        reading.is_whole |= is_over;
        Ok(())
    }

    fn heed(&self, found: Vec<(ProjectId, String)>) {
        for (project, address) in found {
            self.filter.add(project, &address);
        }
    }
}

/// How far the filter has read.
struct Reading {
    walk: Walk,
    /// Everything was read at least once.
    is_whole: bool,
    /// From when on changes are still to be read.
    since: Timestamp,
}

fn distinct(entries: Vec<NewSuppression>) -> Vec<NewSuppression> {
    let mut kept: HashMap<_, NewSuppression> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let key = (entry.project, entry.mode, entry.address.clone(), entry.scope.clone());
        let weight = |entry: &NewSuppression| (entry.reason, entry.created_at);
        match kept.get(&key) {
            Some(other) if weight(other) > weight(&entry) => {}
            _ => {
                kept.insert(key, entry);
            }
        }
    }
    kept.into_values().collect()
}
