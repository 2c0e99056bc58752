//! DKIM keys of projects. Read through a cache when a message is accepted, written by operators only.

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::dkim::{Algorithm, PrivateKey};
use crate::domain::id::{DkimKeyId, ProjectId};
use crate::store::{Store, StoreError, on_pool};

/// A key about to be stored.
#[derive(Debug)]
pub struct NewDkimKey {
    pub id: DkimKeyId,
    pub selector: String,
    pub algorithm: Algorithm,
    pub private_key: PrivateKey,
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
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

impl Store {
    /// Stores the keys of one domain, all or none.
    pub async fn insert_dkim_keys(
        &self,
        project: ProjectId,
        domain: &str,
        keys: &[NewDkimKey],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = keys.iter().map(|key| key.id.uuid()).collect();
        let selectors: Vec<_> = keys.iter().map(|key| key.selector.clone()).collect();
        let algorithms: Vec<_> = keys.iter().map(|key| key.algorithm.name().to_owned()).collect();
        let private_keys: Vec<_> = keys.iter().map(|key| key.private_key.pkcs8().to_vec()).collect();
        on_pool!(
            self,
            "dkim_keys.insert",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO dkim_keys (id, project_id, domain, selector, algorithm, private_key, created_at)
                SELECT k.id, $1, $2, k.selector, k.algorithm, k.private_key, $3
                FROM UNNEST($4::uuid[], $5::text[], $6::text[], $7::bytea[]) AS k (id, selector, algorithm, private_key)
                "#,
                project.uuid(),
                domain,
                now,
                &ids,
                &selectors,
                &algorithms,
                &private_keys,
            )
            .execute(conn)
        )?;
        Ok(())
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
                SELECT id, domain, selector, algorithm, private_key FROM dkim_keys
                WHERE project_id = $1 AND retired_at IS NULL AND domain = (
                    SELECT domain FROM dkim_keys WHERE project_id = $1 AND domain = ANY($2) AND retired_at IS NULL
                    ORDER BY length(domain) DESC LIMIT 1)
                ORDER BY algorithm DESC, id
                "#,
                project.uuid(),
                domains,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let algorithm = Algorithm::parse(&row.algorithm)
                    .ok_or_else(|| StoreError::corrupt("dkim_keys", "algorithm", row.id, &row.algorithm))?;
                Ok(FoundDkimKey {
                    id: DkimKeyId::from_uuid(row.id),
                    domain: row.domain,
                    selector: row.selector,
                    algorithm,
                    private_key: PrivateKey::from_pkcs8(row.private_key),
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
                SELECT p.name AS project, k.domain, k.selector, k.algorithm, k.created_at, k.retired_at
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
