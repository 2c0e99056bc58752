//! One webhook job: load, sign, post, decide, settle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::Span;
use uuid::Uuid;

use super::post::{Client, Posted, RetryAfter, Target};
use super::{payload, sign};
use crate::config::Webhooks;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::lease::Lease;
use crate::domain::retry::{Jitter, Schedule};
use crate::domain::shard::Shard;
use crate::queue::{Claiming, Gate, Work};
use crate::store::patience::until_it_answers;
use crate::store::queue::webhook_jobs::{Claim, JobNext, JobSettlement, LeasedJob, LoadedJob};
use crate::store::{OwnedConnection, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Wait before the store is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How long a job of a disabled endpoint waits: enabling it makes it due.
const PARKED: Duration = Duration::from_hours(24 * 365);
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What posts webhooks.
pub struct Poster {
    store: Store,
    client: Client,
    schedule: Schedule,
    concurrency: usize,
    per_endpoint: usize,
    disable_after: Duration,
    calls: Arc<Calls>,
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
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Poster {
    pub fn new(config: &Webhooks, parts: PosterParts) -> Result<Self, String> {
        Ok(Self {
            store: parts.store,
            client: parts.client,
            schedule: Schedule::new(config.retry.0.clone(), Jitter::DEFAULT)
                .map_err(|error| format!("webhooks.retry: {error}"))?,
            concurrency: config.concurrency,
            per_endpoint: config.per_endpoint,
            disable_after: config.disable_after.0,
            calls: Arc::default(),
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
        let body = payload::body(job, loaded);
        let id = job.event.to_string();
        let timestamp = self.clock.now().unix_timestamp();
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("user-agent", concat!("Mailwright/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("webhook-signature", sign::signature(&loaded.secret, &id, timestamp, &body)),
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
        ];
        match self.client.post(&target, &headers, body).await {
            Posted::Answered { status, .. } if (200..300).contains(&status) => {
                self.settlement(job, JobNext::Succeeded, Some(status), "")
            }
            Posted::Answered { status: 410, .. } => JobSettlement {
                disable: Some("the endpoint answered 410 Gone"),
                ..self.settlement(job, JobNext::Failed, Some(410), "410 Gone")
            },
            Posted::Answered { status, retry_after } => {
                self.settlement(job, self.next_try(job, retry_after), Some(status), &format!("answered {status}"))
            }
            Posted::Failed(why) => self.settlement(job, self.next_try(job, None), None, &why),
        }
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

    fn settlement(&self, job: &LeasedJob, next: JobNext, response_code: Option<u16>, detail: &str) -> JobSettlement {
        let result = match next {
            JobNext::Succeeded => "succeeded",
            JobNext::Due(_) => "retried",
            JobNext::Failed => "failed",
        };
        self.metrics.webhook_attempts.with_label_values(&[result]).inc();
        JobSettlement {
            job: job.clone(),
            next,
            response_code,
            detail: detail.chars().take(500).collect(),
            disable: None,
            finished_at: self.now(),
        }
    }

    async fn load(&self, job: &LeasedJob) -> Result<Option<LoadedJob>, StoreError> {
        until_it_answers!(STORE_PAUSE, "a webhook job to be read", self.store.load_job(job))
    }

    async fn settle(&self, settlement: &JobSettlement) {
        let settle = || self.store.settle_job(settlement, self.disable_after);
        match until_it_answers!(STORE_PAUSE, "a webhook's result to be written", settle()) {
            Ok(true) => {}
            Ok(false) => self.metrics.leases_lost.with_label_values(&[Self::NAME]).inc(),
            Err(error) => tracing::error!(%error, "a webhook's result was refused; its lease will run out"),
        }
    }

    fn full(&self) -> Vec<Uuid> {
        self.calls.map().iter().filter(|(_, count)| **count >= self.per_endpoint).map(|(id, _)| *id).collect()
    }
}

impl Work for Poster {
    type Job = Call;
    const NAME: &'static str = "webhooks";
    const EMPTY_MAX: usize = 4;
    const SHARDS_MAX: usize = 1;

    fn lease(call: &Call) -> Lease {
        call.job.lease
    }

    fn available(&self) -> usize {
        self.concurrency.saturating_sub(self.calls.map().values().sum())
    }

    async fn idle(&self) {
        loop {
            let ended = self.calls.ended.notified();
            if self.calls.map().is_empty() {
                return;
            }
            ended.await;
        }
    }

    async fn shards_due(&self, connection: &mut OwnedConnection) -> Result<Vec<Shard>, StoreError> {
        connection.shards_with_due_jobs().await
    }

    /// Claims few at a time: with one endpoint in a claim at most its bound and one claim are in hand.
    async fn claim(
        &self,
        connection: &mut OwnedConnection,
        shards: &[Shard],
        claiming: Claiming,
    ) -> Result<(Vec<Call>, Vec<Shard>), StoreError> {
        let Some(shard) = shards.first().copied() else { return Ok((Vec::new(), Vec::new())) };
        let full = self.full();
        let limit = claiming.limit.min(self.per_endpoint);
        let Claiming { owner, token, span, .. } = claiming;
        let claimed = connection.claim_jobs(shard, &Claim { owner, token, span, limit, full: &full }).await?;
        let more = if claimed.len() == limit { vec![shard] } else { Vec::new() };
        let mut calls = self.calls.map();
        for job in &claimed {
            *calls.entry(job.endpoint.uuid()).or_default() += 1;
        }
        drop(calls);
        let under_way = |job| Call { calls: Arc::clone(&self.calls), wake: Arc::clone(&self.wake), job };
        Ok((claimed.into_iter().map(under_way).collect(), more))
    }

    fn is_holding_back(&self) -> bool {
        !self.calls.map().is_empty()
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

    async fn perform(&self, call: Call, gate: Arc<Gate>) {
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
        self.settle(&settlement).await;
    }
}

/// A job under our lease; its endpoint's place is free again when this is dropped.
pub struct Call {
    job: LeasedJob,
    calls: Arc<Calls>,
    wake: Arc<Wake>,
}

/// Calls under way, by endpoint.
#[derive(Default)]
struct Calls {
    by_endpoint: Mutex<HashMap<Uuid, usize>>,
    ended: Notify,
}

impl Calls {
    fn map(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.by_endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let endpoint = self.job.endpoint.uuid();
        let mut calls = self.calls.map();
        if let Some(count) = calls.get_mut(&endpoint) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&endpoint);
            }
        }
        drop(calls);
        self.calls.ended.notify_waiters();
        self.wake.nudge();
    }
}
