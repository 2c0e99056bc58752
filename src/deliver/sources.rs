//! Which address of ours a delivery leaves from, now: the pool's sticky order, past addresses that a next hop has
//! refused a moment ago and those whose warm-up is used up. What each has sent today is shared by all processes.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::Date;
use tokio::time::Instant;

use crate::classify::OTHER;
use crate::domain::bounded::make_room;
use crate::domain::hold::HoldReason;
use crate::domain::outcome::{AttemptReport, OutcomeKind};
use crate::domain::target::{SYSTEM_SOURCE, Source, Target};
use crate::domain::warmup::{Ledger, Pair, Usage, Warming, WarmupKind};
use crate::routing::{PolicySnapshot, RoutePlan};
use crate::shaping::{Candidate, NoSourceReason, Shaping, SourceRule, choose};
use crate::store::{Store, StoreError};

/// Time for which an address is not used for a next hop that wants no mail from it.
const ASIDE: Duration = Duration::from_mins(10);
/// Time after which a delivery is tried again when every address is set aside.
const USED_UP: Duration = Duration::from_mins(5);
/// Pairs that are remembered.
const ASIDE_MAX: usize = 10_000;
/// Exhausted warm-ups that are remembered; what waits for others waits for the next day.
const EXHAUSTED_MAX: usize = 10_000;
/// Deliveries that are called back at once where a pool is not warmed up any more.
const REGAINED_MAX: u64 = 10_000;

/// What was sent from where, and what was set aside.
pub struct Sources {
    /// The system's choice of address, for when no pool is configured.
    system: Source,
    state: Mutex<State>,
    /// By source and provider.
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct State {
    /// Source and MX group, until when.
    aside: HashMap<(String, String), Instant>,
    /// What was judged last.
    judged: Vec<Warming>,
    /// Who found nothing left of a warm-up.
    exhausted: HashSet<Exhausted>,
}

/// A pool of addresses whose warm-up had no room for a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Exhausted {
    /// As the message asked for it.
    asked: Option<String>,
    /// As it is called.
    pool: String,
    receiver: String,
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
    /// Of a source that is warmed up, until a server heard of the message.
    counted: Option<Pair>,
    day: Date,
}

impl CountedSource<'_> {
    /// What a server made of the message counts; and so does the message, if the server heard of it.
    pub fn spend(&mut self, report: &AttemptReport) {
        let Some(pair) = &self.counted else { return };
        let of_sender = report.outcome.speaks_of_sender();
        let usage = match report.outcome.kind() {
            OutcomeKind::Accepted => Usage { accepted: 1, ..Usage::default() },
            OutcomeKind::Deferred if of_sender => Usage { deferred: 1, ..Usage::default() },
            OutcomeKind::Rejected if of_sender => Usage { refused: 1, ..Usage::default() },
            _ => Usage::default(),
        };
        if usage != Usage::default() {
            self.sources.ledger().add(pair.clone(), usage, self.day);
        }
        if !report.is_before_mail() {
            self.counted = None;
        }
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
        if let Some(pair) = self.counted.take() {
            self.sources.ledger().give_back(pair, 1, self.day);
        }
    }
}

impl Sources {
    pub fn new(hello: String) -> Self {
        let system = Source { name: SYSTEM_SOURCE.to_owned(), ip: None, hello };
        Self { system, state: Mutex::default(), ledger: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (source, counted) = self.pick(plan, routed, pool, domain, today)?;
        Ok(CountedSource { source, sources: self, counted, day: today })
    }

    fn pick(
        &self,
        plan: &PolicySnapshot,
        routed: &RoutePlan,
        pool: Option<&str>,
        domain: &str,
        today: Date,
    ) -> Result<(Source, Option<Pair>), NoSource> {
        let candidates = plan.shaping.candidates(pool.unwrap_or(&routed.pool));
        if candidates.is_empty() {
            return Ok((self.system.clone(), None));
        }
        let provider = routed.provider.as_deref().unwrap_or(OTHER);
        let (mut state, mut ledger) = (self.state(), self.ledger());
        ledger.begin(today);
        let pair = |name: &str| (name.to_owned(), provider.to_owned());
        let now = Instant::now();
        let chosen = choose(
            &candidates,
            domain,
            |candidate| reaches_any(&candidate.source(), &routed.targets),
            |candidate| state.is_aside(candidate.name, &routed.group, now),
            |candidate| candidate.steps.is_none_or(|steps| ledger.has_room(&pair(candidate.name), 1, steps, today)),
        );
        match chosen {
            Ok(candidate) => {
                let counted = candidate.steps.map(|_| pair(candidate.name));
                if let Some(pair) = counted.clone() {
                    ledger.add(pair, Usage::ONE, today);
                }
                Ok((candidate.source(), counted))
            }
            Err(wish) => {
                let why = match wish {
                    NoSourceReason::WarmedOut => {
                        if state.exhausted.len() < EXHAUSTED_MAX {
                            state.exhausted.insert(Exhausted {
                                asked: pool.map(str::to_owned),
                                pool: pool.unwrap_or(&routed.pool).to_owned(),
                                receiver: provider.to_owned(),
                            });
                        }
                        HoldReason::Warmup
                    }
                    NoSourceReason::SetAside => HoldReason::Aside,
                    NoSourceReason::None => HoldReason::NoSource,
                };
                Err(NoSource { until: now + USED_UP, why })
            }
        }
    }

    /// The next mail to that group leaves from another address.
    pub fn set_aside(&self, source: &str, group: &str) {
        let mut state = self.state();
        let now = Instant::now();
        make_room(&mut state.aside, ASIDE_MAX, |until| *until > now);
        state.aside.insert((source.to_owned(), group.to_owned()), now + ASIDE);
    }

    /// Pools, as messages ask for them, that had no room in their warm-ups and have some now, since others sent less than was
    /// taken for granted or the rules were changed; with the number of messages.
    pub fn take_regained(&self, shaping: &Shaping, today: Date) -> Vec<(Option<String>, u64)> {
        let (mut state, mut ledger) = (self.state(), self.ledger());
        ledger.begin(today);
        let mut regained: HashMap<Option<String>, u64> = HashMap::new();
        state.exhausted.retain(|Exhausted { asked, pool, receiver }| {
            let candidates = shaping.candidates(pool);
            let left = |candidate: &Candidate<'_>| {
                ledger.room(&(candidate.name.to_owned(), receiver.clone()), candidate.steps?, today)
            };
            let room: u64 = candidates.iter().map(|one| left(one).unwrap_or(REGAINED_MAX)).sum();
            let room = if candidates.is_empty() { REGAINED_MAX } else { room.min(REGAINED_MAX) };
            if room > 0 {
                *regained.entry(asked.clone()).or_default() += room;
            }
            room == 0
        });
        regained.into_iter().collect()
    }

    /// Tells what sources that are warmed up have sent; learns what the others have, and how far each has come.
    pub async fn report(
        &self,
        store: &Store,
        shaping: &Shaping,
        (today, processes): (Date, u64),
    ) -> Result<(), StoreError> {
        let warming = |(name, rule): (&str, &SourceRule)| {
            Some(Warming { subject: name.to_owned(), since: rule.since, steps: shaping.steps(rule)?.to_vec() })
        };
        let warming: Vec<_> = shaping.sources().filter_map(warming).collect();
        if warming.is_empty() {
            return Ok(());
        }
        store.exchange_warmup_usage(WarmupKind::Address, &self.ledger, (today, None), processes).await?;
        // The rules may have changed since the last time, too.
        if self.ledger().is_behind(today) || self.state().judged != warming {
            let progress = store.judge_addresses(&warming, today).await?;
            self.ledger().judge(progress, today);
            self.state().judged = warming;
        }
        Ok(())
    }
}

impl State {
    fn is_aside(&self, source: &str, group: &str, now: Instant) -> bool {
        !self.aside.is_empty()
            && self.aside.get(&(source.to_owned(), group.to_owned())).is_some_and(|until| *until > now)
    }
}

/// Whether it can speak to one of the targets.
fn reaches_any(source: &Source, targets: &[std::sync::Arc<Target>]) -> bool {
    targets.iter().any(|target| source.reaches(target))
}
