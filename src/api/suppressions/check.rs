//! `POST /v1/suppressions/check`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::get::SuppressionView;
use super::sound;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::suppression::{Suppression, domain_form};
use crate::request::fields::Fields;

const TAGS_MAX: usize = 50;

/// The schema `SuppressionChecks`.
#[derive(Serialize)]
struct ChecksView<'c> {
    data: Vec<CheckView<'c>>,
}

/// The schema `SuppressionCheck`.
#[derive(Serialize)]
struct CheckView<'c> {
    email: &'c str,
    suppressed: bool,
    suppressions: Vec<SuppressionView<'c>>,
}

/// Says of some addresses what is suppressed, and whether a message would be stopped by it.
pub async fn check(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::Suppressions)?;
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let addresses = super::addresses(&mut fields);
    let tags = fields.strings("tags", TAGS_MAX).unwrap_or_default();
    let stream = fields.string("stream");
    fields.finish();
    sound(faults)?;
    let mut distinct = addresses.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let found = api.suppressions.find(caller.project, Some(caller.mode), &distinct).await?;
    let stops = |entry: &Suppression| entry.scope.covers(tags.iter().map(String::as_str), stream.as_deref());
    let checked = addresses.iter().map(|address| {
        let entries =
            || found.iter().filter(|entry| entry.address == *address || entry.address == domain_form(address));
        CheckView {
            email: address,
            suppressed: entries().any(stops),
            suppressions: entries().map(SuppressionView::of).collect(),
        }
    });
    Ok(ok_json(&ChecksView { data: checked.collect() }))
}
