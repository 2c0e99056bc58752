//! What RFC 8460 reports are made of: TLS sessions counted by day, policy, host and result.

use time::Date;

use crate::domain::tls_result::{TlsPolicyType, TlsResult};
use crate::store::{Store, StoreError, on_pool};

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
            sqlx::query!("DELETE FROM tls_reports WHERE day < CURRENT_DATE - $1::int", KEPT_DAYS).execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}
