//! Who changed what. An entry is there before its change is: none is made that nobody is told of.

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AuditId, ProjectId};
use crate::store::schema::partitions::first_id_at;
use crate::store::{Store, StoreError, on_pool};

/// Characters of a subject that are kept.
pub const SUBJECT_MAX: usize = 200;

/// A change that is about to be made.
#[derive(Debug, Clone)]
pub struct NewAudit<'a> {
    pub id: AuditId,
    /// Whose things are changed; `None`: the installation's.
    pub project: Option<ProjectId>,
    pub actor: &'a str,
    /// Whose credential it is.
    pub actor_project: Option<ProjectId>,
    pub address: Option<String>,
    pub action: &'a str,
    pub subject: &'a str,
}

/// A change, as it is told.
#[derive(Debug, Clone)]
pub struct Audited {
    pub id: AuditId,
    pub project: Option<ProjectId>,
    pub actor: String,
    pub address: Option<String>,
    pub action: String,
    pub subject: String,
    pub status: Option<i16>,
}

/// What a list of changes is narrowed to.
#[derive(Debug, Default, Clone)]
pub struct AuditFilter {
    /// `None`: of all projects, and of the installation.
    pub project: Option<ProjectId>,
    pub actor: Option<String>,
    pub before: Option<AuditId>,
    pub limit: i64,
}

struct AuditRow {
    id: Uuid,
    project_id: Option<Uuid>,
    actor: String,
    address: Option<String>,
    action: String,
    subject: String,
    status: Option<i16>,
}

/// The first characters of what names something.
pub fn shortened(subject: &str) -> String {
    subject.chars().take(SUBJECT_MAX).collect()
}

impl Store {
    /// Notes a change that is about to be made.
    pub async fn begin_audit(&self, new: &NewAudit<'_>) -> Result<(), StoreError> {
        on_pool!(
            self,
            "audit.begin",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO audit (id, project_id, actor, actor_project_id, address, action, subject)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                "#,
                new.id.uuid(),
                new.project.map(ProjectId::uuid),
                new.actor,
                new.actor_project.map(ProjectId::uuid),
                new.address,
                new.action,
                shortened(new.subject),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Says how it went, and, where that is known by now, what was changed.
    pub async fn end_audit(&self, id: AuditId, status: i16, subject: Option<&str>) -> Result<(), StoreError> {
        on_pool!(
            self,
            "audit.end",
            conn,
            sqlx::query!(
                "UPDATE audit SET status = $2, subject = COALESCE($3, subject) WHERE id = $1",
                id.uuid(),
                status,
                subject.map(shortened),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Changes, newest first.
    pub async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError> {
        let rows = on_pool!(
            self,
            "audit.list",
            conn,
            sqlx::query_as!(
                AuditRow,
                r#"
                SELECT id, project_id, actor, address, action, subject, status FROM audit
                WHERE ($1::uuid IS NULL OR project_id = $1) AND ($2::text IS NULL OR actor = $2) AND id < $3
                ORDER BY id DESC LIMIT $4
                "#,
                filter.project.map(ProjectId::uuid),
                filter.actor,
                filter.before.map_or(Uuid::max(), AuditId::uuid),
                filter.limit,
            )
            .fetch_all(conn)
        )?;
        let audited = |row: AuditRow| Audited {
            id: AuditId::from_uuid(row.id),
            project: row.project_id.map(ProjectId::from_uuid),
            actor: row.actor,
            address: row.address,
            action: row.action,
            subject: row.subject,
            status: row.status,
        };
        Ok(rows.into_iter().map(audited).collect())
    }

    /// Forgets changes from before an instant, at most `limit`; gives their number.
    pub async fn purge_audit(&self, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
        let done = on_pool!(
            self,
            "audit.purge",
            conn,
            sqlx::query!(
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2)",
                first_id_at(before),
                limit,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected())
    }
}
