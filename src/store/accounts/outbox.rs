//! What the SQL function `mailwright.enqueue` goes by: which roles of the database may enqueue mail, as operators say, and the
//! limits of a message, as the service says.

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::store::{Store, StoreError, on_pool};

/// What a role may enqueue.
#[derive(Debug)]
pub struct OutboxSender<'a> {
    pub role: &'a str,
    pub project: ProjectId,
    pub modes: &'a [Mode],
    /// The domains that it may send as; `None`: any.
    pub from_domains: Option<&'a [String]>,
}

/// A grant as it is listed.
#[derive(Debug)]
pub struct ListedSender {
    pub role: String,
    pub project: String,
    pub modes: Vec<String>,
    pub from_domains: Option<Vec<String>>,
    pub created_at: Timestamp,
}

impl Store {
    /// Lets a role of the database enqueue: the one function, and nothing else. What it was granted for that project before is
    /// replaced. `false`: there is no such role.
    pub async fn grant_outbox(&self, sender: &OutboxSender<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let modes: Vec<_> = sender.modes.iter().map(|mode| mode.name().to_owned()).collect();
        let granted = on_pool!(
            self,
            "outbox_senders.grant",
            conn,
            sqlx::query_scalar!(
                r#"
                WITH sender AS (
                    INSERT INTO outbox_senders (role_name, project_id, modes, from_domains, created_at)
                    SELECT r.rolname::text, $2, $3, $4, $5 FROM pg_roles r WHERE r.rolname = $1
                    ON CONFLICT (role_name, project_id) DO UPDATE
                        SET modes = excluded.modes, from_domains = excluded.from_domains
                    RETURNING role_name)
                SELECT mailwright.grant_to(s.role_name) AS "granted!" FROM sender s
                "#,
                sender.role,
                sender.project.uuid(),
                &modes,
                sender.from_domains,
                now,
            )
            .fetch_optional(conn)
        )?;
        Ok(granted.is_some())
    }

    /// Says what enqueued messages are judged by.
    pub async fn put_outbox_limits(&self, limits: &[(&str, usize)]) -> Result<(), StoreError> {
        let most = limits.iter().map(|(_, most)| i64::try_from(*most).unwrap_or(i64::MAX));
        on_pool!(
            self,
            "outbox_limits.put",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO outbox_limits AS l (name, most) SELECT * FROM unnest($1::text[], $2::bigint[])
                ON CONFLICT (name) DO UPDATE SET most = excluded.most WHERE l.most <> excluded.most
                "#,
                &limits.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>(),
                &most.collect::<Vec<_>>(),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Takes back what a role was granted for a project, and the function with the last project. `false`: nothing was granted.
    pub async fn revoke_outbox(&self, role: &str, project: ProjectId) -> Result<bool, StoreError> {
        let revoked = on_pool!(
            self,
            "outbox_senders.revoke",
            conn,
            sqlx::query_scalar!(
                r#"
                WITH gone AS (DELETE FROM outbox_senders WHERE role_name = $1 AND project_id = $2 RETURNING role_name)
                SELECT CASE
                    WHEN EXISTS (SELECT FROM outbox_senders s WHERE s.role_name = $1 AND s.project_id <> $2) THEN true
                    WHEN EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $1) THEN mailwright.revoke_from(g.role_name)
                    ELSE true END AS "revoked!"
                FROM gone g
                "#,
                role,
                project.uuid(),
            )
            .fetch_optional(conn)
        )?;
        Ok(revoked.is_some())
    }

    /// All grants, by role and project.
    pub async fn list_outbox_senders(&self) -> Result<Vec<ListedSender>, StoreError> {
        on_pool!(
            self,
            "outbox_senders.list",
            conn,
            sqlx::query_as!(
                ListedSender,
                r#"
                SELECT s.role_name AS role, p.name AS project, s.modes, s.from_domains, s.created_at
                FROM outbox_senders s JOIN projects p ON p.id = s.project_id ORDER BY s.role_name, p.name
                "#
            )
            .fetch_all(conn)
        )
    }
}
