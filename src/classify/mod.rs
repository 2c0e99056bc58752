//! Judges replies by an ordered, versioned rule pack, which is read as data.
//!
//! Takes a reply, the stage at which it came and the provider that sent it; returns class, action, rule and
//! confidence. Pure: no network, no store, no clock. The built-in pack is `pack.toml`; an operator's rules stand
//! before it. `corpus.txt`, several hundred replies as receivers really write them, is its test.

mod pack;
mod pattern;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::class::{Class, OwnClass};
use crate::domain::judgement::{Action, Disposition, Judgement, LaneAction};
use crate::domain::reply::Reply;
use crate::domain::retry::{Hint, Jitter, Schedule};
use crate::domain::stage::Stage;
use pack::{Pack, Provider, Rule};

pub use pack::PackError;

/// The schedule of classes that name none, and of trouble that no reply explains.
pub const DEFAULT_SCHEDULE: &str = "default";
/// The schedule of trouble on the way to a server: what failed together must not return together.
pub const OUTAGE_SCHEDULE: &str = "outage";
/// The name of hosts that no provider claims.
pub const OTHER: &str = "other";

/// The built-in pack.
const BUILT_IN: &str = include_str!("pack.toml");

/// Replies judged, next hops told apart.
#[derive(Debug)]
pub struct Classifier {
    packs: Vec<Pack>,
    /// `delivery.retry`: the delays of every built-in schedule, when the operator gave them.
    delays: Option<Vec<Duration>>,
}

impl Classifier {
    /// The built-in pack behind the operator's `rules` (TOML), if there are any. `delays` replace those of the
    /// built-in schedules; schedules that `rules` define keep theirs.
    pub fn new(rules: Option<&str>, delays: Option<Vec<Duration>>) -> Result<Self, PackError> {
        let mut packs = Vec::with_capacity(2);
        if let Some(rules) = rules {
            packs.push(Pack::parse(rules)?);
        }
        packs.push(Pack::parse(BUILT_IN)?);
        let classifier = Self { packs, delays };
        classifier.check()?;
        Ok(classifier)
    }

    /// The versions in force, the operator's first.
    pub fn version(&self) -> String {
        self.packs.iter().map(|pack| pack.version.as_str()).collect::<Vec<_>>().join("+")
    }

    /// The provider whose host this is, by the names of its MX hosts.
    pub fn provider_of_host(&self, host: &str) -> Option<&str> {
        self.providers().find(|(_, provider)| provider.has_host(host)).map(|(name, _)| name)
    }

    /// The provider of a recipient's domain, where the domain itself tells.
    pub fn provider_of_domain(&self, domain: &str) -> Option<&str> {
        self.providers().find(|(_, provider)| provider.domains.iter().any(|d| d == domain)).map(|(name, _)| name)
    }

    /// Whether the rules know a provider of that name.
    pub fn has_provider(&self, name: &str) -> bool {
        self.providers().any(|(known, _)| known == name)
    }

    /// Whether all hosts of a provider are one next hop for limits.
    pub fn is_rolled_up(&self, provider: &str) -> bool {
        self.providers().any(|(name, found)| name == provider && found.rollup)
    }

    fn providers(&self) -> impl Iterator<Item = (&str, &Provider)> {
        self.packs.iter().flat_map(|pack| pack.providers.iter().map(|(name, provider)| (name.as_str(), provider)))
    }

    /// The judgement of a reply that refused; every reply gets one. A 4yz never ends a delivery unless a rule says
    /// so itself, and a reply that is neither 4yz nor 5yz is no verdict on anybody.
    pub fn judge(&self, stage: Stage, provider: Option<&str>, reply: &Reply) -> Judgement {
        let text = reply.text.to_lowercase();
        let rules = self.packs.iter().flat_map(|pack| &pack.rules);
        let found = rules.into_iter().find(|rule| rule.matches(stage, provider, reply, &text));
        match found {
            Some(rule) if matches!(reply.code / 100, 4 | 5) => self.by_rule(rule, reply, &text),
            _ => Judgement::plain(Disposition::Defer, OwnClass::Protocol),
        }
    }

    fn by_rule(&self, rule: &Rule, reply: &Reply, text: &str) -> Judgement {
        let class = self.class(rule.class.name());
        let disposition = match (rule.outcome, reply.is_permanent()) {
            (Some(disposition), _) => disposition,
            (None, true) => class.map_or(Disposition::Bounce, |class| class.outcome),
            (None, false) => Disposition::Defer,
        };
        let schedule = rule.schedule.as_deref().or(class.map(|class| class.schedule.as_str()));
        let suppress = rule.suppress.unwrap_or_else(|| class.is_some_and(|class| class.suppress));
        Judgement {
            class: rule.class.clone(),
            disposition,
            rule: Some(rule.id.as_str().into()),
            confidence: rule.confidence,
            action: Action {
                schedule: schedule.unwrap_or(DEFAULT_SCHEDULE).to_owned().into(),
                lane: rule.lane.unwrap_or_else(|| class.map_or(LaneAction::Keep, |class| class.lane)),
                switch_source: rule.switch_source.unwrap_or_else(|| class.is_some_and(|class| class.switch_source)),
                suppress: suppress && disposition == Disposition::Bounce,
                of_sender: class.is_some_and(|class| class.of_sender),
                retry_after: Hint::of(text).map(|hint| hint.0).or(rule.retry_after.map(|span| span.0)),
            },
        }
    }

    fn class(&self, name: &str) -> Option<&pack::ClassText> {
        self.packs.iter().find_map(|pack| pack.classes.get(name))
    }

    /// What a class means, in words.
    pub fn about(&self, class: &str) -> Option<&str> {
        match OwnClass::parse(class) {
            Some(own) => Some(own.about()),
            None => self.class(class).map(|class| class.about.as_str()),
        }
    }

    /// The schedule of that name, or the default one.
    pub fn schedule(&self, name: &str) -> Schedule {
        let of = |name: &str| self.packs.iter().enumerate().find_map(|(n, pack)| Some((n, pack.schedules.get(name)?)));
        let Some((place, found)) = of(name).or_else(|| of(DEFAULT_SCHEDULE)) else { return Schedule::fallback() };
        let is_built_in = place + 1 == self.packs.len();
        match &self.delays {
            Some(delays) if is_built_in => Schedule::new(delays.clone(), found.jitter.unwrap_or(Jitter::DEFAULT)),
            _ => Schedule::new(
                found.delays.iter().map(|delay| delay.0).collect(),
                found.jitter.unwrap_or(Jitter::DEFAULT),
            ),
        }
        .unwrap_or_else(|_| Schedule::fallback())
    }

    /// Every class and schedule that a rule names must exist in one of the packs, or be one of ours that rules may use.
    fn check(&self) -> Result<(), PackError> {
        for pack in &self.packs {
            for rule in &pack.rules {
                self.check_class(&rule.class).map_err(|why| PackError(format!("rule '{}': {why}", rule.id)))?;
                for provider in rule.provider.iter().flat_map(pack::Names::iter) {
                    if !self.providers().any(|(name, _)| name == provider) {
                        return Err(PackError(format!("rule '{}': there is no provider '{provider}'", rule.id)));
                    }
                }
            }
            let of_rules = pack.rules.iter().filter_map(|rule| rule.schedule.as_ref().map(|s| (&rule.id, s)));
            let of_classes = pack.classes.iter().map(|(name, class)| (name, &class.schedule));
            for (name, schedule) in of_rules.chain(of_classes) {
                if !self.packs.iter().any(|pack| pack.schedules.contains_key(schedule)) {
                    return Err(PackError(format!("'{name}': there is no schedule '{schedule}'")));
                }
            }
        }
        Ok(())
    }
}

impl Classifier {
    fn check_class(&self, class: &Class) -> Result<(), String> {
        match class {
            Class::Own(own) if own.is_for_rules() => Ok(()),
            Class::Own(own) => Err(format!("class '{own}' is the service's own")),
            Class::Pack(name) if self.class(name).is_none() => Err(format!("there is no class '{name}'")),
            Class::Pack(_) => Ok(()),
        }
    }
}

impl Default for Classifier {
    /// The built-in pack alone; a test holds that it can be read.
    fn default() -> Self {
        Self::new(None, None).unwrap_or_else(|_| Self { packs: Vec::new(), delays: None })
    }
}

/// A classifier that may be replaced while others judge by it.
pub type Shared = Arc<Classifier>;

#[cfg(test)]
mod tests;
