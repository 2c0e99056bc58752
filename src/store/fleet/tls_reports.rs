//! What RFC 8460 reports are made of: TLS sessions counted by day, policy, host and result.

use time::Date;

use crate::domain::tls_result::{TlsPolicyType, TlsResult, TlsSessions};
use crate::store::{Store, StoreError, decoded, on_pool};

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsCount {
    pub day: Date,
    /// The recipients' domain, whose policy it is.
    pub domain: String,
    pub policy_type: TlsPolicyType,
    pub host: String,
    pub result: TlsResult,
}

/// Days for which counters are kept; a report is about one day.
const KEPT_DAYS: i32 = 30;

impl Store {
    /// Adds to counters.
    pub async fn add_tls_counts(&self, counts: &[(TlsCount, i64)]) -> Result<(), StoreError> {
        on_pool!(self, "tls_reports.add", conn,
            sqlx::query!(
                r#"
                INSERT INTO tls_reports AS t (day, domain, policy_type, host, result, sessions)
                SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                ON CONFLICT (day, domain, policy_type, host, result) DO UPDATE SET sessions = t.sessions + EXCLUDED.sessions
                "#,
                &counts.iter().map(|(c, _)| c.day).collect::<Vec<_>>(),
                &counts.iter().map(|(c, _)| c.domain.clone()).collect::<Vec<_>>(),
                &counts.iter().map(|(c, _)| c.policy_type.name().to_owned()).collect::<Vec<_>>(),
                &counts.iter().map(|(c, _)| c.host.clone()).collect::<Vec<_>>(),
                &counts.iter().map(|(c, _)| c.result.name().to_owned()).collect::<Vec<_>>(),
                &counts.iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Removes counters of days that are long over.
    pub async fn prune_tls_counts(&self) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "tls_reports.prune_tls_counts",
            conn,
            sqlx::query!(
                r#"
                WITH sends AS (DELETE FROM tls_report_sends WHERE day < CURRENT_DATE - $1::int)
                DELETE FROM tls_reports WHERE day < CURRENT_DATE - $1::int
                "#,
                KEPT_DAYS
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}

impl Store {
    /// Domains that are to be told of a day's sessions, taken by whoever asks first; what was taken and not finished within an hour is
    /// taken again.
    pub async fn take_tls_domains(&self, day: Date, limit: i64) -> Result<Vec<String>, StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "tls_reports.take",
            conn,
            sqlx::query_scalar!(
                r#"
                INSERT INTO tls_report_sends AS s (day, domain, taken_at)
                SELECT $1, d.domain, $2 FROM (
                    SELECT t.domain FROM (SELECT DISTINCT domain FROM tls_reports WHERE day = $1) t
                    LEFT JOIN tls_report_sends o ON o.day = $1 AND o.domain = t.domain
                    WHERE o.domain IS NULL OR (o.done_at IS NULL AND o.taken_at <= $2::timestamptz - interval '1 hour')
                    -- Those that nobody asked yet go before those that could not be asked.
                    ORDER BY o.taken_at NULLS FIRST, t.domain LIMIT $3) d
                ON CONFLICT (day, domain) DO UPDATE SET taken_at = excluded.taken_at, tries = s.tries + 1
                    WHERE s.done_at IS NULL AND s.taken_at <= excluded.taken_at - interval '1 hour'
                RETURNING domain
                "#,
                day,
                now,
                limit,
            )
            .fetch_all(conn)
        )
    }

    /// Reports that went to mailboxes of a domain on a day: their sessions are in no report (RFC 8460 §3).
    pub async fn count_tls_reports_to(&self, day: Date, domain: &str) -> Result<u64, StoreError> {
        let count = on_pool!(
            self,
            "tls_reports.count_to",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT count(*) AS "count!" FROM tls_report_sends
                WHERE day >= $1::date - 2 AND $2 = ANY(sent_to) AND (done_at AT TIME ZONE 'UTC')::date = $1
                "#,
                day,
                domain,
            )
            .fetch_one(conn)
        )?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// A day's sessions to a domain.
    pub async fn list_tls_counts(&self, day: Date, domain: &str) -> Result<Vec<TlsSessions>, StoreError> {
        let rows = on_pool!(
            self,
            "tls_reports.list",
            conn,
            sqlx::query!(
                r#"
                SELECT policy_type, host, result, sessions FROM tls_reports WHERE day = $1 AND domain = $2
                ORDER BY policy_type, host, result LIMIT 1000
                "#,
                day,
                domain,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let (policy, result) = (TlsPolicyType::parse(&row.policy_type), TlsResult::parse(&row.result));
                Ok(TlsSessions {
                    policy_type: decoded(policy, ("tls_reports", "policy_type"), domain, &row.policy_type)?,
                    result: decoded(result, ("tls_reports", "result"), domain, &row.result)?,
                    host: row.host,
                    sessions: u64::try_from(row.sessions).unwrap_or(0),
                })
            })
            .collect()
    }

    /// Writes what became of a domain's report, and the domains that it went to.
    pub async fn finish_tls_domain(
        &self,
        day: Date,
        domain: &str,
        (outcome, sent_to): (&str, &[String]),
    ) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "tls_reports.finish",
            conn,
            sqlx::query!(
                "UPDATE tls_report_sends SET done_at = $3, outcome = $4, sent_to = $5 WHERE day = $1 AND domain = $2",
                day,
                domain,
                now,
                outcome,
                sent_to,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Gives up domains that could not be asked so often.
    pub async fn give_up_tls_domains(&self, day: Date, tries: i32) -> Result<(), StoreError> {
        let now = self.now();
        on_pool!(
            self,
            "tls_reports.give_up",
            conn,
            sqlx::query!(
                r#"
                UPDATE tls_report_sends SET done_at = $3, outcome = 'unknown'
                WHERE day = $1 AND done_at IS NULL AND tries >= $2 AND taken_at <= $3::timestamptz - interval '1 hour'
                "#,
                day,
                tries,
                now,
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
