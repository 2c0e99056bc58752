//! `POST /v1/templates/{id}/render`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::VersionName;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::compose::template::{CompiledTemplate, Rendered};
use crate::domain::access::Scope;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::TemplateId;
use crate::domain::template::Locale;
use crate::request::fields::Fields;
use crate::submit::templates::Sources;

/// Beyond this many bytes some readers cut a message's HTML.
const HTML_CUT: usize = 102_400;
/// Longer subjects are not shown whole.
const SUBJECT_SHOWN: usize = 78;

/// The schema `RenderedTemplate`.
#[derive(Serialize)]
struct RenderedView {
    id: TemplateId,
    version: i32,
    locale: Locale,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    warnings: Vec<String>,
}

/// What a version comes to with these variables, or with its samples.
pub async fn render(
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
    let variables = fields.object("variables");
    let locale = fields.string("locale").map(|text| Locale::parse(&text));
    let locale = locale.and_then(|locale| fields.sound("locale", locale));
    let name = version_name(&mut fields);
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let name = name.unwrap_or(template.published_version.map_or(VersionName::Draft, VersionName::Number));
    let version = super::version(&api, &template, name).await?.ok_or_else(|| {
        let detail = "there is no such version";
        Problem::validation(vec![Fault::new("/version", FaultCode::UnknownVersion, detail)])
    })?;
    let content = version.content;
    let variables = variables.unwrap_or(content.samples);
    let names: Vec<_> = variables.keys().cloned().collect();
    let (default_locale, locales, uses) = (content.default_locale, content.locales, content.uses);
    let sources = Sources { default_locale, locales, uses, drafts: true };
    let (locale, compiled) = match api.templates.compile((caller.project, caller.mode), sources, locale).await {
        Ok(compiled) => compiled,
        Err(error) => return Err(Problem::validation(error.faults("")?)),
    };
    match api.templates.render(&compiled, variables).await? {
        Ok(rendered) => {
            let warnings = warnings(&compiled, &names, &rendered);
            let Rendered { subject, text, html } = rendered;
            let version = version.about.number;
            Ok(ok_json(&RenderedView { id: template.id, version, locale, subject, text, html, warnings }))
        }
        Err(flaws) => Err(Problem::validation(flaws.into_iter().map(|flaw| flaw.at("")).collect())),
    }
}

fn version_name(fields: &mut Fields<'_>) -> Option<VersionName> {
    let value = fields.take("version")?;
    let name = match &value {
        Value::String(text) => VersionName::parse(text),
        // A float without a fraction is written as a whole number.
        Value::Number(number) => number
            .as_f64()
            .filter(|float| float.fract() == 0.0)
            .and_then(|float| VersionName::parse(&format!("{float:.0}"))),
        _ => None,
    };
    if name.is_none() {
        fields.fault("version", FaultCode::UnknownVersion, format!("must be {}", VersionName::WANTED));
    }
    name
}

/// What is no fault, and still may not be meant.
fn warnings(compiled: &Arc<CompiledTemplate>, names: &[String], rendered: &Rendered) -> Vec<String> {
    let known = compiled.variables();
    let unused = names.iter().filter(|name| !known.contains(*name));
    let mut warnings: Vec<_> = unused.map(|name| format!("the variable '{name}' is not used")).collect();
    if rendered.text.is_none() && rendered.html.is_some() {
        warnings.push("there is no text: it will be made of the HTML".to_owned());
    }
    if let Some(subject) = &rendered.subject {
        if subject.is_empty() {
            warnings.push("the subject is empty".to_owned());
        } else if subject.chars().count() > SUBJECT_SHOWN {
            warnings.push(format!("the subject is longer than {SUBJECT_SHOWN} characters"));
        }
    }
    if let Some(html) = rendered.html.as_ref().filter(|html| html.len() > HTML_CUT) {
        warnings.push(format!("the HTML has {} bytes; some readers cut it after {HTML_CUT}", html.len()));
    }
    warnings
}
