//! The rule pack as it is written: TOML, every key known, every fault named by its rule.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Deserializer};

use super::pattern;
use crate::domain::address::is_within;
use crate::domain::class::{Class, OwnClass};
use crate::domain::judgement::{Disposition, LaneAction};
use crate::domain::reply::Reply;
use crate::domain::retry::Jitter;
use crate::domain::span::Span;
use crate::domain::stage::Stage;

/// A pack that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PackError(pub String);

/// One file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    pub version: String,
    #[serde(default)]
    pub schedules: BTreeMap<String, ScheduleText>,
    #[serde(default)]
    pub classes: BTreeMap<String, ClassText>,
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Delays between tries; the last one repeats.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleText {
    pub delays: Vec<Span>,
    #[serde(default)]
    pub jitter: Option<Jitter>,
}

/// What replies of a class lead to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassText {
    pub about: String,
    /// Of a 5yz; a 4yz defers.
    pub outcome: Disposition,
    #[serde(default = "default_schedule")]
    pub schedule: String,
    #[serde(default)]
    pub lane: LaneAction,
    #[serde(default)]
    pub switch_source: bool,
    /// It speaks of the sender.
    #[serde(default)]
    pub of_sender: bool,
    #[serde(default)]
    pub suppress: bool,
}

fn default_schedule() -> String {
    super::DEFAULT_SCHEDULE.to_owned()
}

/// Who runs many domains' mail servers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Names that an MX host is, or lies under.
    #[serde(default)]
    pub mx: Vec<String>,
    #[serde(default)]
    pub domains: Vec<String>,
    /// Whether all its hosts are one next hop for limits.
    #[serde(default)]
    pub rollup: bool,
}

impl Provider {
    /// Whether `host` is one of its MX hosts: the very name, or below it at a dot.
    pub fn has_host(&self, host: &str) -> bool {
        self.mx.iter().any(|name| is_within(host, name))
    }
}

/// One rule: everything that is given must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: String,
    #[serde(default)]
    pub provider: Option<Names>,
    #[serde(default)]
    pub code: Vec<String>,
    #[serde(default)]
    pub enhanced: Vec<String>,
    #[serde(default)]
    pub stage: Vec<String>,
    #[serde(default)]
    pub text: Vec<String>,
    pub class: Class,
    /// Percent.
    pub confidence: u8,
    #[serde(default)]
    pub outcome: Option<Disposition>,
    #[serde(default)]
    pub schedule: Option<String>,
    #[serde(default)]
    pub lane: Option<LaneAction>,
    #[serde(default)]
    pub switch_source: Option<bool>,
    #[serde(default)]
    pub suppress: Option<bool>,
    #[serde(default)]
    pub retry_after: Option<Span>,
}

/// One name, or several.
#[derive(Debug)]
pub struct Names(Vec<String>);

impl Names {
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            One(String),
            Several(Vec<String>),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::One(name) => vec![name],
            Form::Several(names) => names,
        }))
    }
}

impl Rule {
    /// Whether it speaks of this reply; `text` is the reply's in lower case.
    pub fn matches(&self, stage: Stage, provider: Option<&str>, reply: &Reply, text: &str) -> bool {
        let any = |list: &[String], holds: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|one| holds(one));
        let of_provider = |names: &Names| provider.is_some_and(|provider| names.iter().any(|name| name == provider));
        self.provider.as_ref().is_none_or(of_provider)
            && any(&self.code, &|one| pattern::code(one, reply.code))
            && any(&self.stage, &|one| one == stage.name())
            && any(&self.enhanced, &|one| reply.enhanced.is_some_and(|status| pattern::enhanced(one, status)))
            && any(&self.text, &|one| pattern::text(one, text))
    }

    fn check(&self) -> Result<(), String> {
        let one_of = |list: &[String], sound: fn(&str) -> bool| list.iter().find(|one| !sound(one)).cloned();
        if let Some(code) = one_of(&self.code, pattern::is_code) {
            return Err(format!("code '{code}' is not three digits, with y or z for any"));
        }
        if let Some(status) = one_of(&self.enhanced, pattern::is_enhanced) {
            return Err(format!("enhanced '{status}' is not a status such as 5.7.*"));
        }
        if let Some(stage) = one_of(&self.stage, |stage| Stage::parse(stage).is_some()) {
            return Err(format!("stage '{stage}' is none of {}", Stage::names()));
        }
        if let Some(text) = one_of(&self.text, |text| text.to_lowercase() == text) {
            return Err(format!("text '{text}' must be in lower case"));
        }
        if self.confidence > 100 {
            return Err(format!("confidence {} is over 100", self.confidence));
        }
        if self.code.is_empty() && self.enhanced.is_empty() && self.text.is_empty() {
            return Err("needs a code, an enhanced status or a text".to_owned());
        }
        Ok(())
    }
}

impl Pack {
    pub fn parse(text: &str) -> Result<Self, PackError> {
        let pack: Self = toml::from_str(text).map_err(|error| PackError(error.to_string().trim_end().to_owned()))?;
        let mut ids = HashSet::new();
        for rule in &pack.rules {
            if !ids.insert(&rule.id) {
                return Err(PackError(format!("rule '{}' stands twice", rule.id)));
            }
            rule.check().map_err(|why| PackError(format!("rule '{}': {why}", rule.id)))?;
        }
        if let Some(own) = pack.classes.keys().find_map(|name| OwnClass::parse(name)) {
            return Err(PackError(format!("class '{own}' is the service's own")));
        }
        match pack.schedules.iter().find(|(_, schedule)| schedule.delays.is_empty()) {
            Some((name, _)) => Err(PackError(format!("schedule '{name}' needs at least one delay"))),
            None => Ok(pack),
        }
    }
}
