//! How long each project keeps what is settled, and how far its purge has come.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, ProjectId};
use crate::domain::retention::{ProjectRetention, RetentionKind};
use crate::store::{OwnedConnection, Store, StoreError, decoded, on_connection, on_pool};

/// So long whoever purges keeps others from it: what takes longer puts it off again.
const TURN: Duration = Duration::from_mins(1);

/// One kind of a project's retention whose turn it is.
#[derive(Debug, Clone, Copy)]
pub struct PurgeTurn {
    pub project: ProjectId,
    pub kind: RetentionKind,
    pub span: Duration,
    /// Messages up to this id were looked at.
    pub mark: Uuid,
}

impl Store {
    pub async fn find_retention(&self, project: ProjectId) -> Result<ProjectRetention, StoreError> {
        let rows = on_pool!(
            self,
            "retention.find",
            conn,
            sqlx::query!("SELECT kind, span_seconds FROM retention WHERE project_id = $1", project.uuid())
                .fetch_all(conn)
        )?;
        let mut retention = ProjectRetention::default();
        for row in rows {
            let kind = decoded(RetentionKind::parse(&row.kind), ("retention", "kind"), project, &row.kind)?;
            *retention.of_mut(kind) = row.span_seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        }
        Ok(retention)
    }

    /// Stores all spans of a project. What was purged stays so, and its mark is kept.
    pub async fn put_retention(&self, project: ProjectId, retention: &ProjectRetention) -> Result<(), StoreError> {
        let now = self.now();
        let kinds: Vec<_> = RetentionKind::ALL.iter().map(|kind| kind.name()).collect();
        let spans: Vec<Option<i64>> = RetentionKind::ALL
            .iter()
            .map(|kind| retention.of(*kind).and_then(|span| i64::try_from(span.as_secs()).ok()))
            .collect();
        on_pool!(
            self,
            "retention.put",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO retention (project_id, kind, span_seconds, look_at)
                SELECT $1, n.kind, n.span, $4 FROM unnest($2::text[], $3::bigint[]) AS n (kind, span)
                ON CONFLICT (project_id, kind) DO UPDATE SET span_seconds = excluded.span_seconds, look_at = excluded.look_at
                "#,
                project.uuid(),
                &kinds as &[&str],
                &spans as &[Option<i64>],
                now,
            )
            .execute(conn)
        )?;
        Ok(())
    }
}

impl OwnedConnection {
    /// Takes the turn of purges that nobody has had for a while.
    pub async fn take_purge_turns(&mut self, limit: i64) -> Result<Vec<PurgeTurn>, StoreError> {
        let now = self.store.now();
        let rows = on_connection!(
            self,
            "retention.take_turns",
            conn,
            sqlx::query!(
                r#"
                UPDATE retention r SET look_at = $2 FROM (
                    SELECT d.project_id, d.kind FROM retention d
                    WHERE d.span_seconds IS NOT NULL AND d.look_at <= $1
                    ORDER BY d.look_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
                WHERE r.project_id = due.project_id AND r.kind = due.kind
                RETURNING r.project_id, r.kind, r.span_seconds AS "span_seconds!", r.mark
                "#,
                now,
                now + TURN,
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let kind = RetentionKind::parse(&row.kind);
                Ok(PurgeTurn {
                    project: ProjectId::from_uuid(row.project_id),
                    kind: decoded(kind, ("retention", "kind"), row.project_id, &row.kind)?,
                    span: Duration::from_secs(row.span_seconds.unsigned_abs()),
                    mark: row.mark,
                })
            })
            .collect()
    }

    /// Notes how far a purge has come: what is held is looked at again at its instant, and so is what waits in the schedule
    /// with an id that is passed by.
    pub async fn advance_purge(
        &mut self,
        turn: &PurgeTurn,
        mark: Uuid,
        held: &[(MessageId, Timestamp)],
    ) -> Result<(), StoreError> {
        let now = self.store.now();
        on_connection!(
            self,
            "retention.advance",
            conn,
            sqlx::query!(
                r#"
                WITH held AS (
                    INSERT INTO retention_held (project_id, kind, message_id, look_at)
                    SELECT $1::uuid, $2::text, h.id, h.look_at FROM unnest($5::uuid[], $6::timestamptz[]) AS h (id, look_at)
                    UNION ALL
                    SELECT $1, $2, s.id, $7::timestamptz FROM scheduled_messages s
                    WHERE s.project_id = $1 AND s.id > $3 AND s.id <= $4
                    ON CONFLICT (project_id, kind, message_id) DO NOTHING)
                UPDATE retention SET mark = $4, look_at = $7 WHERE project_id = $1 AND kind = $2
                "#,
                turn.project.uuid(),
                turn.kind.name(),
                turn.mark,
                mark,
                &held.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>(),
                &held.iter().map(|(_, at)| *at).collect::<Vec<_>>(),
                now + TURN,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Messages behind the mark whose instant has come.
    pub async fn held_from_purge(&mut self, turn: &PurgeTurn, limit: i64) -> Result<Vec<MessageId>, StoreError> {
        let now = self.store.now();
        let rows = on_connection!(
            self,
            "retention.list_held",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT message_id FROM retention_held
                WHERE project_id = $1 AND kind = $2 AND look_at <= $3 ORDER BY look_at LIMIT $4
                "#,
                turn.project.uuid(),
                turn.kind.name(),
                now,
                limit,
            )
            .fetch_all(conn)
        )?;
        Ok(rows.into_iter().map(MessageId::from_uuid).collect())
    }

    /// Lets go of what was held and was purged now, or is gone; the others are looked at again at their instant.
    pub async fn release_from_purge(
        &mut self,
        turn: &PurgeTurn,
        done: &[MessageId],
        held: &[(MessageId, Timestamp)],
    ) -> Result<(), StoreError> {
        on_connection!(
            self,
            "retention.release",
            conn,
            sqlx::query!(
                r#"
                WITH gone AS (
                    DELETE FROM retention_held WHERE project_id = $1 AND kind = $2 AND message_id = ANY ($3))
                UPDATE retention_held r SET look_at = h.look_at
                FROM unnest($4::uuid[], $5::timestamptz[]) AS h (id, look_at)
                WHERE r.project_id = $1 AND r.kind = $2 AND r.message_id = h.id
                "#,
                turn.project.uuid(),
                turn.kind.name(),
                &done.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
                &held.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>(),
                &held.iter().map(|(_, at)| *at).collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
