//! Events that endpoints are told again: those named, or those of a span of time. The feeder turns them into jobs, a bounded
//! number at a time.

use uuid::Uuid;

use super::webhook_feed::Interest;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{EndpointId, EventId, MessageId, ProjectId, ReplayId};
use crate::domain::log::LogCursor;
use crate::domain::webhook::EndpointMode;
use crate::store::{Store, StoreError, decoded, on_pool};

/// What an endpoint is told again.
#[derive(Debug, Clone)]
pub struct Replay {
    pub id: ReplayId,
    pub endpoint: EndpointId,
    /// Empty: all of the span.
    pub event_ids: Vec<EventId>,
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    /// Empty: those that the endpoint hears of.
    pub types: Vec<EventType>,
    /// Only those that were given up.
    pub only_failed: bool,
    /// How many events were made jobs of so far.
    pub events: i64,
    pub created_at: Timestamp,
    pub done_at: Option<Timestamp>,
}

/// A replay that goes on, and what its endpoint hears of.
#[derive(Debug, Clone)]
pub struct RunningReplay {
    pub replay: Replay,
    pub project: ProjectId,
    pub interest: Interest,
    /// The text of a [`LogCursor`], as it is stored.
    pub position: String,
}

impl RunningReplay {
    pub fn cursor(&self) -> Result<LogCursor, StoreError> {
        let corrupt = |_| StoreError::corrupt("webhook_replays", "position", self.replay.id, &self.position);
        self.position.parse().map_err(corrupt)
    }
}

struct Row {
    id: Uuid,
    endpoint_id: Uuid,
    event_ids: Vec<Uuid>,
    since: Option<Timestamp>,
    until: Timestamp,
    types: Vec<String>,
    only_failed: bool,
    events: i64,
    created_at: Timestamp,
    done_at: Option<Timestamp>,
}

impl Store {
    /// Notes what an endpoint is to be told again; `false` when it has `limit` such wishes that go on. What was done a month ago
    /// is forgotten.
    pub async fn insert_replay(&self, replay: &Replay, limit: i64) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "webhook_replays.insert",
            conn,
            sqlx::query!(
                r#"
                WITH old AS (
                    DELETE FROM webhook_replays WHERE endpoint_id = $2 AND done_at < $8::timestamptz - interval '30 days')
                INSERT INTO webhook_replays (id, endpoint_id, event_ids, since, until, types, only_failed, position, created_at)
                SELECT $1, $2, $3, $4, $5, $6, $7, '~', $8
                WHERE (SELECT count(*) FROM webhook_replays WHERE endpoint_id = $2 AND done_at IS NULL) < $9
                "#,
                replay.id.uuid(),
                replay.endpoint.uuid(),
                &replay.event_ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
                replay.since,
                replay.until,
                &replay.types.iter().map(|event_type| event_type.name()).collect::<Vec<_>>() as &[&str],
                replay.only_failed,
                replay.created_at,
                limit,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// What an endpoint is or was told again, newest first.
    pub async fn list_replays(
        &self,
        endpoint: EndpointId,
        before: Option<ReplayId>,
        limit: i64,
    ) -> Result<Vec<Replay>, StoreError> {
        let rows = on_pool!(
            self,
            "webhook_replays.list",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT id, endpoint_id, event_ids, since, until, types, only_failed, events, created_at, done_at
                FROM webhook_replays WHERE endpoint_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
                "#,
                endpoint.uuid(),
                before.map(ReplayId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// The oldest replay that goes on of each enabled endpoint.
    pub async fn list_running_replays(&self) -> Result<Vec<RunningReplay>, StoreError> {
        let rows = on_pool!(
            self,
            "webhook_replays.list_running",
            conn,
            sqlx::query!(
                r#"
                SELECT DISTINCT ON (r.endpoint_id) r.id, r.endpoint_id, r.event_ids, r.since, r.until, r.types, r.only_failed,
                    r.events, r.created_at, r.done_at, r.position, w.project_id, w.mode, w.events AS endpoint_events, w.tags, w.form
                FROM webhook_replays r JOIN webhook_endpoints w ON w.id = r.endpoint_id AND w.enabled
                WHERE r.done_at IS NULL ORDER BY r.endpoint_id, r.id
                "#,
            )
            .fetch_all(conn)
        )?;
        let running = rows.into_iter().map(|row| {
            let replay = Row {
                id: row.id,
                endpoint_id: row.endpoint_id,
                event_ids: row.event_ids,
                since: row.since,
                until: row.until,
                types: row.types,
                only_failed: row.only_failed,
                events: row.events,
                created_at: row.created_at,
                done_at: row.done_at,
            };
            Ok(RunningReplay {
                replay: replay.decode()?,
                project: ProjectId::from_uuid(row.project_id),
                interest: Interest::decode((row.endpoint_id, &row.mode, &row.form), row.endpoint_events, row.tags)?,
                position: row.position,
            })
        });
        running.collect()
    }

    /// The events of a project with these ids, with the ids of their messages.
    pub async fn find_events(
        &self,
        project: ProjectId,
        mode: EndpointMode,
        ids: &[EventId],
    ) -> Result<Vec<(EventId, MessageId)>, StoreError> {
        let (first, last) = crate::store::bounds(ids.iter().map(|id| id.uuid()));
        let rows = on_pool!(
            self,
            "events.find_several",
            conn,
            sqlx::query!(
                r#"
                SELECT e.id, e.message_id FROM events e
                WHERE e.shard = ANY ($1) AND e.project_id = $2 AND e.id = ANY ($3) AND e.id BETWEEN $4 AND $5
                  AND ($6 = 'both' OR e.mode = $6)
                "#,
                &ids.iter().map(|id| id.shard().value()).collect::<Vec<_>>(),
                project.uuid(),
                &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
                first,
                last,
                mode.name(),
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(|row| (EventId::from_uuid(row.id), MessageId::from_uuid(row.message_id))).collect())
    }

    /// Moves a replay on; `is_done`: it was read to its end.
    pub async fn advance_replay(
        &self,
        replay: &RunningReplay,
        to: &LogCursor,
        events: u64,
        is_done: bool,
    ) -> Result<(), StoreError> {
        let done_at = is_done.then(|| self.now());
        on_pool!(
            self,
            "webhook_replays.advance",
            conn,
            sqlx::query!(
                r#"
                UPDATE webhook_replays SET position = $4, events = events + $5, done_at = $6
                WHERE endpoint_id = $1 AND id = $2 AND position = $3 AND done_at IS NULL
                "#,
                replay.replay.endpoint.uuid(),
                replay.replay.id.uuid(),
                replay.position,
                to.to_string(),
                i64::try_from(events).unwrap_or(i64::MAX),
                done_at,
            )
            .execute(conn)
        )?;
        Ok(())
    }
}

impl Row {
    fn decode(self) -> Result<Replay, StoreError> {
        let types =
            self.types.iter().map(|name| decoded(EventType::parse(name), ("webhook_replays", "types"), self.id, name));
        Ok(Replay {
            types: types.collect::<Result<_, _>>()?,
            id: ReplayId::from_uuid(self.id),
            endpoint: EndpointId::from_uuid(self.endpoint_id),
            event_ids: self.event_ids.into_iter().map(EventId::from_uuid).collect(),
            since: self.since,
            until: self.until,
            only_failed: self.only_failed,
            events: self.events,
            created_at: self.created_at,
            done_at: self.done_at,
        })
    }
}
