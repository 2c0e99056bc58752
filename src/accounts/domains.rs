//! DKIM keys of domains.

use super::AccountError;
use crate::compose::dkim::{SigningKey, generate};
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::dkim::Algorithm;
use crate::domain::id::{DkimKeyId, DomainId, ProjectId};
use crate::domain::sending_domain::{DomainState, LINK_LABEL, RETURN_PATH_LABEL, Standing};
use crate::store::accounts::dkim_keys::NewDkimKey;
use crate::store::accounts::domains::StoredDomain;
use crate::store::{Store, StoreError};

/// What is to be published for new keys.
#[derive(Debug, Clone)]
pub struct DkimRecords {
    /// Selectors of the keys that were made.
    pub selectors: Vec<String>,
    /// One line a record: name, `TXT`, value.
    pub lines: Vec<String>,
}

/// Keys and their records: all or none.
pub fn make_dkim_keys(
    domain: &str,
    wanted: &[(Algorithm, String)],
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<(Vec<NewDkimKey>, Vec<String>), AccountError> {
    let mut keys = Vec::with_capacity(wanted.len());
    let mut lines = Vec::with_capacity(wanted.len());
    for (algorithm, selector) in wanted {
        let failed = |error: &dyn std::fmt::Display| AccountError::DkimKey(error.to_string());
        let private_key = generate(*algorithm).map_err(|error| failed(&error))?;
        let key = SigningKey::parse(domain, selector, *algorithm, &private_key).map_err(|error| failed(&error))?;
        lines.push(record_line(&key)?);
        let id = DkimKeyId::new(now, rng);
        keys.push(NewDkimKey { id, selector: selector.clone(), algorithm: *algorithm, private_key });
    }
    Ok((keys, lines))
}

/// A domain that an operator vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Vouched<'d> {
    pub project: ProjectId,
    pub domain: &'d str,
}

/// Makes a domain's keys, one for each pair of algorithm and selector: all or none. They sign at once: an operator vouches for
/// the domain, which is the project's from now on.
pub async fn add_dkim_keys(
    store: &Store,
    Vouched { project, domain }: Vouched<'_>,
    wanted: &[(Algorithm, String)],
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<DkimRecords, AccountError> {
    let (keys, lines) = make_dkim_keys(domain, wanted, now, rng)?;
    let selectors: Vec<_> = wanted.iter().map(|(_, selector)| selector.clone()).collect();
    let stored = match store.find_domain(project, domain).await? {
        Some(known) => {
            if !store.vouch_for_domain(&known).await? {
                return Err(AccountError::DomainTaken(domain.to_owned()));
            }
            store.insert_dkim_keys(project, domain, &keys, now, true).await.map(|()| true)
        }
        None => store.insert_domain(&vouched(project, domain, now, rng), &keys, usize::MAX).await,
    };
    match stored {
        Ok(true) => Ok(DkimRecords { selectors, lines }),
        Ok(false) => Err(AccountError::DomainTaken(domain.to_owned())),
        Err(StoreError::Refused(constraint)) if constraint == "dkim_keys_selector_key" => {
            Err(AccountError::SelectorTaken { domain: domain.to_owned(), selectors: selectors.join(" or ") })
        }
        Err(error) => Err(error.into()),
    }
}

fn vouched(project: ProjectId, domain: &str, now: Timestamp, rng: &dyn Rng) -> StoredDomain {
    StoredDomain {
        id: DomainId::new(now, rng),
        project,
        name: domain.to_owned(),
        standing: Standing::new(DomainState::Verified),
        proved_at: Some(now),
        is_delegated: false,
        rotate_days: None,
        return_path_label: RETURN_PATH_LABEL.to_owned(),
        link_label: LINK_LABEL.to_owned(),
        dmarc: None,
        checked_at: None,
        created_at: now,
    }
}

/// The records of a domain's keys that sign, one line each, as when they were made.
pub async fn dkim_records(store: &Store, project: ProjectId, domain: &str) -> Result<Vec<String>, AccountError> {
    let keys = store.find_dkim_keys(project, &[domain.to_owned()]).await?;
    keys.iter()
        .map(|found| {
            let failed = |error: &dyn std::fmt::Display| AccountError::DkimKey(error.to_string());
            let key = SigningKey::parse(&found.domain, &found.selector, found.algorithm, &found.private_key);
            record_line(&key.map_err(|error| failed(&error))?)
        })
        .collect()
}

/// Name, `TXT`, value.
fn record_line(key: &SigningKey) -> Result<String, AccountError> {
    let record = key.record().map_err(|error| AccountError::DkimKey(error.to_string()))?;
    Ok(format!("{}  TXT  {record}", key.record_name()))
}

/// Lets a key sign no more; `false` when there is none that signs.
pub async fn retire_dkim_key(
    store: &Store,
    project: ProjectId,
    domain: &str,
    selector: &str,
    now: Timestamp,
) -> Result<bool, AccountError> {
    Ok(store.retire_dkim_key(project, domain, selector, now).await?)
}
