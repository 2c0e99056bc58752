//! `GET /v1/stats`

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::auth::Authed;
use super::page::Params;
use super::problem::Problem;
use super::{Shared, ok_json};
use crate::domain::access::Scope;
use crate::domain::clock::{parse_rfc3339, rfc3339};
use crate::domain::recipient::RecipientStatus;
use crate::domain::report::GroupBy;
use crate::store::mail::stats::{Stats, StatsFilter};

/// The longest time that is counted at once.
const LONGEST: time::Duration = time::Duration::days(92);
/// The time that is counted when none is named.
const USUAL: time::Duration = time::Duration::days(1);

/// The schema `StatsAnswer`.
#[derive(Serialize)]
struct StatsView<'s> {
    since: String,
    until: String,
    group_by: Option<GroupBy>,
    data: Vec<GroupView<'s>>,
}

/// The schema `StatsGroup`.
#[derive(Serialize)]
struct GroupView<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'s str>,
    messages: i64,
    recipients: i64,
    counts: BTreeMap<&'static str, i64>,
    bounces: &'s BTreeMap<String, i64>,
    latency_seconds: Option<LatencyView>,
}

#[derive(Serialize)]
struct LatencyView {
    p50: f64,
    p95: f64,
    p99: f64,
}

/// What became of the project's mail in a time.
pub async fn stats(State(api): Shared, authed: Authed, mut params: Params) -> Result<Response, Problem> {
    let caller = authed.with(Scope::MessagesRead)?;
    let until = params.parsed("until", "an RFC 3339 instant", parse_rfc3339).unwrap_or_else(|| api.clock.now());
    let wanted = "an RFC 3339 instant before until, by at most 92 days";
    let since = params.parsed("since", wanted, |text| {
        parse_rfc3339(text).filter(|since| *since < until && until - *since <= LONGEST)
    });
    let group_by = params.parsed("group_by", "day, hour, domain, provider, tag or template", GroupBy::parse);
    params.finish()?;
    let _turn = api.turn(caller.project).await?;
    let filter = StatsFilter { mode: caller.sees_only(), since: since.unwrap_or(until - USUAL), until, group_by };
    let groups = api.lists.count_mail(caller.project, &filter).await?;
    Ok(ok_json(&StatsView {
        since: rfc3339(filter.since),
        until: rfc3339(until),
        group_by,
        data: groups.iter().map(GroupView::of).collect(),
    }))
}

impl<'s> GroupView<'s> {
    fn of(stats: &'s Stats) -> Self {
        // A message that is scheduled is in no state yet, and what is being sent is told of by itself.
        let told = [RecipientStatus::Scheduled, RecipientStatus::Sending];
        let states = RecipientStatus::ALL.iter().filter(|status| !told.contains(status));
        Self {
            group: stats.group.as_deref(),
            messages: stats.messages,
            recipients: stats.recipients,
            counts: states
                .map(|status| (status.name(), stats.by_status.get(status.name()).copied().unwrap_or(0)))
                .collect(),
            bounces: &stats.bounces,
            latency_seconds: stats.latency.map(|[p50, p95, p99]| LatencyView { p50, p95, p99 }),
        }
    }
}
