//! `POST /v1/suppressions/check`

use std::collections::{HashMap, HashSet};

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
    let mut by_address: HashMap<&str, Vec<&Suppression>> = HashMap::new();
    for entry in &found {
        by_address.entry(&entry.address).or_default().push(entry);
    }
    // One that is named twice is answered once.
    let mut answered = HashSet::new();
    let checked = addresses.iter().filter(|address| answered.insert(address.as_str())).map(|address| {
        let of_domain = domain_form(address);
        let of = |form: &str| by_address.get(form).map(Vec::as_slice).unwrap_or_default().iter().copied();
        let entries = || of(address).chain(of(&of_domain).filter(|_| of_domain != *address));
        CheckView {
            email: address,
            suppressed: entries().any(stops),
            suppressions: entries().map(SuppressionView::of).collect(),
        }
    });
    Ok(ok_json(&ChecksView { data: checked.collect() }))
}
