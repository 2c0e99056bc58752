//! `POST /v1/keys`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;
use serde::Serialize;

use super::change::Creation;
use super::get::KeyView;
use crate::accounts::{MadeKey, add_key};
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::Timestamp;
use crate::store::accounts::keys::{KeyRights, StoredKey};

/// The schema `KeyWithText`.
#[derive(Serialize)]
struct KeyWithTextView<'k> {
    #[serde(flatten)]
    key: KeyView<'k>,
    /// The key itself.
    #[serde(rename = "key")]
    text: String,
}

/// Makes a key; the answer carries its text, once.
pub async fn create(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Keys, &api, project).await?;
    let body = body.object(&api).await?;
    let can_seal = api.store.vault().current().is_some();
    let Creation { name, rights, expires_at, signs } = Creation::read(&caller, body.map, api.clock.now(), can_seal)?;
    make(&api, name, rights, (expires_at, signs)).await
}

/// Makes a key and shows it.
pub(super) async fn make(
    api: &Api,
    name: String,
    rights: KeyRights,
    (expires_at, signs): (Option<Timestamp>, bool),
) -> Result<Response, Problem> {
    let now = api.clock.now();
    let made = add_key(&api.store, &name, &rights, (expires_at, signs), (now, &*api.rng)).await?;
    let MadeKey { id, text, prefix } = made;
    let project_name = String::new();
    let key =
        StoredKey { id, name, rights, project_name, prefix, signs, created_at: now, revoked_at: None, expires_at };
    let mut response = ok_json(&KeyWithTextView { key: KeyView::of(&key, now), text });
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/keys/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
