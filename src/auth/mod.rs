//! Authentication: credentials in, a [`Caller`] out. API keys are looked up by their hash and believed for a short time;
//! JWTs are checked against the configured keys ([`jwt`]).
//!
//! Used by every door (HTTP today) and by the command line. Knows nothing of HTTP: a refusal is an [`AuthError`].

mod failures;
mod jwks;
mod jwt;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::time::Instant;

pub use failures::Failures;
pub use jwt::JwtKeys;

use crate::domain::access::{Caller, is_key_shaped};
use crate::domain::id::KeyId;
use crate::store::accounts::keys::FoundKey;
use crate::store::accounts::projects::ProjectTerms;
use crate::store::{Store, StoreError};

/// How long it is believed that there is no such key.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Callers that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 10_000;

/// Why credentials were not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// In words that tell a stranger nothing about other credentials.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who has a key.
#[derive(Clone)]
enum Holder {
    Caller(Box<Caller>),
    /// There is no such key.
    Nobody,
}

impl Holder {
    fn caller(self) -> Option<Caller> {
        match self {
            Self::Caller(caller) => Some(*caller),
            Self::Nobody => None,
        }
    }
}

/// Checks credentials.
pub struct Auth {
    store: Store,
    jwt: JwtKeys,
    cache: Duration,
    /// By the hash of a key.
    known: Mutex<HashMap<[u8; 32], (Holder, Instant)>>,
    /// Keys that sign requests, by their ids.
    signing: Mutex<HashMap<KeyId, (String, Instant)>>,
}

impl Auth {
    pub fn new(store: Store, jwt: JwtKeys, cache: Duration) -> Self {
        Self { store, jwt, cache, known: Mutex::default(), signing: Mutex::default() }
    }

    /// The text of a valid key that signs requests.
    pub async fn signing_key(&self, id: KeyId) -> Result<Option<String>, AuthError> {
        let known = self.signing.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some((text, _)) = known.filter(|(_, since)| since.elapsed() < self.cache) {
            return Ok(Some(text));
        }
        let Some(text) = self.store.find_signing_key(id).await? else { return Ok(None) };
        let mut signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        if signing.len() >= REMEMBERED {
            signing.clear();
        }
        signing.insert(id, (text.clone(), Instant::now()));
        Ok(Some(text))
    }

    /// The caller whose API key or JWT `token` is.
    pub async fn caller(&self, token: &str) -> Result<Caller, AuthError> {
        if is_key_shaped(token) {
            let found = self.by_key(&hash(token)).await?;
            return found.ok_or_else(|| {
                AuthError::Refused("this API key does not exist, was revoked, or has expired".to_owned())
            });
        }
        let claims = self.jwt.verify(token).map_err(AuthError::Refused)?;
        let terms = self.store.find_terms(&claims.project).await?;
        let terms = terms.ok_or_else(|| AuthError::Refused("the token's project does not exist".to_owned()))?;
        let ProjectTerms { project, limits, suspension } = terms;
        Ok(Caller { project_limits: limits, suspension, ..claims.into_caller(project) })
    }

    async fn by_key(&self, hash: &[u8; 32]) -> Result<Option<Caller>, StoreError> {
        if let Some(holder) = self.remembered(hash) {
            return Ok(holder.caller());
        }
        let Some(found) = self.store.find_key(hash).await? else {
            self.remember(*hash, Holder::Nobody);
            return Ok(None);
        };
        let FoundKey { id, rights, terms } = found;
        let caller = Caller {
            from_domains: rights.from_domains,
            key: Some(id),
            is_operator: rights.is_operator,
            allowed_ips: rights.allowed_ips,
            key_limits: rights.limits,
            project_limits: terms.limits,
            suspension: terms.suspension,
            ..Caller::new(rights.project, rights.mode, rights.scopes)
        };
        self.remember(*hash, Holder::Caller(Box::new(caller.clone())));
        Ok(Some(caller))
    }

    fn remember(&self, hash: [u8; 32], holder: Holder) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            // Keys that do not exist can be made up in any number: they push out none that does.
            known.retain(|_, (holder, since)| matches!(holder, Holder::Caller(_)) && since.elapsed() < self.cache);
            if known.len() >= REMEMBERED {
                known.clear();
            }
        }
        known.insert(hash, (holder, Instant::now()));
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Holder> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, since) = known.get(hash)?;
        let believed = match holder {
            Holder::Caller(_) => self.cache,
            // One that is made is soon found.
            Holder::Nobody => self.cache.min(UNKNOWN_FOR),
        };
        (since.elapsed() < believed).then(|| holder.clone())
    }
}

/// The SHA-256 under which a key is stored: 256 random bits need no slow hash.
pub fn hash(key: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests;
