//! `PUT /v1/retention`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::get::RetentionView;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::page::Params;
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::retention::{ProjectRetention, RETENTION_MIN, RetentionKind};
use crate::domain::span::Span;
use crate::request::fields::{Fields, wrong_type};

/// Says anew what the project keeps. What is not named is kept as long as the installation does.
pub async fn put(
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
    let mut retention = ProjectRetention::default();
    for kind in RetentionKind::ALL {
        *retention.of_mut(*kind) = span(&mut fields, *kind, &api);
    }
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    api.store.put_retention(caller.project, &retention).await?;
    Ok(ok_json(&RetentionView::of(&api, &retention)))
}

fn span(fields: &mut Fields<'_>, kind: RetentionKind, api: &Api) -> Option<Duration> {
    let name = kind.name();
    let parsed = match fields.take(name)? {
        Value::String(text) => text.parse::<Span>().map_err(|why| Flaw::new(FaultCode::InvalidLimit, why)),
        Value::Number(days) => match days.as_u64().and_then(|days| format!("{days}d").parse::<Span>().ok()) {
            Some(span) => Ok(span),
            None => Err(Flaw::new(FaultCode::InvalidLimit, "must be a whole number of days")),
        },
        other => {
            let fault = wrong_type(fields.pointer(name), "a duration such as \"30d\", or a number of days", &other);
            fields.faults.push(fault);
            return None;
        }
    };
    let (setting, most) = match kind {
        RetentionKind::Bodies => ("retention.bodies", api.retention.bodies),
        _ => ("retention.messages", api.retention.messages),
    };
    let bounded = parsed.and_then(|span| {
        if span.0 < RETENTION_MIN {
            return Err(Flaw::new(FaultCode::InvalidLimit, "must be at least 1h"));
        }
        if span.0 > most.0 {
            let detail = format!("must be at most {most}, as long as the installation keeps it ({setting})");
            return Err(Flaw::new(FaultCode::InvalidLimit, detail));
        }
        Ok(span.0)
    });
    fields.sound(name, bounded)
}
