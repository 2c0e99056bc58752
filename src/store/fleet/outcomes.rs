//! How mail fares, by the hour: counted by those who deliver, summed by whoever watches.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::domain::access::Mode;
use crate::domain::alarm::{AlarmRates, DayCounts, Verdict, suspension};
use crate::domain::clock::{Rng, Timestamp};
use crate::domain::event::EventType;
use crate::domain::id::{MessageId, ProjectId, RecipientId};
use crate::domain::readiness::OutcomeCount;
use crate::store::mail::project_events::{NewProjectEvent, insert_project_events};
use crate::store::{Moment, Store, StoreError, on_pool};

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutcomeKey {
    /// Hours since 1970.
    pub hour: i64,
    pub project: ProjectId,
    /// The domain of the envelope sender.
    pub domain: String,
    pub receiver: String,
}

/// For so long an alarm looks back.
const DAY: Duration = Duration::from_hours(24);
/// How long numbers are kept.
const KEPT: Duration = Duration::from_hours(24 * 35);

impl Store {
    /// Adds to numbers. A domain below one that its project has proved counts as that.
    pub async fn add_outcomes(&self, counts: &[(OutcomeKey, OutcomeCount)]) -> Result<(), StoreError> {
        if counts.is_empty() {
            return Ok(());
        }
        let of = |number: fn(&OutcomeCount) -> i64| counts.iter().map(|(_, count)| number(count)).collect::<Vec<_>>();
        on_pool!(
            self,
            "outcomes.add",
            conn,
            sqlx::query!(
                r#"
                WITH given AS (
                    SELECT to_timestamp(w.hour * 3600) AS hour, w.project_id, w.receiver, w.accepted, w.deferred, w.rejected,
                        w.bad_addresses, w.complaints, w.refused,
                        COALESCE((SELECT d.name FROM domains d WHERE d.project_id = w.project_id AND d.proved_at IS NOT NULL
                            AND (d.name = w.domain OR w.domain LIKE '%.' || d.name) ORDER BY length(d.name) DESC LIMIT 1), w.domain) AS domain
                    FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                        $9::bigint[], $10::bigint[])
                        AS w (hour, project_id, domain, receiver, accepted, deferred, rejected, bad_addresses, complaints, refused))
                INSERT INTO outcomes AS o (hour, project_id, domain, receiver, accepted, deferred, rejected, bad_addresses, complaints, refused)
                SELECT hour, project_id, domain, receiver, sum(accepted), sum(deferred), sum(rejected), sum(bad_addresses), sum(complaints),
                    sum(refused)
                FROM given GROUP BY hour, project_id, domain, receiver ORDER BY project_id, hour, domain, receiver
                ON CONFLICT (project_id, hour, domain, receiver) DO UPDATE SET accepted = o.accepted + excluded.accepted,
                    deferred = o.deferred + excluded.deferred, rejected = o.rejected + excluded.rejected,
                    bad_addresses = o.bad_addresses + excluded.bad_addresses, complaints = o.complaints + excluded.complaints,
                    refused = o.refused + excluded.refused
                "#,
                &counts.iter().map(|(key, _)| key.hour).collect::<Vec<_>>(),
                &counts.iter().map(|(key, _)| key.project.uuid()).collect::<Vec<_>>(),
                &counts.iter().map(|(key, _)| key.domain.clone()).collect::<Vec<_>>(),
                &counts.iter().map(|(key, _)| key.receiver.clone()).collect::<Vec<_>>(),
                &of(|count| count.accepted),
                &of(|count| count.deferred),
                &of(|count| count.rejected),
                &of(|count| count.bad_addresses),
                &of(|count| count.complaints),
                &of(|count| count.refused),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// The sending domain of a message's author, and who runs the servers that took a recipient's copy: what a complaint, or a
    /// late bounce, is counted under; `None` if one of that meaning was before.
    pub async fn outcome_key(
        &self,
        (project, message, recipient): (ProjectId, MessageId, RecipientId),
        meaning: &str,
        now: Timestamp,
    ) -> Result<Option<OutcomeKey>, StoreError> {
        let row = on_pool!(
            self,
            "outcomes.key",
            conn,
            sqlx::query!(
                r#"
                SELECT split_part(m.sender, '@', -1) AS "domain!", (
                    SELECT a.provider FROM attempts a WHERE a.shard = m.shard AND a.message_id = m.id AND a.recipient_id = $3
                    ORDER BY a.number DESC LIMIT 1) AS provider
                FROM messages m WHERE m.shard = $1 AND m.id = $2
                  AND (SELECT count(*) FROM reports r WHERE r.message_id = $2 AND r.recipient_id = $3 AND r.meaning = $4
                    AND r.outcome = 'told') < 2
                "#,
                message.shard().value(),
                message.uuid(),
                recipient.uuid(),
                meaning,
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| OutcomeKey {
            hour: now.unix_timestamp().div_euclid(3600),
            project,
            domain: row.domain,
            receiver: row.provider.unwrap_or_else(|| "other".to_owned()),
        }))
    }

    /// The numbers of a project's domain since an instant, by receiver.
    pub async fn sum_outcomes(
        &self,
        project: ProjectId,
        domain: &str,
        since: Timestamp,
    ) -> Result<BTreeMap<String, OutcomeCount>, StoreError> {
        let rows = on_pool!(
            self,
            "outcomes.sum",
            conn,
            sqlx::query!(
                r#"
                SELECT receiver, sum(accepted)::bigint AS "accepted!", sum(deferred)::bigint AS "deferred!",
                    sum(rejected)::bigint AS "rejected!", sum(bad_addresses)::bigint AS "bad_addresses!",
                    sum(complaints)::bigint AS "complaints!", sum(refused)::bigint AS "refused!"
                FROM outcomes WHERE project_id = $1 AND domain = $2 AND hour >= $3 GROUP BY receiver
                "#,
                project.uuid(),
                domain,
                since,
            )
            .fetch_all(conn)
        )?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let count = OutcomeCount {
                    accepted: row.accepted,
                    deferred: row.deferred,
                    rejected: row.rejected,
                    bad_addresses: row.bad_addresses,
                    refused: row.refused,
                    complaints: row.complaints,
                };
                (row.receiver, count)
            })
            .collect())
    }

    /// Looks at the last day's mail of every project, raises alarms and ends them; how many stand.
    pub async fn watch_projects(&self, rng: &dyn Rng) -> Result<u64, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "outcomes.watch", conn, watch(conn, at))
    }

    /// Forgets numbers that were kept long enough.
    pub async fn prune_outcomes(&self) -> Result<u64, StoreError> {
        let before = self.now() - KEPT;
        let done = on_pool!(
            self,
            "outcomes.prune",
            conn,
            sqlx::query!("DELETE FROM outcomes WHERE hour < $1", before).execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}

async fn watch(conn: &mut PgConnection, at: Moment<'_>) -> Result<u64, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT p.id, p.alarm_bounce_percent, p.alarm_complaint_percent, p.alarm_pauses, p.alarmed_at IS NOT NULL AS "is_alarmed!",
            COALESCE(o.accepted, 0) AS "accepted!", COALESCE(o.rejected, 0) AS "rejected!", COALESCE(o.complaints, 0) AS "complaints!"
        FROM projects p LEFT JOIN (
            SELECT project_id, sum(accepted)::bigint AS accepted, sum(rejected)::bigint AS rejected, sum(complaints)::bigint AS complaints
            FROM outcomes WHERE hour > $1 GROUP BY project_id) o ON o.project_id = p.id
        WHERE o.project_id IS NOT NULL OR p.alarmed_at IS NOT NULL
        "#,
        at.now - DAY,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut standing = 0;
    for row in rows {
        let rates = AlarmRates {
            bounce_percent: row.alarm_bounce_percent.unwrap_or(AlarmRates::DEFAULT.bounce_percent),
            complaint_percent: row.alarm_complaint_percent.unwrap_or(AlarmRates::DEFAULT.complaint_percent),
            pauses: row.alarm_pauses,
        };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let counts = DayCounts {
            accepted: count(row.accepted),
            rejected: count(row.rejected),
            complaints: count(row.complaints),
        };
        let project = ProjectId::from_uuid(row.id);
        match (rates.judge(counts), row.is_alarmed) {
            (Verdict::Alarm(reason), false) => {
                raise(conn, project, (&reason, counts), at).await?;
                standing += 1;
            }
            (Verdict::Calm, true) => calm(conn, project).await?,
            (_, is_alarmed) => standing += u64::from(is_alarmed),
        }
    }
    Ok(standing)
}

/// Raises an alarm, and stops the project if it is set so; in the commit that tells it. Whoever comes second does nothing.
async fn raise(
    conn: &mut PgConnection,
    project: ProjectId,
    (reason, counts): (&str, DayCounts),
    at: Moment<'_>,
) -> Result<(), StoreError> {
    let stop = suspension(reason, at.now);
    let mut tx = conn.begin().await?;
    let row = sqlx::query!(
        r#"
        UPDATE projects SET alarmed_at = $2, alarm_reason = $3,
            suspended_at = CASE WHEN alarm_pauses AND suspended_mail IS NULL THEN $2 ELSE suspended_at END,
            suspended_reason = CASE WHEN alarm_pauses AND suspended_mail IS NULL THEN $3 ELSE suspended_reason END,
            suspended_mail = CASE WHEN alarm_pauses AND suspended_mail IS NULL THEN $4 ELSE suspended_mail END
        WHERE id = $1 AND alarmed_at IS NULL
        RETURNING suspended_at = $2 AS is_paused
        "#,
        project.uuid(),
        stop.at,
        stop.reason,
        stop.mail.name(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let is_paused = row.is_paused.unwrap_or(false);
    tracing::warn!(project.id = %project, reason, paused = is_paused, "a project's mail fares badly");
    let event = NewProjectEvent {
        project: project.uuid(),
        mode: Mode::Live,
        about: project.uuid(),
        data: serde_json::json!({
            "reason": reason,
            "paused": is_paused,
            "accepted": counts.accepted,
            "bounced": counts.rejected,
            "complaints": counts.complaints,
        }),
    };
    insert_project_events(&mut tx, EventType::ProjectAlarm, &[event], at).await?;
    tx.commit().await?;
    Ok(())
}

async fn calm(conn: &mut PgConnection, project: ProjectId) -> Result<(), StoreError> {
    sqlx::query!("UPDATE projects SET alarmed_at = NULL, alarm_reason = NULL WHERE id = $1", project.uuid())
        .execute(conn)
        .await?;
    Ok(())
}
