//! `GET /v1/domains/{id}/readiness`

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::readiness::{OutcomeCount, Records, Score, of_receiver, of_records};
use crate::domain::sending_domain::DomainState;
use crate::store::accounts::domains::StoredDomain;

/// From how long ago answers count.
const SPAN: Duration = Duration::from_hours(24 * 7);

/// The schema `DomainReadiness`.
#[derive(Serialize)]
struct ReadinessView {
    since: String,
    #[serde(flatten)]
    records: Score,
    receivers: Vec<ReceiverView>,
}

/// The schema `DomainReadinessReceiver`.
#[derive(Serialize)]
struct ReceiverView {
    receiver: String,
    #[serde(flatten)]
    score: Score,
    #[serde(flatten)]
    count: OutcomeCount,
}

/// How ready the domain is for each receiver that its mail went to in the last week, the worst first.
pub async fn readiness(
    State(api): Shared,
    authed: Authed,
    PathId(id): PathId,
    params: Params,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let domain = super::find(&api, &caller, &id).await?;
    // Numbers are of whole hours.
    let since = truncated_to_hour(api.clock.now() - SPAN);
    let evidence = api.store.sum_aggregates(caller.project, &domain.name).await?;
    let listed = api.store.list_listings(&domain.name).await?;
    let records = of_records(&records_of(&domain, listed), &evidence);
    let sums = api.store.sum_outcomes(caller.project, &domain.name, since).await?;
    let of_one = |(receiver, count)| ReceiverView { receiver, score: of_receiver(&records, &count), count };
    let mut receivers: Vec<_> = sums.into_iter().map(of_one).collect();
    receivers.sort_by(|a, b| (a.score.score, &a.receiver).cmp(&(b.score.score, &b.receiver)));
    Ok(ok_json(&ReadinessView { since: rfc3339(since), records, receivers }))
}

fn truncated_to_hour(at: Timestamp) -> Timestamp {
    let past = at.unix_timestamp_nanos().rem_euclid(3_600_000_000_000);
    at - Duration::from_nanos(u64::try_from(past).unwrap_or(0))
}

fn records_of(domain: &StoredDomain, listed: Vec<String>) -> Records {
    let state = domain.standing.state;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Records {
        is_verified: domain.proved_at.is_some() && state != DomainState::Failed,
        is_wrong: matches!(state, DomainState::Warning | DomainState::Failed),
        has_return_path: domain.standing.has_return_path,
        has_dmarc: domain.dmarc.as_ref().map(|dmarc| dmarc["record"].is_string()),
        warnings: domain
            .dmarc
            .as_ref()
            .and_then(|dmarc| dmarc["warnings"].as_array())
            .map(|warnings| warnings.iter().filter_map(text).collect())
            .unwrap_or_default(),
        listed,
    }
}
