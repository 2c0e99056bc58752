//! Who did what with a template, and whether a project asks for reviews.

use super::Owner;
use crate::domain::clock::Timestamp;
use crate::domain::id::{TemplateId, TemplateStepId};
use crate::domain::template::TemplateAction;
use crate::store::{Store, StoreError, decoded, on_pool};

/// Who writes, and when: the audit's row of a change.
#[derive(Debug)]
pub struct Step {
    pub id: TemplateStepId,
    /// The id of a key, or `token`.
    pub actor: String,
    pub at: Timestamp,
}

/// A step as it is stored.
#[derive(Debug)]
pub struct TemplateStep {
    pub id: TemplateStepId,
    pub action: TemplateAction,
    pub version: Option<i32>,
    pub actor: String,
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl Store {
    /// What was done with a template, newest first, from below `before` on.
    pub async fn list_template_steps(
        &self,
        template: TemplateId,
        before: Option<TemplateStepId>,
        limit: i64,
    ) -> Result<Vec<TemplateStep>, StoreError> {
        let rows = on_pool!(
            self,
            "template_steps.list",
            conn,
            sqlx::query!(
                r#"
                SELECT id, action, version, actor, reason, at FROM template_steps
                WHERE template_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
                "#,
                template.uuid(),
                before.map(TemplateStepId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let action = TemplateAction::parse(&row.action);
                Ok(TemplateStep {
                    id: TemplateStepId::from_uuid(row.id),
                    action: decoded(action, ("template_steps", "action"), row.id, &row.action)?,
                    version: row.version,
                    actor: row.actor,
                    reason: row.reason,
                    at: row.at,
                })
            })
            .collect()
    }

    /// Whether what a project publishes must be approved first.
    pub async fn is_template_review_required(&self, (project, mode): Owner) -> Result<bool, StoreError> {
        let row = on_pool!(
            self,
            "template_settings.find",
            conn,
            sqlx::query!(
                "SELECT review_required FROM template_settings WHERE project_id = $1 AND mode = $2",
                project.uuid(),
                mode.name(),
            )
            .fetch_optional(conn)
        )?;
        Ok(row.is_some_and(|row| row.review_required))
    }

    pub async fn require_template_review(
        &self,
        (project, mode): Owner,
        is_required: bool,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on_pool!(
            self,
            "template_settings.write",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO template_settings (project_id, review_required, changed_at, changed_by, mode)
                VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project_id, mode) DO UPDATE SET review_required = $2, changed_at = $3, changed_by = $4
                "#,
                project.uuid(),
                is_required,
                now,
                actor,
                mode.name(),
            )
            .execute(conn)
        )?;
        Ok(())
    }
}
