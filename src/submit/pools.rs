//! Pools of a project's own domains: which of them a message is from. The same recipient gets the same one, members take their shares
//! by weight, one that a list names comes last, and one that receivers do not know yet gets no more of each receiver's mail than its
//! warm-up allows. Mail never waits for a warm-up: where no member has room, it is from the one that it would be from otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::content::NotMade;
use super::submission::Refusal;
use super::{Door, WriteError};
use crate::domain::access::Caller;
use crate::domain::address::Address;
use crate::domain::bounded::make_room;
use crate::domain::clock::Clock;
use crate::domain::draft::{Content, Place, PoolName};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::id::{DomainId, ProjectId};
use crate::domain::rendezvous;
use crate::domain::warmup::{DOMAIN_STEPS, Ledger, Pair, Usage, WarmupKind};
use crate::routing::Router;
use crate::shutdown::Shutdown;
use crate::store::accounts::domain_pools::PoolMember;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// Pools that are remembered.
const REMEMBERED: usize = 10_000;
/// Interval between two reports of what was sent from domains that are warmed up.
const REPORT: Duration = Duration::from_secs(2);

/// A pool's members; `None`: there is no such pool.
type Members = Option<Arc<[PoolMember]>>;
type Lookup = Shared<BoxFuture<'static, Result<Members, WriteError>>>;

/// What knows the pools of projects.
pub struct Pools {
    parts: PoolParts,
    /// How long an answer of the store is believed.
    cache: Duration,
    known: Mutex<HashMap<(ProjectId, PoolName), (Lookup, Instant)>>,
    warmups: Arc<Mutex<Warmups>>,
}

/// What pools are made of.
#[derive(Clone)]
pub struct PoolParts {
    pub store: Store,
    pub router: Arc<Router>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

/// The domains that are warmed up and were asked for here.
#[derive(Default)]
struct Warmups {
    domains: HashMap<DomainId, ProjectId>,
    /// By domain and receiver.
    ledger: Ledger,
}

/// The domain that a message is from.
struct Choice<'m> {
    member: &'m PoolMember,
    /// What it counts against, if the domain is warmed up.
    counts: Option<Pair>,
}

impl Pools {
    pub fn new(parts: PoolParts, cache: Duration) -> Self {
        Self { parts, cache, known: Mutex::default(), warmups: Arc::default() }
    }

    /// Asks the store anew from now on.
    pub fn forget(&self, project: ProjectId, pool: &PoolName) {
        locked(&self.known).remove(&(project, pool.clone()));
    }

    /// The members of a pool. That there is none is asked for each time.
    fn members(&self, project: ProjectId, pool: &PoolName) -> Lookup {
        let name = (project, pool.clone());
        let mut known = locked(&self.known);
        if let Some((lookup, since)) = known.get(&name)
            && since.elapsed() < self.cache
            && !matches!(lookup.peek(), Some(Err(_) | Ok(None)))
        {
            return lookup.clone();
        }
        make_room(&mut known, REMEMBERED, |(_, since)| since.elapsed() < self.cache);
        let found = find(self.parts.clone(), Arc::clone(&self.warmups), name.clone());
        // A task of its own, so that a caller who goes away leaves no one waiting.
        let task = tokio::spawn(found);
        let lookup =
            async { task.await.unwrap_or_else(|_| Err(WriteError::Away("looking up a pool broke off".into()))) };
        let lookup = lookup.boxed().shared();
        known.insert(name, (lookup.clone(), Instant::now()));
        lookup
    }

    /// The member that mail to a recipient is from, of those that this caller may send as.
    fn choose<'m>(
        &self,
        caller: &Caller,
        members: &'m [PoolMember],
        recipient: &Address,
        is_live: bool,
    ) -> Option<Choice<'m>> {
        let may_send = |member: &&PoolMember| caller.may_send_as(&member.name) && (member.is_ready || !is_live);
        let mut order: Vec<_> = members.iter().filter(may_send).collect();
        let key = recipient.folded();
        order.sort_by(|a, b| {
            let listed = a.is_listed.cmp(&b.is_listed);
            listed.then_with(|| rendezvous::before((&a.name, a.weight), (&b.name, b.weight), &key))
        });
        if !is_live || !order.iter().any(|member| member.warms_up) {
            return order.first().map(|member| Choice { member, counts: None });
        }
        let receiver = self.parts.router.known_receiver(caller.project, recipient.domain());
        let pair = |member: &PoolMember| (member.id.to_string(), receiver.clone());
        let today = self.parts.clock.now().date();
        let mut warmups = locked(&self.warmups);
        warmups.ledger.begin(today);
        let has_room =
            |member: &&&PoolMember| !member.warms_up || warmups.ledger.has_room(&pair(member), &DOMAIN_STEPS, today);
        let chosen = order.iter().find(has_room).or_else(|| order.first())?;
        Some(Choice { member: chosen, counts: chosen.warms_up.then(|| pair(chosen)) })
    }

    /// Counts a message that will be stored.
    pub(super) fn count(&self, pair: Pair) {
        let mut warmups = locked(&self.warmups);
        warmups.ledger.begin(self.parts.clock.now().date());
        warmups.ledger.add(pair, Usage { messages: 1, ..Usage::default() });
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

    /// Tells the others what was sent since the last time, and learns what they have sent.
    pub async fn report(&self) -> Result<(), StoreError> {
        let today = self.parts.clock.now().date();
        let (domains, is_behind, fresh) = {
            let mut warmups = locked(&self.warmups);
            if warmups.domains.is_empty() {
                return Ok(());
            }
            let fresh = warmups.ledger.take_fresh(today);
            (warmups.domains.clone(), warmups.ledger.is_behind(today), fresh)
        };
        let ids: Vec<_> = domains.keys().map(ToString::to_string).collect();
        let added = self.parts.store.add_warmup_usage(WarmupKind::Domain, today, &fresh, Some(&ids)).await;
        let processes = usize::try_from(self.parts.metrics.fleet.get()).unwrap_or(1);
        match added {
            Ok(totals) => locked(&self.warmups).ledger.learn(totals, processes),
            Err(error) => {
                locked(&self.warmups).ledger.put_back(fresh);
                return Err(error);
            }
        }
        if is_behind {
            let mut by_project: HashMap<ProjectId, Vec<DomainId>> = HashMap::new();
            for (domain, project) in domains {
                by_project.entry(project).or_default().push(domain);
            }
            let mut progress = HashMap::new();
            for (project, domains) in by_project {
                progress.extend(self.parts.store.judge_domains(project, &domains, today).await?);
            }
            locked(&self.warmups).ledger.judge(progress, today);
        }
        Ok(())
    }
}

/// Reads a pool, and how far those of its members have come that are warmed up.
async fn find(
    parts: PoolParts,
    warmups: Arc<Mutex<Warmups>>,
    (project, pool): (ProjectId, PoolName),
) -> Result<Members, WriteError> {
    let away = |error: StoreError| WriteError::from(&error);
    let Some(pool) = parts.store.list_pools(project, Some(pool.as_str())).await.map_err(away)?.pop() else {
        return Ok(None);
    };
    let warming: Vec<_> = {
        let known = locked(&warmups);
        let is_new = |member: &&PoolMember| member.warms_up && !known.domains.contains_key(&member.id);
        pool.members.iter().filter(is_new).map(|member| member.id).collect()
    };
    if !warming.is_empty() {
        let today = parts.clock.now().date();
        let standing = parts.store.warmup_standing(project, &warming, today).await.map_err(away)?;
        let mut known = locked(&warmups);
        known.ledger.begin(today);
        known.ledger.learn_more(standing.sent, standing.progress);
        known.domains.extend(warming.into_iter().map(|domain| (domain, project)));
    }
    Ok(Some(pool.members.into()))
}

impl Door {
    /// The message from one of the project's domains, if it asks for that; and what it counts against once it is stored.
    pub(super) async fn take_from_pool(
        &self,
        caller: &Caller,
        mut content: Content,
    ) -> Result<(Content, Option<Pair>), NotMade> {
        let Content::Draft(draft) = &mut content else { return Ok((content, None)) };
        let Some(pool) = draft.options().domain_pool.clone() else { return Ok((content, None)) };
        let found = self.pools.members(caller.project, &pool).await?;
        let unacceptable =
            |code, detail| NotMade::Refused(Refusal::Unacceptable(Place::DomainPool, Flaw::new(code, detail)));
        let Some(members) = found else {
            let detail = format!("there is no pool '{}' of the project's domains", pool.as_str());
            return Err(unacceptable(FaultCode::UnknownDomainPool, detail));
        };
        let recipients = draft.recipients().distinct();
        let Some(first) = recipients.first() else { return Ok((content, None)) };
        let Some(Choice { member, counts }) = self.pools.choose(caller, &members, &first.address, self.is_live(caller))
        else {
            let detail = format!("no domain of the pool '{}' is verified, and this key's to send as", pool.as_str());
            return Err(NotMade::Refused(Refusal::UnverifiedDomain(detail)));
        };
        draft.send_from(&member.name).map_err(|error| unacceptable(FaultCode::InvalidDomainPool, error.to_string()))?;
        Ok((content, counts))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
