//! `GET /v1/templates/{id}/versions` and `GET /v1/templates/{id}/versions/{version}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::VersionName;
use crate::api::auth::Authed;
use crate::api::page::{PageView, Params, PathId, PathIds};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::rfc3339;
use crate::domain::id::TemplateId;
use crate::domain::template::{Locale, Variants, VersionState};
use crate::store::accounts::templates::{TemplateVersion, VersionAbout};

/// The schema `TemplateVersion`.
#[derive(Serialize)]
pub(super) struct VersionView<'v> {
    id: TemplateId,
    version: i32,
    state: VersionState,
    description: &'v str,
    reason: Option<&'v str>,
    created_at: String,
    created_by: &'v str,
}

/// The schema `TemplateVersionContent`.
#[derive(Serialize)]
struct ContentView<'v> {
    #[serde(flatten)]
    about: VersionView<'v>,
    default_locale: &'v Locale,
    locales: &'v Variants,
    samples: &'v Map<String, Value>,
    uses: &'v [String],
}

/// The versions of a template, newest first, without what they hold.
pub async fn list(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let wanted = "the next_cursor of a page of this list";
    let cursor = params.parsed("cursor", wanted, |text| text.parse().ok().filter(|number: &i32| *number >= 1));
    let limit = params.limit();
    params.finish()?;
    let template = super::find(&api, &caller, &id).await?;
    let rows = api.store.list_template_versions(template.id, cursor, limit.rows()).await?;
    let show = |row| VersionView::of(template.id, row);
    Ok(ok_json(&PageView::of(&rows, limit, show, |row| row.number.to_string())))
}

/// One version, with its sources.
pub async fn get(State(api): Shared, authed: Authed, PathIds(id, version): PathIds) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let name = VersionName::parse(&version).ok_or_else(Problem::not_found)?;
    let template = super::find(&api, &caller, &id).await?;
    let version = super::version(&api, &template, name).await?.ok_or_else(Problem::not_found)?;
    Ok(ok_json(&ContentView::of(template.id, &version)))
}

impl<'v> VersionView<'v> {
    fn of(id: TemplateId, about: &'v VersionAbout) -> Self {
        Self {
            id,
            version: about.number,
            state: about.state,
            description: &about.description,
            reason: about.reason.as_deref(),
            created_at: rfc3339(about.created_at),
            created_by: &about.created_by,
        }
    }
}

impl<'v> ContentView<'v> {
    fn of(id: TemplateId, version: &'v TemplateVersion) -> Self {
        let content = &version.content;
        Self {
            about: VersionView::of(id, &version.about),
            default_locale: &content.default_locale,
            locales: &content.locales,
            samples: &content.samples,
            uses: &content.uses,
        }
    }
}
