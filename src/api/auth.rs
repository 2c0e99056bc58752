//! The caller of a request, from its `Authorization` header.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::problem::Problem;
use crate::domain::access::{Caller, Scope};

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
        Ok(Self(api.auth.caller(token).await?))
    }
}
