//! `POST /v1/erasures`

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::Response;

use super::get::ErasureView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::ErasureId;
use crate::request::fields::Fields;

/// Has an address forgotten; the work begins within a second, and goes on after the answer.
pub async fn create(
    State(api): Shared,
    authed: Authed,
    mut params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let project = params.project();
    params.finish()?;
    let caller = authed.acting(Scope::Admin, &api, project).await?;
    if caller.sees_only().is_some() {
        return Err(Problem::live_only());
    }
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let parsed = match fields.string("address") {
        Some(text) => Address::parse(text.trim()).map_err(Flaw::from),
        None => Err(Flaw::new(FaultCode::Required, "must be given")),
    };
    let address = fields.sound("address", parsed);
    let keep_suppressed = fields.bool("keep_suppressed").unwrap_or(true);
    fields.finish();
    let Some(address) = address.filter(|_| faults.is_empty()) else { return Err(Problem::validation(faults)) };
    let id = ErasureId::new(api.clock.now(), &*api.rng);
    let erasure = api.store.insert_erasure((id, caller.project), &address.folded(), keep_suppressed).await?;
    let mut response = ok_json(&ErasureView::of(&erasure));
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/erasures/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
