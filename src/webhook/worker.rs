//! One webhook job: load, sign, post, decide, settle.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use super::places::Places;
use super::post::{Client, Posted, RetryAfter, Target};
use super::settler::{Settler, SettlerParts};
use super::{payload, sign};
use crate::config::Webhooks;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::lease::Lease;
use crate::domain::retry::{Jitter, Schedule};
use crate::domain::shard::{SHARDS, Shard};
use crate::domain::webhook::WebhookTry;
use crate::queue::{Claiming, Gate, Work};
use crate::shutdown::Shutdown;
use crate::store::patience::until_it_answers;
use crate::store::queue::webhook_claims::Claim;
use crate::store::queue::webhook_jobs::{JobNext, JobSettlement, LeasedJob, LoadedJob};
use crate::store::{OwnedConnection, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Wait before the store is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How long a job of a disabled endpoint waits: enabling it makes it due.
const PARKED: Duration = Duration::from_hours(24 * 365);
/// Endpoints and shards that one claim looks at, about: each pair is an index probe.
const PROBES: usize = 256;
/// Shards of the first claim.
const WIDTH: usize = 8;
/// Claims that give nothing before the next signal is waited for.
const EMPTY_MAX: usize = 4;
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What posts webhooks.
pub struct Poster {
    store: Store,
    client: Client,
    schedule: Schedule,
    settler: Settler,
    calls: Arc<Calls>,
    /// Shards of the next claim: all, so that jobs begin in the order in which they are due, unless many endpoints wait.
    width: AtomicUsize,
    wake: Arc<Wake>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: Arc<Metrics>,
}

/// What a poster is made of.
pub struct PosterParts {
    pub store: Store,
    pub client: Client,
    /// Nudged when a call ends.
    pub wake: Arc<Wake>,
    /// Nudged when jobs left the queue: there is room for others.
    pub events: Arc<Wake>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Poster {
    pub fn new(config: &Webhooks, parts: PosterParts, shutdown: &Shutdown) -> Result<Self, String> {
        Ok(Self {
            client: parts.client,
            schedule: Schedule::new(config.retry.0.clone(), Jitter::DEFAULT)
                .map_err(|error| format!("webhooks.retry: {error}"))?,
            settler: Settler::start(
                SettlerParts {
                    store: parts.store.clone(),
                    events: parts.events,
                    rng: Arc::clone(&parts.rng),
                    metrics: Arc::clone(&parts.metrics),
                    disable_after: config.disable_after.0,
                },
                shutdown,
            ),
            store: parts.store,
            calls: Arc::new(Calls::new(config.concurrency, config.per_endpoint)),
            width: AtomicUsize::new(WIDTH),
            wake: parts.wake,
            clock: parts.clock,
            rng: parts.rng,
            metrics: parts.metrics,
        })
    }

    /// Calls the endpoint and says what follows.
    async fn call(&self, job: &LeasedJob, loaded: &LoadedJob) -> JobSettlement {
        if !loaded.enabled {
            return self.settlement(job, JobNext::Due(self.now() + PARKED), None, "the endpoint is disabled");
        }
        let Ok(target) = Target::parse(&loaded.url) else {
            return self.settlement(job, JobNext::Failed, None, "the URL cannot be used");
        };
        let body = payload::body(&loaded.event);
        let headers = sign::headers(&loaded.secrets, &job.event.to_string(), self.clock.now().unix_timestamp(), &body);
        let began = (self.now(), Instant::now());
        let posted = self.client.post(&target, &headers, body).await;
        let made = posted.as_try(began);
        let (next, disable) = match &posted {
            Posted::Answered { status, .. } if (200..300).contains(status) => (JobNext::Succeeded, None),
            Posted::Answered { status: 410, .. } => (JobNext::Failed, Some("the endpoint answered 410 Gone")),
            Posted::Answered { retry_after, .. } => (self.next_try(job, *retry_after), None),
            Posted::Failed(_) => (self.next_try(job, None), None),
        };
        JobSettlement { disable, ..self.settlement(job, next, Some(made), "") }
    }

    /// The next try by the schedule, later if the endpoint asked for it; the end after the last one.
    fn next_try(&self, job: &LeasedJob, retry_after: Option<RetryAfter>) -> JobNext {
        let tries = job.lease.attempt - job.rescued;
        if usize::try_from(tries).unwrap_or(0) > self.schedule.len() {
            return JobNext::Failed;
        }
        let delay = self.schedule.delay_after(tries, &*self.rng);
        let now = self.now();
        let asked = match retry_after {
            Some(RetryAfter::Span(span)) => span,
            Some(RetryAfter::At(at)) => Duration::try_from(at - now).unwrap_or_default(),
            None => Duration::ZERO,
        };
        JobNext::Due(now + delay.max(asked.min(RETRY_AFTER_MAX)))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `why`: of what was not called.
    fn settlement(&self, job: &LeasedJob, next: JobNext, made: Option<WebhookTry>, why: &str) -> JobSettlement {
        let result = match next {
            JobNext::Succeeded => "succeeded",
            JobNext::Due(_) => "retried",
            JobNext::Failed => "failed",
        };
        self.metrics.webhook_attempts.with_label_values(&[result]).inc();
        JobSettlement {
            job: job.clone(),
            next,
            detail: made.as_ref().map_or_else(|| why.to_owned(), |made| made.detail.clone()),
            made,
            disable: None,
            finished_at: self.now(),
        }
    }

    async fn load(&self, job: &LeasedJob) -> Result<Option<LoadedJob>, StoreError> {
        until_it_answers!(STORE_PAUSE, "a webhook job to be read", self.store.load_job(job.call()))
    }
}

impl Work for Poster {
    type Job = Call;
    const NAME: &'static str = "webhooks";
    const EMPTY_MAX: usize = EMPTY_MAX;
    const SHARDS_MAX: usize = SHARDS.len();

    fn lease(call: &Call) -> Lease {
        call.job.lease
    }

    fn available(&self) -> usize {
        self.calls.places().available()
    }

    async fn idle(&self) {
        loop {
            let ended = self.calls.ended.notified();
            if self.calls.places().is_empty() {
                return;
            }
            ended.await;
        }
    }

    async fn shards_due(&self, connection: &mut OwnedConnection) -> Result<Vec<Shard>, StoreError> {
        connection.shards_with_due_jobs().await
    }

    /// Claims what has a place, in the order in which it is due. What has none after all goes back.
    async fn claim(
        &self,
        connection: &mut OwnedConnection,
        shards: &[Shard],
        claiming: Claiming,
    ) -> Result<(Vec<Call>, Vec<Shard>), StoreError> {
        let Claiming { owner, token, span, limit } = claiming;
        let (mut rest, mut more, mut claimed) = (shards, Vec::new(), Vec::new());
        for _ in 0..EMPTY_MAX {
            let (now, later) = rest.split_at(self.width.load(Ordering::Relaxed).min(rest.len()));
            if now.is_empty() || !claimed.is_empty() {
                break;
            }
            let claim = {
                let places = self.calls.places();
                let (endpoints, projects) = (places.of_endpoints(), places.of_projects());
                Claim { owner, token, span, limit: limit.min(places.available()), endpoints, projects }
            };
            let walked;
            (claimed, walked) = connection.claim_jobs(now, &claim).await?;
            let affordable = (PROBES * now.len() / walked.max(1)).clamp(1, SHARDS.len());
            self.width.store(affordable.min(2 * self.width.load(Ordering::Relaxed)), Ordering::Relaxed);
            if claim.may_have_left(&claimed) {
                more.extend_from_slice(now);
            }
            rest = later;
        }
        let (mut calls, mut without) = (Vec::with_capacity(claimed.len()), Vec::new());
        for job in claimed {
            match Call::begin(&self.calls, &self.wake, job) {
                Ok(call) => calls.push(call),
                Err(job) => without.push(job.lease),
            }
        }
        connection.put_back_jobs(&without).await?;
        let back =
            without.into_iter().map(|lease| lease.shard).filter(|shard| !more.contains(shard)).collect::<HashSet<_>>();
        // What was not looked at yet comes first.
        Ok((calls, rest.iter().copied().chain(more).chain(back).collect()))
    }

    /// It says itself which shards it left something in.
    fn is_holding_back(&self) -> bool {
        false
    }

    async fn renew(
        connection: &mut OwnedConnection,
        leases: &[Lease],
        span: Duration,
    ) -> Result<Vec<Uuid>, StoreError> {
        connection.renew_jobs(leases, span).await
    }

    fn span(call: &Call) -> Span {
        let LeasedJob { lease, endpoint, message, event, .. } = &call.job;
        tracing::info_span!("webhook", message.id = %message, event.id = %event, endpoint.id = %endpoint, attempt = lease.attempt)
    }

    async fn perform(&self, mut call: Call, gate: Arc<Gate>) {
        let job = &call.job;
        let settlement = match self.load(job).await {
            Ok(Some(_)) if !gate.begin() => return,
            Ok(Some(loaded)) => self.call(job, &loaded).await,
            Ok(None) => self.settlement(job, JobNext::Failed, None, "the endpoint or the event is gone"),
            Err(error) => {
                tracing::error!(%error, "a webhook job cannot be read; its lease will run out");
                return;
            }
        };
        call.succeeded = Some(settlement.next == JobNext::Succeeded);
        self.settler.settle(settlement).await;
    }
}

/// A job under our lease; its place is free again when this is dropped.
pub struct Call {
    job: LeasedJob,
    calls: Arc<Calls>,
    wake: Arc<Wake>,
    /// What its endpoint has shown; `None`: nothing.
    succeeded: Option<bool>,
}

/// Calls under way.
struct Calls {
    places: Mutex<Places>,
    ended: Notify,
}

impl Calls {
    fn new(most: usize, unproven: usize) -> Self {
        Self { places: Mutex::new(Places::new(most, unproven)), ended: Notify::new() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// A call, if there is a place for it.
    fn begin(calls: &Arc<Calls>, wake: &Arc<Wake>, job: LeasedJob) -> Result<Self, LeasedJob> {
        if !calls.places().begin(job.endpoint, job.project) {
            return Err(job);
        }
        Ok(Self { job, calls: Arc::clone(calls), wake: Arc::clone(wake), succeeded: None })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.places().end(self.job.endpoint, self.job.project, self.succeeded);
        self.calls.ended.notify_waiters();
        self.wake.nudge();
    }
}
