//! `GET /v1/domains/{id}`

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::list::DomainInListView;
use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::dkim::Algorithm;
use crate::domain::sending_domain::standing::PATIENCE;
use crate::domain::sending_domain::{
    DomainState, KeySlot, Purpose, RecordCheck, RecordType, Told, Vantage, WantedRecord,
};
use crate::identity::DomainInFull;
use crate::store::accounts::dkim_keys::StoredDkimKey;

/// How long the record of a key that signs no more has to stay: what it signed may still be on its way, or be looked at.
const REMOVABLE_AFTER: time::Duration = time::Duration::days(7);

/// The schema `Domain`.
#[derive(Serialize)]
pub(super) struct DomainView<'d> {
    #[serde(flatten)]
    domain: DomainInListView<'d>,
    fails_at: Option<String>,
    delegated: bool,
    rotate_days: Option<i32>,
    return_path: Option<String>,
    return_path_in_use: bool,
    link_host: Option<String>,
    link_host_in_use: bool,
    records: Vec<RecordView<'d>>,
    keys: Vec<KeyView<'d>>,
    dmarc: &'d Option<serde_json::Value>,
}

/// The schema `DomainRecord`.
#[derive(Serialize)]
struct RecordView<'d> {
    purpose: Purpose,
    host: &'d str,
    r#type: RecordType,
    value: &'d str,
    required: bool,
    finding: &'static str,
    reason: Option<&'d str>,
    since: Option<String>,
    observed: Vec<ObservedView<'d>>,
}

#[derive(Serialize)]
struct ObservedView<'d> {
    from: &'d Vantage,
    server: &'d str,
    /// `null`: no answer.
    values: Option<&'d [String]>,
    error: Option<&'d str>,
}

/// The schema `DomainKey`.
#[derive(Serialize)]
struct KeyView<'d> {
    selector: &'d str,
    algorithm: &'static str,
    state: KeySlot,
    created_at: String,
    signs_since: Option<String>,
    retired_at: Option<String>,
    removable_at: Option<String>,
}

/// The domain, its records and what was seen of them.
pub async fn get(State(api): Shared, authed: Authed, PathId(id): PathId, params: Params) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    let found = super::find_in_full(&api, &caller, &id).await?;
    Ok(ok_json(&DomainView::of(&found)))
}

impl<'d> DomainView<'d> {
    pub(super) fn of(found: &'d DomainInFull) -> Self {
        let domain = &found.domain;
        let is_warned = domain.standing.state == DomainState::Warning;
        let of = |purpose| found.records.iter().find(|record| record.purpose == purpose);
        let (return_path, link_host) = (of(Purpose::ReturnPath), of(Purpose::Tracking));
        Self {
            domain: DomainInListView::of(domain),
            fails_at: domain.standing.wrong_since.filter(|_| is_warned).map(|since| rfc3339(since + PATIENCE)),
            delegated: domain.is_delegated,
            rotate_days: domain.rotate_days,
            return_path: return_path.map(|record| record.host.clone()),
            return_path_in_use: domain.standing.has_return_path && return_path.is_some(),
            link_host: link_host.map(|record| record.host.clone()),
            link_host_in_use: domain.standing.has_link_host && link_host.is_some(),
            records: found
                .records
                .iter()
                .map(|record| RecordView::of(record, domain.standing.check_of(&record.host)))
                .collect(),
            keys: found.keys.iter().map(KeyView::of).collect(),
            dmarc: &domain.dmarc,
        }
    }
}

impl<'d> RecordView<'d> {
    fn of(record: &'d WantedRecord, check: Option<&'d RecordCheck>) -> Self {
        let observed = check.into_iter().flat_map(|check| &check.sightings).map(|sighting| ObservedView {
            from: &sighting.vantage,
            server: &sighting.server,
            values: match &sighting.told {
                Told::Values(values) => Some(values),
                Told::Absent => Some(&[]),
                Told::Unknown(_) => None,
            },
            error: match &sighting.told {
                Told::Unknown(why) => Some(why),
                _ => None,
            },
        });
        Self {
            purpose: record.purpose,
            host: &record.host,
            r#type: record.record_type,
            value: &record.value,
            required: record.is_required,
            finding: check.map_or("unknown", |check| check.finding.name()),
            reason: check.and_then(|check| check.finding.reason()),
            since: check.map(|check| rfc3339(check.since)),
            observed: observed.collect(),
        }
    }
}

impl<'d> KeyView<'d> {
    fn of(key: &'d StoredDkimKey) -> Self {
        let removable = |at: Timestamp| rfc3339(at + REMOVABLE_AFTER);
        Self {
            selector: &key.selector,
            algorithm: Algorithm::name(key.algorithm),
            state: key.slot(),
            created_at: rfc3339(key.created_at),
            signs_since: key.signs_since.map(rfc3339),
            retired_at: key.retired_at.map(rfc3339),
            removable_at: key.retired_at.map(removable),
        }
    }
}
