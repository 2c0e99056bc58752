//! `POST /v1/suppressions`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;
use serde_json::{Map, Value};

use super::get::SuppressionView;
use super::{ENTRIES_MAX, entry, sound};
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::{Caller, Scope};
use crate::domain::fault::FaultCode;
use crate::domain::suppression::NewSuppression;
use crate::request::fields::{Fields, wrong_type};

/// Adds one suppression, or a list of them.
pub async fn add(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let body = body.object(&api).await?;
    if body.map.get("suppressions").is_some_and(|list| !list.is_null()) {
        let entries = entries(&api, &caller, body.map)?;
        return Ok(ok_json(&api.suppressions.add(entries).await?));
    }
    let mut faults = Vec::new();
    let entry = entry::read(body.map, String::new(), &caller, api.clock.now(), &mut faults);
    sound(faults)?;
    one(&api, entry.ok_or_else(Problem::internal)?).await
}

async fn one(api: &Api, entry: NewSuppression) -> Result<Response, Problem> {
    let (project, mode, scope) = (entry.project, entry.mode, entry.scope.clone());
    let address = [entry.address.clone()];
    let added = api.suppressions.add(vec![entry]).await?;
    let found = api.suppressions.find(project, Some(mode), &address).await?;
    // It may have been deleted by somebody else right after.
    let stored = found.iter().find(|found| found.scope == scope).ok_or_else(Problem::not_found)?;
    let mut response = ok_json(&SuppressionView::of(stored));
    if added.added > 0 {
        *response.status_mut() = StatusCode::CREATED;
    }
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/suppressions/{}", stored.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// All of a list, or every fault of it.
fn entries(api: &Api, caller: &Caller, map: Map<String, Value>) -> Result<Vec<NewSuppression>, Problem> {
    let (now, mut faults) = (api.clock.now(), Vec::new());
    let mut fields = Fields::new(map, "", &mut faults);
    let items = fields.list("suppressions").unwrap_or_default();
    if items.len() > ENTRIES_MAX {
        let detail = format!("{}; the limit is {ENTRIES_MAX}", items.len());
        fields.fault("suppressions", FaultCode::TooMany, detail);
        fields.finish();
        return Err(Problem::validation(faults));
    }
    fields.finish();
    let mut entries = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = format!("/suppressions/{index}");
        match item {
            Value::Object(map) => entries.extend(entry::read(map, at, caller, now, &mut faults)),
            other => faults.push(wrong_type(at, "an object", &other)),
        }
    }
    sound(faults).map(|()| entries)
}
