//! `POST /v1/templates`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;

use super::content::{Change, finished};
use super::get::TemplateView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::compose::template::starters::{STARTERS, Starter};
use crate::domain::access::Scope;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::hint::did_you_mean;
use crate::domain::id::TemplateId;
use crate::domain::template::{Alias, Locale, TemplateKind};
use crate::store::accounts::templates::{Template, TemplateContent};

/// Makes a template, whose first version is a draft.
pub async fn create(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let body = body.object(&api).await?;
    // Compiling is work for a processor.
    let read = tokio::task::spawn_blocking(move || read(body.map)).await.map_err(|_| Problem::internal())?;
    let (template, content, description) = read?;
    let step = super::step(&api, &caller);
    let template = Template {
        id: TemplateId::new(step.at, &*api.rng),
        latest_version: 1,
        published_version: None,
        created_at: step.at,
        updated_at: step.at,
        mode: caller.mode,
        alias: template.alias,
        name: template.name,
        kind: template.kind,
    };
    let limit = api.limits.templates;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let stored = api.store.insert_template(caller.project, &template, &content, &description, &step, most).await;
    if !stored.map_err(super::alias_taken)? {
        let detail = format!("the project has {limit} templates, which is the limit");
        return Err(Problem::validation(vec![Fault::new("", FaultCode::TooMany, detail)]));
    }
    api.templates.forget(caller.project);
    let mut response = ok_json(&TemplateView::of(&template));
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/templates/{}", template.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// What a new template is called.
struct Named {
    alias: Alias,
    name: String,
    kind: TemplateKind,
}

fn read(map: serde_json::Map<String, serde_json::Value>) -> Result<(Named, TemplateContent, String), Problem> {
    let mut change = Change::read(map, true)?;
    let starter = change.starter.take().map(|name| starter(&name)).transpose()?;
    let kind = change.kind.unwrap_or(TemplateKind::Message);
    let content = match starter {
        Some(starter) => change.content(kind, of_starter(starter)?)?,
        None => change.first_content(kind)?,
    };
    let alias = match (change.alias, starter) {
        (Some(alias), _) => alias,
        (None, starter) => {
            let alias = Alias::parse(starter.map_or("", |starter| starter.name));
            alias.map_err(|flaw| Problem::validation(vec![flaw.at("/alias")]))?
        }
    };
    let name = change.name.unwrap_or_else(|| starter.map_or(alias.as_str(), |starter| starter.title).to_owned());
    Ok((Named { alias, name, kind }, content, change.description.unwrap_or_default()))
}

fn starter(name: &str) -> Result<&'static Starter, Problem> {
    Starter::find(name).ok_or_else(|| {
        let hint = did_you_mean(name, STARTERS.iter().map(|starter| starter.name));
        let detail = format!("there is no such starter{hint}; GET /v1/templates/starters lists them");
        Problem::validation(vec![Fault::new("/starter", FaultCode::UnknownTemplate, detail)])
    })
}

fn of_starter(starter: &Starter) -> Result<TemplateContent, Problem> {
    let english = Locale::parse("en").map_err(|_| Problem::internal())?;
    Ok(finished(english, starter.variants(), starter.samples()))
}
