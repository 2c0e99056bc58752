//! What was handed out of quotas, in slices to processes, and which processes accept.
//!
//! A slice is taken and given back by one statement on one row, now and then; no message does. So the sum of what all
//! processes use is never more than the quota, whatever they know of each other.

use std::time::Duration;

use time::Date;
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::quota::Quota;
use crate::store::{Store, StoreError, decoded, on_pool};

/// Days for which usage is kept.
const KEPT_DAYS: i32 = 400;
/// A slice beyond what is needed at once is at most this part of what is left.
const SLICE_PART: i64 = 16;

/// A count: whose, of what, since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    pub subject: Uuid,
    pub quota: Quota,
    pub mode: Mode,
    pub period: Date,
}

/// What is wanted of a quota.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub limit: u64,
    /// All of it, or nothing.
    pub needed: u64,
    /// So much more if there is plenty, for what comes next.
    pub ahead: u64,
}

/// What was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    pub slice: u64,
    /// Handed out to all processes by now, this slice included.
    pub used: u64,
}

impl Store {
    /// Takes a slice.
    pub async fn lease_quota(&self, counter: Counter, wanted: Wanted) -> Result<Granted, StoreError> {
        self.within("quotas.lease", async {
            let mut conn = self.conn().await?;
            let mut granted = lease(conn.get()?, counter, wanted).await?;
            if granted.is_none() {
                begin(conn.get()?, counter).await?;
                granted = lease(conn.get()?, counter, wanted).await?;
            }
            conn.keep().await?;
            Ok(granted.unwrap_or(Granted { slice: 0, used: 0 }))
        })
        .await
    }

    /// Gives back what is left of slices.
    pub async fn return_quota(&self, slices: &[(Counter, u64)]) -> Result<(), StoreError> {
        on_pool!(
            self,
            "quotas.return",
            conn,
            sqlx::query!(
                r#"
                UPDATE quota_usage q SET used = GREATEST(q.used - s.rest, 0)
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::bigint[])
                    AS s (subject_id, quota, mode, period, rest)
                WHERE q.subject_id = s.subject_id AND q.quota = s.quota AND q.mode = s.mode AND q.period = s.period
                "#,
                &slices.iter().map(|(of, _)| of.subject).collect::<Vec<_>>(),
                &slices.iter().map(|(of, _)| of.quota.name()).collect::<Vec<_>>() as &[&str],
                &slices.iter().map(|(of, _)| of.mode.name()).collect::<Vec<_>>() as &[&str],
                &slices.iter().map(|(of, _)| of.period).collect::<Vec<_>>(),
                &slices.iter().map(|(_, rest)| whole(*rest)).collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// What was handed out of the quotas of some subjects since `since`, of one mode.
    pub async fn list_quota_usage(
        &self,
        subjects: &[Uuid],
        mode: Mode,
        since: Date,
    ) -> Result<Vec<(Counter, u64)>, StoreError> {
        let rows = on_pool!(
            self,
            "quotas.list",
            conn,
            sqlx::query!(
                r#"
                SELECT subject_id, quota, period, used FROM quota_usage
                WHERE subject_id = ANY ($1) AND mode = $2 AND period >= $3
                "#,
                subjects,
                mode.name(),
                since,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let quota = decoded(Quota::parse(&row.quota), ("quota_usage", "quota"), row.subject_id, &row.quota)?;
                let counter = Counter { subject: row.subject_id, quota, mode, period: row.period };
                Ok((counter, row.used.unsigned_abs()))
            })
            .collect()
    }

    /// Says that this process accepts; returns how many do, itself included.
    pub async fn beat_accepting(&self, process: Uuid, live: Duration) -> Result<u32, StoreError> {
        self.within("accepting_processes.beat", async {
            let mut conn = self.conn().await?;
            sqlx::query!(
                r#"
                INSERT INTO accepting_processes (id, seen_at) VALUES ($1, now())
                ON CONFLICT (id) DO UPDATE SET seen_at = now()
                "#,
                process,
            )
            .execute(conn.get()?)
            .await?;
            let live = sqlx::query_scalar!(
                r#"SELECT count(*) AS "live!" FROM accepting_processes WHERE seen_at > now() - make_interval(secs => $1)"#,
                live.as_secs_f64(),
            )
            .fetch_one(conn.get()?)
            .await?;
            conn.keep().await?;
            Ok(u32::try_from(live).unwrap_or(1).max(1))
        })
        .await
    }

    /// Takes a process off the list, and those that have been silent for long.
    pub async fn leave_accepting(&self, process: Uuid) -> Result<(), StoreError> {
        on_pool!(
            self,
            "accepting_processes.leave",
            conn,
            sqlx::query!(
                "DELETE FROM accepting_processes WHERE id = $1 OR seen_at < now() - interval '1 hour'",
                process
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Removes what was used in periods that are long over.
    pub async fn prune_quota_usage(&self) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "quotas.prune",
            conn,
            sqlx::query!("DELETE FROM quota_usage WHERE period < CURRENT_DATE - $1::int", KEPT_DAYS).execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}

/// A count that was not there begins at nothing.
async fn begin(conn: &mut sqlx::PgConnection, counter: Counter) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO quota_usage (subject_id, quota, mode, period, used) VALUES ($1, $2, $3, $4, 0) ON CONFLICT DO NOTHING",
        counter.subject,
        counter.quota.name(),
        counter.mode.name(),
        counter.period,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// `None`: there is no such count yet.
async fn lease(conn: &mut sqlx::PgConnection, counter: Counter, wanted: Wanted) -> Result<Option<Granted>, StoreError> {
    let row = sqlx::query!(
        r#"
        WITH left_over AS MATERIALIZED (
            SELECT CASE WHEN $5 - w.used >= $6 THEN $6 + LEAST($7, ($5 - w.used - $6) / $8) ELSE 0 END AS slice
            FROM quota_usage w WHERE w.subject_id = $1 AND w.quota = $2 AND w.mode = $3 AND w.period = $4 FOR UPDATE)
        UPDATE quota_usage q SET used = q.used + o.slice FROM left_over o
        WHERE q.subject_id = $1 AND q.quota = $2 AND q.mode = $3 AND q.period = $4
        RETURNING o.slice AS "slice!", q.used
        "#,
        counter.subject,
        counter.quota.name(),
        counter.mode.name(),
        counter.period,
        whole(wanted.limit),
        whole(wanted.needed),
        whole(wanted.ahead),
        SLICE_PART,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Granted { slice: row.slice.unsigned_abs(), used: row.used.unsigned_abs() }))
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
