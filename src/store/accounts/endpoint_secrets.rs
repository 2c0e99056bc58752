//! By what the webhooks of endpoints are signed: one secret each, and for a while those that it replaced.

use sqlx::{Connection, PgConnection};

use crate::domain::clock::Timestamp;
use crate::domain::id::{EndpointId, ProjectId};
use crate::domain::webhook::Secret;
use crate::sealing::Whose;
use crate::store::{Store, StoreError, on_pool};

/// Replaced secrets of one endpoint that still sign: more would make a header that nobody reads.
const OLD_MOST: i64 = 4;

/// A secret as it lies here.
pub(in crate::store) struct KeptSecret {
    pub hmac: Vec<u8>,
    pub seed: Vec<u8>,
    pub sealed: bool,
}

impl Store {
    /// A secret as it is to lie here.
    pub(super) fn keep_secret(&self, secret: &Secret, endpoint: EndpointId) -> KeptSecret {
        let hmac = self.keep(&secret.hmac, Whose::EndpointHmac(endpoint));
        let seed = self.keep(&secret.seed, Whose::EndpointSeed(endpoint));
        KeptSecret { sealed: hmac.sealed, hmac: hmac.octets, seed: seed.octets }
    }

    /// The secret that lies here.
    pub(in crate::store) fn open_secret(&self, kept: KeptSecret, endpoint: EndpointId) -> Result<Secret, StoreError> {
        Ok(Secret {
            hmac: self.open(kept.hmac, kept.sealed, Whose::EndpointHmac(endpoint))?,
            seed: self.open(kept.seed, kept.sealed, Whose::EndpointSeed(endpoint))?,
        })
    }

    /// Replaces an endpoint's secret. What it replaces signs until `until`, beside the new one. `false`: there is no such endpoint.
    pub async fn rotate_secret(
        &self,
        project: ProjectId,
        endpoint: EndpointId,
        secret: &Secret,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let kept = self.keep_secret(secret, endpoint);
        on_pool!(self, "endpoints.rotate_secret", conn, rotate(conn, (project, endpoint), &kept, (now, until)))
    }

    /// Those that sign now, the newest first; none: there is no such endpoint.
    pub async fn find_secrets(&self, endpoint: EndpointId) -> Result<Vec<Secret>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "endpoints.find_secrets",
            conn,
            sqlx::query!(
                r#"
                SELECT s.secret AS "secret!", s.signing_seed AS "signing_seed!", s.sealed AS "sealed!" FROM (
                    SELECT secret, signing_seed, sealed, 'infinity'::timestamptz AS until FROM webhook_endpoints WHERE id = $1
                    UNION ALL
                    SELECT secret, signing_seed, sealed, until FROM webhook_old_secrets WHERE endpoint_id = $1 AND until > $2) AS s
                ORDER BY s.until DESC
                "#,
                endpoint.uuid(),
                now,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let kept = KeptSecret { hmac: row.secret, seed: row.signing_seed, sealed: row.sealed };
                self.open_secret(kept, endpoint)
            })
            .collect()
    }
}

async fn rotate(
    conn: &mut PgConnection,
    (project, endpoint): (ProjectId, EndpointId),
    secret: &KeptSecret,
    (now, until): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    let old = sqlx::query!(
        "SELECT secret, signing_seed, sealed FROM webhook_endpoints WHERE project_id = $1 AND id = $2 FOR UPDATE",
        project.uuid(),
        endpoint.uuid(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(old) = old else { return Ok(false) };
    // Who says that the old one ends at once has lost it: what it replaced ends too.
    sqlx::query!(
        "DELETE FROM webhook_old_secrets WHERE endpoint_id = $1 AND (until <= $2 OR $3)",
        endpoint.uuid(),
        now,
        until <= now,
    )
    .execute(&mut *tx)
    .await?;
    if until > now {
        sqlx::query!(
            "INSERT INTO webhook_old_secrets (endpoint_id, secret, signing_seed, until, sealed) VALUES ($1, $2, $3, $4, $5)",
            endpoint.uuid(),
            old.secret,
            old.signing_seed,
            until,
            old.sealed,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            r#"
            DELETE FROM webhook_old_secrets WHERE endpoint_id = $1 AND secret NOT IN (
                SELECT secret FROM webhook_old_secrets WHERE endpoint_id = $1 ORDER BY until DESC LIMIT $2)
            "#,
            endpoint.uuid(),
            OLD_MOST,
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!(
        "UPDATE webhook_endpoints SET secret = $2, signing_seed = $3, sealed = $4 WHERE id = $1",
        endpoint.uuid(),
        &secret.hmac,
        &secret.seed,
        secret.sealed,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}
