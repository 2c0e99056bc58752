//! The caller of a request, from its `Authorization` header.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::peer::{self, Peer};
use super::problem::Problem;
use crate::auth::AuthError;
use crate::domain::access::{Caller, Scope};
use crate::domain::budget;
use crate::domain::id::ProjectId;

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
#[derive(Debug, Clone, Default)]
pub struct Payer {
    caller: CallerSlot,
    address: Option<IpAddr>,
}

impl Payer {
    /// Of a request of which nothing was read yet. Who calls is known when somebody has asked, and then here, too.
    pub fn noted(api: &Api, head: &mut Parts) -> Self {
        let payer = Self { caller: CallerSlot::default(), address: client_of(api, head) };
        head.extensions.insert(payer.caller.clone());
        head.extensions.insert(payer.clone());
        payer
    }

    /// Of a request that was taken apart.
    pub fn of(head: &Parts) -> Self {
        head.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// As far as is known by now.
    pub fn key(&self) -> Option<budget::Payer> {
        let of_project = self.caller.get().map(|caller| budget::of_project(caller.project));
        of_project.or_else(|| self.address.map(budget::of_stranger))
    }
}

/// The address that a request came from; `None`: the proxies do not say.
pub fn client_of(api: &Api, head: &Parts) -> Option<IpAddr> {
    peer::client(head.extensions.get::<Peer>().copied(), &head.headers, &api.http.trusted_proxies.0)
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
    if caller.allowed_ips.is_some() && !caller.may_come_from(client_of(api, head)) {
        return Err(Problem::address_not_allowed());
    }
    if let Some(slot) = head.extensions.get::<CallerSlot>() {
        let _ = slot.0.set(caller.clone());
    }
    Ok(caller)
}

/// Counts and tells of a credential that was refused, and has an address wait that brings many.
async fn refused(api: &Api, head: &Parts, why: &str) {
    api.metrics.http_auth_failures.inc();
    let Some(address) = client_of(api, head) else { return };
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
