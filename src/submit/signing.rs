//! Which keys sign an author's mail, whether it may be sent, and where signing is done. That is looked up in the store, parsed once
//! and believed for a short time, and so is the answer that there are none; whoever asks meanwhile waits for
//! the same answer. A store that is away is an error, never "no keys".

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::WriteError;
use super::cpu_pool::CpuPool;
use super::lookups::{Lookups, locked};
use crate::compose::dkim::SigningKey;
use crate::domain::dkim::aligned;
use crate::domain::id::{DkimKeyId, ProjectId};
use crate::domain::sending_domain::dmarc::organizational_by_list;
use crate::store::accounts::dkim_keys::FoundDkimKey;
use crate::store::accounts::domains::Sender;
use crate::store::{Store, StoreError};

/// Author domains whose keys are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 10_000;
/// How soon a refusal is asked for anew.
const MOMENT: Duration = Duration::from_secs(1);
/// Parsed keys that are remembered, at some kilobytes each; beyond it all are forgotten.
const PARSED: usize = 4096;

/// The keys that sign for a domain.
pub type Keys = Arc<[Arc<SigningKey>]>;

/// What a project is, sending as a domain.
#[derive(Debug)]
pub struct Identity {
    /// The keys of the domain, or of its closest parent that has any, in the project.
    pub keys: Keys,
    /// The same, and the operator's own: for live mail of the project's own domains, and of nobody's that the operator's
    /// signature could be taken for.
    pub live_keys: Keys,
    pub sender: Sender,
}

/// What finds keys and signs off the async threads.
pub struct Signing {
    store: Store,
    known: Lookups<(ProjectId, String), Arc<Identity>, WriteError>,
    parsed: Arc<Parsed>,
    /// The operator's own domain, whose key signs everything besides.
    second: Option<Arc<str>>,
    bench: Arc<CpuPool>,
}

impl Signing {
    /// `second` is the operator's own domain; empty: none.
    pub fn new(store: Store, cache: Duration, second: &str) -> Self {
        let second = (!second.is_empty()).then(|| second.into());
        let known = Lookups::new(cache, "looking up keys broke off");
        Self { store, known, parsed: Arc::default(), second, bench: Arc::default() }
    }

    /// What the project is when it sends as `domain`.
    pub async fn identity(&self, project: ProjectId, domain: &str) -> Result<Arc<Identity>, WriteError> {
        let ask =
            || find(self.store.clone(), Arc::clone(&self.parsed), project, domain.to_owned(), self.second.clone());
        self.known.get((project, domain.to_owned()), |_| true, |count| count >= REMEMBERED, ask).await
    }

    /// The same, asked anew unless that was a moment ago: for whoever would be refused.
    pub async fn identity_anew(&self, project: ProjectId, domain: &str) -> Result<Arc<Identity>, WriteError> {
        self.known.forget_older(&(project, domain.to_owned()), MOMENT);
        self.identity(project, domain).await
    }

    /// Runs work for a processor off the async threads.
    pub async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        self.bench.run(work).await.ok_or_else(|| WriteError::Away("composing was interrupted".to_owned()))
    }
}

/// Keys that were parsed once, by their rows; a row never changes its key.
#[derive(Default)]
struct Parsed(Mutex<HashMap<DkimKeyId, Arc<SigningKey>>>);

impl Parsed {
    fn key(&self, row: &FoundDkimKey) -> Result<Arc<SigningKey>, WriteError> {
        if let Some(key) = locked(&self.0).get(&row.id) {
            return Ok(Arc::clone(key));
        }
        let key = SigningKey::parse(&row.domain, &row.selector, row.algorithm, &row.private_key);
        let key = Arc::new(key.map_err(|error| WriteError::Failed(format!("{}: {error}", row.id)))?);
        let mut parsed = locked(&self.0);
        if parsed.len() >= PARSED {
            parsed.clear();
        }
        parsed.insert(row.id, Arc::clone(&key));
        Ok(key)
    }
}

async fn find(
    store: Store,
    parsed: Arc<Parsed>,
    project: ProjectId,
    domain: String,
    second: Option<Arc<str>>,
) -> Result<Arc<Identity>, WriteError> {
    let away = |error: StoreError| WriteError::from(&error);
    let domains: Vec<_> = aligned(&domain).map(str::to_owned).collect();
    let found = store.find_dkim_keys(project, &domains).await.map_err(away)?;
    let sender = store.find_sender(project, &domain).await.map_err(away)?;
    let keys: Keys = found.iter().map(|row| parsed.key(row)).collect::<Result<Vec<_>, _>>()?.into();
    let mut live_keys = Arc::clone(&keys);
    // A signature vouches for all of an organization (RFC 9989, relaxed): that of the operator's is not lent to others.
    let is_own =
        |second: &str| sender.proved.as_ref().is_some_and(|proved| proved.project == project && proved.name == *second);
    let is_lent = |second: &str| organizational_by_list(second) != organizational_by_list(&domain) || is_own(second);
    if let Some(second) = second.filter(|second| is_lent(second) && found.iter().all(|key| *key.domain != **second))
        && let Some(row) = store.find_operator_key(&second).await.map_err(away)?
    {
        live_keys = keys.iter().cloned().chain([parsed.key(&row)?]).collect::<Vec<_>>().into();
    }
    Ok(Arc::new(Identity { keys, live_keys, sender }))
}
