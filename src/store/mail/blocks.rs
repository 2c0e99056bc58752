//! Blocks of a project's messages, and what can be found in each: a list passes those in which it is not. Made behind what is accepted, in two steps, so that
//! what was under way when a block was made is there when it is read; what comes later than that says so ([`forget`]).

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::terms::{Term, Terms};
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::message::MessageStatus;
use crate::domain::recipient::{Counts, RecipientStatus};
use crate::store::schema::partitions::first_id_at;
use crate::store::{Store, StoreError, decoded, on_pool};

/// Messages of a block.
pub const BLOCK: usize = 128;
/// How old messages are that a block is made of, and how long after that it is read.
pub const SETTLING: Duration = Duration::from_mins(1);
/// A message that is stored so long after its id was made may be in a block already. What is stored in time is committed before its block is read.
const LATE: Duration = Duration::from_secs(30);
/// How soon, and how late, it is looked again at messages whose state may change; in between, after a quarter of their age.
const AGAIN: Duration = Duration::from_mins(1);
const AGAIN_MAX: Duration = Duration::from_hours(6);
/// Projects whose next blocks are looked for by one statement, and blocks of each.
const PROJECTS: i64 = 200;
const BLOCKS: i64 = 16;

/// A block of messages, and which of them a list looks at.
#[derive(Debug)]
pub(super) struct Block {
    /// It begins behind this id.
    pub after: Uuid,
    pub last: Uuid,
    /// Only these; `None`: all.
    pub only: Option<Vec<Uuid>>,
}

/// Blocks that were made.
#[derive(Debug)]
pub struct Begun {
    pub blocks: usize,
    /// Go on behind this project; `None`: these were the last.
    pub next: Option<ProjectId>,
}

/// What a list looks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Sets of terms, of which a block has all of one.
    pub any: Vec<Vec<i64>>,
    /// The same without states: what the block of a message has whose state is not among its terms. `None`: no state is asked for.
    pub unsettled: Option<Vec<Vec<i64>>>,
}

impl Store {
    /// Makes the next blocks of `size` messages, in projects from behind `after` on.
    pub async fn begin_blocks(&self, after: ProjectId, size: usize, now: Timestamp) -> Result<Begun, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let (before, due_at) = (first_id_at(now - SETTLING), now + SETTLING);
        let projects = on_pool!(
            self,
            "projects.walk",
            conn,
            sqlx::query_scalar!("SELECT id FROM projects WHERE id > $1 ORDER BY id LIMIT $2", after.uuid(), PROJECTS)
                .fetch_all(conn)
        )?;
        let is_last = i64::try_from(projects.len()).is_ok_and(|count| count < PROJECTS);
        let next = projects.last().filter(|_| !is_last).map(|id| ProjectId::from_uuid(*id));
        let ends = on_pool!(
            self,
            "message_blocks.next",
            conn,
            sqlx::query!(
                r#"
                SELECT p.id AS "project_id!", f.id AS "after_id!", e.id AS "last_id!"
                FROM unnest($1::uuid[]) AS p (id)
                CROSS JOIN LATERAL (
                    SELECT COALESCE((
                        SELECT b.last_id FROM message_blocks b WHERE b.project_id = p.id ORDER BY b.last_id DESC LIMIT 1),
                        '00000000-0000-0000-0000-000000000000') AS id) AS f
                CROSS JOIN LATERAL (
                    SELECT n.id, n.number FROM (
                        SELECT m.id, row_number() OVER (ORDER BY m.id) AS number FROM (
                            SELECT m.id FROM messages m WHERE m.project_id = p.id AND m.id > f.id AND m.id < $2
                            ORDER BY m.id LIMIT $3::bigint * $4::bigint) AS m) AS n
                    WHERE n.number % $3::bigint = 0) AS e
                ORDER BY p.id, e.id
                "#,
                &projects,
                before,
                size,
                BLOCKS,
            )
            .fetch_all(conn)
        )?;
        let (mut of, mut afters, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
        for end in ends {
            self.ensure_day(MessageId::from_uuid(end.last_id).made_at().date()).await?;
            // Each begins where the one before it ends.
            let begins = match (of.last(), lasts.last()) {
                (Some(project), Some(last)) if *project == end.project_id => *last,
                _ => end.after_id,
            };
            of.push(end.project_id);
            afters.push(begins);
            lasts.push(end.last_id);
        }
        if !of.is_empty() {
            on_pool!(
                self,
                "message_blocks.begin",
                conn,
                sqlx::query!(
                    r#"
                    INSERT INTO message_blocks (project_id, after_id, last_id, due_at)
                    SELECT project_id, after_id, last_id, $4
                    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS b (project_id, after_id, last_id)
                    ON CONFLICT DO NOTHING
                    "#,
                    &of,
                    &afters,
                    &lasts,
                    due_at,
                )
                .execute(conn)
            )?;
        }
        Ok(Begun { blocks: of.len(), next })
    }

    /// Reads blocks that are due, at most so many; how many it were.
    pub async fn fill_blocks(&self, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        on_pool!(self, "message_blocks.fill", conn, fill(conn, limit, now))
    }

    /// The end of a project's last block: what is newer is in none. `None`: it has no blocks.
    pub(super) async fn blocks_end(&self, project: ProjectId) -> Result<Option<Uuid>, StoreError> {
        on_pool!(
            self,
            "message_blocks.end",
            conn,
            sqlx::query_scalar!(
                "SELECT last_id FROM message_blocks WHERE project_id = $1 ORDER BY last_id DESC LIMIT 1",
                project.uuid(),
            )
            .fetch_optional(conn)
        )
    }

    /// The newest blocks, at most so many, in which something may be found that is wanted, with messages from the first of the ids to the second.
    pub(super) async fn find_blocks(
        &self,
        project: ProjectId,
        wanted: &Wanted,
        (first, last): (Uuid, Uuid),
        limit: usize,
    ) -> Result<Vec<Block>, StoreError> {
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        // Up to the block that the last id is in.
        let within = on_pool!(
            self,
            "message_blocks.of_id",
            conn,
            sqlx::query_scalar!(
                "SELECT last_id FROM message_blocks WHERE project_id = $1 AND last_id >= $2 ORDER BY last_id LIMIT 1",
                project.uuid(),
                last,
            )
            .fetch_optional(conn)
        )?;
        let within = within.unwrap_or_else(Uuid::max);
        let mut found = Vec::new();
        for terms in &wanted.any {
            let known = on_pool!(
                self,
                "message_blocks.find",
                conn,
                // The project is in the terms: another index than theirs would be of no use.
                sqlx::query!(
                    r#"
                    SELECT after_id, last_id FROM message_blocks
                    WHERE terms @> $1 AND last_id >= $2 AND last_id <= $4 AND after_id < $3
                    ORDER BY last_id DESC LIMIT $5
                    "#,
                    terms,
                    first,
                    last,
                    within,
                    rows,
                )
                .fetch_all(conn)
            )?;
            found.extend(known.into_iter().map(|row| Block { after: row.after_id, last: row.last_id, only: None }));
        }
        let unsettled = wanted.unsettled.as_deref();
        let unsure = on_pool!(
            self,
            "message_blocks.find_unsure",
            conn,
            sqlx::query!(
                r#"
                SELECT after_id, last_id, terms IS NULL AS "is_unknown!", unsettled FROM message_blocks
                WHERE project_id = $1 AND due_at IS NOT NULL AND last_id >= $2 AND last_id <= $4 AND after_id < $3
                  AND (terms IS NULL OR ($6 AND (terms @> $7 OR terms @> $8)))
                ORDER BY last_id DESC LIMIT $5
                "#,
                project.uuid(),
                first,
                last,
                within,
                rows,
                unsettled.is_some(),
                unsettled.and_then(|any| any.first()).map_or(&[][..], |terms| terms),
                unsettled.and_then(|any| any.get(1)).map(Vec::as_slice),
            )
            .fetch_all(conn)
        )?;
        found.extend(unsure.into_iter().map(|row| Block {
            after: row.after_id,
            last: row.last_id,
            only: (!row.is_unknown).then_some(row.unsettled),
        }));
        // The newest first, and of one that was found twice the whole.
        found.sort_by(|a, b| b.last.cmp(&a.last).then(a.only.is_some().cmp(&b.only.is_some())));
        found.dedup_by_key(|block| block.last);
        found.truncate(limit);
        Ok(found)
    }

    /// The ids of messages in these blocks, from the first to the last of `bounds`.
    pub(super) async fn ids_in_blocks(
        &self,
        project: ProjectId,
        blocks: &[Block],
        (first, last): (Uuid, Uuid),
    ) -> Result<Vec<Uuid>, StoreError> {
        let whole = || blocks.iter().filter(|block| block.only.is_none());
        let mut ids = on_pool!(
            self,
            "messages.list_in_blocks",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT m.id FROM unnest($2::uuid[], $3::uuid[]) AS b (after_id, last_id)
                CROSS JOIN LATERAL (
                    SELECT m.id FROM messages m WHERE m.project_id = $1 AND m.id > b.after_id AND m.id <= b.last_id) AS m
                WHERE m.id BETWEEN $4 AND $5
                "#,
                project.uuid(),
                &whole().map(|block| block.after).collect::<Vec<_>>(),
                &whole().map(|block| block.last).collect::<Vec<_>>(),
                first,
                last,
            )
            .fetch_all(conn)
        )?;
        let only = blocks.iter().filter_map(|block| block.only.as_ref()).flatten();
        ids.extend(only.filter(|id| (first..=last).contains(*id)));
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

/// What is known of the blocks of these messages is known no more, from the commit of this transaction on; of those whose ids were made a moment ago there are
/// no blocks. The last statement of its transaction: others may wait for it.
pub(super) async fn forget(
    conn: &mut PgConnection,
    messages: impl Iterator<Item = (ProjectId, MessageId)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (projects, ids): (Vec<_>, Vec<_>) =
        messages.filter(|(_, id)| is_late(*id, now)).map(|(project, id)| (project.uuid(), id.uuid())).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH known AS (
            SELECT DISTINCT b.project_id, b.last_id FROM unnest($1::uuid[], $2::uuid[]) AS m (project_id, id)
            CROSS JOIN LATERAL (
                SELECT b.project_id, b.last_id FROM message_blocks b
                WHERE b.project_id = m.project_id AND b.last_id >= m.id ORDER BY b.last_id LIMIT 1) AS b),
        locked AS MATERIALIZED (
            SELECT b.project_id, b.last_id FROM known k
            JOIN message_blocks b ON b.project_id = k.project_id AND b.last_id = k.last_id
            ORDER BY b.project_id, b.last_id FOR UPDATE OF b)
        UPDATE message_blocks b SET terms = NULL, unsettled = '{}', due_at = $3 FROM locked l
        WHERE b.project_id = l.project_id AND b.last_id = l.last_id
        "#,
        &projects,
        &ids,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a message that is stored now may be in a block already.
pub(super) fn is_late(id: MessageId, now: Timestamp) -> bool {
    id.uuid() < first_id_at(now - LATE)
}

/// A message of a block.
struct BlockRow {
    number: i64,
    id: Uuid,
    mode: String,
    sender: String,
    subject: String,
    tags: serde_json::Value,
    credential: Option<String>,
    message_id: Option<String>,
    domains: Vec<String>,
    statuses: Vec<String>,
    is_unsettled: bool,
}

async fn fill(conn: &mut PgConnection, limit: i64, now: Timestamp) -> Result<usize, StoreError> {
    let mut tx = conn.begin().await?;
    let blocks = sqlx::query!(
        r#"
        SELECT project_id, after_id, last_id FROM message_blocks WHERE due_at <= $1
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        "#,
        now,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    let rows = sqlx::query_as!(
        BlockRow,
        r#"
        SELECT b.number AS "number!", m.id, m.mode, m.sender, m.subject, m.tags, m.credential, m.message_id,
            r.domains AS "domains!", r.statuses AS "statuses!", r.is_unsettled AS "is_unsettled!"
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS b (project_id, after_id, last_id, number)
        CROSS JOIN LATERAL (
            SELECT m.* FROM messages m WHERE m.project_id = b.project_id AND m.id > b.after_id AND m.id <= b.last_id) AS m
        CROSS JOIN LATERAL (
            SELECT COALESCE(array_agg(DISTINCT split_part(r.address, '@', -1)), '{}') AS domains,
                COALESCE(array_agg(DISTINCT r.status), '{}') AS statuses,
                COALESCE(bool_or(r.settled_at IS NULL), false) AS is_unsettled
            FROM recipients r WHERE r.shard = m.shard AND r.message_id = m.id) AS r
        "#,
        &blocks.iter().map(|block| block.project_id).collect::<Vec<_>>(),
        &blocks.iter().map(|block| block.after_id).collect::<Vec<_>>(),
        &blocks.iter().map(|block| block.last_id).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut filled: Vec<_> =
        blocks.iter().map(|block| (Terms::new(ProjectId::from_uuid(block.project_id)), Vec::new())).collect();
    for row in rows {
        let number = usize::try_from(row.number - 1).unwrap_or(usize::MAX);
        let Some((terms, unsettled)) = filled.get_mut(number) else { continue };
        row.add_to(terms)?;
        if row.is_unsettled {
            unsettled.push(row.id);
        }
    }
    for (block, (terms, unsettled)) in blocks.iter().zip(filled) {
        let age = Duration::try_from(now - MessageId::from_uuid(block.last_id).made_at()).unwrap_or_default();
        let again = (!unsettled.is_empty()).then(|| now + (age / 4).clamp(AGAIN, AGAIN_MAX));
        sqlx::query!(
            r#"
            UPDATE message_blocks SET terms = $3, unsettled = $4, due_at = $5 WHERE project_id = $1 AND last_id = $2
            "#,
            block.project_id,
            block.last_id,
            &terms.finish(),
            &unsettled,
            again,
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(blocks.len())
}

impl BlockRow {
    fn add_to(&self, terms: &mut Terms) -> Result<(), StoreError> {
        terms.add(Term::Mode(&self.mode));
        terms.add(Term::From(&self.sender));
        terms.add_subject(&self.subject);
        for tag in self.tags.as_array().into_iter().flatten().filter_map(|tag| tag.as_str()) {
            terms.add(Term::Tag(tag));
        }
        if let Some(credential) = &self.credential {
            terms.add(Term::Credential(credential));
        }
        if let Some(id) = &self.message_id {
            terms.add(Term::MessageId(id));
        }
        for domain in &self.domains {
            terms.add(Term::Domain(domain));
        }
        if self.is_unsettled {
            return Ok(());
        }
        let mut counts = Counts::default();
        for status in &self.statuses {
            let known = RecipientStatus::parse(status);
            counts.count(decoded(known, ("recipients", "status"), self.id, status)?, 1);
            terms.add(Term::RecipientStatus(status));
        }
        // All of one state or not: how many there are of each does not matter.
        terms.add(Term::Status(MessageStatus::of(&counts).name()));
        Ok(())
    }
}
