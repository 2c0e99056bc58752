//! How mail may flow, as data: routes, limits of next hops, source addresses with their pools and warm-up.
//!
//! Read from TOML (`delivery.shaping_file`) over the built-in limits of the large providers (`limits.toml`); every
//! key known, every fault named. Pure: who holds these rules asks them, and nothing here acts.

mod limits;
mod routes;
mod sources;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use limits::{Limits, NextHop, Rate};
use routes::ProjectName;
pub use routes::{Choice, RouteRule};
pub use sources::{Candidate, NoSourceReason, Pool, SourceRule, Warmup, choose};

use crate::domain::id::ProjectId;
use crate::domain::route::toml_fault;
use limits::LimitRules;

const BUILT_IN: &str = include_str!("limits.toml");

/// The pool that is used where no route names one.
pub const DEFAULT_POOL: &str = "default";

/// A shaping file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapingError(String);

impl ShapingError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    limits: LimitRules,
    #[serde(default)]
    sources: BTreeMap<String, SourceRule>,
    #[serde(default)]
    pools: BTreeMap<String, Pool>,
    #[serde(default)]
    warmups: BTreeMap<String, Warmup>,
    #[serde(default)]
    routes: Vec<RouteRule>,
}

/// The rules in force.
#[derive(Debug)]
pub struct Shaping {
    file: File,
    built_in: LimitRules,
    base: Limits,
}

impl Shaping {
    /// `text` over the built-in limits over `base`, which the configuration gives.
    pub fn new(text: &str, base: Limits) -> Result<Self, ShapingError> {
        let parse = |text: &str| -> Result<File, ShapingError> {
            toml::from_str(text).map_err(|error: toml::de::Error| {
                ShapingError::new(toml_fault(text, error.span().map(|span| span.start), error.message()))
            })
        };
        let (built_in, file) = (parse(BUILT_IN)?.limits, parse(text)?);
        check(&file)?;
        Ok(Self { file, built_in, base })
    }

    /// The limits of a next hop: what the file says of the domain counts more than of the MX group, that more than
    /// of the provider, that more than the defaults; the file more than what is built in.
    pub fn limits(&self, hop: NextHop<'_>) -> Limits {
        self.file.limits.over(self.built_in.over(self.base, hop), hop)
    }

    /// Whether a rule speaks of this very domain.
    pub fn has_own_limits(&self, domain: &str) -> bool {
        self.file.limits.names_domain(domain)
    }

    /// The first route for mail of this project to this domain; `None`: the configured one.
    pub fn route(&self, project: ProjectId, domain: &str) -> Option<&RouteRule> {
        self.file.routes.iter().find(|rule| rule.matches(project, domain))
    }

    /// Whether the way that mail takes may depend on the recipient's domain.
    pub fn depends_on_domain(&self) -> bool {
        !self.file.routes.is_empty() || !self.file.pools.is_empty()
    }

    /// Names of projects that routes and pools use, until [`Shaping::name_project`] gives their ids.
    pub fn unnamed_projects(&self) -> Vec<String> {
        let of_routes = self.file.routes.iter().filter_map(|rule| rule.project.as_ref());
        let of_pools = self.file.pools.values().flat_map(|pool| pool.projects.iter().flatten());
        of_routes.chain(of_pools).filter_map(ProjectName::unknown).map(str::to_owned).collect()
    }

    /// Tells which project a name is.
    pub fn name_project(&mut self, name: &str, id: ProjectId) {
        let of_routes = self.file.routes.iter_mut().filter_map(|rule| rule.project.as_mut());
        let of_pools = self.file.pools.values_mut().flat_map(|pool| pool.projects.iter_mut().flatten());
        for named in of_routes.chain(of_pools) {
            named.tell(name, id);
        }
    }

    /// The sources of a pool with their weights; none when no pool of that name exists.
    pub fn candidates(&self, pool: &str) -> Vec<Candidate<'_>> {
        let Some(pool) = self.file.pools.get(pool) else { return Vec::new() };
        let member = |(name, weight): (&'_ String, &u32)| {
            let (name, rule) = self.file.sources.get_key_value(name)?;
            Some(Candidate { name, rule, weight: *weight, steps: self.steps(rule) })
        };
        pool.members.iter().filter_map(member).collect()
    }

    /// The steps by which a source is warmed up; `None`: it is warm.
    pub fn steps(&self, rule: &SourceRule) -> Option<&[u64]> {
        rule.warmup.as_ref().and_then(|name| self.file.warmups.get(name)).map(|warmup| warmup.days.as_slice())
    }

    /// Every source, for those who look after them.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceRule)> {
        self.file.sources.iter().map(|(name, rule)| (name.as_str(), rule))
    }

    /// Whether there is a pool of that name for that project; the default one is everybody's, if only as the system's choice of
    /// address.
    pub fn has_pool(&self, name: &str, project: ProjectId) -> bool {
        let is_for = |pool: &Pool| pool.projects.as_ref().is_none_or(|some| some.iter().any(|named| named.is(project)));
        name == DEFAULT_POOL || self.file.pools.get(name).is_some_and(is_for)
    }

    /// The providers that the file has limits for.
    pub fn limited_providers(&self) -> impl Iterator<Item = &str> {
        self.file.limits.providers()
    }
}

fn check(file: &File) -> Result<(), ShapingError> {
    for (name, pool) in &file.pools {
        if name == DEFAULT_POOL && pool.projects.is_some() {
            return Err(ShapingError::new(format!("pools.{name}: it is everybody's, and can have no projects")));
        }
        if pool.members.values().sum::<u32>() == 0 {
            return Err(ShapingError::new(format!("pools.{name}: needs a member with a weight")));
        }
        if let Some(member) = pool.members.keys().find(|member| !file.sources.contains_key(*member)) {
            return Err(ShapingError::new(format!("pools.{name}: there is no source '{member}'")));
        }
    }
    for (name, source) in &file.sources {
        match &source.warmup {
            Some(warmup) if !file.warmups.contains_key(warmup) => {
                return Err(ShapingError::new(format!("sources.{name}: there is no warm-up '{warmup}'")));
            }
            _ => {}
        }
    }
    for (name, warmup) in &file.warmups {
        if warmup.days.is_empty() {
            return Err(ShapingError::new(format!("warmups.{name}: needs at least one step")));
        }
    }
    let routed = file.routes.iter().enumerate().filter_map(|(n, rule)| Some((n, rule.pool.as_ref()?)));
    for (number, pool) in routed {
        if !file.pools.contains_key(pool) {
            return Err(ShapingError::new(format!("routes[{number}]: there is no pool '{pool}'")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
