//! `PATCH /v1/templates/{id}`

use axum::extract::State;
use axum::response::Response;

use super::content::{Change, is_same};
use super::get::TemplateView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{Fault, FaultCode};

/// What is not given stays. Another content is another version, and a draft; the same content is none.
pub async fn update(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let body = body.object(&api).await?;
    let mut template = super::find(&api, &caller, &id).await?;
    let version = api.store.find_template_version(template.id, template.latest_version).await?;
    let before = version.ok_or_else(Problem::not_found)?.content;
    let kind = template.kind;
    // Compiling is work for a processor.
    let read = tokio::task::spawn_blocking(move || {
        let mut change = Change::read(body.map, false)?;
        if !change.has_content() {
            return Ok((change, None));
        }
        let after = change.content(kind, before.clone())?;
        Ok::<_, Problem>((change, Some(after).filter(|after| !is_same(&before, after))))
    });
    let (change, content) = read.await.map_err(|_| Problem::internal())??;
    if let Some(alias) = change.alias.filter(|alias| *alias != template.alias) {
        super::check_unused(&api, &caller, &template.alias, "/alias").await?;
        template.alias = alias;
        rename(&api, &caller, &template, change.name.as_ref()).await?;
    } else if change.name.as_ref().is_some_and(|name| *name != template.name) {
        rename(&api, &caller, &template, change.name.as_ref()).await?;
    }
    template.name = change.name.unwrap_or(template.name);
    if let Some(content) = content {
        let description = change.description.unwrap_or_default();
        let step = super::step(&api, &caller);
        let added = api.store.add_template_version(caller.project, &template, &content, &description, &step).await?;
        template.latest_version = added.ok_or_else(|| {
            let detail = "the template was changed by another request meanwhile: read it, and change it anew";
            Problem::validation(vec![Fault::new("", FaultCode::Conflict, detail)])
        })?;
        template.updated_at = step.at;
    }
    api.templates.forget(caller.project);
    Ok(ok_json(&TemplateView::of(&template)))
}

async fn rename(
    api: &crate::api::Api,
    caller: &crate::domain::access::Caller,
    template: &crate::store::accounts::templates::Template,
    name: Option<&String>,
) -> Result<(), Problem> {
    let mut template = template.clone();
    template.name = name.unwrap_or(&template.name).clone();
    let step = super::step(api, caller);
    let renamed = api.store.rename_template(caller.project, &template, &step).await;
    if renamed.map_err(super::alias_taken)? { Ok(()) } else { Err(Problem::not_found()) }
}
