//! One webhook job: load, sign, post, decide, settle.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use super::calls::{Call, Calls, Letter, Turn};
use super::loader::Loader;
use super::places::SOON;
use super::post::{Client, Posted, RetryAfter};
use super::settler::{Settler, SettlerParts};
use super::sign::Signed;
use crate::config::Webhooks;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::lease::Lease;
use crate::domain::retry::{Jitter, Schedule};
use crate::domain::shard::{SHARDS, Shard};
use crate::domain::webhook::WebhookTry;
use crate::queue::{Claiming, Gate, Work};
use crate::shutdown::Shutdown;
use crate::store::queue::webhook_claims::Claim;
use crate::store::queue::webhook_jobs::{JobNext, JobSettlement, LeasedJob};
use crate::store::{OwnedConnection, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// How long a job of a disabled endpoint waits: enabling it makes it due.
const PARKED: Duration = Duration::from_hours(24 * 365);
/// Endpoints and shards that one claim looks at, about: each pair is an index probe.
const PROBES: usize = 256;
/// Shards of the first claim.
const WIDTH: usize = 8;
/// Claims that give nothing before the next signal is waited for.
const EMPTY_MAX: usize = 4;
/// How long a call waits for a place that was to be free soon.
const TURN_WAIT: Duration = SOON.saturating_mul(5);
/// When a job is due again that found no place.
const LET_GO: Duration = Duration::from_millis(50);
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// What posts webhooks.
pub struct Poster {
    client: Client,
    schedule: Schedule,
    loader: Loader,
    settler: Settler,
    calls: Arc<Calls>,
    /// Shards of the next claim: all, so that jobs begin in the order in which they are due, unless many endpoints wait.
    width: AtomicUsize,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: Arc<Metrics>,
}

/// What a poster is made of.
pub struct PosterParts {
    pub store: Store,
    pub client: Client,
    pub calls: Arc<Calls>,
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
            loader: Loader::start(parts.store, shutdown),
            calls: parts.calls,
            width: AtomicUsize::new(WIDTH),
            clock: parts.clock,
            rng: parts.rng,
            metrics: parts.metrics,
        })
    }

    /// Calls the endpoint and says what follows.
    async fn call(&self, job: &LeasedJob, Letter { to, body }: Letter) -> JobSettlement {
        if !to.enabled {
            return self.settlement(job, JobNext::Due(self.now() + PARKED), None, "the endpoint is disabled");
        }
        let Some(target) = &to.target else {
            return self.settlement(job, JobNext::Failed, None, "the URL cannot be used");
        };
        let began = (self.now(), Instant::now());
        let of = (job.event.to_string(), began.0.unix_timestamp());
        let Signed { headers, body } = to.signers.signed(to.form, (&of.0, of.1), body, &*self.rng);
        let posted = self.client.post(target, &headers, body).await;
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
        if made.is_some() || next == JobNext::Failed {
            self.metrics.webhook_attempts.with_label_values(&[result]).inc();
        }
        JobSettlement {
            job: job.clone(),
            next,
            detail: made.as_ref().map_or_else(|| why.to_owned(), |made| made.detail.clone()),
            made,
            disable: None,
            finished_at: self.now(),
        }
    }
}

impl Work for Poster {
    type Job = Call;
    const NAME: &'static str = "webhooks";
    const COALESCE: Duration = Duration::from_millis(10);
    const SHARDS_MAX: usize = SHARDS.len();

    fn empty_max(_: usize) -> usize {
        EMPTY_MAX
    }

    fn lease(call: &Call) -> Lease {
        call.job.lease
    }

    fn available(&self) -> usize {
        self.calls.available()
    }

    fn close(&self) {
        self.calls.close();
    }

    async fn idle(&self) {
        self.calls.idle().await;
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
            let (available, endpoints, projects) = self.calls.rooms();
            let claim = Claim { owner, token, span, limit: limit.min(available), endpoints, projects };
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
            match self.calls.begin(job.endpoint, job.project) {
                Some(place) => calls.push(Call { job, turn: Turn::Now(place), letter: None }),
                None => without.push(job.lease),
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

    async fn perform(&self, call: Call, gate: Arc<Gate>) {
        let job = &call.job;
        let mut place = match call.turn {
            Turn::Now(place) => place,
            Turn::Soon(turn) => {
                // What it sends is of when it was made: it is not kept for long.
                let Ok(Ok(place)) = tokio::time::timeout(TURN_WAIT, turn).await else {
                    // Nobody claims it before it is out of our hands.
                    let soon = JobNext::Due(self.now() + LET_GO);
                    return self.settler.settle(self.settlement(job, soon, None, "there is no place for it")).await;
                };
                place
            }
        };
        let letter = match call.letter {
            Some(letter) => Some(Some(letter)),
            None => self.loader.load(job.call()).await,
        };
        let settlement = match letter {
            Some(Some(_)) if !gate.begin() => return,
            Some(Some(letter)) => self.call(job, letter).await,
            Some(None) => self.settlement(job, JobNext::Failed, None, "the endpoint or the event is gone"),
            None => return,
        };
        place.succeeded = Some(settlement.next == JobNext::Succeeded);
        // What is left to do is the store's, and no call.
        drop(place);
        self.settler.settle(settlement).await;
    }
}
