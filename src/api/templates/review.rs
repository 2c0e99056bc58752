//! `POST /v1/templates/{id}/review`

use axum::extract::State;
use axum::response::Response;

use super::publish::StateView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::PathId;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::template::{Decision, TemplateRef, VersionState};
use crate::request::fields::Fields;

const REASON_MAX: usize = 1000;

/// Decides on a submitted version: the latest, unless another is named. A refusal says why.
pub async fn review(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Admin)?;
    let body = body.object(&api).await?;
    let template = super::find(&api, &caller, &id).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let decision = decision(&mut fields);
    let reason = fields.string("reason").filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_MAX || reason.contains('\0')) {
        fields.fault("reason", FaultCode::TooLong, format!("must have at most {REASON_MAX} characters and no NUL"));
    }
    if decision == Some(Decision::Refuse) && reason.is_none() {
        fields.fault("reason", FaultCode::Required, "a refusal says why");
    }
    let number = fields.integer("version").map(TemplateRef::version);
    let number = number.and_then(|number| fields.sound("version", number)).unwrap_or(template.latest_version);
    fields.finish();
    let Some(decision) = decision.filter(|_| faults.is_empty()) else { return Err(Problem::validation(faults)) };
    let step = super::step(&api, &caller);
    let said = (decision, reason.as_deref());
    if !api.store.review_template(caller.project, template.id, number, said, &step).await? {
        let detail = format!("version {number} does not wait for a review");
        return Err(Problem::validation(vec![Fault::new("/version", FaultCode::Conflict, detail)]));
    }
    api.templates.forget(caller.project);
    let state = match decision {
        Decision::Approve => VersionState::Approved,
        Decision::Refuse => VersionState::Refused,
    };
    Ok(ok_json(&StateView { id: template.id, version: number, state }))
}

fn decision(fields: &mut Fields<'_>) -> Option<Decision> {
    let Some(word) = fields.string("decision") else {
        fields.fault("decision", FaultCode::Required, "must be approve or refuse");
        return None;
    };
    let decision = Decision::parse(&word);
    if decision.is_none() {
        fields.fault("decision", FaultCode::InvalidTemplate, "must be approve or refuse");
    }
    decision
}
