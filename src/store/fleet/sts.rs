//! MTA-STS policies that were fetched (RFC 8461 §5.1): read when a domain is met first, written when one changes.

use crate::domain::clock::Timestamp;
use crate::store::{Store, StoreError, on_pool};

/// A policy as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    pub id: String,
    pub text: String,
    pub expires_at: Timestamp,
}

/// Days for which an expired policy is kept: what a domain demanded of late is worth knowing.
const KEPT_DAYS: i32 = 7;

impl Store {
    pub async fn get_sts_policy(&self, domain: &str) -> Result<Option<StoredPolicy>, StoreError> {
        on_pool!(
            self,
            "sts_policies.get",
            conn,
            sqlx::query_as!(
                StoredPolicy,
                "SELECT policy_id AS id, policy AS text, expires_at FROM mta_sts_policies WHERE domain = $1",
                domain,
            )
            .fetch_optional(conn)
        )
    }

    pub async fn put_sts_policy(&self, domain: &str, policy: &StoredPolicy) -> Result<(), StoreError> {
        on_pool!(
            self,
            "sts_policies.put",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO mta_sts_policies (domain, policy_id, policy, expires_at) VALUES ($1, $2, $3, $4)
                ON CONFLICT (domain) DO UPDATE SET policy_id = $2, policy = $3, expires_at = $4
                "#,
                domain,
                policy.id,
                policy.text,
                policy.expires_at,
            )
            .execute(conn)
        )?;
        Ok(())
    }
    /// Removes policies that expired long ago.
    pub async fn prune_sts_policies(&self) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "sts.prune_sts_policies",
            conn,
            sqlx::query!(
                "DELETE FROM mta_sts_policies WHERE expires_at < now() - make_interval(days => $1)",
                KEPT_DAYS
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}
