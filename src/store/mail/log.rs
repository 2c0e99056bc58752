//! The event log, read in the order of commits. See [`domain::log`](crate::domain::log) for what a position is.

use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventType;
use crate::domain::id::{EventId, MessageId, ProjectId, RecipientId};
use crate::domain::log::{LogCursor, Look, Within};
use crate::domain::message::made_message_id;
use crate::domain::shard::Shard;
use crate::store::mail::messages::domain_of;
use crate::store::schema::partitions::first_id_at;
use crate::store::{Store, StoreError, decoded, on_pool};

/// An event as the log has it.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    pub id: EventId,
    pub message: MessageId,
    pub recipient: RecipientId,
    pub sequence: i32,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
    pub data: serde_json::Value,
}

/// Events, and where to go on.
#[derive(Debug, Clone)]
pub struct LogPage {
    pub events: Vec<LoggedEvent>,
    pub next: LogCursor,
}

/// What a reader of a project's events wants of them.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    pub mode: Option<Mode>,
    /// Empty: all.
    pub types: Vec<EventType>,
    pub since: Option<Timestamp>,
    /// Only what happened before.
    pub until: Option<Timestamp>,
}

/// An event of a project, with what its message says of itself as long as that is kept.
#[derive(Debug, Clone)]
pub struct ProjectEvent {
    pub id: EventId,
    pub message: MessageId,
    pub recipient: RecipientId,
    pub mode: Mode,
    pub sequence: i32,
    pub event_type: EventType,
    pub occurred_at: Timestamp,
    pub data: serde_json::Value,
    pub of_message: Option<EventMessage>,
}

impl ProjectEvent {
    /// Whether all is there that it tells: of a message that is gone there is nothing left to tell.
    pub const fn is_whole(&self) -> bool {
        self.of_message.is_some() || self.event_type.is_of_project()
    }
}

/// What an event tells of its message and recipient.
#[derive(Debug, Clone)]
pub struct EventMessage {
    pub email: String,
    pub kind: String,
    pub position: i16,
    pub author: String,
    pub subject: String,
    pub tags: serde_json::Value,
    pub metadata: serde_json::Value,
    pub key: Option<String>,
    /// Its `Message-ID`, without angle brackets.
    pub header_id: String,
}

/// Events of a project, and where to go on.
#[derive(Debug, Clone)]
pub struct ProjectLogPage {
    pub events: Vec<ProjectEvent>,
    pub next: LogCursor,
    /// There may be more at once.
    pub is_full: bool,
}

/// Transactions of a look that are read at once.
const SPAN: u64 = 64;
/// So many times more, while they hold less than half a page.
const WIDER: u64 = 16;

/// The last event that was read of a look.
struct Read {
    era: i16,
    xid: String,
    id: Uuid,
}

impl Read {
    /// In the order of the log.
    fn place(&self) -> (i16, u64, Uuid) {
        (self.era, self.xid.parse().unwrap_or_default(), self.id)
    }
}

/// What a cursor says to a statement: the era and snapshot of what was seen, and what was read of the look behind it.
fn positions(cursor: &LogCursor) -> (i16, Option<&str>, Read) {
    let (era, snapshot) = cursor.seen.as_ref().map_or((0, None), |seen| (seen.era, Some(seen.snapshot.as_str())));
    let none = || Read { era: -1, xid: "0".to_owned(), id: Uuid::nil() };
    let read =
        cursor.within.as_ref().map_or_else(none, |read| Read { era: read.era, xid: read.xid.to_string(), id: read.id });
    (era, snapshot, read)
}

/// Behind what a look begins, in the order of the log. One bound: of two the index may begin at the farther.
fn beginning(cursor: &LogCursor) -> Read {
    let (era, _, read) = positions(cursor);
    let seen = Read { era, xid: Unseen::of(cursor).from, id: Uuid::nil() };
    if read.place() > seen.place() { read } else { seen }
}

/// Which transactions a look did not see: those that were under way, and those that began later. The texts of a `pg_snapshot`
/// name them, so that what was seen between is not read again, however long a transaction goes on.
pub(in crate::store) struct Unseen {
    pub under_way: Vec<String>,
    pub from: String,
}

impl Unseen {
    pub fn of(cursor: &LogCursor) -> Self {
        Self::by(cursor.seen.as_ref().map_or("", |seen| &seen.snapshot))
    }

    fn by(snapshot: &str) -> Self {
        let mut parts = snapshot.splitn(3, ':').skip(1);
        let from = parts.next().unwrap_or("0").to_owned();
        let under_way = parts.next().unwrap_or_default().split(',').filter(|xid| !xid.is_empty());
        Self { under_way: under_way.map(str::to_owned).collect(), from }
    }
}

/// Where to go on behind a page of a look: behind its last event, or, when the look was read to its end, behind all of it.
fn behind(cursor: &LogCursor, look: Look, last: Option<Read>) -> Result<LogCursor, StoreError> {
    let Some(last) = last else { return Ok(LogCursor { seen: Some(look), within: None }) };
    let xid = last.xid.parse().map_err(|_| StoreError::corrupt("events", "xid", last.id, &last.xid))?;
    let within = Within { look, era: last.era, xid, id: last.id };
    Ok(LogCursor { seen: cursor.seen.clone(), within: Some(within) })
}

struct Row {
    id: Uuid,
    era: i16,
    xid: String,
    message_id: Uuid,
    recipient_id: Uuid,
    sequence: i32,
    event_type: String,
    occurred_at: Timestamp,
    data: serde_json::Value,
}

impl Store {
    /// The events of one project in one shard behind `cursor`, at most `limit`. What this returns twice, or never, for
    /// one chain of cursors would be a defect: every committed event comes exactly once.
    pub async fn read_log(
        &self,
        project: ProjectId,
        shard: Shard,
        cursor: &LogCursor,
        limit: i64,
    ) -> Result<LogPage, StoreError> {
        let look = self.look_of(cursor).await?;
        let (seen_era, seen, read) = positions(cursor);
        let rows = on_pool!(
            self,
            "events.read_log",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT e.id, e.era, e.xid::text AS "xid!", e.message_id, e.recipient_id, e.sequence,
                    e.type AS event_type, e.occurred_at, e.data
                FROM events e
                WHERE e.shard = $1 AND e.project_id = $2
                  -- From the oldest transaction on that the last look may not have seen: where the index begins.
                  AND (e.era, e.xid) >=
                      ($3::smallint, COALESCE(pg_snapshot_xmin($4::text::pg_snapshot), '0'::xid8))
                  -- Seen by this look, and not by the last one. Of earlier eras everything is seen.
                  AND (e.era < $5::smallint OR e.era = $5 AND pg_visible_in_snapshot(e.xid, $6::text::pg_snapshot))
                  AND NOT (e.era = $3 AND $4::text IS NOT NULL AND pg_visible_in_snapshot(e.xid, $4::text::pg_snapshot))
                  -- Behind what was read of this look.
                  AND (e.era, e.xid, e.id) > ($7::smallint, $8::text::xid8, $9::uuid)
                ORDER BY e.era, e.xid, e.id LIMIT $10
                "#,
                shard.value(),
                project.uuid(),
                seen_era,
                seen,
                look.era,
                look.snapshot,
                read.era,
                read.xid,
                read.id,
                limit,
            )
            .fetch_all(conn)
        )?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= limit);
        let last =
            rows.last().filter(|_| is_full).map(|last| Read { era: last.era, xid: last.xid.clone(), id: last.id });
        let next = behind(cursor, look, last)?;
        let events = rows.into_iter().map(Row::into_event).collect::<Result<_, _>>()?;
        Ok(LogPage { events, next })
    }

    /// The events of one project in all shards behind `cursor`, at most `limit`, in the order of their commits; only those
    /// at or after `since`, of these types and that mode, where such are named. What other events there were is passed.
    pub async fn read_project_log(
        &self,
        project: ProjectId,
        filter: &LogFilter,
        cursor: &LogCursor,
        limit: i64,
    ) -> Result<ProjectLogPage, StoreError> {
        let look = self.look_of(cursor).await?;
        self.read_project_log_at(project, filter, (cursor, look), limit).await
    }

    /// The same, with a look that was taken before: readers of one look that read it to its end stand at one position.
    pub async fn read_project_log_at(
        &self,
        project: ProjectId,
        filter: &LogFilter,
        (cursor, look): (&LogCursor, Look),
        limit: i64,
    ) -> Result<ProjectLogPage, StoreError> {
        let begin = beginning(cursor);
        let first_unseen = Unseen::by(&look.snapshot).from.parse().ok().filter(|_| begin.era == look.era);
        let (mut span, half) = (SPAN, usize::try_from(limit / 2).unwrap_or_default());
        // A few transactions at a time: shards are merged by their order, and of each as much would be read as is asked for.
        let (rows, end) = loop {
            let end = first_unseen.and_then(|first: u64| begin.place().1.checked_add(span).filter(|end| *end < first));
            let rows = self.read_look(project, filter, (cursor, &look), (&begin, end), limit).await?;
            if end.is_none() || rows.len() > half {
                break (rows, end);
            }
            span *= WIDER;
        };
        let is_page = i64::try_from(rows.len()).is_ok_and(|count| count >= limit);
        let last = match (rows.last(), end) {
            (Some(last), _) if is_page => Some(Read { era: last.era, xid: last.xid.clone(), id: last.id }),
            (_, Some(end)) => Some(Read { era: look.era, xid: (end - 1).to_string(), id: Uuid::max() }),
            _ => None,
        };
        let is_full = last.is_some();
        let next = behind(cursor, look, last)?;
        let events = rows.into_iter().map(ProjectEventRow::decode);
        Ok(ProjectLogPage { events: events.collect::<Result<_, StoreError>>()?, next, is_full })
    }

    /// At most `limit` events of a look behind `begin`, of transactions before `end` if one is named.
    async fn read_look(
        &self,
        project: ProjectId,
        filter: &LogFilter,
        (cursor, look): (&LogCursor, &Look),
        (begin, end): (&Read, Option<u64>),
        limit: i64,
    ) -> Result<Vec<ProjectEventRow>, StoreError> {
        let (seen_era, _, read) = positions(cursor);
        let unseen = Unseen::of(cursor);
        let (end_era, end_xid) = end.map_or((i16::MAX, 0), |end| (look.era, end));
        let types: Vec<&str> = filter.types.iter().map(|event_type| event_type.name()).collect();
        let shards: Vec<i32> = Shard::all().map(Shard::value).collect();
        let first = filter.since.map_or(Uuid::nil(), first_id_at);
        let end = filter.until.map_or(Uuid::max(), first_id_at);
        on_pool!(
            self,
            "events.read_project_log",
            conn,
            sqlx::query_as!(
                ProjectEventRow,
                r#"
                WITH page AS MATERIALIZED (
                    SELECT found.* FROM unnest($1::int[]) AS s (shard), LATERAL (
                        SELECT * FROM (
                            -- What was under way at the last look: a few transactions, however long ago they began. Each is
                            -- looked up by itself; what else is asked of it comes behind a fence, lest the planner walk all
                            -- that is behind what was read.
                            (SELECT e.shard, e.id, e.era, e.xid, e.message_id, e.recipient_id, e.mode, e.sequence, e.type,
                                e.occurred_at, e.data
                            FROM unnest($4::text[]::xid8[]) AS u (xid), LATERAL (
                                SELECT * FROM events e
                                WHERE e.shard = s.shard AND e.project_id = $2 AND e.era = $3 AND e.xid = u.xid
                                OFFSET 0) AS e
                            WHERE (e.era < $5::smallint OR pg_visible_in_snapshot(e.xid, $6::text::pg_snapshot))
                              AND (e.era, e.xid, e.id) > ($7::smallint, $8::text::xid8, $9::uuid)
                              AND e.id >= $11 AND e.id < $15
                              AND ($12::text IS NULL OR e.mode = $12)
                              AND ($13::text[] = '{}' OR e.type = ANY ($13))
                            ORDER BY e.era, e.xid, e.id LIMIT $10)
                            UNION ALL
                            -- What began behind it.
                            (SELECT e.shard, e.id, e.era, e.xid, e.message_id, e.recipient_id, e.mode, e.sequence, e.type,
                                e.occurred_at, e.data
                            FROM events e
                            WHERE e.shard = s.shard AND e.project_id = $2
                              AND (e.era, e.xid, e.id) > ($16::smallint, $14::text::xid8, $17::uuid)
                              AND (e.era, e.xid) < ($18::smallint, $19::text::xid8)
                              AND (e.era < $5 OR e.era = $5 AND pg_visible_in_snapshot(e.xid, $6::text::pg_snapshot))
                              AND e.id >= $11 AND e.id < $15
                              AND ($12::text IS NULL OR e.mode = $12)
                              AND ($13::text[] = '{}' OR e.type = ANY ($13))
                            ORDER BY e.era, e.xid, e.id LIMIT $10)) AS e
                        ORDER BY e.era, e.xid, e.id LIMIT $10) AS found
                    ORDER BY found.era, found.xid, found.id LIMIT $10)
                SELECT p.id AS "id!", p.era AS "era!", p.xid::text AS "xid!", p.message_id AS "message_id!",
                    p.recipient_id AS "recipient_id!", p.mode AS "mode!", p.sequence AS "sequence!",
                    p.type AS "event_type!", p.occurred_at AS "occurred_at!", p.data AS "data!", r.address AS "address?",
                    r.kind AS "kind?", r.position AS "position?", m.author AS "author?", m.subject AS "subject?",
                    m.tags AS "tags?", m.metadata AS "metadata?", m.idempotency_key, m.message_id AS "header_id?"
                FROM page p
                LEFT JOIN recipients r ON r.shard = p.shard AND r.message_id = p.message_id AND r.id = p.recipient_id
                LEFT JOIN messages m ON m.shard = p.shard AND m.id = p.message_id
                ORDER BY p.era, p.xid, p.id
                "#,
                &shards,
                project.uuid(),
                seen_era,
                &unseen.under_way,
                look.era,
                look.snapshot,
                read.era,
                read.xid,
                read.id,
                limit,
                first,
                filter.mode.map(Mode::name),
                &types as &[&str],
                begin.xid,
                end,
                begin.era,
                begin.id,
                end_era,
                end_xid.to_string(),
            )
            .fetch_all(conn)
        )
    }

    /// The look that a reader is in the middle of, or one of now.
    async fn look_of(&self, cursor: &LogCursor) -> Result<Look, StoreError> {
        match &cursor.within {
            Some(within) => Ok(within.look.clone()),
            None => self.look().await,
        }
    }

    /// What is visible now.
    pub async fn look(&self) -> Result<Look, StoreError> {
        let era = self.era();
        let snapshot = on_pool!(
            self,
            "events.look",
            conn,
            sqlx::query_scalar!(r#"SELECT pg_current_snapshot()::text AS "snapshot!""#).fetch_one(conn)
        )?;
        Ok(Look { era, snapshot })
    }
}

/// An event, joined with its message and recipient.
pub(in crate::store) struct ProjectEventRow {
    pub id: Uuid,
    pub era: i16,
    pub xid: String,
    pub message_id: Uuid,
    pub recipient_id: Uuid,
    pub mode: String,
    pub sequence: i32,
    pub event_type: String,
    pub occurred_at: Timestamp,
    pub data: serde_json::Value,
    pub address: Option<String>,
    pub kind: Option<String>,
    pub position: Option<i16>,
    pub author: Option<String>,
    pub subject: Option<String>,
    pub tags: Option<serde_json::Value>,
    pub metadata: Option<serde_json::Value>,
    pub idempotency_key: Option<String>,
    pub header_id: Option<String>,
}

impl ProjectEventRow {
    pub fn decode(self) -> Result<ProjectEvent, StoreError> {
        let event_type = EventType::parse(&self.event_type);
        Ok(ProjectEvent {
            id: EventId::from_uuid(self.id),
            message: MessageId::from_uuid(self.message_id),
            recipient: RecipientId::from_uuid(self.recipient_id),
            mode: decoded(Mode::parse(&self.mode), ("events", "mode"), self.id, &self.mode)?,
            sequence: self.sequence,
            event_type: decoded(event_type, ("events", "type"), self.id, &self.event_type)?,
            occurred_at: self.occurred_at,
            data: self.data,
            of_message: self.author.map(|author| EventMessage {
                header_id: self.header_id.unwrap_or_else(|| {
                    made_message_id(MessageId::from_uuid(self.message_id), domain_of(author.trim_end_matches('>')))
                }),
                email: self.address.unwrap_or_default(),
                kind: self.kind.unwrap_or_default(),
                position: self.position.unwrap_or_default(),
                author,
                subject: self.subject.unwrap_or_default(),
                tags: self.tags.unwrap_or_default(),
                metadata: self.metadata.unwrap_or_default(),
                key: self.idempotency_key,
            }),
        })
    }
}

impl Row {
    fn into_event(self) -> Result<LoggedEvent, StoreError> {
        let event_type = EventType::parse(&self.event_type);
        Ok(LoggedEvent {
            id: EventId::from_uuid(self.id),
            message: MessageId::from_uuid(self.message_id),
            recipient: RecipientId::from_uuid(self.recipient_id),
            sequence: self.sequence,
            event_type: event_type.ok_or_else(|| StoreError::corrupt("events", "type", self.id, &self.event_type))?,
            occurred_at: self.occurred_at,
            data: self.data,
        })
    }
}
