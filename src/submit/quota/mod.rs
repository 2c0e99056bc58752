//! What a project and a key may use, kept over all processes that accept.
//!
//! What is counted over a day or a month is taken from the store in slices, a few seconds' worth at a time, and used up
//! here without asking: the sum of all slices is never more than the quota. What is not used is given back, soon and when
//! the process stops; a process that dies takes at most its slice along, until the day or month is over. What is limited
//! by the second is divided by the processes that accept.
//!
//! A store that does not answer ends nothing as long as a slice lasts; then nobody knows, and the client is to ask again.

mod bucket;
mod charge;
mod slice;
mod standing;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use bucket::Bucket;
pub use charge::Charge;
use slice::{Next, Slice};
pub use standing::{Standing, Usage};

use super::submission::Submission;
use crate::domain::access::{Caller, Mode};
use crate::domain::clock::Clock;
use crate::domain::draft::Content;
use crate::domain::id::{KeyId, ProjectId};
use crate::domain::quota::{Period, Quota, Subject};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::accounts::quotas::{Counter, Wanted};

/// Interval between two signs of life.
const TICK: Duration = Duration::from_secs(1);
/// Time without a sign of life after which a process is taken to accept no more.
const LIVE: Duration = Duration::from_secs(5);
/// A slice that nobody uses for so long is given back.
const IDLE: Duration = Duration::from_secs(3);
/// What nobody asks for is forgotten.
const FORGOTTEN: Duration = Duration::from_mins(2);
/// The longest that a request waits for a slice.
const PATIENCE: Duration = Duration::from_secs(4);
/// Interval between two looks at whether requests are still in hand, when stopping.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// Which quota of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Of {
    subject: Uuid,
    quota: Quota,
    mode: Mode,
}

/// A limit that a caller is under.
#[derive(Debug, Clone, Copy)]
struct Limit {
    of: Of,
    whose: Subject,
    most: u64,
}

/// Why a caller may not send so much now. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A quota is used up.
    Spent(Spent),
    /// The project is suspended, for this reason.
    Suspended(String),
    /// Nobody knows: the store does not answer, and what was taken from it is used up.
    Unknown(String),
}

/// A quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub whose: Subject,
    pub quota: Quota,
    pub limit: u64,
    /// When it is worth asking again.
    pub wait: Duration,
}

/// The quotas, as this process keeps them.
pub struct Quotas {
    store: Store,
    clock: Arc<dyn Clock>,
    process: Uuid,
    /// How many accept, this one included.
    processes: AtomicU32,
    slices: Mutex<HashMap<Of, Arc<Slice>>>,
    buckets: Mutex<HashMap<Of, Bucket>>,
}

impl Quotas {
    /// `process`: what this one is called among those that accept.
    pub fn new(store: Store, clock: Arc<dyn Clock>, process: Uuid) -> Self {
        let (slices, buckets) = (Mutex::default(), Mutex::default());
        Self { store, clock, process, processes: AtomicU32::new(1), slices, buckets }
    }

    /// How many processes accept, this one included, as it was found last.
    pub fn accepting(&self) -> u32 {
        self.processes.load(Ordering::Relaxed).max(1)
    }

    /// Charges a request with its messages and recipients, all or nothing. Its bytes come later, by [`Charge::fit`].
    pub async fn admit(self: &Arc<Self>, caller: &Caller, submission: &Submission) -> Result<Charge, Denied> {
        if let Some(suspension) = &caller.suspension {
            return Err(Denied::Suspended(suspension.reason.clone()));
        }
        let mut charge = Charge::new(Arc::clone(self), limits_of(caller));
        if charge.is_free() {
            return Ok(charge);
        }
        // What cannot be read counts for nothing: it is not sent.
        let wanted =
            || submission.items.iter().map(|item| item.wanted.as_ref().map_or(&[][..], |wanted| &wanted.contents));
        let messages = wanted().map(<[Content]>::len).sum::<usize>();
        charge.pace(u32::try_from(messages).unwrap_or(u32::MAX))?;
        charge
            .count(wanted().map(|contents| contents.iter().map(|content| content.recipient_count() as u64).sum()))
            .await?;
        Ok(charge)
    }

    /// Charges one message, all or nothing.
    pub async fn admit_one(self: &Arc<Self>, caller: &Caller, recipients: u64) -> Result<Charge, Denied> {
        let mut charge = Charge::new(Arc::clone(self), limits_of(caller));
        charge.pace(1)?;
        charge.count(std::iter::once(recipients)).await?;
        Ok(charge)
    }

    /// The part of a rate that is this process's.
    fn share(&self, rate: u64) -> f64 {
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        f64::from(rate) / f64::from(self.processes.load(Ordering::Relaxed).max(1))
    }

    fn take_tokens(&self, limit: &Limit, messages: u32) -> Result<(), Denied> {
        let (rate, now) = (self.share(limit.most), Instant::now());
        let mut buckets = self.buckets();
        let bucket = buckets.entry(limit.of).or_insert_with(|| Bucket::new(rate, now));
        bucket.take(messages, rate, now).map_err(|wait| spent(limit, wait))
    }

    fn period(&self, quota: Quota) -> Option<Period> {
        quota.period(self.clock.now())
    }

    /// Takes `count` of a quota, asking the store for more if need be.
    async fn take(&self, limit: &Limit, count: u64) -> Result<Option<(Arc<Slice>, Period)>, Denied> {
        let Some(period) = self.period(limit.of.quota).filter(|_| count > 0) else { return Ok(None) };
        let new = || Arc::new(Slice::new(period.first_day, limit.most));
        let slice = Arc::clone(self.slices().entry(limit.of).or_insert_with(new));
        if !slice.take(period.first_day, limit.most, count) {
            let asked = tokio::time::timeout(PATIENCE, self.lease_until_taken(&slice, limit, period, count));
            asked.await.map_err(|_| Denied::Unknown("no slice of a quota within the deadline".to_owned()))??;
        }
        Ok(Some((slice, period)))
    }

    async fn lease_until_taken(&self, slice: &Slice, limit: &Limit, period: Period, count: u64) -> Result<(), Denied> {
        let day = period.first_day;
        let counter = Counter { subject: limit.of.subject, quota: limit.of.quota, mode: limit.of.mode, period: day };
        let _asking = slice.leasing.lock().await;
        while !slice.take(day, limit.most, count) {
            match slice.next(day, limit.most, count) {
                Next::Away => return Err(Denied::Unknown("the store did not answer a moment ago".to_owned())),
                Next::Refused => {
                    let left = period.ends_at - self.clock.now();
                    return Err(spent(limit, Duration::try_from(left).unwrap_or_default()));
                }
                Next::GiveBack(rest) => self.give_back(vec![(counter, rest)], &[]).await,
                Next::Lease { needed, ahead } => {
                    let wanted = Wanted { limit: limit.most, needed, ahead };
                    match self.store.lease_quota(counter, wanted).await {
                        Ok(granted) => slice.learn(day, needed, granted.slice, granted.used),
                        Err(error) => {
                            slice.is_away();
                            return Err(Denied::Unknown(error.to_string()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives slices back; if the store does not take them, they are held on to.
    async fn give_back(&self, counted: Vec<(Counter, u64)>, slices: &[Arc<Slice>]) {
        if counted.is_empty() {
            return;
        }
        if let Err(error) = self.store.return_quota(&counted).await {
            tracing::debug!(%error, "slices of quotas could not be given back");
            for ((counter, rest), slice) in counted.iter().zip(slices) {
                slice.put_back(counter.period, *rest);
            }
        }
    }

    /// Gives back what nobody used for `span`.
    async fn give_back_idle(&self, span: Duration) {
        let all: Vec<_> = self.slices().iter().map(|(of, slice)| (*of, Arc::clone(slice))).collect();
        let (mut counted, mut slices) = (Vec::new(), Vec::new());
        for (Of { subject, quota, mode }, slice) in all {
            if let Some((period, rest)) = slice.give_up(span) {
                counted.push((Counter { subject, quota, mode, period }, rest));
                slices.push(slice);
            }
        }
        self.give_back(counted, &slices).await;
    }

    /// Says that this process accepts, until it has answered its last request; gives back what is not used.
    pub async fn keep(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            match self.store.beat_accepting(self.process, LIVE).await {
                Ok(count) => self.processes.store(count, Ordering::Relaxed),
                // The others count on us until we have been silent for long: so do we on them.
                Err(error) => tracing::debug!(%error, "no sign of life could be given"),
            }
            self.give_back_idle(IDLE).await;
            self.slices().retain(|_, slice| Arc::strong_count(slice) > 1 || !slice.is_idle(FORGOTTEN));
            self.buckets().retain(|_, bucket| !bucket.is_idle(FORGOTTEN));
            if !shutdown.pause(TICK).await {
                break;
            }
        }
        // Requests in hand hold the door, and the door holds this.
        while Arc::strong_count(&self) > 1 {
            tokio::time::sleep(LAST_LOOK).await;
        }
        self.give_back_idle(Duration::ZERO).await;
        if let Err(error) = self.store.leave_accepting(self.process).await {
            tracing::debug!(%error, "the others count on this process for a few seconds more");
        }
    }

    fn slices(&self) -> MutexGuard<'_, HashMap<Of, Arc<Slice>>> {
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Of, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every limit over time that a caller is under: of its project, and of its key.
fn limits_of(caller: &Caller) -> Vec<Limit> {
    let project = (Subject::Project, ProjectId::uuid(caller.project), &caller.project_limits);
    let key = caller.key.map(|key| (Subject::Key, KeyId::uuid(key), &caller.key_limits));
    let mut all = Vec::new();
    for (whose, subject, limits) in std::iter::once(project).chain(key) {
        for quota in Quota::ALL.iter().copied() {
            if let Some(most) = limits.of(quota) {
                all.push(Limit { of: Of { subject, quota, mode: caller.mode }, whose, most });
            }
        }
    }
    all
}

fn spent(limit: &Limit, wait: Duration) -> Denied {
    Denied::Spent(Spent { whose: limit.whose, quota: limit.of.quota, limit: limit.most, wait })
}
