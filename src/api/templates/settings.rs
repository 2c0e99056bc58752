//! `GET /v1/templates/settings` and `PATCH /v1/templates/settings`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::FaultCode;
use crate::request::fields::Fields;

/// The schema `TemplateSettings`.
#[derive(Serialize)]
struct SettingsView {
    review_required: bool,
}

/// How the project treats its templates.
pub async fn get(State(api): Shared, authed: Authed) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Templates)?;
    let review_required = api.store.is_template_review_required((caller.project, caller.mode)).await?;
    Ok(ok_json(&SettingsView { review_required }))
}

/// Asks for reviews, or no longer.
pub async fn update(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Admin)?;
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    if !fields.has("review_required") {
        fields.fault("review_required", FaultCode::Required, "must be given");
    }
    let review_required = fields.bool("review_required").unwrap_or_default();
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let now = api.clock.now();
    api.store
        .require_template_review((caller.project, caller.mode), review_required, &super::actor(&caller), now)
        .await?;
    Ok(ok_json(&SettingsView { review_required }))
}
