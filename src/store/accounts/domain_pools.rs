//! Pools of a project's domains.

use crate::domain::clock::Timestamp;
use crate::domain::id::{DomainId, ProjectId};
use crate::domain::sending_domain::DomainState;
use crate::store::{Store, StoreError, decoded, on_pool};

/// Most pools of one project.
pub const POOLS_MAX: i64 = 100;

/// A pool as it is stored.
#[derive(Debug, Clone)]
pub struct StoredPool {
    pub name: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// By their names.
    pub members: Vec<PoolMember>,
}

/// A domain in a pool.
#[derive(Debug, Clone)]
pub struct PoolMember {
    pub id: DomainId,
    pub name: String,
    pub state: DomainState,
    /// It is the project's, as far as the records say: live mail may leave from it.
    pub is_ready: bool,
    /// A list of bad domains names it.
    pub is_listed: bool,
    pub weight: u32,
    pub warms_up: bool,
}

/// A domain that is put into a pool, by its name.
#[derive(Debug, Clone)]
pub struct NewMember {
    pub name: String,
    pub weight: u32,
    pub warms_up: bool,
}

impl Store {
    /// The project's pools by name, or the one of that name.
    pub async fn list_pools(&self, project: ProjectId, only: Option<&str>) -> Result<Vec<StoredPool>, StoreError> {
        let rows = on_pool!(
            self,
            "domain_pools.list",
            conn,
            sqlx::query!(
                r#"
                SELECT p.name AS pool, p.created_at, p.updated_at, d.id AS "id?", d.name AS "name?", d.state AS "state?",
                    d.proved_at IS NOT NULL AS "is_proved!", m.weight AS "weight?", m.warms_up AS "warms_up?",
                    EXISTS (SELECT FROM listings l WHERE l.subject = d.name) AS "is_listed!"
                FROM domain_pools p
                LEFT JOIN domain_pool_members m ON m.project_id = p.project_id AND m.pool = p.name
                LEFT JOIN domains d ON d.id = m.domain_id
                WHERE p.project_id = $1 AND ($2::text IS NULL OR p.name = $2) ORDER BY p.name, d.name
                "#,
                project.uuid(),
                only,
            )
            .fetch_all(conn)
        )?;
        let mut pools: Vec<StoredPool> = Vec::new();
        for row in rows {
            if pools.last().is_none_or(|pool| pool.name != row.pool) {
                let (created_at, updated_at) = (row.created_at, row.updated_at);
                pools.push(StoredPool { name: row.pool, created_at, updated_at, members: Vec::new() });
            }
            let (Some(id), Some(name), Some(state)) = (row.id, row.name, row.state) else { continue };
            let state = decoded(DomainState::parse(&state), ("domains", "state"), id, &state)?;
            let Some(pool) = pools.last_mut() else { continue };
            pool.members.push(PoolMember {
                id: DomainId::from_uuid(id),
                name,
                state,
                is_ready: row.is_proved && state != DomainState::Failed,
                is_listed: row.is_listed,
                weight: row.weight.map_or(1, i32::unsigned_abs),
                warms_up: row.warms_up == Some(true),
            });
        }
        Ok(pools)
    }

    /// Which of these names are domains of the project.
    pub async fn known_domains(&self, project: ProjectId, names: &[String]) -> Result<Vec<String>, StoreError> {
        on_pool!(
            self,
            "domain_pools.known_domains",
            conn,
            sqlx::query_scalar!(
                "SELECT name FROM domains WHERE project_id = $1 AND name = ANY($2)",
                project.uuid(),
                names,
            )
            .fetch_all(conn)
        )
    }

    /// Puts exactly these domains of the project into a pool, which is made if it is not there. `None`: the project has as many
    /// pools as it may have; `true`: it was made.
    pub async fn put_pool(
        &self,
        project: ProjectId,
        name: &str,
        members: &[NewMember],
    ) -> Result<Option<bool>, StoreError> {
        let now = self.now();
        let row = on_pool!(
            self,
            "domain_pools.put",
            conn,
            sqlx::query!(
                r#"
                WITH given AS (
                    SELECT d.id, g.weight, g.warms_up FROM unnest($4::text[], $5::integer[], $6::boolean[]) AS g (name, weight, warms_up)
                    JOIN domains d ON d.project_id = $1 AND d.name = g.name),
                pool AS (
                    INSERT INTO domain_pools AS p (project_id, name, created_at, updated_at)
                    SELECT $1, $2, $3, $3 WHERE (SELECT count(*) FROM domain_pools WHERE project_id = $1 AND name <> $2) < $7
                    ON CONFLICT (project_id, name) DO UPDATE SET updated_at = $3 RETURNING p.created_at = $3 AS is_new),
                gone AS (
                    DELETE FROM domain_pool_members WHERE project_id = $1 AND pool = $2 AND domain_id NOT IN (SELECT id FROM given)),
                put AS (
                    INSERT INTO domain_pool_members (project_id, pool, domain_id, weight, warms_up)
                    SELECT $1, $2, id, weight, warms_up FROM given, pool
                    ON CONFLICT (project_id, pool, domain_id) DO UPDATE SET weight = excluded.weight, warms_up = excluded.warms_up)
                SELECT is_new AS "is_new!" FROM pool
                "#,
                project.uuid(),
                name,
                now,
                &members.iter().map(|member| member.name.clone()).collect::<Vec<_>>(),
                &members.iter().map(|member| i32::try_from(member.weight).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
                &members.iter().map(|member| member.warms_up).collect::<Vec<_>>(),
                POOLS_MAX,
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| row.is_new))
    }

    /// Deletes a pool; its domains stay.
    pub async fn delete_pool(&self, project: ProjectId, name: &str) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "domain_pools.delete",
            conn,
            sqlx::query!("DELETE FROM domain_pools WHERE project_id = $1 AND name = $2", project.uuid(), name)
                .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}
