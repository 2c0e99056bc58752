//! Files that messages may carry by name. The bytes are kept once for each project, however often they are uploaded.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::draft::{Filename, FoundUpload, MediaType};
use crate::domain::id::{ProjectId, UploadId};
use crate::store::{OwnedConnection, Store, StoreError, decoded, on_connection, on_pool};

/// A file about to be kept.
#[derive(Debug)]
pub struct NewUpload<'u> {
    pub id: UploadId,
    pub project: ProjectId,
    pub mode: Mode,
    pub sha256: [u8; 32],
    pub filename: &'u str,
    pub content_type: &'u str,
    pub content: &'u [u8],
    pub idempotency_key: Option<&'u str>,
    pub created_at: Timestamp,
}

/// A file that is kept.
#[derive(Debug, Clone)]
pub struct StoredUpload {
    pub id: UploadId,
    pub mode: Mode,
    pub sha256: Vec<u8>,
    pub size: i32,
    pub filename: String,
    pub content_type: String,
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
}

/// What became of an upload.
#[derive(Debug)]
pub enum Uploaded {
    New(StoredUpload),
    /// The same file was uploaded before, or the same request came before.
    Known(StoredUpload),
    /// The key was used with another file.
    KeyReused,
}

struct UploadRow {
    id: Uuid,
    mode: String,
    sha256: Vec<u8>,
    size: i32,
    filename: String,
    content_type: String,
    created_at: Timestamp,
    last_used_at: Timestamp,
}

impl UploadRow {
    fn decode(self) -> Result<StoredUpload, StoreError> {
        Ok(StoredUpload {
            id: UploadId::from_uuid(self.id),
            mode: decoded(Mode::parse(&self.mode), ("uploads", "mode"), self.id, &self.mode)?,
            sha256: self.sha256,
            size: self.size,
            filename: self.filename,
            content_type: self.content_type,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
        })
    }
}

impl Store {
    /// Keeps a file. The same file under the same name and type is the same upload.
    pub async fn keep_upload(&self, upload: &NewUpload<'_>) -> Result<Uploaded, StoreError> {
        on_pool!(self, "uploads.keep", conn, keep(conn, upload))
    }
}

impl OwnedConnection {
    /// Removes uploads that were not used since, and contents that no upload names; at most `batch` of them.
    pub async fn retire_uploads(&mut self, unused_since: Timestamp, batch: i64) -> Result<u64, StoreError> {
        on_connection!(self, "uploads.retire", conn, retire(conn, unused_since, batch))
    }
}

async fn keep(conn: &mut PgConnection, upload: &NewUpload<'_>) -> Result<Uploaded, StoreError> {
    let mut tx = conn.begin().await?;
    if let Some(key) = upload.idempotency_key {
        let known = sqlx::query_as!(
            UploadRow,
            r#"
            SELECT id, mode, sha256, size, filename, content_type, created_at, last_used_at
            FROM uploads WHERE project_id = $1 AND mode = $2 AND idempotency_key = $3
            "#,
            upload.project.uuid(),
            upload.mode.name(),
            key,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(known) = known {
            let is_same = known.sha256 == upload.sha256
                && known.filename == upload.filename
                && known.content_type == upload.content_type;
            return if is_same { known.decode().map(Uploaded::Known) } else { Ok(Uploaded::KeyReused) };
        }
    }
    sqlx::query!(
        "INSERT INTO upload_contents (project_id, sha256, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        upload.project.uuid(),
        &upload.sha256[..],
        upload.content,
    )
    .execute(&mut *tx)
    .await?;
    let kept = sqlx::query_as!(
        UploadRow,
        r#"
        INSERT INTO uploads (id, project_id, mode, sha256, size, filename, content_type, idempotency_key, created_at,
            last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
        ON CONFLICT (project_id, mode, sha256, filename, content_type) DO UPDATE SET last_used_at = excluded.last_used_at
        RETURNING id, mode, sha256, size, filename, content_type, created_at, last_used_at
        "#,
        upload.id.uuid(),
        upload.project.uuid(),
        upload.mode.name(),
        &upload.sha256[..],
        i32::try_from(upload.content.len()).unwrap_or(i32::MAX),
        upload.filename,
        upload.content_type,
        upload.idempotency_key,
        upload.created_at,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    let is_new = kept.id == upload.id.uuid();
    kept.decode().map(|kept| if is_new { Uploaded::New(kept) } else { Uploaded::Known(kept) })
}

async fn retire(conn: &mut PgConnection, unused_since: Timestamp, batch: i64) -> Result<u64, StoreError> {
    let mut tx = conn.begin().await?;
    let gone = sqlx::query_scalar!(
        r#"
        WITH gone AS (
            DELETE FROM uploads WHERE id IN (
                SELECT id FROM uploads WHERE last_used_at < $1 ORDER BY last_used_at LIMIT $2 FOR UPDATE SKIP LOCKED)
            RETURNING id, project_id, sha256),
        contents AS (
            DELETE FROM upload_contents c USING gone
            WHERE c.project_id = gone.project_id AND c.sha256 = gone.sha256
              AND NOT EXISTS (
                  SELECT 1 FROM uploads u WHERE u.project_id = c.project_id AND u.sha256 = c.sha256
                    AND u.id NOT IN (SELECT id FROM gone)))
        SELECT count(*) AS "gone!" FROM gone
        "#,
        unused_since,
        batch,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(gone.unsigned_abs())
}

impl Store {
    /// The project's uploads with these ids, with their bytes. What is used is not retired soon: that it was is written once
    /// a day.
    pub async fn load_uploads(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        ids: &[UploadId],
    ) -> Result<HashMap<UploadId, FoundUpload>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "uploads.load",
            conn,
            sqlx::query!(
                r#"
                WITH used AS (
                    UPDATE uploads SET last_used_at = $4
                    WHERE project_id = $1 AND id = ANY ($2) AND last_used_at < $4::timestamptz - interval '1 day')
                SELECT u.id, u.filename, u.content_type, u.sha256, c.content
                FROM uploads u JOIN upload_contents c ON c.project_id = u.project_id AND c.sha256 = u.sha256
                WHERE u.project_id = $1 AND u.id = ANY ($2) AND ($3::text IS NULL OR u.mode = $3)
                "#,
                project.uuid(),
                &ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
                mode.map(Mode::name),
                now,
            )
            .fetch_all(conn)
        )?;
        let mut contents: HashMap<Vec<u8>, Arc<Vec<u8>>> = HashMap::new();
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let content = Arc::clone(contents.entry(row.sha256).or_insert_with(|| Arc::new(row.content)));
            let upload = FoundUpload {
                filename: decoded(
                    Filename::parse(row.filename.clone()).ok(),
                    ("uploads", "filename"),
                    row.id,
                    &row.filename,
                )?,
                content_type: decoded(
                    MediaType::parse(&row.content_type).ok(),
                    ("uploads", "content_type"),
                    row.id,
                    &row.content_type,
                )?,
                content,
            };
            found.insert(UploadId::from_uuid(row.id), upload);
        }
        Ok(found)
    }

    /// The project's uploads, newest first.
    pub async fn list_uploads(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        before: Option<UploadId>,
        limit: i64,
    ) -> Result<Vec<StoredUpload>, StoreError> {
        let rows = on_pool!(
            self,
            "uploads.list",
            conn,
            sqlx::query_as!(
                UploadRow,
                r#"
                SELECT id, mode, sha256, size, filename, content_type, created_at, last_used_at FROM uploads
                WHERE project_id = $1 AND ($2::text IS NULL OR mode = $2) AND ($3::uuid IS NULL OR id < $3)
                ORDER BY id DESC LIMIT $4
                "#,
                project.uuid(),
                mode.map(Mode::name),
                before.map(UploadId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(UploadRow::decode).collect()
    }

    /// The project's upload with that id.
    pub async fn find_upload(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        id: UploadId,
    ) -> Result<Option<StoredUpload>, StoreError> {
        let row = on_pool!(
            self,
            "uploads.find",
            conn,
            sqlx::query_as!(
                UploadRow,
                r#"
                SELECT id, mode, sha256, size, filename, content_type, created_at, last_used_at FROM uploads
                WHERE project_id = $1 AND ($2::text IS NULL OR mode = $2) AND id = $3
                "#,
                project.uuid(),
                mode.map(Mode::name),
                id.uuid(),
            )
            .fetch_optional(conn)
        )?;
        row.map(UploadRow::decode).transpose()
    }

    /// Removes the project's upload, and its bytes unless another upload has the same; `false`: there is none.
    pub async fn remove_upload(
        &self,
        project: ProjectId,
        mode: Option<Mode>,
        id: UploadId,
    ) -> Result<bool, StoreError> {
        let gone = on_pool!(
            self,
            "uploads.remove",
            conn,
            sqlx::query_scalar!(
                r#"
                WITH gone AS (
                    DELETE FROM uploads WHERE project_id = $1 AND ($2::text IS NULL OR mode = $2) AND id = $3
                    RETURNING id, project_id, sha256),
                contents AS (
                    DELETE FROM upload_contents c USING gone
                    WHERE c.project_id = gone.project_id AND c.sha256 = gone.sha256
                      AND NOT EXISTS (
                          SELECT 1 FROM uploads u
                          WHERE u.project_id = c.project_id AND u.sha256 = c.sha256 AND u.id <> gone.id))
                SELECT count(*) AS "gone!" FROM gone
                "#,
                project.uuid(),
                mode.map(Mode::name),
                id.uuid(),
            )
            .fetch_one(conn)
        )?;
        Ok(gone > 0)
    }
}
