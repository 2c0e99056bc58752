//! What receivers do that the sandbox plays: scripts by pattern of addresses, and what a delivery is played by.

use crate::domain::access::Mode;
use crate::domain::address::Address;
use crate::domain::delivery::LeasedDelivery;
use crate::domain::id::ProjectId;
use crate::domain::script::fits;
use crate::store::{Store, StoreError, decoded, on_pool};

/// A script for the addresses of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRule {
    pub pattern: String,
    pub script: String,
}

/// What the sandbox knows of a delivery.
#[derive(Debug)]
pub struct SandboxTerms {
    pub address: Address,
    pub mode: Mode,
    /// The message's own script, else that of the first pattern that fits.
    pub script: Option<String>,
}

impl Store {
    /// By what a delivery is played; `None`: the message is gone.
    pub async fn sandbox_terms(&self, delivery: &LeasedDelivery) -> Result<Option<SandboxTerms>, StoreError> {
        let row = on_pool!(
            self,
            "sandbox_scripts.of_delivery",
            conn,
            sqlx::query!(
                r#"
                SELECT r.address, m.mode, m.sandbox_script, s.patterns, s.scripts
                FROM recipients r JOIN messages m ON m.shard = r.shard AND m.id = r.message_id
                LEFT JOIN LATERAL (
                    SELECT array_agg(pattern ORDER BY position) AS patterns, array_agg(script ORDER BY position) AS scripts
                    FROM sandbox_scripts WHERE project_id = m.project_id) AS s ON true
                WHERE r.shard = $1 AND r.message_id = $2 AND r.id = $3
                "#,
                delivery.lease.shard.value(),
                delivery.message.uuid(),
                delivery.recipient.uuid(),
            )
            .fetch_optional(conn)
        )?;
        let Some(row) = row else { return Ok(None) };
        let rules = row.patterns.into_iter().flatten().zip(row.scripts.into_iter().flatten());
        let of_pattern =
            || rules.into_iter().find(|(pattern, _)| fits(pattern, &row.address)).map(|(_, script)| script);
        let script = row.sandbox_script.or_else(of_pattern);
        let address = Address::parse(&row.address).ok();
        Ok(Some(SandboxTerms {
            address: decoded(address, ("recipients", "address"), delivery.recipient, &row.address)?,
            mode: decoded(Mode::parse(&row.mode), ("messages", "mode"), delivery.message, &row.mode)?,
            script,
        }))
    }

    /// A project's patterns and their scripts, in order.
    pub async fn list_scripts(&self, project: ProjectId) -> Result<Vec<ScriptRule>, StoreError> {
        on_pool!(
            self,
            "sandbox_scripts.list",
            conn,
            sqlx::query_as!(
                ScriptRule,
                "SELECT pattern, script FROM sandbox_scripts WHERE project_id = $1 ORDER BY position",
                project.uuid(),
            )
            .fetch_all(conn)
        )
    }

    /// Puts these in place of a project's patterns and scripts.
    pub async fn replace_scripts(&self, project: ProjectId, rules: &[ScriptRule]) -> Result<(), StoreError> {
        on_pool!(
            self,
            "sandbox_scripts.replace",
            conn,
            sqlx::query!(
                r#"
                WITH given AS (
                    SELECT g.pattern, g.script, (g.n - 1)::smallint AS position
                    FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS g (pattern, script, n)),
                gone AS (
                    DELETE FROM sandbox_scripts s WHERE s.project_id = $1
                      AND NOT EXISTS (SELECT 1 FROM given g WHERE g.position = s.position))
                INSERT INTO sandbox_scripts (project_id, position, pattern, script)
                SELECT $1, g.position, g.pattern, g.script FROM given g
                ON CONFLICT (project_id, position) DO UPDATE SET pattern = excluded.pattern, script = excluded.script
                "#,
                project.uuid(),
                &rules.iter().map(|rule| rule.pattern.as_str()).collect::<Vec<_>>() as &[&str],
                &rules.iter().map(|rule| rule.script.as_str()).collect::<Vec<_>>() as &[&str],
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
