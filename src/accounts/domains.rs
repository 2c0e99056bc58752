//! DKIM keys of domains.

use super::AccountError;
use crate::compose::dkim::{SigningKey, generate};
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::dkim::Algorithm;
use crate::domain::id::{DkimKeyId, ProjectId};
use crate::store::accounts::dkim_keys::NewDkimKey;
use crate::store::{Store, StoreError};

/// What is to be published for new keys.
#[derive(Debug, Clone)]
pub struct DkimRecords {
    /// Selectors of the keys that were made.
    pub selectors: Vec<String>,
    /// One line a record: name, `TXT`, value.
    pub lines: Vec<String>,
}

/// Makes a domain's keys, one for each pair of algorithm and selector: all or none.
pub async fn add_dkim_keys(
    store: &Store,
    project: ProjectId,
    domain: &str,
    wanted: &[(Algorithm, String)],
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<DkimRecords, AccountError> {
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
    let selectors: Vec<_> = wanted.iter().map(|(_, selector)| selector.clone()).collect();
    match store.insert_dkim_keys(project, domain, &keys, now).await {
        Ok(()) => Ok(DkimRecords { selectors, lines }),
        Err(StoreError::Refused(constraint)) if constraint == "dkim_keys_selector_key" => {
            Err(AccountError::SelectorTaken { domain: domain.to_owned(), selectors: selectors.join(" or ") })
        }
        Err(error) => Err(error.into()),
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
