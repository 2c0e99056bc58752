//! `POST /v1/sandbox/clock`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;

use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::fault::FaultCode;
use crate::request::fields::Fields;

/// The farthest that time is moved at once.
const ADVANCE_MAX: i64 = 365 * 86_400;
/// How long tries that are under way are waited for, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The schema `SandboxClockMoved`.
#[derive(Serialize)]
struct MovedView {
    advanced_seconds: u64,
    deliveries: u64,
    scheduled: u64,
    afterwards: u64,
    webhooks: u64,
}

/// Moves the time of the project's test mail. Tries that are under way are waited for.
pub async fn advance(State(api): Shared, authed: Authed, body: UnreadBody) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesWrite)?;
    let body = body.object(&api).await?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    if !fields.has("advance_seconds") {
        fields.fault("advance_seconds", FaultCode::Required, "must be given");
    }
    let span = fields.seconds("advance_seconds", 1..=ADVANCE_MAX);
    fields.finish();
    let Some(span) = span.filter(|_| faults.is_empty()) else { return Err(Problem::validation(faults)) };
    let end = Instant::now() + PATIENCE;
    while api.store.count_tests_in_hand(caller.project).await? > 0 && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    let moved = api.store.move_time(caller.project, span).await?;
    Ok(ok_json(&MovedView {
        advanced_seconds: span.as_secs(),
        deliveries: moved.deliveries,
        scheduled: moved.scheduled,
        afterwards: moved.afterwards,
        webhooks: moved.webhooks,
    }))
}
