//! Templates: their versions, what they come to, and who may publish them.

pub mod audit;
mod content;
pub mod create;
pub mod diff;
pub mod get;
pub mod list;
pub mod publish;
pub mod remove;
pub mod render;
pub mod review;
pub mod settings;
pub mod starters;
pub mod update;
pub mod versions;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::TemplateStepId;
use crate::domain::template::{Alias, TemplateName};
use crate::store::StoreError;
use crate::store::accounts::templates::{Step, Template, TemplateVersion};

/// The caller's template named in a path by id or alias. Malformed, absent and foreign are the same 404.
async fn find(api: &Api, caller: &Caller, name: &str) -> Result<Template, Problem> {
    let name = TemplateName::parse(name).ok_or_else(Problem::not_found)?;
    api.store.find_template((caller.project, caller.mode), &name).await?.ok_or_else(Problem::not_found)
}

/// A version as requests name it.
#[derive(Debug, Clone, Copy)]
enum VersionName {
    Number(i32),
    /// The latest, published or not.
    Draft,
    Published,
}

impl VersionName {
    const WANTED: &'static str = "the number of a version, 'draft' (the latest) or 'published'";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "draft" => Some(Self::Draft),
            "published" => Some(Self::Published),
            number => number.parse().ok().filter(|number| *number >= 1).map(Self::Number),
        }
    }

    /// Its number, if the template has one.
    fn of(self, template: &Template) -> Option<i32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Draft => Some(template.latest_version),
            Self::Published => template.published_version,
        }
    }
}

/// A version of a template.
async fn version(api: &Api, template: &Template, name: VersionName) -> Result<Option<TemplateVersion>, StoreError> {
    match name.of(template) {
        Some(number) => api.store.find_template_version(template.id, number).await,
        None => Ok(None),
    }
}

/// The audit's row of what the caller does now.
fn step(api: &Api, caller: &Caller) -> Step {
    let at = api.clock.now();
    Step { id: TemplateStepId::new(at, &*api.rng), actor: actor(caller), at }
}

/// Who it was: a key, or whoever holds a token.
fn actor(caller: &Caller) -> String {
    caller.key.map_or_else(|| "token".to_owned(), |key| key.to_string())
}

/// A taken alias is the client's fault.
fn alias_taken(error: StoreError) -> Problem {
    match error {
        StoreError::Refused(constraint) if constraint == "templates_alias" => {
            let detail = "another template of the project has this alias";
            Problem::validation(vec![Fault::new("/alias", FaultCode::Conflict, detail)])
        }
        other => other.into(),
    }
}

/// A layout or partial that published templates name keeps its alias, and stays.
async fn check_unused(api: &Api, caller: &Caller, alias: &Alias, pointer: &str) -> Result<(), Problem> {
    if api.store.is_template_used((caller.project, caller.mode), alias).await? {
        let detail = format!("a published template extends or includes '{}'", alias.as_str());
        return Err(Problem::validation(vec![Fault::new(pointer, FaultCode::Conflict, detail)]));
    }
    Ok(())
}
