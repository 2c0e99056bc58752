//! `POST /v1/templates/{id}/publish`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::TemplateId;
use crate::domain::template::{TemplateRef, VersionState};
use crate::request::fields::Fields;
use crate::submit::templates::Sources;

/// The schema `TemplateVersionState`.
#[derive(Serialize)]
pub(super) struct StateView {
    pub id: TemplateId,
    pub version: i32,
    pub state: VersionState,
}

/// Makes a version the one that is sent; where the project asks for reviews, submits it to one.
pub async fn publish(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let body = body.object(&api).await?;
    let template = super::find(&api, &caller, &id).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let number = fields.integer("version").map(TemplateRef::version);
    let number = number.and_then(|number| fields.sound("version", number)).unwrap_or(template.latest_version);
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let no_version = || {
        let detail = format!("there is no version {number}");
        Problem::validation(vec![Fault::new("/version", FaultCode::UnknownVersion, detail)])
    };
    let content = api.store.find_template_version(template.id, number).await?.ok_or_else(no_version)?.content;
    check_layouts(&api, &caller, content).await?;
    let step = super::step(&api, &caller);
    let state = api.store.publish_template(caller.project, template.id, number, &step).await?;
    api.templates.forget(caller.project);
    Ok(ok_json(&StateView { id: template.id, version: number, state: state.ok_or_else(no_version)? }))
}

/// What a version extends and includes must be published, so that it can be sent.
async fn check_layouts(
    api: &crate::api::Api,
    caller: &crate::domain::access::Caller,
    content: crate::store::accounts::templates::TemplateContent,
) -> Result<(), Problem> {
    let published = api.store.find_layouts((caller.project, caller.mode), &content.uses, false).await?;
    let missing = content.uses.iter().filter(|name| published.iter().all(|layout| layout.alias.as_str() != **name));
    let fault = |name: &String| {
        let detail = format!("extends or includes '{name}', which is no published layout or partial");
        Fault::new("", FaultCode::UnknownTemplate, detail)
    };
    let faults: Vec<_> = missing.map(fault).collect();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let (default_locale, locales, uses) = (content.default_locale, content.locales, content.uses);
    let sources = Sources { default_locale, locales, uses, drafts: false };
    match api.templates.compile((caller.project, caller.mode), sources, None).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::validation(error.faults("")?)),
    }
}
