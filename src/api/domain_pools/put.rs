//! `PUT /v1/domain-pools/{name}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::get::find;
use crate::api::auth::Authed;
use crate::api::body::UnreadBody;
use crate::api::domains::live;
use crate::api::page::{Params, PathId};
use crate::api::problem::Problem;
use crate::api::{Shared, ok_json};
use crate::domain::address::parse_domain;
use crate::domain::draft::PoolName;
use crate::domain::fault::{Fault, FaultCode, Flaw};
use crate::request::fields::{Fields, wrong_type};
use crate::store::accounts::domain_pools::{NewMember, POOLS_MAX};

/// Most domains of a pool.
const MEMBERS_MAX: usize = 100;
/// The greatest weight.
const WEIGHT_MAX: u32 = 1000;

/// Makes a pool of the project's domains, or says anew what is in it.
pub async fn put(
    State(api): Shared,
    authed: Authed,
    PathId(name): PathId,
    params: Params,
    body: UnreadBody,
) -> Result<Response, Problem> {
    let caller = live(super::caller(&api, authed, params).await?)?;
    let body = body.object(&api).await?;
    let name = PoolName::parse(name).map_err(|flaw| Problem::validation(vec![flaw.at("")]))?;
    let mut faults = Vec::new();
    let mut fields = Fields::new(body.map, "", &mut faults);
    let members = members(&mut fields);
    fields.finish();
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let names: Vec<_> = members.iter().map(|member| member.name.clone()).collect();
    let known = api.store.known_domains(caller.project, &names).await?;
    for (at, member) in members.iter().enumerate() {
        if !known.contains(&member.name) {
            let detail = format!("{} is not a domain of this project: add it by POST /v1/domains", member.name);
            faults.push(Fault::new(format!("/members/{at}/domain"), FaultCode::UnknownDomain, detail));
        }
    }
    if !faults.is_empty() {
        return Err(Problem::validation(faults));
    }
    let Some(is_new) = api.store.put_pool(caller.project, name.as_str(), &members).await? else {
        let detail = format!("the project has {POOLS_MAX} pools, as many as it may");
        return Err(Problem::validation(vec![Fault::new("", FaultCode::TooMany, detail)]));
    };
    api.door.pools.forget(caller.project, &name);
    let shown = ok_json(&find(&api, &caller, name.as_str()).await?);
    Ok(if is_new { (StatusCode::CREATED, shown).into_response() } else { shown })
}

fn members(fields: &mut Fields<'_>) -> Vec<NewMember> {
    if !fields.has("members") {
        fields.fault("members", FaultCode::Required, "must be given");
    }
    let Some(items) = fields.list("members") else { return Vec::new() };
    if items.is_empty() || items.len() > MEMBERS_MAX {
        let detail = format!("{} domains; a pool has 1 to {MEMBERS_MAX}", items.len());
        fields.fault("members", FaultCode::TooMany, detail);
        return Vec::new();
    }
    let mut members: Vec<NewMember> = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let pointer = format!("/members/{at}");
        match item {
            Value::Object(map) => {
                let mut fields = Fields::new(map, pointer, fields.faults);
                if let Some(member) = member(&mut fields) {
                    if members.iter().any(|other| other.name == member.name) {
                        fields.fault("domain", FaultCode::Conflict, "it is in the pool already");
                    }
                    members.push(member);
                }
                fields.finish();
            }
            other => fields.faults.push(wrong_type(pointer, "an object", &other)),
        }
    }
    members
}

fn member(fields: &mut Fields<'_>) -> Option<NewMember> {
    if !fields.has("domain") {
        fields.fault("domain", FaultCode::Required, "must be given");
    }
    let text = fields.string("domain");
    let invalid = || Flaw::new(FaultCode::InvalidDomain, "must be a domain such as example.com");
    let name = text.and_then(|text| fields.sound("domain", parse_domain(text.trim()).map_err(|_| invalid())));
    let weight = fields.integer("weight").unwrap_or(1);
    let beyond = || Flaw::new(FaultCode::InvalidLimit, format!("must be from 1 to {WEIGHT_MAX}"));
    let weight = fields.sound(
        "weight",
        u32::try_from(weight).ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight)).ok_or_else(beyond),
    );
    let warms_up = fields.bool("warmup").unwrap_or_default();
    Some(NewMember { name: name?, weight: weight?, warms_up })
}
