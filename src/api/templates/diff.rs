//! `GET /v1/templates/{id}/diff`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::VersionName;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::compose::template::diff;
use crate::domain::access::Scope;
use crate::domain::id::TemplateId;
use crate::domain::template::Locale;

/// The schema `TemplateDiff`.
#[derive(Serialize)]
struct DiffView<'d> {
    id: TemplateId,
    from: i32,
    to: i32,
    parts: Vec<PartDiffView<'d>>,
}

/// The schema `TemplatePartDiff`.
#[derive(Serialize)]
struct PartDiffView<'d> {
    locale: &'d Locale,
    part: &'static str,
    diff: &'d str,
}

/// What changed between two versions: from the published one to the latest, unless others are named.
pub async fn diff(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    mut params: Params,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let from = params.parsed("from", VersionName::WANTED, VersionName::parse).unwrap_or(VersionName::Published);
    let to = params.parsed("to", VersionName::WANTED, VersionName::parse).unwrap_or(VersionName::Draft);
    params.finish()?;
    let template = super::find(&api, &caller, &id).await?;
    let old = super::version(&api, &template, from).await?.ok_or_else(Problem::not_found)?;
    let new = super::version(&api, &template, to).await?.ok_or_else(Problem::not_found)?;
    let numbers = (old.about.number, new.about.number);
    let compare = move || {
        let names = (format!("version {}", numbers.0), format!("version {}", numbers.1));
        diff::diff(&old.content.locales, &new.content.locales, (&names.0, &names.1))
    };
    let parts = tokio::task::spawn_blocking(compare).await.map_err(|_| Problem::internal())?;
    let parts = parts.iter().map(|part| PartDiffView { locale: &part.locale, part: part.part, diff: &part.diff });
    Ok(ok_json(&DiffView { id: template.id, from: numbers.0, to: numbers.1, parts: parts.collect() }))
}
