//! Turns events into webhook jobs, endpoint by endpoint from its position in the log. An endpoint that takes nothing keeps its
//! position and a bounded number of jobs, whatever happens in its project; one that is enabled again goes on from there.
//!
//! Endpoints of a project that stand at the same position are fed by one reading. One process feeds at a time; the calls are
//! made by all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::at_hand::AtHand;
use super::forms;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, ProjectId};
use crate::domain::log::{LogCursor, Look};
use crate::domain::shard::Shard;
use crate::shutdown::Shutdown;
use crate::store::mail::log::{LogFilter, ProjectEvent};
use crate::store::queue::webhook_feed::{Feed, Interest, NewJob, Owed};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::wake::Wake;

/// Jobs that an endpoint may have before no more are made for it.
const JOBS_MOST: usize = 500;
/// Events of one reading.
const PAGE: usize = 500;
/// Events that are worth a reading, where calls that wait for a place leave room for few.
const PAGE_LEAST: usize = 50;
/// How long the process that feeds is taken to live without a sign.
const LEASE: Duration = Duration::from_secs(5);
/// How often it gives one.
const BEAT: Duration = Duration::from_secs(1);
/// The least time between two rounds: events that come together are read together.
const GAP: Duration = Duration::from_millis(20);
/// The most, also while an endpoint waits for room: everything is looked at then.
const GAP_MOST: Duration = Duration::from_millis(100);
/// While calls wait for a place that are over soon: a quarter of that.
const GAP_WAITING: Duration = Duration::from_millis(50);
/// A pause is as long as so many of the round before it.
const REST: u32 = 4;
/// How often the calls of an endpoint are counted that are over soon: what waits here bounds them.
const COUNT: Duration = Duration::from_secs(1);
/// How long nothing is made beside what waits for an endpoint whose calls are over soon.
const CROWDED: Duration = Duration::from_secs(1);
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
    pub at_hand: AtHand,
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
    /// Calls of endpoints were counted, and how many there were.
    counted: Counted,
    noted: Option<Instant>,
}

/// What endpoints were owed.
type Counted = HashMap<EndpointId, Count>;

#[derive(Clone, Copy)]
struct Count {
    at: Instant,
    owed: Owed,
    /// Since when so much waits that nothing is made beside it.
    short_since: Option<Instant>,
}

impl Count {
    /// What is owed now, beside what was known.
    fn of(owed: Owed, before: Option<&Self>) -> Self {
        let now = Instant::now();
        let since = before.and_then(|count| count.short_since);
        let short_since = (owed.waiting >= PAGE_LEAST).then(|| since.unwrap_or(now));
        Self { at: now, owed, short_since }
    }
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
    /// The same, and they will be done soon.
    Waiting,
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
            let began = Instant::now();
            if let Err(error) = self.feed(&mut times, &shutdown).await {
                tracing::debug!(%error, "webhooks are made later");
                times = Times::default();
                shutdown.pause(PAUSE).await;
            }
            // Under load rounds get rarer and larger, since much of what one costs is the same for one event and for hundreds.
            let gap = match times.round {
                Round::Behind => GAP_MOST,
                Round::Waiting => GAP_WAITING,
                _ => REST * began.elapsed(),
            };
            shutdown.pause(gap.clamp(GAP, GAP_MOST)).await;
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
        let mut shards = if is_whole || matches!(times.round, Round::Behind | Round::Waiting) {
            Shard::all().collect()
        } else {
            rung
        };
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
            let mut round = self.round(&shards, is_noted, &mut times.counted).await?;
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
    async fn round(&self, shards: &[Shard], is_noted: bool, counted: &mut Counted) -> Result<Round, StoreError> {
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
        // Who stands within a look knows that there is more.
        let asked = standing.iter().filter(|(_, cursor)| cursor.within.is_none());
        let asked: Vec<_> = asked.map(|(group, cursor)| (group[0].project, cursor.clone())).collect();
        let found: HashSet<_> = if asked.is_empty() {
            HashSet::new()
        } else {
            self.store.with_news(&asked, shards).await?.into_iter().collect()
        };
        // One for all: who reads it to its end stands where the others stand, and is read for together with them.
        let look = self.store.look().await?;
        let mut news = (0..asked.len()).map(|at| found.contains(&at));
        let (mut round, mut quiet) = (Round::Done, Vec::new());
        for (group, cursor) in standing {
            if cursor.within.is_some() || news.next().unwrap_or_default() {
                round = round.max(unless_refused(self.feed_group(group, &cursor, (&look, began), counted).await)?);
            } else {
                quiet.extend(group.into_iter().map(|feed| feed.endpoint));
            }
        }
        if is_noted {
            counted.retain(|_, count| count.at.elapsed() < COUNT);
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
    async fn feed_group(
        &self,
        mut group: Group,
        cursor: &LogCursor,
        (look, began): (&Look, Timestamp),
        counted: &mut Counted,
    ) -> Result<Round, StoreError> {
        let ids = |group: &Group| group.iter().map(|feed| feed.endpoint).collect::<Vec<EndpointId>>();
        let whole = group.len();
        // Those whose calls end soon are told what can wait here, and no more: the rest would have to be claimed.
        let room = |feed: &Feed| self.at_hand.calls.room(feed.endpoint, feed.project, 2 * PAGE_LEAST);
        let mut quick: HashMap<_, _> = group.iter().filter_map(|feed| Some((feed.endpoint, room(feed)?))).collect();
        let is_known = |id: &EndpointId| {
            let known = counted.get(id).filter(|_| quick.contains_key(id));
            known.is_some_and(|count| count.at.elapsed() < COUNT && count.short_since.is_none())
        };
        let asked: Vec<_> = ids(&group).into_iter().filter(|id| !is_known(id)).collect();
        if !asked.is_empty() {
            for (id, owed) in self.owed(&asked, JOBS_MOST).await? {
                counted.insert(id, Count::of(owed, counted.get(&id)));
            }
        }
        // What waits for long, as a replay does, keeps nothing that is new: that waits beside it.
        let is_crowded = |id: &EndpointId| {
            counted.get(id).and_then(|count| count.short_since).is_some_and(|at| at.elapsed() >= CROWDED)
        };
        quick.retain(|id, _| !is_crowded(id));
        let owed = |id: EndpointId| counted.get(&id).map(|count| count.owed).unwrap_or_default();
        let is_short =
            |id: &EndpointId| quick.get(id).is_some_and(|room| *room < PAGE_LEAST || owed(*id).waiting >= PAGE_LEAST);
        let behind = if quick.keys().any(is_short) { Round::Waiting } else { Round::Behind };
        // Who has no room stays where it stands, and keeps none of the others.
        group.retain(|Feed { endpoint: id, .. }| !is_short(id) && owed(*id).count < JOBS_MOST);
        let Some(first) = group.first() else { return Ok(behind) };
        let limit =
            group.iter().filter_map(|feed| quick.get(&feed.endpoint)).min().map_or(PAGE, |room| PAGE.min(*room));
        let filter = LogFilter { types: types_of(&group), ..LogFilter::default() };
        let at = cursor.within.as_ref().map_or_else(|| look.clone(), |within| within.look.clone());
        let page = self.store.read_project_log_at(first.project, &filter, (cursor, at), count(limit)).await?;
        let told: Vec<_> = page
            .events
            .iter()
            .flat_map(|event| {
                let wanting = group.iter().filter(|feed| hears(&feed.interest, &[], event));
                wanting.map(move |feed| (feed.endpoint, event))
            })
            .collect();
        // What waits goes before what is new.
        let held = ids(&group).into_iter().filter(|id| owed(*id).waiting > 0 && !quick.contains_key(id));
        for (endpoint, due) in self.make_jobs(first.project, told, held.collect()).await? {
            // What was counted is no longer so.
            if let Some(count) = counted.get_mut(&endpoint) {
                count.owed.waiting += due;
                *count = Count { at: count.at, ..Count::of(count.owed, Some(count)) };
            }
        }
        // A look that was read to its end saw all that was committed before it began: one that goes on began long ago.
        let is_whole_look = cursor.within.is_none() && page.next.within.is_none();
        let fed_until = is_whole_look.then_some(began);
        self.store.advance_feeds(&ids(&group), (&first.position, &page.next), fed_until).await?;
        Ok(match page.is_full {
            true => Round::More,
            false if group.len() < whole => behind,
            false => Round::Done,
        })
    }

    /// What they are owed, counted up to `most`.
    pub(super) async fn owed(
        &self,
        endpoints: &[EndpointId],
        most: usize,
    ) -> Result<HashMap<EndpointId, Owed>, StoreError> {
        self.store.count_jobs(endpoints, count(most)).await
    }

    pub(super) fn ring<'j>(&self, jobs: impl Iterator<Item = &'j NewJob>) {
        for job in jobs {
            self.jobs.ring(job.event.shard());
        }
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The types of which one of the group may hear; none: all.
fn types_of(group: &Group) -> Vec<EventType> {
    let names = || group.iter().flat_map(|feed| &feed.interest.events);
    if names().any(|name| name == "*") {
        return Vec::new();
    }
    let types: BTreeSet<_> = names().filter_map(|name| EventType::parse(name)).collect();
    types.into_iter().collect()
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
    event.is_whole()
        && forms::tells(interest.form, event.event_type)
        && has_type
        && has_tag
        && interest.mode.covers(event.mode)
}
