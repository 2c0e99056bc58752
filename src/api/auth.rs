//! Who is calling: an API key, looked up by its hash and believed for a short time, or a JWT.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::Api;
use super::jwt::JwtKeys;
use super::problem::Problem;
use crate::domain::access::{Caller, Scope, is_key_shaped};
use crate::store::{Store, StoreError};

/// Callers that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 10_000;

/// What authenticates.
pub struct Auth {
    store: Store,
    jwt: JwtKeys,
    cache: Duration,
    known: Mutex<HashMap<[u8; 32], (Caller, Instant)>>,
}

impl Auth {
    pub fn new(store: Store, jwt: JwtKeys, cache: Duration) -> Self {
        Self { store, jwt, cache, known: Mutex::default() }
    }

    async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        if is_key_shaped(token) {
            let found = self.by_key(&hash(token)).await?;
            return found.ok_or_else(|| Problem::unauthorized("this API key does not exist, or was revoked"));
        }
        let claims = self.jwt.verify(token).map_err(Problem::unauthorized)?;
        let project = self.store.find_project(&claims.project).await?;
        let project = project.ok_or_else(|| Problem::unauthorized("the token's project does not exist"))?;
        Ok(claims.into_caller(project))
    }

    async fn by_key(&self, hash: &[u8; 32]) -> Result<Option<Caller>, StoreError> {
        if let Some(caller) = self.remembered(hash) {
            return Ok(Some(caller));
        }
        let Some(found) = self.store.find_key(hash).await? else { return Ok(None) };
        let caller = Caller { project: found.project, mode: found.mode, scopes: found.scopes, from_domains: None };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(*hash, (caller.clone(), Instant::now()));
        Ok(Some(caller))
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Caller> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|(_, since)| since.elapsed() < self.cache).map(|(caller, _)| caller.clone())
    }
}

/// The hash under which a key is stored.
pub fn hash(key: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    bytes
}

/// A caller whose credentials were checked.
pub struct Authed(pub Caller);

impl Authed {
    /// The caller, if it has the scope.
    pub fn with(self, scope: Scope) -> Result<Caller, Problem> {
        if self.0.may(scope) { Ok(self.0) } else { Err(Problem::missing_scope(scope)) }
    }
}

impl FromRequestParts<Arc<Api>> for Authed {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let header = head.headers.get(AUTHORIZATION);
        let header = header.ok_or_else(|| Problem::unauthorized("send 'Authorization: Bearer <API key or JWT>'"))?;
        let token = header.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let token = token.ok_or_else(|| Problem::unauthorized("the Authorization header is not 'Bearer …'"))?;
        api.auth.caller(token).await.map(Self)
    }
}
