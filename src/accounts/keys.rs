//! Projects and their API keys.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::AccountError;
use crate::auth;
use crate::domain::access::{Mode, Scope, key_prefix, key_text};
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::id::{KeyId, ProjectId};
use crate::domain::quota::UsageLimits;
use crate::store::accounts::keys::{KeyRights, NewKey};
use crate::store::{Store, StoreError};

/// A key that is to be made for a project by its name.
#[derive(Debug, Clone, Copy)]
pub struct NewKeyRequest<'a> {
    /// The project's name; it is made if it is new.
    pub project: &'a str,
    /// Whether a new project's live mail leaves from verified domains only.
    pub requires_verified_domain: bool,
    pub mode: Mode,
    pub scopes: &'a [Scope],
    /// How long the key is valid; `None`: until it is revoked.
    pub lifetime: Option<Duration>,
    /// Whether it acts for any project.
    pub is_operator: bool,
    /// Whether requests may be signed by it.
    pub signs: bool,
}

/// A key as it was made.
#[derive(Debug)]
pub struct MadeKey {
    pub id: KeyId,
    /// What nobody can read again.
    pub text: String,
    pub prefix: String,
}

/// What a key may do when nothing is said: what a program needs today. A right that nothing asks for yet would be every
/// old key's on the day on which something does.
pub fn default_scopes() -> Vec<Scope> {
    vec![Scope::Send, Scope::MessagesRead, Scope::MessagesWrite, Scope::Templates, Scope::Webhooks, Scope::Suppressions]
}

/// Makes a key; gives its id and its text, which nobody can read again.
pub async fn create_key(
    store: &Store,
    request: NewKeyRequest<'_>,
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<(KeyId, String), AccountError> {
    let rights = KeyRights {
        project: ensure_project(store, (request.project, request.requires_verified_domain), now, rng).await?,
        mode: request.mode,
        scopes: request.scopes.to_vec(),
        is_operator: request.is_operator,
        from_domains: None,
        allowed_ips: None,
        limits: UsageLimits::default(),
    };
    let expires_at = request.lifetime.map(|lifetime| now + lifetime);
    let made = add_key(store, "", &rights, (expires_at, request.signs), (now, rng)).await?;
    Ok((made.id, made.text))
}

/// Makes a key with these rights; one that signs requests is kept, sealed.
pub async fn add_key(
    store: &Store,
    name: &str,
    rights: &KeyRights,
    (expires_at, signs): (Option<Timestamp>, bool),
    (now, rng): (Timestamp, &dyn Rng),
) -> Result<MadeKey, StoreError> {
    let mut secret = [0; 32];
    rng.fill(&mut secret);
    let text = key_text(rights.mode, &URL_SAFE_NO_PAD.encode(secret));
    let (id, prefix) = (KeyId::new(now, rng), key_prefix(&text));
    let signing = signs.then_some(text.as_str());
    let hash = auth::hash(&text);
    let new = NewKey { id, name, rights, prefix: &prefix, hash, signing, created_at: now, expires_at };
    store.insert_key(&new).await?;
    Ok(MadeKey { id, text, prefix })
}

/// The project of that name, made if it is new: then its live mail leaves from verified domains only, or from any.
pub async fn ensure_project(
    store: &Store,
    (name, requires_verified_domain): (&str, bool),
    now: Timestamp,
    rng: &dyn Rng,
) -> Result<ProjectId, AccountError> {
    match store.ensure_project(ProjectId::new(now, rng), name, requires_verified_domain, now).await {
        Ok(id) => Ok(id),
        Err(StoreError::Refused(_)) => Err(AccountError::ProjectName(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}
