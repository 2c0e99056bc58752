//! DKIM keys of projects. Read through a cache when a message is accepted, written by operators only.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::dkim::{Algorithm, PrivateKey};
use crate::domain::id::{DkimKeyId, DomainId, ProjectId};
use crate::domain::sending_domain::KeySlot;
use crate::sealing::{Kept, Whose};
use crate::store::{Store, StoreError, decoded, on_pool};

/// How long a key that signs no more is shown.
const RETIRED_SHOWN: Duration = Duration::from_hours(24 * 30);

/// A key about to be stored.
#[derive(Debug)]
pub struct NewDkimKey {
    pub id: DkimKeyId,
    pub selector: String,
    pub algorithm: Algorithm,
    pub private_key: PrivateKey,
}

/// The same, with its private key as it is to lie in the store.
pub(super) struct KeptDkimKey<'a> {
    pub new: &'a NewDkimKey,
    private_key: Kept,
}

/// A key that signs.
#[derive(Debug, Clone)]
pub struct FoundDkimKey {
    pub id: DkimKeyId,
    pub domain: String,
    pub selector: String,
    pub algorithm: Algorithm,
    pub private_key: PrivateKey,
}

/// A key as it is listed.
#[derive(Debug)]
pub struct ListedDkimKey {
    pub project: String,
    pub domain: String,
    pub selector: String,
    pub algorithm: String,
    pub slot: KeySlot,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

/// A key of a domain, in whichever of its three places.
#[derive(Debug, Clone)]
pub struct StoredDkimKey {
    pub id: DkimKeyId,
    pub selector: String,
    pub algorithm: Algorithm,
    pub private_key: PrivateKey,
    pub created_at: Timestamp,
    /// `None`: its record was not seen yet.
    pub signs_since: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
}

impl StoredDkimKey {
    pub const fn slot(&self) -> KeySlot {
        slot(self.signs_since, self.retired_at)
    }
}

fn algorithm(row: Uuid, name: &str) -> Result<Algorithm, StoreError> {
    decoded(Algorithm::parse(name), ("dkim_keys", "algorithm"), row, name)
}

const fn slot(signs_since: Option<Timestamp>, retired_at: Option<Timestamp>) -> KeySlot {
    match (signs_since, retired_at) {
        (_, Some(_)) => KeySlot::Retired,
        (Some(_), None) => KeySlot::Signing,
        (None, None) => KeySlot::Pending,
    }
}

/// Stores the keys of one domain, all or none; they sign at once, or when their records are seen.
pub(super) async fn insert_keys(
    conn: &mut PgConnection,
    project: ProjectId,
    domain: &str,
    keys: &[KeptDkimKey<'_>],
    now: Timestamp,
    sign_now: bool,
) -> Result<(), StoreError> {
    let ids: Vec<_> = keys.iter().map(|key| key.new.id.uuid()).collect();
    let selectors: Vec<_> = keys.iter().map(|key| key.new.selector.clone()).collect();
    let algorithms: Vec<_> = keys.iter().map(|key| key.new.algorithm.name().to_owned()).collect();
    let private_keys: Vec<_> = keys.iter().map(|key| key.private_key.octets.clone()).collect();
    let sealed: Vec<_> = keys.iter().map(|key| key.private_key.sealed).collect();
    sqlx::query!(
        r#"
        INSERT INTO dkim_keys (id, project_id, domain, selector, algorithm, private_key, sealed, created_at, signs_since)
        SELECT k.id, $1, $2, k.selector, k.algorithm, k.private_key, k.sealed, $3::timestamptz,
            CASE WHEN $8 THEN $3::timestamptz END
        FROM UNNEST($4::uuid[], $5::text[], $6::text[], $7::bytea[], $9::bool[])
            AS k (id, selector, algorithm, private_key, sealed)
        "#,
        project.uuid(),
        domain,
        now,
        &ids,
        &selectors,
        &algorithms,
        &private_keys,
        sign_now,
        &sealed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

impl Store {
    /// Stores further keys of a domain, all or none.
    pub async fn insert_dkim_keys(
        &self,
        project: ProjectId,
        domain: &str,
        keys: &[NewDkimKey],
        now: Timestamp,
        sign_now: bool,
    ) -> Result<(), StoreError> {
        let keys = self.keep_private_keys(keys);
        on_pool!(self, "dkim_keys.insert", conn, insert_keys(conn, project, domain, &keys, now, sign_now))
    }

    /// Private keys as they are to lie here.
    pub(super) fn keep_private_keys<'a>(&self, keys: &'a [NewDkimKey]) -> Vec<KeptDkimKey<'a>> {
        let kept = |new: &'a NewDkimKey| KeptDkimKey {
            new,
            private_key: self.keep(new.private_key.pkcs8(), Whose::DkimKey(new.id)),
        };
        keys.iter().map(kept).collect()
    }

    fn private_key(&self, id: Uuid, octets: Vec<u8>, sealed: bool) -> Result<PrivateKey, StoreError> {
        let whose = Whose::DkimKey(DkimKeyId::from_uuid(id));
        self.open(octets, sealed, whose).map(PrivateKey::from_pkcs8)
    }

    /// All keys of a domain, oldest first; retired ones for as long as their records may be asked for.
    pub async fn list_domain_keys(&self, project: ProjectId, domain: &str) -> Result<Vec<StoredDkimKey>, StoreError> {
        let since = self.now() - RETIRED_SHOWN;
        let rows = on_pool!(
            self,
            "dkim_keys.of_domain",
            conn,
            sqlx::query!(
                r#"
                SELECT id, selector, algorithm, private_key, sealed, created_at, signs_since, retired_at FROM dkim_keys
                WHERE project_id = $1 AND domain = $2 AND (retired_at IS NULL OR retired_at > $3)
                ORDER BY created_at, algorithm DESC, id
                "#,
                project.uuid(),
                domain,
                since,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                Ok(StoredDkimKey {
                    id: DkimKeyId::from_uuid(row.id),
                    selector: row.selector,
                    algorithm: algorithm(row.id, &row.algorithm)?,
                    private_key: self.private_key(row.id, row.private_key, row.sealed)?,
                    created_at: row.created_at,
                    signs_since: row.signs_since,
                    retired_at: row.retired_at,
                })
            })
            .collect()
    }

    /// The RSA key that signs for a domain, in whichever project has proved it.
    pub async fn find_operator_key(&self, domain: &str) -> Result<Option<FoundDkimKey>, StoreError> {
        let row = on_pool!(
            self,
            "dkim_keys.find_operator",
            conn,
            sqlx::query!(
                r#"
                SELECT k.id, k.domain, k.selector, k.private_key, k.sealed
                FROM domains d JOIN dkim_keys k ON k.project_id = d.project_id AND k.domain = d.name
                WHERE d.name = $1 AND d.proved_at IS NOT NULL AND k.algorithm = 'rsa-sha256'
                  AND k.signs_since IS NOT NULL AND k.retired_at IS NULL
                ORDER BY k.id DESC LIMIT 1
                "#,
                domain,
            )
            .fetch_optional(conn)
        )?;
        row.map(|row| {
            Ok(FoundDkimKey {
                id: DkimKeyId::from_uuid(row.id),
                domain: row.domain,
                selector: row.selector,
                algorithm: Algorithm::RsaSha256,
                private_key: self.private_key(row.id, row.private_key, row.sealed)?,
            })
        })
        .transpose()
    }

    /// The keys of delegated domains that verifiers may still ask for.
    pub async fn list_delegated_keys(&self) -> Result<Vec<(DomainId, FoundDkimKey)>, StoreError> {
        let since = self.now() - RETIRED_SHOWN;
        let rows = on_pool!(
            self,
            "dkim_keys.delegated",
            conn,
            sqlx::query!(
                r#"
                SELECT d.id AS domain_id, k.id, k.domain, k.selector, k.algorithm, k.private_key, k.sealed
                FROM domains d JOIN dkim_keys k ON k.project_id = d.project_id AND k.domain = d.name
                WHERE d.is_delegated AND (k.retired_at IS NULL OR k.retired_at > $1)
                ORDER BY d.name, k.created_at, k.id
                "#,
                since,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let key = FoundDkimKey {
                    id: DkimKeyId::from_uuid(row.id),
                    domain: row.domain,
                    selector: row.selector,
                    algorithm: algorithm(row.id, &row.algorithm)?,
                    private_key: self.private_key(row.id, row.private_key, row.sealed)?,
                };
                Ok((DomainId::from_uuid(row.domain_id), key))
            })
            .collect()
    }

    /// The active keys of the longest of `domains` that has any; RSA first.
    pub async fn find_dkim_keys(
        &self,
        project: ProjectId,
        domains: &[String],
    ) -> Result<Vec<FoundDkimKey>, StoreError> {
        let rows = on_pool!(
            self,
            "dkim_keys.find",
            conn,
            sqlx::query!(
                r#"
                SELECT id, domain, selector, algorithm, private_key, sealed FROM dkim_keys
                WHERE project_id = $1 AND retired_at IS NULL AND signs_since IS NOT NULL AND domain = (
                    SELECT domain FROM dkim_keys WHERE project_id = $1 AND domain = ANY($2) AND retired_at IS NULL
                      AND signs_since IS NOT NULL ORDER BY length(domain) DESC LIMIT 1)
                ORDER BY algorithm DESC, id
                "#,
                project.uuid(),
                domains,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                Ok(FoundDkimKey {
                    id: DkimKeyId::from_uuid(row.id),
                    domain: row.domain,
                    selector: row.selector,
                    algorithm: algorithm(row.id, &row.algorithm)?,
                    private_key: self.private_key(row.id, row.private_key, row.sealed)?,
                })
            })
            .collect()
    }

    /// All keys, or those of one project, by domain, newest first.
    pub async fn list_dkim_keys(&self, project: Option<ProjectId>) -> Result<Vec<ListedDkimKey>, StoreError> {
        let project: Option<Uuid> = project.map(ProjectId::uuid);
        let rows = on_pool!(
            self,
            "dkim_keys.list",
            conn,
            sqlx::query!(
                r#"
                SELECT p.name AS project, k.domain, k.selector, k.algorithm, k.created_at, k.signs_since, k.retired_at
                FROM dkim_keys k JOIN projects p ON p.id = k.project_id WHERE $1::uuid IS NULL OR k.project_id = $1
                ORDER BY p.name, k.domain, k.id DESC LIMIT 10000
                "#,
                project,
            )
            .fetch_all(conn)
        )?;
        Ok(rows
            .into_iter()
            .map(|row| ListedDkimKey {
                project: row.project,
                domain: row.domain,
                selector: row.selector,
                algorithm: row.algorithm,
                slot: slot(row.signs_since, row.retired_at),
                created_at: row.created_at,
                retired_at: row.retired_at,
            })
            .collect())
    }

    /// Retires a key; `false` when there is none, or it was retired before.
    pub async fn retire_dkim_key(
        &self,
        project: ProjectId,
        domain: &str,
        selector: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "dkim_keys.retire",
            conn,
            sqlx::query!(
                r#"
                UPDATE dkim_keys SET retired_at = $4
                WHERE project_id = $1 AND domain = $2 AND selector = $3 AND retired_at IS NULL
                "#,
                project.uuid(),
                domain,
                selector,
                now,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}
