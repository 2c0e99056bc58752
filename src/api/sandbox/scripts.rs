//! `GET /v1/sandbox/scripts` and `PUT /v1/sandbox/scripts`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::script::Script;
use crate::request::fields::{Fields, wrong_type};
use crate::store::mail::sandbox_scripts::ScriptRule;

const RULES_MAX: usize = 100;
const PATTERN_MAX: usize = 320;

/// The schema `SandboxScripts`.
#[derive(Serialize)]
struct ScriptsView<'r> {
    scripts: Vec<ScriptView<'r>>,
}

/// The schema `SandboxScript`.
#[derive(Serialize)]
struct ScriptView<'r> {
    pattern: &'r str,
    script: &'r str,
}

/// The project's patterns and their scripts, in order.
pub async fn get(State(api): Shared, authed: Authed) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    Ok(show(&api.store.list_scripts(caller.project).await?))
}

/// Puts the given patterns and scripts in place of those that were there.
pub async fn put(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    if !fields.has("scripts") {
        fields.fault("scripts", FaultCode::Required, "must be given; it may be empty");
    }
    let given = fields.list("scripts").unwrap_or_default();
    if given.len() > RULES_MAX {
        fields.fault("scripts", FaultCode::TooMany, format!("{}; the limit is {RULES_MAX}", given.len()));
    }
    let mut rules = Vec::new();
    for (at, rule) in given.into_iter().take(RULES_MAX).enumerate() {
        match rule {
            Value::Object(map) => {
                let mut inner = Fields::new(map, format!("/scripts/{at}"), fields.faults);
                let (pattern, script) = (pattern(&mut inner), script(&mut inner));
                inner.finish();
                rules.extend(pattern.zip(script).map(|(pattern, script)| ScriptRule { pattern, script }));
            }
            other => fields.faults.push(wrong_type(format!("/scripts/{at}"), "an object", &other)),
        }
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    api.store.replace_scripts(caller.project, &rules).await?;
    Ok(show(&rules))
}

fn pattern(fields: &mut Fields<'_>) -> Option<String> {
    if !fields.has("pattern") {
        fields.fault("pattern", FaultCode::Required, "must be given, such as *@slow.example");
    }
    let text = fields.string("pattern")?;
    let is_sound = !text.is_empty() && text.chars().count() <= PATTERN_MAX && !text.chars().any(char::is_control);
    let wrong = || Flaw::new(FaultCode::InvalidAddress, "must be an address, with * for any text in it");
    fields.sound("pattern", is_sound.then_some(text).ok_or_else(wrong))
}

fn script(fields: &mut Fields<'_>) -> Option<String> {
    if !fields.has("script") {
        fields.fault("script", FaultCode::Required, "must be given, such as 451*2,250");
    }
    let text = fields.string("script")?;
    fields.sound("script", Script::parse(&text)).map(|script| script.as_str().to_owned())
}

fn show(rules: &[ScriptRule]) -> Response {
    let scripts = rules.iter().map(|rule| ScriptView { pattern: &rule.pattern, script: &rule.script });
    ok_json(&ScriptsView { scripts: scripts.collect() })
}
