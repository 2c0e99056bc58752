//! `GET /v1/templates/starters`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::auth::Authed;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::compose::template::starters::STARTERS;
use crate::domain::access::Scope;
use crate::domain::template::Locale;

/// The schema `TemplateStarters`.
#[derive(Serialize)]
struct StartersView {
    data: Vec<StarterView>,
}

/// The schema `TemplateStarter`.
#[derive(Serialize)]
struct StarterView {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    locales: Vec<Locale>,
    samples: Map<String, Value>,
}

/// The built-in templates that a new one may be copied from.
pub async fn starters(State(_): Shared, authed: Authed) -> Result<Response, Problem> {
    authed.with(Scope::Templates)?;
    let data = STARTERS.iter().map(|starter| StarterView {
        name: starter.name,
        title: starter.title,
        description: starter.description,
        locales: starter.variants().into_keys().collect(),
        samples: starter.samples(),
    });
    Ok(ok_json(&StartersView { data: data.collect() }))
}
