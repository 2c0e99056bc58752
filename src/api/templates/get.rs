//! `GET /v1/templates/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::{Mode, Scope};
use crate::domain::clock::rfc3339;
use crate::domain::id::TemplateId;
use crate::domain::template::TemplateKind;
use crate::store::accounts::templates::Template;

/// The schema `Template`.
#[derive(Serialize)]
pub(super) struct TemplateView<'t> {
    id: TemplateId,
    mode: Mode,
    alias: &'t str,
    name: &'t str,
    kind: TemplateKind,
    latest_version: i32,
    published_version: Option<i32>,
    draft_version: Option<i32>,
    created_at: String,
    updated_at: String,
}

/// The template, without what its versions hold.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let template = super::find(&api, &caller, &id).await?;
    Ok(ok_json(&TemplateView::of(&template)))
}

impl<'t> TemplateView<'t> {
    pub(super) fn of(template: &'t Template) -> Self {
        let latest = template.latest_version;
        Self {
            id: template.id,
            mode: template.mode,
            alias: template.alias.as_str(),
            name: &template.name,
            kind: template.kind,
            latest_version: latest,
            published_version: template.published_version,
            draft_version: (template.published_version != Some(latest)).then_some(latest),
            created_at: rfc3339(template.created_at),
            updated_at: rfc3339(template.updated_at),
        }
    }
}
