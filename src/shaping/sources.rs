//! Source addresses: which one a delivery leaves from. Sticky, so that a greylisting server sees the same one
//! again; by weight; past those that are drained, set aside, or have sent all that their warm-up allows
//! ([`domain::warmup`](crate::domain::warmup)).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de::Error as _};
use time::Date;
use time::macros::format_description;

use super::routes::ProjectName;
use crate::domain::rendezvous;
use crate::domain::target::Source;

/// An address of ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRule {
    pub address: IpAddr,
    /// What EHLO says; its A or AAAA record should be the address, and the address's PTR record it.
    pub hello: String,
    /// No new message leaves from it.
    #[serde(default)]
    pub draining: bool,
    /// Name of its warm-up curve.
    #[serde(default)]
    pub warmup: Option<String>,
    /// The first day that counts for its warm-up: as far as is remembered when not given.
    #[serde(default, deserialize_with = "date")]
    pub since: Option<Date>,
}

/// Messages that an address may send to one provider in a day, at each step; after the last, any number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    pub days: Vec<u64>,
}

/// Sources and their weights.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub members: BTreeMap<String, u32>,
    /// Whose messages may ask for it; everybody's when not given.
    #[serde(default)]
    pub(super) projects: Option<Vec<ProjectName>>,
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = Date::parse(&text, format_description!("[year]-[month]-[day]"));
    parsed.map(Some).map_err(|_| D::Error::custom(format!("'{text}' is not a date such as 2026-11-25")))
}

/// A member of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub name: &'a str,
    pub rule: &'a SourceRule,
    pub weight: u32,
    /// The steps of its warm-up; `None`: it is warm.
    pub steps: Option<&'a [u64]>,
}

impl Candidate<'_> {
    pub fn source(&self) -> Source {
        Source { name: self.name.to_owned(), ip: Some(self.rule.address), hello: self.rule.hello.clone() }
    }
}

/// Why no source can be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSourceReason {
    /// Every source has sent what its warm-up allows today.
    WarmedOut,
    /// Every source is set aside for this next hop.
    SetAside,
    /// Every source is drained, or none speaks the family of the next hop's addresses.
    None,
}

/// The source for mail to `domain`: of those that may be used, the first in an order that follows from the domain and
/// the weights alone (weighted rendezvous), so that it stays the same while the pool does.
pub fn choose<'a>(
    candidates: &[Candidate<'a>],
    domain: &str,
    reaches: impl Fn(&Candidate<'a>) -> bool,
    is_set_aside: impl Fn(&Candidate<'a>) -> bool,
    has_allowance: impl Fn(&Candidate<'a>) -> bool,
) -> Result<Candidate<'a>, NoSourceReason> {
    let mut order: Vec<_> =
        candidates.iter().filter(|c| c.weight > 0 && !c.rule.draining && reaches(c)).copied().collect();
    rendezvous::sort(&mut order, domain, |candidate| (candidate.name, candidate.weight));
    if order.is_empty() {
        return Err(NoSourceReason::None);
    }
    order.retain(|candidate| !is_set_aside(candidate));
    if order.is_empty() {
        return Err(NoSourceReason::SetAside);
    }
    order.into_iter().find(|candidate| has_allowance(candidate)).ok_or(NoSourceReason::WarmedOut)
}
