//! `GET /v1/keys/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::usage_limits::KeyLimitsView;
use crate::api::{Shared, ok_json};
use crate::domain::access::{KeyState, Mode, Scope};
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::id::{KeyId, ProjectId};
use crate::store::accounts::keys::StoredKey;

/// The schema `Key`.
#[derive(Serialize)]
pub(super) struct KeyView<'k> {
    id: KeyId,
    project_id: ProjectId,
    name: &'k str,
    mode: Mode,
    prefix: &'k str,
    scopes: &'k [Scope],
    from_domains: Option<&'k [String]>,
    allowed_ips: Option<Vec<String>>,
    limits: KeyLimitsView,
    is_operator: bool,
    signs: bool,
    state: KeyState,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// The key, without its text.
pub async fn get(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Keys, &api, project).await?;
    let key = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&KeyView::of(&key, api.clock.now())))
}

impl<'k> KeyView<'k> {
    pub(super) fn of(key: &'k StoredKey, now: Timestamp) -> Self {
        let rights = &key.rights;
        let networks = rights.allowed_ips.as_ref();
        Self {
            id: key.id,
            project_id: rights.project,
            name: &key.name,
            mode: rights.mode,
            prefix: &key.prefix,
            scopes: &rights.scopes,
            from_domains: rights.from_domains.as_deref(),
            allowed_ips: networks.map(|networks| networks.iter().map(ToString::to_string).collect()),
            limits: KeyLimitsView::of(&rights.limits),
            is_operator: rights.is_operator,
            signs: key.signs,
            state: key.state(now),
            created_at: rfc3339(key.created_at),
            expires_at: key.expires_at.map(rfc3339),
            revoked_at: key.revoked_at.map(rfc3339),
        }
    }
}
