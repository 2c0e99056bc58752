//! Pools of a project's own domains: which of them a message is from. The same recipient gets the same one, members take their shares
//! by weight, one that a list names comes last, and one that receivers do not know yet gets no more of each receiver's mail than its
//! warm-up allows. Mail never waits for a warm-up: where no member has room, it is from the one that it would be from otherwise.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use time::Date;

use super::content::NotMade;
use super::lookups::{Lookups, locked};
use super::quota::Quotas;
use super::signing::Identity;
use super::submission::Refusal;
use super::{Door, WriteError, admit};
use crate::domain::access::Caller;
use crate::domain::address::Address;
use crate::domain::clock::Clock;
use crate::domain::draft::{Content, Place, PoolName, Recipient};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::{DomainId, ProjectId};
use crate::domain::rendezvous;
use crate::domain::warmup::{DOMAIN_STEPS, Ledger, Pair, Usage, WarmupKind};
use crate::routing::{PolicySnapshot, Router};
use crate::shutdown::Shutdown;
use crate::store::accounts::domain_pools::PoolMember;
use crate::store::{Store, StoreError};

/// Pools that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 10_000;
/// Members that are passed by for one message because they fell a moment ago.
const PASSED_BY_MAX: usize = 3;
/// Interval between two reports of what was sent from domains that are warmed up.
const REPORT: Duration = Duration::from_secs(2);

/// A pool's members; `None`: there is no such pool.
type Members = Option<Arc<[PoolMember]>>;

/// What knows the pools of projects.
pub struct Pools {
    parts: PoolParts,
    known: Lookups<(ProjectId, PoolName), Members, WriteError>,
    warmups: Arc<Warmups>,
}

/// What pools are made of.
#[derive(Clone)]
pub struct PoolParts {
    pub store: Store,
    pub router: Arc<Router>,
    pub quotas: Arc<Quotas>,
    pub clock: Arc<dyn Clock>,
}

/// The domains that are warmed up and were asked for here.
#[derive(Default)]
struct Warmups {
    domains: Mutex<HashMap<DomainId, ProjectId>>,
    /// By domain and receiver.
    ledger: Mutex<Ledger>,
    /// Held by who tells the others: what was taken to be told is not known to them before.
    telling: tokio::sync::Mutex<()>,
}

/// What a message was counted as. Dropped before [`Counted::begin`], it is given back.
pub struct Counted {
    warmups: Arc<Warmups>,
    /// Recipients by receiver.
    pairs: Vec<(Pair, u64)>,
    day: Date,
    is_begun: bool,
}

impl Counted {
    /// The message may be stored from now on: it counts, unless it is given back.
    pub const fn begin(&mut self) {
        self.is_begun = true;
    }

    /// The message was not stored.
    pub fn give_back(mut self) {
        self.is_begun = false;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.is_begun {
            return;
        }
        let mut ledger = locked(&self.warmups.ledger);
        for (pair, count) in self.pairs.drain(..) {
            ledger.give_back(pair, count, self.day);
        }
    }
}

/// For whom a member is chosen.
#[derive(Clone, Copy)]
struct Choosing<'c> {
    caller: &'c Caller,
    is_live: bool,
    /// It will be stored now, unless something is wrong with it.
    counts: bool,
    /// Members that were chosen and may not send.
    passed_by: &'c [String],
}

impl Pools {
    pub fn new(parts: PoolParts, cache: Duration) -> Self {
        Self { parts, known: Lookups::new(cache, "looking up a pool broke off"), warmups: Arc::default() }
    }

    /// Asks the store anew from now on.
    pub fn forget(&self, project: ProjectId, pool: &PoolName) {
        self.known.forget(|(of, name)| *of == project && name == pool);
    }

    /// The same of all pools of a project.
    pub fn forget_all(&self, project: ProjectId) {
        self.known.forget(|(of, _)| *of == project);
    }

    /// The members of a pool. That there is none is asked for each time.
    async fn members(&self, project: ProjectId, pool: &PoolName) -> Result<Members, WriteError> {
        let name = (project, pool.clone());
        let ask = || find(self.parts.clone(), Arc::clone(&self.warmups), name.clone());
        self.known.get(name.clone(), Option::is_some, |count| count >= REMEMBERED, ask).await
    }

    /// The member that a message to these recipients is from, by the first of them, and what it was counted as.
    fn choose<'m>(
        &self,
        members: &'m [PoolMember],
        recipients: &[Recipient],
        choosing: Choosing<'_>,
    ) -> Option<(&'m PoolMember, Option<Counted>)> {
        let Choosing { caller, is_live, counts, passed_by } = choosing;
        let may_send = |member: &&PoolMember| {
            caller.may_send_as(&member.name) && (member.is_ready || !is_live) && !passed_by.contains(&member.name)
        };
        let mut order: Vec<_> = members.iter().filter(may_send).collect();
        // One that a list names sends what no other can.
        if order.iter().any(|member| !member.is_listed) {
            order.retain(|member| !member.is_listed);
        }
        let first = &recipients.first()?.address;
        rendezvous::sort(&mut order, &first.folded(), |member| (&member.name, member.weight));
        if !is_live || !order.iter().any(|member| member.warms_up) {
            return order.first().map(|member| (*member, None));
        }
        let receiver_of = |address: &Address| self.parts.router.known_receiver(caller.project, address.domain());
        let mut receivers: BTreeMap<String, u64> = BTreeMap::new();
        for recipient in recipients {
            *receivers.entry(receiver_of(&recipient.address)).or_default() += 1;
        }
        let pair = |member: &PoolMember, receiver: &String| (member.id.to_string(), receiver.clone());
        let day = self.parts.clock.now().date();
        let mut ledger = locked(&self.warmups.ledger);
        ledger.begin(day);
        let has_room = |member: &&&PoolMember| {
            let fits = |(receiver, count): (&String, &u64)| {
                ledger.has_room(&pair(member, receiver), *count, &DOMAIN_STEPS, day)
            };
            !member.warms_up || receivers.iter().all(fits)
        };
        let chosen = order.iter().find(has_room).or_else(|| order.first())?;
        if !counts || !chosen.warms_up {
            return Some((chosen, None));
        }
        let pairs: Vec<_> = receivers.iter().map(|(receiver, count)| (pair(chosen, receiver), *count)).collect();
        for (pair, count) in &pairs {
            ledger.add(pair.clone(), Usage::of(*count), day);
        }
        Some((chosen, Some(Counted { warmups: Arc::clone(&self.warmups), pairs, day, is_begun: false })))
    }

    /// Tells the others what was sent from here, and learns from them, until the service stops.
    pub async fn keep(self: Arc<Self>, shutdown: Shutdown) {
        while shutdown.pause(REPORT).await {
            if let Err(error) = self.report().await {
                tracing::debug!(%error, "what domains that are warmed up have sent could not be told");
            }
        }
        let _ = self.report().await;
    }

    /// Tells the others what was sent since the last time, and learns what they have sent, and how far all has come. Once it returns, all
    /// that was sent here before is told, whoever took it.
    pub async fn report(&self) -> Result<(), StoreError> {
        let (store, today) = (&self.parts.store, self.parts.clock.now().date());
        let Warmups { domains, ledger, telling } = &*self.warmups;
        let _telling = telling.lock().await;
        let domains = locked(domains).clone();
        if domains.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = domains.keys().map(ToString::to_string).collect();
        let is_behind = locked(ledger).is_behind(today);
        let processes = u64::from(self.parts.quotas.accepting());
        store.exchange_warmup_usage(WarmupKind::Domain, ledger, (today, Some(&ids)), processes).await?;
        if !is_behind {
            return Ok(());
        }
        let mut by_project: HashMap<ProjectId, Vec<DomainId>> = HashMap::new();
        for (domain, project) in domains {
            by_project.entry(project).or_default().push(domain);
        }
        for (project, domains) in by_project {
            let progress = store.judge_domains(project, &domains, today).await?;
            locked(ledger).learn_progress(progress);
        }
        locked(ledger).note_judged(Some(today));
        Ok(())
    }
}

/// Reads a pool, and how far those of its members have come that are warmed up. What cannot be found out of that keeps no mail: it is
/// found out later.
async fn find(
    parts: PoolParts,
    warmups: Arc<Warmups>,
    (project, pool): (ProjectId, PoolName),
) -> Result<Members, WriteError> {
    let found = parts.store.list_pools(project, Some(pool.as_str())).await.map_err(|error| WriteError::from(&error))?;
    let Some(pool) = found.into_iter().next() else { return Ok(None) };
    let new: Vec<_> = {
        let known = locked(&warmups.domains);
        let is_new = |member: &&PoolMember| member.warms_up && !known.contains_key(&member.id);
        pool.members.iter().filter(is_new).map(|member| member.id).collect()
    };
    if !new.is_empty() {
        let today = parts.clock.now().date();
        let ids: Vec<_> = new.iter().map(ToString::to_string).collect();
        let learnt = async {
            let progress = parts.store.judge_domains(project, &new, today).await?;
            let sent = parts.store.list_warmup_usage(WarmupKind::Domain, today, Some(&ids)).await?;
            Ok::<_, StoreError>((progress, sent))
        };
        let learnt = learnt.await;
        locked(&warmups.domains).extend(new.into_iter().map(|domain| (domain, project)));
        let mut ledger = locked(&warmups.ledger);
        ledger.begin(today);
        match learnt {
            Ok((progress, sent)) => {
                ledger.learn_progress(progress);
                ledger.learn(today, sent, u64::from(parts.quotas.accepting()));
            }
            Err(error) => {
                tracing::warn!(%error, "how far domains of a pool are warmed up is found out later");
                ledger.note_judged(None);
            }
        }
    }
    Ok(Some(pool.members.into()))
}

impl Door {
    /// Has a message come from one of the project's domains, if it asks for that, though from none of those that were passed by.
    pub(super) async fn take_from_pool(
        &self,
        caller: &Caller,
        content: &mut Content,
        (passed_by, counts): (&[String], bool),
    ) -> Result<Option<Counted>, NotMade> {
        let Content::Draft(draft) = content else { return Ok(None) };
        let Some(pool) = draft.options().domain_pool.clone() else { return Ok(None) };
        let unacceptable =
            |code, detail| NotMade::Refused(Refusal::Unacceptable(Place::DomainPool, Flaw::new(code, detail)));
        let Some(members) = self.pools.members(caller.project, &pool).await? else {
            let detail = format!("there is no pool '{}' of the project's domains", pool.as_str());
            return Err(unacceptable(FaultCode::UnknownDomainPool, detail));
        };
        let recipients = draft.recipients().distinct();
        let choosing = Choosing { caller, is_live: self.is_live(caller), counts, passed_by };
        let Some((member, counted)) = self.pools.choose(&members, &recipients, choosing) else {
            let detail = format!("no domain of the pool '{}' is verified, and this key's to send as", pool.as_str());
            return Err(NotMade::Refused(Refusal::UnverifiedDomain(detail)));
        };
        draft.send_from(&member.name).map_err(|error| unacceptable(FaultCode::InvalidDomainPool, error.to_string()))?;
        Ok(counted)
    }

    /// A message that asks for a pool, and what the project is as its author. A member that fell a moment ago is passed by.
    pub(super) async fn identified_from_pool(
        &self,
        caller: &Caller,
        content: &mut Content,
        plan: &PolicySnapshot,
        counts: bool,
    ) -> Result<(Arc<Identity>, Option<Counted>), NotMade> {
        let mut passed_by = Vec::new();
        loop {
            let counted = self.take_from_pool(caller, content, (&passed_by, counts)).await?;
            admit::admit(caller, content, plan).map_err(NotMade::Refused)?;
            match (self.identified(caller, content).await, &content.options().domain_pool) {
                (Err(NotMade::Refused(Refusal::UnverifiedDomain(_))), Some(pool))
                    if passed_by.len() < PASSED_BY_MAX =>
                {
                    self.pools.forget(caller.project, pool);
                    passed_by.push(content.author().domain().to_owned());
                }
                (identity, _) => return Ok((identity?, counted)),
            }
        }
    }
}
