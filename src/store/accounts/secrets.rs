//! The secrets that lie in the store, to be read again: what signs webhooks, mail and requests, and what makes tokens. Those who write and read them do
//! so by [`Store::keep`] and [`Store::open`]; here they are counted, and sealed by the key of today.

use uuid::Uuid;

use crate::domain::id::{DkimKeyId, EndpointId, KeyId};
use crate::sealing::{Kept, KeyTag, Vault, Whose};
use crate::store::{Store, StoreError, on_pool};

/// Secrets that are sealed anew by one statement.
const BATCH: i64 = 500;

/// Secrets of one kind that lie in the store in the same way.
#[derive(Debug)]
pub struct SecretCount {
    /// The table in which they lie.
    pub table: String,
    /// By which key they are sealed; `None`: by none.
    pub key: Option<KeyTag>,
    pub count: i64,
}

impl Store {
    /// A secret as it is to lie here.
    pub(in crate::store) fn keep(&self, secret: &[u8], whose: Whose) -> Kept {
        self.vault.keep(secret, whose)
    }

    /// The secret that lies here.
    pub(in crate::store) fn open(&self, octets: Vec<u8>, sealed: bool, whose: Whose) -> Result<Vec<u8>, StoreError> {
        self.vault.open(Kept { octets, sealed }, whose).map_err(|why| {
            tracing::error!(?whose, %why, "a secret cannot be read");
            StoreError::Sealed(why)
        })
    }

    /// By what secrets are sealed here.
    pub const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// How many secrets lie here, by table and key.
    pub async fn count_secrets(&self) -> Result<Vec<SecretCount>, StoreError> {
        let rows = on_pool!(
            self,
            "secrets.count",
            conn,
            sqlx::query!(
                r#"
                SELECT s.source AS "table!", s.sealed AS "sealed!", CASE WHEN s.sealed THEN s.head ELSE '' END AS "head!",
                    count(*) AS "count!"
                FROM (
                    SELECT 'webhook_endpoints' AS source, sealed, substring(secret FROM 1 FOR 5) AS head FROM webhook_endpoints
                    UNION ALL
                    SELECT 'webhook_old_secrets', sealed, substring(secret FROM 1 FOR 5) FROM webhook_old_secrets
                    UNION ALL
                    SELECT 'dkim_keys', sealed, substring(private_key FROM 1 FOR 5) FROM dkim_keys
                    UNION ALL
                    SELECT 'token_keys', sealed, substring(secret FROM 1 FOR 5) FROM token_keys
                    UNION ALL
                    SELECT 'api_keys', true, substring(sealed FROM 1 FOR 5) FROM api_keys WHERE sealed IS NOT NULL) AS s
                GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
                "#,
            )
            .fetch_all(conn)
        )?;
        Ok(rows
            .into_iter()
            .map(|row| SecretCount {
                table: row.table,
                key: Kept { octets: row.head, sealed: row.sealed }.key_id(),
                count: row.count,
            })
            .collect())
    }

    /// Refuses a store with secrets that none of the configured keys opens, and says which they are; else how many are not sealed by the key of today.
    pub async fn check_secrets(&self) -> Result<i64, StoreError> {
        let counts = self.count_secrets().await?;
        let foreign: Vec<_> = counts
            .iter()
            .filter_map(|found| found.key.filter(|key| !self.vault.knows(*key)).map(|key| (found, key)))
            .map(|(SecretCount { table, count, .. }, key)| format!("{count} in {table}, of the key {key}"))
            .collect();
        if !foreign.is_empty() {
            return Err(StoreError::Unusable(format!(
                "secrets in the database are sealed by a key that is not among those of `secrets.sealing_key` ({})",
                foreign.join("; ")
            )));
        }
        Ok(counts
            .iter()
            .filter(|found| found.key.is_none() || found.key != self.vault.current())
            .map(|c| c.count)
            .sum())
    }

    /// Whether no project was made here yet.
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        on_pool!(
            self,
            "projects.none",
            conn,
            sqlx::query_scalar!(r#"SELECT NOT EXISTS (SELECT FROM projects) AS "none!""#).fetch_one(conn)
        )
    }

    /// Seals by the key of today what is not, if all that lies here can be read ([`Self::check_secrets`]); how many rows that were. What somebody changes
    /// meanwhile, they seal.
    pub async fn seal_secrets(&self) -> Result<u64, StoreError> {
        self.check_secrets().await?;
        let mut sealed = 0;
        while let done @ 1.. = self.seal_some().await? {
            sealed += done;
        }
        Ok(sealed)
    }

    async fn seal_some(&self) -> Result<u64, StoreError> {
        let Some(current) = self.vault.current() else { return Ok(0) };
        let rows = on_pool!(
            self,
            "secrets.list",
            conn,
            sqlx::query!(
                r#"
                SELECT s.source AS "source!", s.id AS "id!", s.secret AS "secret!", s.seed AS "seed!", s.sealed AS "sealed!" FROM (
                    SELECT 'webhook_endpoints' AS source, id, secret, signing_seed AS seed, sealed FROM webhook_endpoints
                    UNION ALL
                    SELECT 'webhook_old_secrets', endpoint_id, secret, signing_seed, sealed FROM webhook_old_secrets
                    UNION ALL
                    SELECT 'dkim_keys', id, private_key, '', sealed FROM dkim_keys
                    UNION ALL
                    SELECT 'token_keys', '00000000-0000-0000-0000-000000000000', secret, '', sealed FROM token_keys
                    UNION ALL
                    SELECT 'api_keys', id, sealed, '', true FROM api_keys WHERE sealed IS NOT NULL) AS s
                WHERE NOT s.sealed OR substring(s.secret FROM 1 FOR 5) <> $1 LIMIT $2
                "#,
                &current.mark()[..],
                BATCH,
            )
            .fetch_all(conn)
        )?;
        let (mut sources, mut ids, mut olds) = (Vec::new(), Vec::new(), Vec::new());
        let (mut secrets, mut seeds) = (Vec::new(), Vec::new());
        for row in rows {
            let (of_secret, of_seed) = owners(&row.source, row.id);
            let anew =
                |octets, whose| Ok::<_, StoreError>(self.keep(&self.open(octets, row.sealed, whose)?, whose).octets);
            secrets.push(anew(row.secret.clone(), of_secret)?);
            seeds.push(of_seed.map_or(Ok(Vec::new()), |whose| anew(row.seed, whose))?);
            sources.push(row.source);
            ids.push(row.id);
            olds.push(row.secret);
        }
        let done = on_pool!(
            self,
            "secrets.seal",
            conn,
            sqlx::query_scalar!(
                r#"
                WITH
                n AS (SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bytea[])
                    AS n (source, id, old, secret, seed)),
                endpoints AS (
                    UPDATE webhook_endpoints t SET secret = n.secret, signing_seed = n.seed, sealed = true FROM n
                    WHERE n.source = 'webhook_endpoints' AND t.id = n.id AND t.secret = n.old RETURNING t.id),
                old_secrets AS (
                    UPDATE webhook_old_secrets t SET secret = n.secret, signing_seed = n.seed, sealed = true FROM n
                    WHERE n.source = 'webhook_old_secrets' AND t.endpoint_id = n.id AND t.secret = n.old RETURNING n.id),
                dkim AS (
                    UPDATE dkim_keys t SET private_key = n.secret, sealed = true FROM n
                    WHERE n.source = 'dkim_keys' AND t.id = n.id AND t.private_key = n.old RETURNING n.id),
                tokens AS (
                    UPDATE token_keys t SET secret = n.secret, sealed = true FROM n
                    WHERE n.source = 'token_keys' AND t.secret = n.old RETURNING n.id),
                keys AS (
                    UPDATE api_keys t SET sealed = n.secret FROM n
                    WHERE n.source = 'api_keys' AND t.id = n.id AND t.sealed = n.old RETURNING n.id)
                SELECT count(*) AS "count!" FROM (
                    SELECT id FROM endpoints UNION ALL SELECT id FROM old_secrets UNION ALL SELECT id FROM dkim
                    UNION ALL SELECT id FROM tokens UNION ALL SELECT id FROM keys) AS done
                "#,
                &sources,
                &ids,
                &olds,
                &secrets,
                &seeds,
            )
            .fetch_one(conn)
        )?;
        Ok(u64::try_from(done).unwrap_or_default())
    }
}

/// Whose the secrets of a row are: its first, and its second if it has one.
fn owners(source: &str, id: Uuid) -> (Whose, Option<Whose>) {
    match source {
        "dkim_keys" => (Whose::DkimKey(DkimKeyId::from_uuid(id)), None),
        "token_keys" => (Whose::Tokens, None),
        "api_keys" => (Whose::ApiKey(KeyId::from_uuid(id)), None),
        _ => {
            let endpoint = EndpointId::from_uuid(id);
            (Whose::EndpointHmac(endpoint), Some(Whose::EndpointSeed(endpoint)))
        }
    }
}
