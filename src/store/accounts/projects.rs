//! Projects and their API keys. Read on the way in, written by operators only.

use crate::domain::access::{Mode, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::{KeyId, ProjectId};
use crate::store::{Store, StoreError, decoded, on_pool};

/// A key about to be stored: its text is not.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub id: KeyId,
    pub project: ProjectId,
    pub mode: Mode,
    pub scopes: &'a [Scope],
    pub prefix: &'a str,
    /// SHA-256 of the key's text.
    pub hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// A key as it is looked up by its hash; revoked and expired ones are not found.
#[derive(Debug, Clone)]
pub struct FoundKey {
    pub project: ProjectId,
    pub mode: Mode,
    pub scopes: Vec<Scope>,
}

/// A key as it is listed.
#[derive(Debug)]
pub struct ListedKey {
    pub id: KeyId,
    pub project: String,
    pub mode: Mode,
    pub prefix: String,
    pub scopes: Vec<String>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// The project named `name`, made if it is new.
    pub async fn ensure_project(&self, id: ProjectId, name: &str, now: Timestamp) -> Result<ProjectId, StoreError> {
        self.within("projects.ensure", async {
            let mut conn = self.conn().await?;
            sqlx::query!(
                "INSERT INTO projects (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
                id.uuid(),
                name,
                now,
            )
            .execute(conn.get()?)
            .await?;
            let row = sqlx::query!("SELECT id FROM projects WHERE name = $1", name).fetch_one(conn.get()?).await?;
            conn.keep().await?;
            Ok(ProjectId::from_uuid(row.id))
        })
        .await
    }

    /// The project with that id or that name.
    pub async fn find_project(&self, id_or_name: &str) -> Result<Option<ProjectId>, StoreError> {
        let id = ProjectId::parse(id_or_name).map(ProjectId::uuid);
        let row = on_pool!(
            self,
            "projects.find",
            conn,
            sqlx::query!("SELECT id FROM projects WHERE id = $1 OR name = $2 LIMIT 1", id, id_or_name)
                .fetch_optional(conn)
        )?;
        Ok(row.map(|row| ProjectId::from_uuid(row.id)))
    }

    pub async fn insert_key(&self, key: &NewKey<'_>) -> Result<(), StoreError> {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.name().to_owned()).collect();
        on_pool!(
            self,
            "keys.insert",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO api_keys (id, project_id, mode, scopes, prefix, hash, created_at, expires_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                "#,
                key.id.uuid(),
                key.project.uuid(),
                key.mode.name(),
                &scopes,
                key.prefix,
                &key.hash[..],
                key.created_at,
                key.expires_at,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// The valid key with that hash.
    pub async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, StoreError> {
        let now = self.now();
        let row = on_pool!(
            self,
            "keys.find",
            conn,
            sqlx::query!(
                r#"
                SELECT id, project_id, mode, scopes FROM api_keys
                WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                "#,
                &hash[..],
                now,
            )
            .fetch_optional(conn)
        )?;
        row.map(|row| {
            let mode =
                Mode::parse(&row.mode).ok_or_else(|| StoreError::corrupt("api_keys", "mode", row.id, &row.mode))?;
            let scopes = row.scopes.iter().filter_map(|name| Scope::parse(name)).collect();
            Ok(FoundKey { project: ProjectId::from_uuid(row.project_id), mode, scopes })
        })
        .transpose()
    }

    /// All keys, newest first.
    pub async fn list_keys(&self) -> Result<Vec<ListedKey>, StoreError> {
        let rows = on_pool!(
            self,
            "keys.list",
            conn,
            sqlx::query!(
                r#"
                SELECT k.id, p.name AS project, k.mode, k.prefix, k.scopes, k.created_at, k.revoked_at, k.expires_at
                FROM api_keys k JOIN projects p ON p.id = k.project_id ORDER BY k.id DESC LIMIT 1000
                "#,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                Ok(ListedKey {
                    id: KeyId::from_uuid(row.id),
                    project: row.project,
                    mode: decoded(Mode::parse(&row.mode), ("api_keys", "mode"), row.id, &row.mode)?,
                    prefix: row.prefix,
                    scopes: row.scopes,
                    created_at: row.created_at,
                    revoked_at: row.revoked_at,
                    expires_at: row.expires_at,
                })
            })
            .collect()
    }

    /// Revokes a key; `false` when there is none, or it was revoked before.
    pub async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "keys.revoke",
            conn,
            sqlx::query!("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", id.uuid(), now,)
                .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}
