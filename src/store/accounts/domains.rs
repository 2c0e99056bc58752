//! Domains that projects send from: what is stored of them, whose they are, and when they are looked at again.

use uuid::Uuid;

use crate::domain::clock::Timestamp;
use crate::domain::dkim::aligned;
use crate::domain::id::{DomainId, ProjectId};
use crate::domain::sending_domain::{DomainState, Standing};
use crate::store::{Store, StoreError, decoded, on_pool};

/// A domain as it is stored.
#[derive(Debug, Clone)]
pub struct StoredDomain {
    pub id: DomainId,
    pub project: ProjectId,
    pub name: String,
    pub standing: Standing,
    pub proved_at: Option<Timestamp>,
    pub is_delegated: bool,
    pub rotate_days: Option<i32>,
    /// What stands before it in the name of its return path.
    pub return_path_label: String,
    /// And before the name of the host of its links.
    pub link_label: String,
    /// What receivers make of it, as it was found last.
    pub dmarc: Option<serde_json::Value>,
    pub checked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// What a project may send as a domain.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// Live mail of this project leaves from verified domains only.
    pub must_be_verified: bool,
    /// Recipients, and domains with an `@` before them, that its live mail may go to; `None`: all.
    pub allowed_recipients: Option<Vec<String>>,
    /// The closest domain at or above that somebody has proved.
    pub proved: Option<ProvedDomain>,
}

/// A domain that is somebody's.
#[derive(Debug, Clone)]
pub struct ProvedDomain {
    pub project: ProjectId,
    pub name: String,
    pub state: DomainState,
    /// Where notices of non-delivery may be asked for, if it is ready for that.
    pub return_path: Option<String>,
    /// The host that its links lead to, if it is ready for that.
    pub link_host: Option<String>,
}

impl Store {
    /// The project's domains, newest first, from below `before` on; or the one with that id.
    pub async fn list_domains(
        &self,
        project: ProjectId,
        only: Option<DomainId>,
        before: Option<DomainId>,
        limit: i64,
    ) -> Result<Vec<StoredDomain>, StoreError> {
        self.select_domains(project, (only, None), before, limit).await
    }

    /// The project's domain of that name.
    pub async fn find_domain(&self, project: ProjectId, name: &str) -> Result<Option<StoredDomain>, StoreError> {
        Ok(self.select_domains(project, (None, Some(name)), None, 1).await?.pop())
    }

    async fn select_domains(
        &self,
        project: ProjectId,
        (id, name): (Option<DomainId>, Option<&str>),
        before: Option<DomainId>,
        limit: i64,
    ) -> Result<Vec<StoredDomain>, StoreError> {
        let rows = on_pool!(
            self,
            "domains.list",
            conn,
            sqlx::query_as!(
                DomainRow,
                r#"
                SELECT id, project_id, name, state, proved_at, is_delegated, rotate_days, return_path_label, has_return_path,
                    link_label, has_link_host, wrong_since, checks, dmarc, checked_at, created_at
                FROM domains
                WHERE project_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::text IS NULL OR name = $3)
                  AND ($4::uuid IS NULL OR id < $4)
                ORDER BY id DESC LIMIT $5
                "#,
                project.uuid(),
                id.map(DomainId::uuid),
                name,
                before.map(DomainId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(DomainRow::decode).collect()
    }

    /// Domains of all projects by name, as many.
    pub async fn list_all_domains(&self, limit: i64) -> Result<Vec<StoredDomain>, StoreError> {
        let rows = on_pool!(
            self,
            "domains.list_all",
            conn,
            sqlx::query_as!(
                DomainRow,
                r#"
                SELECT id, project_id, name, state, proved_at, is_delegated, rotate_days, return_path_label, has_return_path,
                    link_label, has_link_host, wrong_since, checks, dmarc, checked_at, created_at
                FROM domains ORDER BY name, id LIMIT $1
                "#,
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(DomainRow::decode).collect()
    }

    /// Domains that are to be looked at now; nobody else takes them for the next minutes.
    pub async fn take_due_domains(&self, limit: i64) -> Result<Vec<StoredDomain>, StoreError> {
        let now = self.now();
        let rows = on_pool!(
            self,
            "domains.take_due",
            conn,
            sqlx::query_as!(
                DomainRow,
                r#"
                UPDATE domains d SET next_check_at = $1 + interval '2 minutes'
                FROM (SELECT id FROM domains WHERE id IN (
                          -- Projects take turns.
                          SELECT id FROM (
                              SELECT id, next_check_at, row_number() OVER (PARTITION BY project_id ORDER BY next_check_at) AS turn
                              FROM (SELECT id, project_id, next_check_at FROM domains WHERE next_check_at <= $1
                                    ORDER BY next_check_at LIMIT 5000) due) turns
                          ORDER BY turn, next_check_at LIMIT $2)
                      FOR UPDATE SKIP LOCKED) taken
                WHERE d.id = taken.id
                RETURNING d.id, project_id, name, state, proved_at, is_delegated, rotate_days, return_path_label,
                    has_return_path, link_label, has_link_host, wrong_since, checks, dmarc, checked_at, created_at
                "#,
                now,
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter().map(DomainRow::decode).collect()
    }

    /// Writes what its owner may change.
    pub async fn update_domain(&self, domain: &StoredDomain) -> Result<bool, StoreError> {
        let now = self.now();
        let done = on_pool!(
            self,
            "domains.update",
            conn,
            sqlx::query!(
                r#"
                UPDATE domains SET rotate_days = $3, return_path_label = $4, link_label = $6, next_check_at = $5,
                    has_return_path = has_return_path AND return_path_label = $4, has_link_host = has_link_host AND link_label = $6
                WHERE project_id = $1 AND id = $2
                "#,
                domain.project.uuid(),
                domain.id.uuid(),
                domain.rotate_days,
                domain.return_path_label,
                now,
                domain.link_label,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes a domain and its keys: nothing is signed for it any more, and it is nobody's.
    pub async fn delete_domain(&self, project: ProjectId, id: DomainId) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "domains.delete",
            conn,
            sqlx::query!(
                r#"
                WITH gone AS (DELETE FROM domains WHERE project_id = $1 AND id = $2 RETURNING project_id, name),
                     keys AS (DELETE FROM dkim_keys k USING gone g WHERE k.project_id = g.project_id AND k.domain = g.name)
                SELECT count(*) AS "count!" FROM gone
                "#,
                project.uuid(),
                id.uuid(),
            )
            .fetch_one(conn)
        )?;
        Ok(done.count == 1)
    }

    /// The project whose proved domain has that host for its links.
    pub async fn find_link_host(&self, host: &str) -> Result<Option<ProjectId>, StoreError> {
        let names: Vec<_> = aligned(host).map(str::to_owned).collect();
        let owner = on_pool!(
            self,
            "domains.find_link_host",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT project_id FROM domains
                WHERE name = ANY($2) AND link_label || '.' || name = $1 AND proved_at IS NOT NULL LIMIT 1
                "#,
                host,
                &names,
            )
            .fetch_optional(conn)
        )?;
        Ok(owner.map(ProjectId::from_uuid))
    }

    /// What a project may send as a domain.
    pub async fn find_sender(&self, project: ProjectId, domain: &str) -> Result<Sender, StoreError> {
        let names: Vec<_> = aligned(domain).map(str::to_owned).collect();
        let row = on_pool!(
            self,
            "domains.find_sender",
            conn,
            sqlx::query!(
                r#"
                SELECT p.requires_verified_domain, p.allowed_recipients, d.project_id AS "owner?", d.name AS "name?", d.state AS "state?",
                    d.return_path_label AS "return_path_label?", d.has_return_path AS "has_return_path?",
                    d.link_label AS "link_label?", d.has_link_host AS "has_link_host?"
                FROM projects p LEFT JOIN LATERAL (
                    SELECT project_id, name, state, return_path_label, has_return_path, link_label, has_link_host FROM domains
                    WHERE name = ANY($2) AND proved_at IS NOT NULL ORDER BY state <> 'failed' DESC, length(name) DESC LIMIT 1) d ON true
                WHERE p.id = $1
                "#,
                project.uuid(),
                &names,
            )
            .fetch_optional(conn)
        )?;
        let Some(row) = row else { return Ok(Sender::default()) };
        let proved = match (row.owner, row.name, row.state) {
            (Some(owner), Some(name), Some(state)) => Some(ProvedDomain {
                project: ProjectId::from_uuid(owner),
                state: decoded(DomainState::parse(&state), ("domains", "state"), &name, &state)?,
                return_path: (row.has_return_path == Some(true))
                    .then(|| format!("{}.{name}", row.return_path_label.unwrap_or_default())),
                link_host: (row.has_link_host == Some(true))
                    .then(|| format!("{}.{name}", row.link_label.unwrap_or_default())),
                name,
            }),
            _ => None,
        };
        Ok(Sender {
            must_be_verified: row.requires_verified_domain,
            allowed_recipients: row.allowed_recipients,
            proved,
        })
    }
}

struct DomainRow {
    id: Uuid,
    project_id: Uuid,
    name: String,
    state: String,
    proved_at: Option<Timestamp>,
    is_delegated: bool,
    rotate_days: Option<i32>,
    return_path_label: String,
    has_return_path: bool,
    link_label: String,
    has_link_host: bool,
    wrong_since: Option<Timestamp>,
    checks: serde_json::Value,
    dmarc: Option<serde_json::Value>,
    checked_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl DomainRow {
    fn decode(self) -> Result<StoredDomain, StoreError> {
        let state = decoded(DomainState::parse(&self.state), ("domains", "state"), self.id, &self.state)?;
        Ok(StoredDomain {
            id: DomainId::from_uuid(self.id),
            project: ProjectId::from_uuid(self.project_id),
            standing: Standing {
                state,
                wrong_since: self.wrong_since,
                has_return_path: self.has_return_path,
                has_link_host: self.has_link_host,
                // What another version wrote is looked up anew.
                checks: serde_json::from_value(self.checks).unwrap_or_default(),
            },
            name: self.name,
            proved_at: self.proved_at,
            is_delegated: self.is_delegated,
            rotate_days: self.rotate_days,
            return_path_label: self.return_path_label,
            link_label: self.link_label,
            dmarc: self.dmarc,
            checked_at: self.checked_at,
            created_at: self.created_at,
        })
    }
}
