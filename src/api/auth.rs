//! The caller of a request, from its `Authorization` header.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::peer::{self, Peer};
use super::problem::Problem;
use crate::auth::AuthError;
use crate::domain::access::{Caller, Scope};
use crate::domain::budget;
use crate::domain::id::ProjectId;
use crate::domain::net;

/// Failures of an address that are all told of.
const TOLD: u32 = 10;

/// A caller whose credentials were checked.
pub struct Authed(pub Caller);

impl Authed {
    /// The caller, if it has the scope.
    pub fn with(self, scope: Scope) -> Result<Caller, Problem> {
        if self.0.may(scope) { Ok(self.0) } else { Err(Problem::missing_scope(scope)) }
    }

    /// The caller, if it has the scope, acting for the project that the parameter `project` names: an operator for any, all
    /// others for their own. What is foreign is as absent.
    pub async fn acting(self, scope: Scope, api: &Api, named: Option<ProjectId>) -> Result<Caller, Problem> {
        let caller = self.with(scope)?;
        let Some(project) = named.filter(|named| *named != caller.project) else { return Ok(caller) };
        if !caller.is_operator || api.store.find_project(&project.to_string()).await? != Some(project) {
            return Err(Problem::not_found());
        }
        Ok(Caller { project, ..caller })
    }
}

/// Where a layer around a handler learns who called.
#[derive(Debug, Clone, Default)]
pub struct CallerSlot(Arc<OnceLock<Caller>>);

impl CallerSlot {
    pub fn get(&self) -> Option<&Caller> {
        self.0.get()
    }
}

/// Who pays for what a request holds of memory: the project that calls, and whoever has not said who they are by their address.
pub struct Payer {
    caller: CallerSlot,
    peer: Option<Peer>,
    headers: HeaderMap,
}

impl Payer {
    pub fn of(head: &Parts) -> Self {
        let caller = head.extensions.get::<CallerSlot>().cloned().unwrap_or_default();
        let mut headers = HeaderMap::new();
        for value in head.headers.get_all(peer::FORWARDED) {
            headers.append(peer::FORWARDED, value.clone());
        }
        Self { caller, peer: head.extensions.get::<Peer>().copied(), headers }
    }

    /// As far as is known by now.
    pub fn key(&self, api: &Api) -> Option<budget::Payer> {
        if let Some(caller) = self.caller.get() {
            return Some(caller.project.uuid().as_u128());
        }
        let address = peer::client(self.peer, &self.headers, &api.http.trusted_proxies.0)?;
        Some(net::payer(address))
    }
}

/// Whoever has that token, if it may be used from where the request comes.
pub async fn known(api: &Api, token: &str, head: &Parts) -> Result<Caller, Problem> {
    let caller = match api.auth.caller(token).await {
        Err(AuthError::Refused(why)) => {
            refused(api, head, &why).await;
            return Err(Problem::unauthorized(why));
        }
        other => other?,
    };
    if caller.allowed_ips.is_some() {
        let peer = head.extensions.get::<Peer>().copied();
        if !caller.may_come_from(peer::client(peer, &head.headers, &api.http.trusted_proxies.0)) {
            return Err(Problem::address_not_allowed());
        }
    }
    if let Some(slot) = head.extensions.get::<CallerSlot>() {
        let _ = slot.0.set(caller.clone());
    }
    Ok(caller)
}

/// Counts and tells of a credential that was refused, and has an address wait that brings many.
async fn refused(api: &Api, head: &Parts, why: &str) {
    api.metrics.http_auth_failures.inc();
    let peer = head.extensions.get::<Peer>().copied();
    let Some(address) = peer::client(peer, &head.headers, &api.http.trusted_proxies.0) else { return };
    let (count, wait) = api.failures.failed(address);
    // The first ones, and then each time that they have become twice as many.
    if count <= TOLD || count.is_power_of_two() {
        tracing::warn!(peer = %address, count, why, "an authentication failed");
    }
    tokio::time::sleep(wait).await;
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
        Ok(Self(known(api, token, head).await?))
    }
}
