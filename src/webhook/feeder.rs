//! Turns events into webhook jobs, endpoint by endpoint from its position in the log. An endpoint that takes nothing keeps its
//! position and a bounded number of jobs, whatever happens in its project; one that is enabled again goes on from there.
//!
//! Endpoints of a project that stand at the same position are fed by one reading. One process feeds at a time; the calls are
//! made by all.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::clock::{Clock, Rng};
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, ProjectId};
use crate::domain::log::LogCursor;
use crate::domain::shard::Shard;
use crate::shutdown::Shutdown;
use crate::store::mail::log::{LogFilter, ProjectEvent};
use crate::store::queue::webhook_feed::{Feed, Interest, NewJob, Telling};
use crate::store::{Store, StoreError, by_shard};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Jobs that an endpoint may have before no more are made for it.
const JOBS_MOST: usize = 500;
/// Events of one reading.
const PAGE: i64 = 500;
/// How long the process that feeds is taken to live without a sign.
const LEASE: Duration = Duration::from_secs(5);
/// How often it gives one.
const BEAT: Duration = Duration::from_secs(1);
/// The least time between two rounds: events that come together are read together.
const GAP: Duration = Duration::from_millis(20);
/// The same while an endpoint waits for room: everything is looked at then.
const BEHIND_GAP: Duration = Duration::from_millis(100);
/// How often it is noted of endpoints without news that there are none.
const NOTE: Duration = Duration::from_secs(10);
/// Wait after the store did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// What feeds.
pub struct Feeder {
    pub store: Store,
    pub owner: Uuid,
    /// Rung when events were written.
    pub events: Arc<Wake>,
    /// Rung for jobs.
    pub jobs: Arc<Wake>,
    /// How often it is looked at what other processes wrote.
    pub poll: Duration,
    /// How long the calls of an endpoint may only fail before it is said to be stalled.
    pub stalled_after: Duration,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

/// When what was done last.
#[derive(Default)]
struct Times {
    /// It was asked whether this process may feed.
    asked: Option<Instant>,
    is_ours: bool,
    /// What came of the last round.
    round: Round,
    /// Something is being told again.
    is_replaying: bool,
    /// All shards were looked through.
    looked: Option<Instant>,
    noted: Option<Instant>,
}

/// What came of looking at all endpoints.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Round {
    /// None is enabled.
    Nobody,
    #[default]
    Done,
    /// There is more to read once jobs are done.
    Behind,
    /// There is more to read at once.
    More,
}

fn is_over(last: Option<Instant>, span: Duration) -> bool {
    last.is_none_or(|at| at.elapsed() >= span)
}

/// Endpoints of one project at one position.
type Group = Vec<Feed>;

impl Feeder {
    /// Feeds until the soft token falls.
    pub async fn run(self, shutdown: Shutdown) {
        let mut times = Times::default();
        loop {
            tokio::select! {
                () = shutdown.soft.cancelled() => break,
                () = self.events.rung() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
            if let Err(error) = self.feed(&mut times, &shutdown).await {
                tracing::debug!(%error, "webhooks are made later");
                times = Times::default();
                shutdown.pause(PAUSE).await;
            }
            shutdown.pause(if times.round == Round::Behind { BEHIND_GAP } else { GAP }).await;
        }
        if times.is_ours {
            let _ = self.store.leave_feeder(self.owner).await;
        }
    }

    /// Feeds all that can be fed: now and then all shards are looked through, else those that this process wrote to.
    async fn feed(&self, times: &mut Times, shutdown: &Shutdown) -> Result<(), StoreError> {
        let rung = self.events.take();
        let is_whole = is_over(times.looked, self.poll);
        // While nobody wants to hear, nothing is read but now and then, and then all.
        if times.round == Round::Nobody && !is_whole {
            return Ok(());
        }
        let mut shards = if is_whole || times.round == Round::Behind { Shard::all().collect() } else { rung };
        while !shutdown.soft.is_cancelled() {
            if is_over(times.asked, BEAT) {
                times.asked = Some(Instant::now());
                times.is_ours = self.store.hold_feeder(self.owner, LEASE).await?;
                if times.is_ours {
                    self.store.adopt_endpoints().await?;
                    self.note_stalled().await?;
                }
            }
            if !times.is_ours {
                self.metrics.webhooks_stalled.set(0);
                return Ok(());
            }
            let is_noted = is_whole && is_over(times.noted, NOTE);
            let mut round = self.round(&shards, is_noted).await?;
            // What begins to be told again is found by a look at everything: other rounds ask nothing for it.
            if round != Round::Nobody && (is_whole || times.is_replaying) {
                let replays = self.feed_replays().await?;
                times.is_replaying = replays != Round::Done;
                round = round.max(replays);
            }
            times.noted = if is_noted { Some(Instant::now()) } else { times.noted };
            times.round = round;
            if round != Round::More {
                break;
            }
            // What is not read to its end may lie in any shard.
            shards = Shard::all().collect();
        }
        times.looked = if is_whole { Some(Instant::now()) } else { times.looked };
        Ok(())
    }

    /// One reading for each group with news.
    async fn round(&self, shards: &[Shard], is_noted: bool) -> Result<Round, StoreError> {
        let mut groups: BTreeMap<(ProjectId, String), Group> = BTreeMap::new();
        for feed in self.store.list_feeds().await? {
            groups.entry((feed.project, feed.position.clone())).or_default().push(feed);
        }
        let mut standing = Vec::with_capacity(groups.len());
        for group in groups.into_values() {
            // One that cannot be read keeps nobody else's.
            match group[0].cursor() {
                Ok(cursor) => standing.push((group, cursor)),
                Err(error) => tracing::error!(%error, "an endpoint has no position that can be read"),
            }
        }
        if standing.is_empty() {
            return Ok(Round::Nobody);
        }
        let began = self.store.clock().now();
        let asked: Vec<_> = standing.iter().map(|(group, cursor)| (group[0].project, cursor.clone())).collect();
        let news: HashSet<_> = self.store.with_news(&asked, shards).await?.into_iter().collect();
        let (mut round, mut quiet) = (Round::Done, Vec::new());
        for (at, (group, cursor)) in standing.into_iter().enumerate() {
            if cursor.within.is_some() || news.contains(&at) {
                round = round.max(unless_refused(self.feed_group(group, &cursor).await)?);
            } else {
                quiet.extend(group.into_iter().map(|feed| feed.endpoint));
            }
        }
        if is_noted {
            self.store.note_fed(&quiet, began).await?;
        }
        Ok(round)
    }

    /// Says which endpoints do not answer any more, once each.
    async fn note_stalled(&self) -> Result<(), StoreError> {
        for endpoint in self.store.note_stalled(self.stalled_after, &*self.rng).await? {
            let id = EndpointId::from_uuid(endpoint.id);
            tracing::warn!(endpoint.id = %id, since = ?endpoint.failing_since, "an endpoint of webhooks is stalled");
        }
        self.metrics.webhooks_stalled.set(self.store.count_stalled().await?);
        Ok(())
    }

    /// Makes the jobs of one reading.
    async fn feed_group(&self, mut group: Group, cursor: &LogCursor) -> Result<Round, StoreError> {
        let ids = |group: &Group| group.iter().map(|feed| feed.endpoint).collect::<Vec<EndpointId>>();
        let whole = group.len();
        let full = self.full(&ids(&group), JOBS_MOST).await?;
        group.retain(|feed| !full.contains(&feed.endpoint));
        let Some(first) = group.first() else { return Ok(Round::Behind) };
        let began = self.store.clock().now();
        let page = self.store.read_project_log(first.project, &LogFilter::default(), cursor, PAGE).await?;
        let jobs = page.events.iter().flat_map(|event| {
            let wanting = group.iter().filter(|feed| hears(&feed.interest, &[], event));
            wanting.map(|feed| NewJob { endpoint: feed.endpoint, message: event.message, event: event.id })
        });
        let runs = by_shard(jobs.collect(), self.store.max_shards_per_tx(), |job: &NewJob| job.event.shard());
        for run in runs {
            self.store.insert_jobs(&run, Telling::New).await?;
            self.ring(&run);
        }
        // A look that was read to its end saw all that was committed before it began: one that goes on began long ago.
        let is_whole_look = cursor.within.is_none() && page.next.within.is_none();
        let fed_until = is_whole_look.then_some(began);
        self.store.advance_feeds(&ids(&group), (&first.position, &page.next), fed_until).await?;
        Ok(match page.is_full {
            true => Round::More,
            false if group.len() < whole => Round::Behind,
            false => Round::Done,
        })
    }

    /// Those that have so many jobs or more.
    pub(super) async fn full(&self, endpoints: &[EndpointId], most: usize) -> Result<HashSet<EndpointId>, StoreError> {
        let waiting = self.store.count_jobs(endpoints, i64::try_from(most).unwrap_or(i64::MAX)).await?;
        Ok(waiting.into_iter().filter(|(_, count)| *count >= most).map(|(endpoint, _)| endpoint).collect())
    }

    pub(super) fn ring(&self, jobs: &[NewJob]) {
        for job in jobs {
            self.jobs.ring(job.event.shard());
        }
    }
}

/// What the store refuses of one endpoint keeps no other: it is told of and left. An error is a store that is away.
pub(super) fn unless_refused(fed: Result<Round, StoreError>) -> Result<Round, StoreError> {
    match fed {
        Err(error) if !error.is_away() => {
            tracing::error!(%error, "webhooks of an endpoint cannot be made");
            Ok(Round::Done)
        }
        fed => fed,
    }
}

/// Whether an endpoint hears of an event: of those types if some are named, else of its own. One whose message is gone has nothing
/// to tell; what is not of a message has no tags.
pub(super) fn hears(interest: &Interest, types: &[EventType], event: &ProjectEvent) -> bool {
    let own = || interest.events.iter().any(|name| name == "*" || name == event.event_type.name());
    let has_type = if types.is_empty() { own() } else { types.contains(&event.event_type) };
    let tags = event.of_message.as_ref().and_then(|message| message.tags.as_array());
    let is_wanted = |tag: &serde_json::Value| interest.tags.iter().any(|wanted| tag == wanted.as_str());
    let has_tag = interest.tags.is_empty() || tags.is_some_and(|tags| tags.iter().any(is_wanted));
    event.is_whole() && has_type && has_tag && interest.mode.covers(event.mode)
}
