//! The suppressions of a project: stored, found by address, deleted; the newest, and all of them in order. Each lies in the
//! shard of its project and address. What has expired is as good as absent.

use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::id::{MessageId, ProjectId, SuppressionId};
use crate::domain::shard::Shard;
use crate::domain::suppression::{
    Evidence, NewSuppression, Suppression, SuppressionReason, SuppressionScope, shard_of,
};
use crate::store::{Store, StoreError, by_shard, decoded, on_pool};

/// What a list is narrowed to. `None` narrows nothing.
#[derive(Debug, Default, Clone)]
pub struct SuppressionFilter {
    pub reason: Option<SuppressionReason>,
    pub scope: Option<SuppressionScope>,
    /// How the address begins, in lower case.
    pub prefix: Option<String>,
    /// Stored since then.
    pub since: Option<Timestamp>,
    /// Older than this one.
    pub before: Option<SuppressionId>,
    pub limit: i64,
}

/// What a suppression became that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub reason: SuppressionReason,
    /// It was not there before.
    pub is_new: bool,
}

struct Row {
    id: Uuid,
    mode: String,
    address: String,
    stream: String,
    tag: String,
    reason: String,
    class: Option<String>,
    evidence: serde_json::Value,
    note: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    updated_at: Timestamp,
}

impl Row {
    fn decode(self) -> Result<Suppression, StoreError> {
        let (mode, reason) = (Mode::parse(&self.mode), SuppressionReason::parse(&self.reason));
        Ok(Suppression {
            id: SuppressionId::from_uuid(self.id),
            mode: decoded(mode, ("suppressions", "mode"), self.id, &self.mode)?,
            address: self.address,
            scope: SuppressionScope::of_columns(self.stream, self.tag),
            reason: decoded(reason, ("suppressions", "reason"), self.id, &self.reason)?,
            class: self.class,
            evidence: serde_json::from_value::<Evidence>(self.evidence).unwrap_or_default(),
            note: self.note,
            created_at: self.created_at,
            expires_at: self.expires_at,
            updated_at: self.updated_at,
        })
    }
}

/// What scopes of suppressions ask of a message.
#[derive(Debug)]
pub struct MessageLabels {
    pub mode: Mode,
    pub tags: Vec<String>,
    pub stream: Option<String>,
}

impl Store {
    /// Stores suppressions, no two of one address and scope: those that are there already become what is given, unless they
    /// weigh more or are younger. None ends earlier for it. What changed nothing is not in the answer.
    pub async fn put_suppressions(
        &self,
        entries: Vec<NewSuppression>,
        rng: &dyn Rng,
    ) -> Result<Vec<Written>, StoreError> {
        let mut written = Vec::with_capacity(entries.len());
        for mut run in by_shard(entries, self.max_shards_per_tx, NewSuppression::shard) {
            // Two that lock the same rows do so in the same order.
            run.sort_by(|a, b| {
                (a.shard(), a.project, &a.address, &a.scope).cmp(&(b.shard(), b.project, &b.address, &b.scope))
            });
            written.extend(self.put_run(&run, rng).await?);
        }
        Ok(written)
    }

    async fn put_run(&self, run: &[NewSuppression], rng: &dyn Rng) -> Result<Vec<Written>, StoreError> {
        let now = self.now();
        let evidence = |entry: &NewSuppression| serde_json::to_value(&entry.evidence).unwrap_or_default();
        let rows = on_pool!(
            self,
            "suppressions.put",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO suppressions AS o (shard, project_id, address, mode, stream, tag, id, reason, class, evidence,
                    note, created_at, expires_at, updated_at)
                SELECT n.*, $14 FROM unnest($1::int[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::uuid[], $8::text[], $9::text[], $10::jsonb[], $11::text[], $12::timestamptz[],
                    $13::timestamptz[]) AS n
                ON CONFLICT (shard, project_id, address, mode, stream, tag) DO UPDATE
                SET reason = excluded.reason, class = excluded.class, evidence = excluded.evidence,
                    note = coalesce(nullif(excluded.note, ''), o.note), created_at = excluded.created_at,
                    expires_at = CASE WHEN o.expires_at <= $14 THEN excluded.expires_at
                        ELSE nullif(greatest(coalesce(o.expires_at, 'infinity'), coalesce(excluded.expires_at, 'infinity')),
                            'infinity') END,
                    updated_at = excluded.updated_at
                WHERE o.expires_at <= $14 OR array_position($15::text[], excluded.reason) > array_position($15, o.reason)
                   OR (excluded.reason = o.reason AND excluded.created_at >= o.created_at
                       AND (excluded.class, excluded.evidence, coalesce(nullif(excluded.note, ''), o.note),
                            excluded.created_at,
                            greatest(coalesce(o.expires_at, 'infinity'), coalesce(excluded.expires_at, 'infinity')))
                           IS DISTINCT FROM
                           (o.class, o.evidence, o.note, o.created_at, coalesce(o.expires_at, 'infinity')))
                RETURNING o.reason, o.xmax = 0 AS "is_new!"
                "#,
                &run.iter().map(|entry| entry.shard().value()).collect::<Vec<_>>(),
                &run.iter().map(|entry| entry.project.uuid()).collect::<Vec<_>>(),
                &run.iter().map(|entry| entry.address.as_str()).collect::<Vec<_>>() as &[&str],
                &run.iter().map(|entry| entry.mode.name()).collect::<Vec<_>>() as &[&str],
                &run.iter().map(|entry| entry.scope.columns().0).collect::<Vec<_>>() as &[&str],
                &run.iter().map(|entry| entry.scope.columns().1).collect::<Vec<_>>() as &[&str],
                &run.iter().map(|entry| entry.new_id(now, rng).uuid()).collect::<Vec<_>>(),
                &run.iter().map(|entry| entry.reason.name()).collect::<Vec<_>>() as &[&str],
                &run.iter().map(|entry| entry.class.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
                &run.iter().map(evidence).collect::<Vec<_>>(),
                &run.iter().map(|entry| entry.note.as_str()).collect::<Vec<_>>() as &[&str],
                &run.iter().map(|entry| entry.created_at).collect::<Vec<_>>(),
                &run.iter().map(|entry| entry.expires_at).collect::<Vec<_>>() as &[Option<Timestamp>],
                now,
                &SuppressionReason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>() as &[&str],
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let reason = SuppressionReason::parse(&row.reason);
                let reason = decoded(reason, ("suppressions", "reason"), "just written", &row.reason)?;
                Ok(Written { reason, is_new: row.is_new })
            })
            .collect()
    }

    /// The suppressions of these addresses, of all scopes; of one mode or of both.
    pub async fn find_suppressions(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        addresses: &[String],
    ) -> Result<Vec<Suppression>, StoreError> {
        let now = self.now();
        let mut found = Vec::new();
        for run in by_shard(addresses.iter().collect(), self.max_shards_per_tx, |address| shard_of(project, address)) {
            let rows = on_pool!(
                self,
                "suppressions.find",
                conn,
                sqlx::query_as!(
                    Row,
                    r#"
                    SELECT s.id, s.mode, s.address, s.stream, s.tag, s.reason, s.class, s.evidence, s.note, s.created_at,
                        s.expires_at, s.updated_at
                    FROM unnest($1::int[], $2::text[]) AS w (shard, address)
                    JOIN suppressions s ON s.shard = w.shard AND s.project_id = $3 AND s.address = w.address
                        AND ($4::text IS NULL OR s.mode = $4) AND (s.expires_at IS NULL OR s.expires_at > $5)
                    "#,
                    &run.iter().map(|address| shard_of(project, address).value()).collect::<Vec<_>>(),
                    &run.iter().map(|address| address.as_str()).collect::<Vec<_>>() as &[&str],
                    project.uuid(),
                    mode.map(Mode::name),
                    now,
                )
                .fetch_all(conn)
            )?;
            for row in rows {
                found.push(row.decode()?);
            }
        }
        Ok(found)
    }

    pub async fn find_suppression(
        &self,
        project: ProjectId,
        mode: Mode,
        id: SuppressionId,
    ) -> Result<Option<Suppression>, StoreError> {
        let now = self.now();
        let row = on_pool!(
            self,
            "suppressions.get",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT id, mode, address, stream, tag, reason, class, evidence, note, created_at, expires_at, updated_at
                FROM suppressions
                WHERE shard = $1 AND project_id = $2 AND mode = $3 AND id = $4 AND (expires_at IS NULL OR expires_at > $5)
                "#,
                id.shard().value(),
                project.uuid(),
                mode.name(),
                id.uuid(),
                now,
            )
            .fetch_optional(conn)
        )?;
        row.map(Row::decode).transpose()
    }

    /// Whether it was there.
    pub async fn delete_suppression(
        &self,
        project: ProjectId,
        mode: Mode,
        id: SuppressionId,
    ) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "suppressions.delete",
            conn,
            sqlx::query!(
                "DELETE FROM suppressions WHERE shard = $1 AND project_id = $2 AND mode = $3 AND id = $4",
                id.shard().value(),
                project.uuid(),
                mode.name(),
                id.uuid(),
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes the suppressions of these addresses, of one scope or of all; returns how many there were.
    pub async fn delete_suppressions_of(
        &self,
        project: ProjectId,
        mode: Mode,
        addresses: &[String],
        scope: Option<&SuppressionScope>,
    ) -> Result<u64, StoreError> {
        let (stream, tag) = scope.map(SuppressionScope::columns).unzip();
        let mut deleted = 0;
        for mut run in
            by_shard(addresses.iter().collect(), self.max_shards_per_tx, |address| shard_of(project, address))
        {
            run.sort_by_key(|address| (shard_of(project, address), *address));
            let done = on_pool!(
                self,
                "suppressions.delete_by_address",
                conn,
                sqlx::query!(
                    r#"
                    DELETE FROM suppressions s USING unnest($1::int[], $2::text[]) AS w (shard, address)
                    WHERE s.shard = w.shard AND s.project_id = $3 AND s.address = w.address AND s.mode = $4
                      AND ($5::text IS NULL OR (s.stream = $5 AND s.tag = $6))
                    "#,
                    &run.iter().map(|address| shard_of(project, address).value()).collect::<Vec<_>>(),
                    &run.iter().map(|address| address.as_str()).collect::<Vec<_>>() as &[&str],
                    project.uuid(),
                    mode.name(),
                    stream,
                    tag,
                )
                .execute(conn)
            )?;
            deleted += done.rows_affected();
        }
        Ok(deleted)
    }

    /// The project's suppressions, newest first. Each shard gives its newest; a page is the newest of those.
    pub async fn list_suppressions(
        &self,
        project: ProjectId,
        mode: Mode,
        filter: &SuppressionFilter,
    ) -> Result<Vec<Suppression>, StoreError> {
        let now = self.now();
        let (stream, tag) = filter.scope.as_ref().map(SuppressionScope::columns).unzip();
        let rows = on_pool!(
            self,
            "suppressions.list",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT f.* FROM unnest($1::int[]) AS w (shard), LATERAL (
                    SELECT s.id, s.mode, s.address, s.stream, s.tag, s.reason, s.class, s.evidence, s.note, s.created_at,
                        s.expires_at, s.updated_at
                    FROM suppressions s
                    WHERE s.shard = w.shard AND s.project_id = $2 AND s.mode = $3 AND ($4::uuid IS NULL OR s.id < $4)
                      AND (s.expires_at IS NULL OR s.expires_at > $5)
                      AND ($6::text IS NULL OR s.reason = $6)
                      AND ($7::text IS NULL OR (s.stream = $7 AND s.tag = $8))
                      AND ($9::text IS NULL OR starts_with(s.address, $9))
                      AND ($10::timestamptz IS NULL OR s.updated_at >= $10)
                    ORDER BY s.id DESC LIMIT $11) AS f
                ORDER BY f.id DESC LIMIT $11
                "#,
                &Shard::all().map(Shard::value).collect::<Vec<_>>(),
                project.uuid(),
                mode.name(),
                filter.before.map(SuppressionId::uuid),
                now,
                filter.reason.map(SuppressionReason::name),
                stream,
                tag,
                filter.prefix,
                filter.since,
                filter.limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// The next suppressions of a project, shard by shard: after that one, or from the first. Fewer than `limit` are the
    /// last of a shard; go on with [`next_shard`].
    pub async fn walk_suppressions(
        &self,
        project: ProjectId,
        mode: Mode,
        (shard, after): (Shard, Option<SuppressionId>),
        reason: Option<SuppressionReason>,
        limit: i64,
    ) -> Result<Vec<Suppression>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "suppressions.walk",
            conn,
            sqlx::query_as!(
                Row,
                r#"
                SELECT id, mode, address, stream, tag, reason, class, evidence, note, created_at, expires_at, updated_at
                FROM suppressions
                WHERE shard = $1 AND project_id = $2 AND mode = $3 AND id > $4 AND (expires_at IS NULL OR expires_at > $5)
                  AND ($6::text IS NULL OR reason = $6)
                ORDER BY id LIMIT $7
                "#,
                shard.value(),
                project.uuid(),
                mode.name(),
                after.map_or(Uuid::nil(), SuppressionId::uuid),
                now,
                reason.map(SuppressionReason::name),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(Row::decode).collect()
    }

    /// What scopes ask of a message; `None` when it is gone.
    pub async fn message_labels(&self, message: MessageId) -> Result<Option<MessageLabels>, StoreError> {
        let row = on_pool!(
            self,
            "messages.labels",
            conn,
            sqlx::query!(
                "SELECT mode, tags, stream FROM messages WHERE shard = $1 AND id = $2",
                message.shard().value(),
                message.uuid(),
            )
            .fetch_optional(conn)
        )?;
        let Some(row) = row else { return Ok(None) };
        let mode = decoded(Mode::parse(&row.mode), ("messages", "mode"), message, &row.mode)?;
        let tags = serde_json::from_value(row.tags).unwrap_or_default();
        Ok(Some(MessageLabels { mode, tags, stream: row.stream }))
    }
}

/// The shard that a walk over all of them visits after this one.
pub fn next_shard(shard: Shard) -> Option<Shard> {
    let next = shard.index() + 1;
    (next < 64).then(|| Shard::of_low_bits(next))
}
