//! Moving the time of a project's test mail: all that waits comes nearer.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::store::{Store, StoreError, on_pool};

/// What came nearer.
#[derive(Debug, Default)]
pub struct Moved {
    pub deliveries: u64,
    pub scheduled: u64,
    pub afterwards: u64,
    pub webhooks: u64,
}

impl Store {
    /// How much of a project's test mail is being tried: its time cannot be moved.
    pub async fn count_tests_in_hand(&self, project: ProjectId) -> Result<i64, StoreError> {
        on_pool!(
            self,
            "sandbox_clock.count_in_hand",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT count(*) AS "count!" FROM deliveries
                WHERE project_id = $1 AND mode = 'test' AND lease_token IS NOT NULL
                "#,
                project.uuid(),
            )
            .fetch_one(conn)
        )
    }

    /// Moves what waits of a project's test mail nearer by `span`. What is due by then is due now, and tried as of its own
    /// instant, one try after the other, as if the time had passed.
    pub async fn move_time(&self, project: ProjectId, span: Duration) -> Result<Moved, StoreError> {
        let now = self.now();
        on_pool!(self, "sandbox_clock.move", conn, move_time(conn, project, span, now))
    }
}

/// See [`Store::move_time`].
async fn move_time(
    conn: &mut PgConnection,
    project: ProjectId,
    span: Duration,
    now: Timestamp,
) -> Result<Moved, StoreError> {
    let seconds = span.as_secs_f64();
    let mut tx = conn.begin().await?;
    let deliveries = sqlx::query!(
        r#"
        UPDATE deliveries d SET expires_at = expires_at - make_interval(secs => $2),
            -- Nothing may become due before now: who looks for what is due looks no further back.
            due_at = GREATEST(due_at - make_interval(secs => $2), LEAST(due_at, $3)),
            as_of = CASE WHEN COALESCE(as_of, due_at) - make_interval(secs => $2) <= $3
                THEN COALESCE(as_of, due_at) - make_interval(secs => $2) END
        WHERE d.project_id = $1 AND d.mode = 'test' AND d.lease_token IS NULL
        "#,
        project.uuid(),
        seconds,
        now,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    sqlx::query!(
        r#"
        UPDATE messages m SET expires_at = m.expires_at - make_interval(secs => $2)
        -- Those that wait, and not all that there are.
        FROM (SELECT DISTINCT shard, message_id FROM deliveries WHERE project_id = $1 AND mode = 'test') AS d
        WHERE m.shard = d.shard AND m.id = d.message_id AND m.expires_at IS NOT NULL
        "#,
        project.uuid(),
        seconds,
    )
    .execute(&mut *tx)
    .await?;
    let scheduled = sqlx::query!(
        r#"
        UPDATE scheduled_messages s SET send_at = GREATEST(send_at - make_interval(secs => $2), LEAST(send_at, $3)),
            expires_at = expires_at - make_interval(secs => $2), version = version + 1
        WHERE s.project_id = $1 AND s.mode = 'test'
        "#,
        project.uuid(),
        seconds,
        now,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let afterwards = sqlx::query!(
        "UPDATE sandbox_afterwards SET due_at = due_at - make_interval(secs => $2) WHERE project_id = $1",
        project.uuid(),
        seconds,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let webhooks = sqlx::query!(
        r#"
        UPDATE webhook_jobs j SET due_at = GREATEST(j.due_at - make_interval(secs => $2), LEAST(j.due_at, $3))
        FROM webhook_endpoints w
        WHERE w.project_id = $1 AND w.mode = 'test' AND w.enabled AND j.endpoint_id = w.id AND j.lease_token IS NULL
        "#,
        project.uuid(),
        seconds,
        now,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(Moved { deliveries, scheduled, afterwards, webhooks })
}
