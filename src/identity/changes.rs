//! Domains are added, keys rotated, and rotated again as time passes.

use std::time::Duration;

use super::wanted::PLACES;
use super::{DomainInFull, Domains};
use crate::accounts::{AccountError, make_dkim_keys};
use crate::compose::token::base32;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::dkim::Algorithm;
use crate::domain::id::{DomainId, ProjectId};
use crate::domain::sending_domain::{DomainState, KeySlot, Standing};
use crate::store::StoreError;
use crate::store::accounts::dkim_keys::{NewDkimKey, StoredDkimKey};
use crate::store::accounts::domain_owners::MayAdd;
use crate::store::accounts::domains::StoredDomain;

/// How long the record of a key that was retired stays.
const KEPT: Duration = Duration::from_hours(24 * 7);

/// A domain that is asked for; its name is checked.
#[derive(Debug)]
pub struct NewDomain {
    pub project: ProjectId,
    pub name: String,
    pub is_delegated: bool,
    pub rotate_days: Option<i32>,
    pub return_path_label: String,
    pub link_label: String,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the project has this domain already")]
    Exists,
    #[error("another project has proved this domain, or one above it")]
    Taken,
    #[error("the project has {0} domains, which is the limit")]
    TooMany(usize),
    #[error("the next place holds a key that signed mail which may be on its way: until {0}")]
    TooSoon(String),
    #[error("a key could not be made: {0}")]
    Key(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Domains {
    /// Makes a domain and its first keys, which sign when their records are seen.
    pub async fn create(&self, new: NewDomain) -> Result<StoredDomain, ChangeError> {
        let now = self.clock.now();
        let domain = StoredDomain {
            id: DomainId::new(now, &*self.rng),
            project: new.project,
            name: new.name,
            standing: Standing::new(DomainState::Pending),
            proved_at: None,
            is_delegated: new.is_delegated,
            rotate_days: new.rotate_days,
            return_path_label: new.return_path_label,
            link_label: new.link_label,
            dmarc: None,
            checked_at: None,
            created_at: now,
        };
        // A key takes a tenth of a second: what can be refused is, before.
        match self.store.may_add_domain(domain.project, &domain.name, self.limit).await? {
            MayAdd::Yes => {}
            MayAdd::Exists => return Err(ChangeError::Exists),
            MayAdd::Taken => return Err(ChangeError::Taken),
            MayAdd::TooMany => return Err(ChangeError::TooMany(self.limit)),
        }
        let keys = self.make_keys(&domain, &[]).await?;
        match self.store.insert_domain(&domain, &keys, self.limit).await {
            Ok(true) => Ok(domain),
            Ok(false) => Err(ChangeError::Taken),
            Err(StoreError::Refused(constraint)) if constraint == "domains_name_key" => Err(ChangeError::Exists),
            Err(StoreError::Refused(constraint)) if constraint == "domains_limit" => {
                Err(ChangeError::TooMany(self.limit))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes new keys for a domain, unless some wait already. They wait; those that sign go on until the new ones' records are
    /// seen everywhere.
    pub async fn rotate(&self, found: &DomainInFull) -> Result<(), ChangeError> {
        let DomainInFull { domain, keys, .. } = found;
        if keys.iter().any(|key| key.slot() == KeySlot::Pending) {
            return Ok(());
        }
        if let Some(until) = self.place_is_kept_until(domain, keys) {
            return Err(ChangeError::TooSoon(rfc3339(until)));
        }
        let made = self.make_keys(domain, keys).await?;
        self.store.add_pending_keys(domain, &made, self.clock.now()).await?;
        Ok(())
    }

    /// Until when the record at the next place of a delegated domain stays, since mail may be on its way that it signed.
    fn place_is_kept_until(&self, domain: &StoredDomain, keys: &[StoredDkimKey]) -> Option<Timestamp> {
        let place = domain.is_delegated.then(|| next_place(keys))?;
        let last = keys.iter().filter(|key| key.selector == place).filter_map(|key| key.retired_at).max()?;
        Some(last + KEPT).filter(|until| *until > self.clock.now())
    }

    /// Rotates if the keys that sign are as old as they may become.
    pub(super) async fn rotate_if_due(&self, found: &DomainInFull) -> Result<bool, ChangeError> {
        let Some(days) = found.domain.rotate_days else { return Ok(false) };
        let age = Duration::from_hours(24 * u64::from(days.unsigned_abs()));
        let is_pending = found.keys.iter().any(|key| key.slot() == KeySlot::Pending);
        let signing = found.keys.iter().filter(|key| key.slot() == KeySlot::Signing);
        let newest = signing.filter_map(|key| key.signs_since).max();
        if is_pending || newest.is_none_or(|since| self.clock.now() - since < age) {
            return Ok(false);
        }
        self.rotate(found).await.map(|()| true)
    }

    /// Keys for a domain that has these; an alias leads to RSA keys alone, in the next of its places.
    async fn make_keys(&self, domain: &StoredDomain, keys: &[StoredDkimKey]) -> Result<Vec<NewDkimKey>, ChangeError> {
        let wanted = if domain.is_delegated {
            vec![(Algorithm::RsaSha256, next_place(keys).to_owned())]
        } else {
            let stem = self.stem();
            Algorithm::ALL.map(|algorithm| (algorithm, format!("{stem}{}", algorithm.letter()))).into()
        };
        let (name, now, rng) = (domain.name.clone(), self.clock.now(), std::sync::Arc::clone(&self.rng));
        // A key of RSA takes a tenth of a second and more.
        let made = tokio::task::spawn_blocking(move || make_dkim_keys(&name, &wanted, now, &*rng)).await;
        let made: Result<_, AccountError> = made.map_err(|error| ChangeError::Key(error.to_string()))?;
        Ok(made.map_err(|error| ChangeError::Key(error.to_string()))?.0)
    }

    /// The start of selectors that nobody else has in the domain: another installation may sign for it, too.
    fn stem(&self) -> String {
        let now = self.clock.now();
        let mut bytes = [0; 4];
        self.rng.fill(&mut bytes);
        format!("mw{:02}{:02}{}", now.year() % 100, u8::from(now.month()), &base32(&bytes)[..4])
    }
}

/// The place after that of the newest key that has one.
fn next_place(keys: &[StoredDkimKey]) -> &'static str {
    let place_of = |key: &StoredDkimKey| PLACES.iter().position(|place| *place == key.selector);
    let newest = keys.iter().filter(|key| place_of(key).is_some()).max_by_key(|key| key.created_at);
    PLACES[newest.and_then(place_of).map_or(0, |at| (at + 1) % PLACES.len())]
}
