//! Which address of ours a delivery leaves from, now: the pool's sticky order, past addresses that a next hop has
//! refused a moment ago and those whose warm-up is used up. What each has sent today is shared by all processes.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::Date;
use tokio::time::Instant;

use crate::classify::OTHER;
use crate::domain::bounded::make_room;
use crate::domain::hold::HoldReason;
use crate::domain::target::{SYSTEM_SOURCE, Source, Target};
use crate::routing::{PolicySnapshot, RoutePlan};
use crate::shaping::{NoSourceReason, choose};

/// Time for which an address is not used for a next hop that wants no mail from it.
const ASIDE: Duration = Duration::from_mins(10);
/// Time after which a delivery is tried again when every address is set aside or used up.
const USED_UP: Duration = Duration::from_mins(5);
/// Pairs that are remembered.
const ASIDE_MAX: usize = 10_000;

/// Source and provider.
pub type Pair = (String, String);

/// What was sent from where, and what was set aside.
pub struct Sources {
    /// The system's choice of address, for when no pool is configured.
    system: Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Source and MX group, until when.
    aside: HashMap<(String, String), Instant>,
    day: Option<Date>,
    /// What all processes had sent on that day when they were asked last.
    known: HashMap<Pair, u64>,
    /// What this one has sent since, less what it counted and did not send.
    fresh: HashMap<Pair, i64>,
    /// Processes that share what is left.
    processes: u64,
}

/// Nothing can leave for now.
#[derive(Debug, Clone, Copy)]
pub struct NoSource {
    pub until: Instant,
    pub why: HoldReason,
}

/// A source that one message was counted against. Dropped before [`CountedSource::spend`], it is given back.
pub struct CountedSource<'a> {
    source: Source,
    sources: &'a Sources,
    routed: &'a RoutePlan,
    day: Date,
    is_spent: bool,
}

impl CountedSource<'_> {
    /// A server heard of the message: it counts.
    pub const fn spend(&mut self) {
        self.is_spent = true;
    }
}

impl Deref for CountedSource<'_> {
    type Target = Source;

    fn deref(&self) -> &Source {
        &self.source
    }
}

impl Drop for CountedSource<'_> {
    fn drop(&mut self) {
        if !self.is_spent {
            self.sources.give_back(&self.source.name, self.routed, self.day);
        }
    }
}

impl Sources {
    pub fn new(hello: String) -> Self {
        let system = Source { name: SYSTEM_SOURCE.to_owned(), ip: None, hello };
        Self { system, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source for mail to `domain` by that route, counted against its warm-up.
    pub fn choose<'a>(
        &'a self,
        plan: &PolicySnapshot,
        routed: &'a RoutePlan,
        pool: Option<&str>,
        domain: &str,
        today: Date,
    ) -> Result<CountedSource<'a>, NoSource> {
        let source = self.pick(plan, routed, pool, domain, today)?;
        Ok(CountedSource { source, sources: self, routed, day: today, is_spent: false })
    }

    fn pick(
        &self,
        plan: &PolicySnapshot,
        routed: &RoutePlan,
        pool: Option<&str>,
        domain: &str,
        today: Date,
    ) -> Result<Source, NoSource> {
        let candidates = plan.shaping.candidates(pool.unwrap_or(&routed.pool));
        if candidates.is_empty() {
            return Ok(self.system.clone());
        }
        let provider = routed.provider.as_deref().unwrap_or(OTHER);
        let mut state = self.state();
        state.begin(today);
        let now = Instant::now();
        let chosen = choose(
            &candidates,
            domain,
            |candidate| reaches_any(&candidate.source(), &routed.targets),
            |candidate| state.is_aside(candidate.name, &routed.group, now),
            |candidate| candidate.allowance(today).is_none_or(|most| state.spent(candidate.name, provider) < most),
        );
        match chosen {
            Ok(candidate) => {
                if candidate.allowance(today).is_some() {
                    *state.fresh.entry((candidate.name.to_owned(), provider.to_owned())).or_default() += 1;
                }
                Ok(candidate.source())
            }
            Err(wish) => {
                let why = match wish {
                    NoSourceReason::WarmedOut => HoldReason::Warmup,
                    NoSourceReason::SetAside => HoldReason::Aside,
                    NoSourceReason::None => HoldReason::NoSource,
                };
                Err(NoSource { until: now + USED_UP, why })
            }
        }
    }

    fn give_back(&self, source: &str, routed: &RoutePlan, today: Date) {
        let mut state = self.state();
        if state.day != Some(today) || (state.fresh.is_empty() && state.known.is_empty()) {
            return;
        }
        let pair = (source.to_owned(), routed.provider.as_deref().unwrap_or(OTHER).to_owned());
        // A source without a warm-up was never counted.
        if state.fresh.contains_key(&pair) || state.known.contains_key(&pair) {
            *state.fresh.entry(pair).or_default() -= 1;
        }
    }

    /// The next mail to that group leaves from another address.
    pub fn set_aside(&self, source: &str, group: &str) {
        let mut state = self.state();
        let now = Instant::now();
        make_room(&mut state.aside, ASIDE_MAX, |until| *until > now);
        state.aside.insert((source.to_owned(), group.to_owned()), now + ASIDE);
    }

    /// What was sent since the last call, to be added to what all have sent.
    pub fn take_fresh(&self, today: Date) -> Vec<(Pair, i64)> {
        let mut state = self.state();
        state.begin(today);
        let taken: Vec<_> = state.fresh.drain().collect();
        for (pair, count) in &taken {
            let known = state.known.entry(pair.clone()).or_default();
            *known = known.saturating_add_signed(*count);
        }
        taken
    }

    /// Has what was taken added again next time, since it could not be.
    pub fn put_back(&self, taken: Vec<(Pair, i64)>) {
        let mut state = self.state();
        for (pair, count) in taken {
            if let Some(known) = state.known.get_mut(&pair) {
                *known = known.saturating_add_signed(-count);
            }
            *state.fresh.entry(pair).or_default() += count;
        }
    }

    /// Takes over what all processes have sent today.
    pub fn learn(&self, totals: HashMap<Pair, u64>, processes: usize) {
        let mut state = self.state();
        state.known = totals;
        state.processes = processes as u64;
    }
}

impl State {
    fn begin(&mut self, today: Date) {
        if self.day != Some(today) {
            (self.day, self.known, self.fresh) = (Some(today), HashMap::new(), HashMap::new());
        }
    }

    fn is_aside(&self, source: &str, group: &str, now: Instant) -> bool {
        !self.aside.is_empty()
            && self.aside.get(&(source.to_owned(), group.to_owned())).is_some_and(|until| *until > now)
    }

    /// Messages sent, as far as is known; each process assumes that the others send as much as it does.
    fn spent(&self, source: &str, provider: &str) -> u64 {
        let pair = (source.to_owned(), provider.to_owned());
        let fresh = self.fresh.get(&pair).copied().unwrap_or(0);
        let processes = i64::try_from(self.processes.max(1)).unwrap_or(1);
        self.known.get(&pair).copied().unwrap_or(0).saturating_add_signed(fresh.saturating_mul(processes))
    }
}

/// Whether it can speak to one of the targets.
fn reaches_any(source: &Source, targets: &[std::sync::Arc<Target>]) -> bool {
    targets.iter().any(|target| source.reaches(target))
}
