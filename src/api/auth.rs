//! The caller of a request, from its `Authorization` header.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::peer::{self, Peer};
use super::problem::Problem;
use crate::domain::access::{Caller, Scope};
use crate::domain::id::ProjectId;

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

/// Whoever has that token, if it may be used from where the request comes.
pub async fn known(api: &Api, token: &str, head: &Parts) -> Result<Caller, Problem> {
    let caller = api.auth.caller(token).await?;
    if caller.allowed_ips.is_some() {
        let peer = head.extensions.get::<Peer>().copied();
        if !caller.may_come_from(peer::client(peer, &head.headers, &api.http.trusted_proxies.0)) {
            return Err(Problem::address_not_allowed());
        }
    }
    Ok(caller)
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
        let caller = known(api, token, head).await?;
        if let Some(slot) = head.extensions.get::<CallerSlot>() {
            let _ = slot.0.set(caller.clone());
        }
        Ok(Self(caller))
    }
}
