//! `GET /v1/domain-pools/{name}`

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::api::auth::Authed;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Api, Shared, ok_json};
use crate::domain::access::{Caller, Mode};
use crate::domain::clock::rfc3339;
use crate::domain::id::DomainId;
use crate::domain::sending_domain::DomainState;
use crate::domain::warmup::{DOMAIN_STEPS, WarmupKind};
use crate::store::StoreError;
use crate::store::accounts::domain_pools::{PoolMember, StoredPool};

/// The schema `DomainPool`.
#[derive(Serialize)]
pub(super) struct PoolView {
    name: String,
    members: Vec<MemberView>,
    created_at: String,
    updated_at: String,
}

/// The schema `DomainPoolMember`.
#[derive(Serialize)]
struct MemberView {
    domain: String,
    domain_id: DomainId,
    weight: u32,
    warmup: bool,
    state: DomainState,
    listed: bool,
    receivers: Vec<ReceiverView>,
}

/// The schema `DomainWarmup`.
#[derive(Serialize)]
struct ReceiverView {
    receiver: String,
    step: u16,
    steps: usize,
    /// `None`: any number.
    allowance: Option<u64>,
    sent_today: u64,
}

/// Pools as they are shown, with how far their members have come.
pub(super) async fn shown(api: &Api, pools: Vec<StoredPool>) -> Result<Vec<PoolView>, StoreError> {
    let today = api.clock.now().date();
    let members = pools.iter().flat_map(|pool| &pool.members);
    let mut warming: Vec<_> = members.filter(|member| member.warms_up).map(|member| member.id.to_string()).collect();
    warming.sort_unstable();
    warming.dedup();
    let (progress, sent) = match warming.as_slice() {
        [] => (HashMap::new(), HashMap::new()),
        some => (
            api.store.list_warmups(WarmupKind::Domain, some).await?,
            api.store.list_warmup_usage(WarmupKind::Domain, today, Some(some)).await?,
        ),
    };
    let of_member = |member: PoolMember| {
        let id = member.id.to_string();
        let pairs = sent.keys().chain(progress.keys()).filter(|(subject, _)| *subject == id);
        let mut receivers: Vec<_> = pairs.map(|(_, receiver)| receiver.clone()).collect();
        receivers.sort_unstable();
        receivers.dedup();
        let of_receiver = |receiver: String| {
            let pair = (id.clone(), receiver);
            let come = progress.get(&pair).copied().unwrap_or_default();
            ReceiverView {
                step: come.step,
                steps: DOMAIN_STEPS.len(),
                allowance: come.allowance(&DOMAIN_STEPS, today),
                sent_today: sent.get(&pair).copied().unwrap_or(0),
                receiver: pair.1,
            }
        };
        MemberView {
            domain: member.name,
            domain_id: member.id,
            weight: member.weight,
            warmup: member.warms_up,
            state: member.state,
            listed: member.is_listed,
            receivers: if member.warms_up { receivers.into_iter().map(of_receiver).collect() } else { Vec::new() },
        }
    };
    let of_pool = |pool: StoredPool| PoolView {
        name: pool.name,
        members: pool.members.into_iter().map(of_member).collect(),
        created_at: rfc3339(pool.created_at),
        updated_at: rfc3339(pool.updated_at),
    };
    Ok(pools.into_iter().map(of_pool).collect())
}

/// The pool as it is now.
pub(super) async fn find(api: &Api, caller: &Caller, name: &str) -> Result<PoolView, Problem> {
    let pools = match caller.mode {
        Mode::Live => api.store.list_pools(caller.project, Some(name)).await?,
        Mode::Test => Vec::new(),
    };
    shown(api, pools).await?.pop().ok_or_else(Problem::not_found)
}

/// One pool, with how far its members have come.
pub async fn get(
    State(api): Shared,
    authed: Authed,
    PathId(name): PathId,
    params: Params,
) -> Result<Response, Problem> {
    let caller = super::caller(&api, authed, params).await?;
    Ok(ok_json(&find(&api, &caller, super::named(name)?.as_str()).await?))
}
