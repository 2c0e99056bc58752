//! What endpoints are told again: page by page from the log, and never so much that it stands before what is new.

use std::collections::HashMap;

use super::feeder::{Feeder, Round, hears, unless_refused};
use crate::domain::id::EndpointId;
use crate::domain::log::LogCursor;
use crate::store::mail::log::LogFilter;
use crate::store::queue::webhook_feed::NewJob;
use crate::store::queue::webhook_replays::RunningReplay;
use crate::store::{StoreError, by_shard};

/// Jobs that an endpoint may have before nothing more is told again: new events find room beside it.
const JOBS_MOST: usize = 250;
/// Events of one reading: with them it has fewer jobs than would keep new events from it.
const PAGE: i64 = 249;

impl Feeder {
    /// One reading for each endpoint that is to be told something again.
    pub(super) async fn feed_replays(&self) -> Result<Round, StoreError> {
        let running = self.store.list_running_replays().await?;
        if running.is_empty() {
            return Ok(Round::Done);
        }
        let endpoints: Vec<EndpointId> = running.iter().map(|running| running.replay.endpoint).collect();
        let owed = self.owed(&endpoints, JOBS_MOST).await?;
        let mut round = Round::Done;
        for running in running {
            let is_full = owed.get(&running.replay.endpoint).is_some_and(|owed| owed.count >= JOBS_MOST);
            let fed = if is_full { Ok(Round::Behind) } else { self.feed_replay(&running).await };
            round = round.max(unless_refused(fed)?);
        }
        Ok(round)
    }

    async fn feed_replay(&self, running: &RunningReplay) -> Result<Round, StoreError> {
        let Ok(cursor) = running.cursor() else {
            tracing::error!(replay.id = %running.replay.id, "a replay has no position that can be read");
            return Ok(Round::Done);
        };
        let (jobs, next, is_done) = if running.replay.event_ids.is_empty() {
            self.page_of(running, &cursor).await?
        } else {
            (self.named(running).await?, cursor, true)
        };
        let mut events = 0;
        for run in by_shard(jobs, self.store.max_shards_per_tx(), |job: &NewJob| job.event.shard()) {
            events += self.store.retell_jobs(&run, running.replay.only_failed).await?;
            self.ring(run.iter());
        }
        self.store.advance_replay(running, &next, events, is_done).await?;
        Ok(Round::More)
    }

    /// Those of its span, at most a page.
    async fn page_of(
        &self,
        running: &RunningReplay,
        cursor: &LogCursor,
    ) -> Result<(Vec<NewJob>, LogCursor, bool), StoreError> {
        let replay = &running.replay;
        let filter = LogFilter {
            types: replay.types.clone(),
            since: replay.since,
            until: Some(replay.until),
            ..LogFilter::default()
        };
        let page = self.store.read_project_log(running.project, &filter, cursor, PAGE).await?;
        let wanted = page.events.iter().filter(|event| hears(&running.interest, &replay.types, event));
        let jobs = wanted.map(|event| NewJob { endpoint: replay.endpoint, message: event.message, event: event.id });
        Ok((jobs.collect(), page.next, !page.is_full))
    }

    /// Those that are named, in the order in which they are named.
    async fn named(&self, running: &RunningReplay) -> Result<Vec<NewJob>, StoreError> {
        let replay = &running.replay;
        let found = self.store.find_events(running.project, running.interest.mode, &replay.event_ids).await?;
        let found: HashMap<_, _> = found.into_iter().collect();
        let named = replay.event_ids.iter().filter_map(|id| Some((*id, *found.get(id)?)));
        Ok(named.map(|(event, message)| NewJob { endpoint: replay.endpoint, message, event }).collect())
    }
}
