//! Making and changing templates.

use serde_json::Value;

use super::{Step, Template, TemplateContent};
use crate::domain::id::{ProjectId, TemplateId};
use crate::domain::template::{Decision, VersionState};
use crate::store::{Store, StoreError, decoded, on_pool};

/// Versions that were never shown to anybody are kept up to this many numbers back.
const DRAFTS_KEPT: i32 = 500;

fn json(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl Store {
    /// Stores a new template with its first version; `false` when the project has `limit` of them already.
    pub async fn insert_template(
        &self,
        project: ProjectId,
        template: &Template,
        content: &TemplateContent,
        description: &str,
        step: &Step,
        limit: i64,
    ) -> Result<bool, StoreError> {
        let row = on_pool!(
            self,
            "templates.insert",
            conn,
            sqlx::query!(
                r#"
                WITH t AS (
                    INSERT INTO templates (id, project_id, mode, alias, name, kind, latest_version, created_at, updated_at)
                    SELECT $1, $2, $15, $3, $4, $5, 1, $6, $6
                    WHERE (SELECT count(*) FROM templates WHERE project_id = $2 AND mode = $15) < $7
                    RETURNING id),
                v AS (
                    INSERT INTO template_versions (template_id, number, state, default_locale, locales, samples, uses,
                        description, created_at, created_by)
                    SELECT t.id, 1, 'draft', $8, $9, $10, $11, $12, $6, $13 FROM t),
                s AS (
                    INSERT INTO template_steps (id, project_id, template_id, action, version, actor, at)
                    SELECT $14, $2, t.id, 'created', 1, $13, $6 FROM t)
                SELECT count(*) AS "count!" FROM t
                "#,
                template.id.uuid(),
                project.uuid(),
                template.alias.as_str(),
                template.name,
                template.kind.name(),
                step.at,
                limit,
                content.default_locale.as_str(),
                json(&content.locales),
                json(&content.samples),
                &content.uses,
                description,
                step.actor,
                step.id.uuid(),
                template.mode.name(),
            )
            .fetch_one(conn)
        )?;
        Ok(row.count == 1)
    }

    /// Stores another version; `None` when the template is gone, or got another version since it was read.
    pub async fn add_template_version(
        &self,
        project: ProjectId,
        template: &Template,
        content: &TemplateContent,
        description: &str,
        step: &Step,
    ) -> Result<Option<i32>, StoreError> {
        let row = on_pool!(
            self,
            "template_versions.insert",
            conn,
            sqlx::query!(
                r#"
                WITH t AS (
                    UPDATE templates SET latest_version = latest_version + 1, updated_at = $4
                    WHERE project_id = $1 AND id = $2 AND latest_version = $3 RETURNING id, latest_version),
                v AS (
                    INSERT INTO template_versions (template_id, number, state, default_locale, locales, samples, uses,
                        description, created_at, created_by)
                    SELECT t.id, t.latest_version, 'draft', $5, $6, $7, $8, $9, $4, $10 FROM t),
                old AS (
                    DELETE FROM template_versions d USING t
                    WHERE d.template_id = t.id AND d.state = 'draft' AND d.number <= t.latest_version - $12),
                s AS (
                    INSERT INTO template_steps (id, project_id, template_id, action, version, actor, at)
                    SELECT $11, $1, t.id, 'changed', t.latest_version, $10, $4 FROM t)
                SELECT latest_version FROM t
                "#,
                project.uuid(),
                template.id.uuid(),
                template.latest_version,
                step.at,
                content.default_locale.as_str(),
                json(&content.locales),
                json(&content.samples),
                &content.uses,
                description,
                step.actor,
                step.id.uuid(),
                DRAFTS_KEPT,
            )
            .fetch_optional(conn)
        )?;
        Ok(row.map(|row| row.latest_version))
    }

    /// Writes a template's alias and name; `false` when it is gone.
    pub async fn rename_template(
        &self,
        project: ProjectId,
        template: &Template,
        step: &Step,
    ) -> Result<bool, StoreError> {
        let row = on_pool!(
            self,
            "templates.rename",
            conn,
            sqlx::query!(
                r#"
                WITH t AS (
                    UPDATE templates SET alias = $3, name = $4, updated_at = $5 WHERE project_id = $1 AND id = $2 RETURNING id),
                s AS (
                    INSERT INTO template_steps (id, project_id, template_id, action, actor, at)
                    SELECT $6, $1, t.id, 'renamed', $7, $5 FROM t)
                SELECT count(*) AS "count!" FROM t
                "#,
                project.uuid(),
                template.id.uuid(),
                template.alias.as_str(),
                template.name,
                step.at,
                step.id.uuid(),
                step.actor,
            )
            .fetch_one(conn)
        )?;
        Ok(row.count == 1)
    }

    /// Publishes a version, or submits it where the project asks for a review of what was never approved. The state that
    /// it has now; `None` when there is no such version.
    pub async fn publish_template(
        &self,
        project: ProjectId,
        template: TemplateId,
        number: i32,
        step: &Step,
    ) -> Result<Option<VersionState>, StoreError> {
        let row = on_pool!(
            self,
            "templates.publish",
            conn,
            sqlx::query!(
                r#"
                WITH v AS (
                    UPDATE template_versions v SET reason = CASE WHEN v.state = 'approved' THEN v.reason END,
                        state = CASE WHEN v.state <> 'approved' AND COALESCE(
                            (SELECT review_required FROM template_settings s WHERE s.project_id = $1 AND s.mode = t.mode),
                            false)
                            THEN 'submitted' ELSE 'approved' END
                    FROM templates t
                    WHERE t.project_id = $1 AND t.id = $2 AND v.template_id = t.id AND v.number = $3
                    RETURNING v.number, v.state),
                t AS (
                    UPDATE templates t SET published_version = v.number, updated_at = $4 FROM v
                    WHERE t.id = $2 AND v.state = 'approved'),
                s AS (
                    INSERT INTO template_steps (id, project_id, template_id, action, version, actor, at)
                    SELECT $5, $1, $2, CASE v.state WHEN 'approved' THEN 'published' ELSE 'submitted' END, v.number, $6, $4
                    FROM v)
                SELECT state FROM v
                "#,
                project.uuid(),
                template.uuid(),
                number,
                step.at,
                step.id.uuid(),
                step.actor,
            )
            .fetch_optional(conn)
        )?;
        let parse = |text: &str| decoded(VersionState::parse(text), ("template_versions", "state"), template, text);
        row.map(|row| parse(&row.state)).transpose()
    }

    /// Decides on a submitted version; one that is approved is published. `false` when it does not wait for a decision.
    pub async fn review_template(
        &self,
        project: ProjectId,
        template: TemplateId,
        number: i32,
        (decision, reason): (Decision, Option<&str>),
        step: &Step,
    ) -> Result<bool, StoreError> {
        let state = match decision {
            Decision::Approve => VersionState::Approved,
            Decision::Refuse => VersionState::Refused,
        };
        let row = on_pool!(
            self,
            "templates.review",
            conn,
            sqlx::query!(
                r#"
                WITH v AS (
                    UPDATE template_versions v SET state = $4, reason = $5 FROM templates t
                    WHERE t.project_id = $1 AND t.id = $2 AND v.template_id = t.id AND v.number = $3 AND v.state = 'submitted'
                    RETURNING v.number, v.state),
                t AS (
                    UPDATE templates t SET published_version = v.number, updated_at = $6 FROM v
                    WHERE t.id = $2 AND v.state = 'approved'),
                s AS (
                    INSERT INTO template_steps (id, project_id, template_id, action, version, actor, reason, at)
                    SELECT $7, $1, $2, v.state, v.number, $8, $5, $6 FROM v)
                SELECT count(*) AS "count!" FROM v
                "#,
                project.uuid(),
                template.uuid(),
                number,
                state.name(),
                reason,
                step.at,
                step.id.uuid(),
                step.actor,
            )
            .fetch_one(conn)
        )?;
        Ok(row.count == 1)
    }

    /// Deletes a template with its versions; its steps are kept. `false` when it is gone already.
    pub async fn delete_template(
        &self,
        project: ProjectId,
        template: TemplateId,
        step: &Step,
    ) -> Result<bool, StoreError> {
        let row = on_pool!(
            self,
            "templates.delete",
            conn,
            sqlx::query!(
                r#"
                WITH t AS (DELETE FROM templates WHERE project_id = $1 AND id = $2 RETURNING id),
                s AS (
                    INSERT INTO template_steps (id, project_id, template_id, action, actor, at)
                    SELECT $3, $1, t.id, 'deleted', $4, $5 FROM t)
                SELECT count(*) AS "count!" FROM t
                "#,
                project.uuid(),
                template.uuid(),
                step.id.uuid(),
                step.actor,
                step.at,
            )
            .fetch_one(conn)
        )?;
        Ok(row.count == 1)
    }
}
