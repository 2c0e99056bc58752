//! Source addresses: which one a delivery leaves from. Sticky, so that a greylisting server sees the same one
//! again; by weight; past those that are drained, set aside, or have sent all that their warm-up allows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de::Error as _};
use time::Date;
use time::macros::format_description;

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
    /// Its first day.
    #[serde(default, deserialize_with = "date")]
    pub since: Option<Date>,
}

/// Messages that an address may send to one provider in a day, from its first day on; after the last, any number.
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
    pub warmup: Option<&'a Warmup>,
}

impl Candidate<'_> {
    /// What it may send to one provider on that day; `None` is any number.
    pub fn allowance(&self, today: Date) -> Option<u64> {
        let (warmup, since) = (self.warmup?, self.rule.since?);
        let day = usize::try_from((today - since).whole_days()).unwrap_or(0);
        warmup.days.get(day).copied()
    }

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
    order.sort_by(|a, b| score(b, domain).total_cmp(&score(a, domain)));
    if order.is_empty() {
        return Err(NoSourceReason::None);
    }
    order.retain(|candidate| !is_set_aside(candidate));
    if order.is_empty() {
        return Err(NoSourceReason::SetAside);
    }
    order.into_iter().find(|candidate| has_allowance(candidate)).ok_or(NoSourceReason::WarmedOut)
}

/// Weighted rendezvous: the greatest of `-weight / ln(hash)`.
fn score(candidate: &Candidate<'_>, domain: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in candidate.name.bytes().chain([0]).chain(domain.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV's high bits are poor for short texts.
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= hash >> 29;
    let unit = ((hash >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    f64::from(candidate.weight) / -unit.min(1.0 - f64::EPSILON).ln()
}
