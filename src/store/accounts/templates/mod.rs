//! Templates and their versions: configuration, by project. Each write is one statement, which also writes the step that
//! the audit shows.

mod change;
mod sending;
mod steps;

use serde_json::{Map, Value};
use uuid::Uuid;

pub use sending::{FoundLayout, FoundVersion};
pub use steps::{Step, TemplateStep};

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ProjectId, TemplateId};
use crate::domain::template::{Alias, Locale, TemplateKind, TemplateName, Variants, VersionState};
use crate::store::{Store, StoreError, decoded, on_pool};

/// Whose a template is: a project's, for one kind of its mail.
pub type Owner = (ProjectId, Mode);

/// A template as it is stored.
#[derive(Debug, Clone)]
pub struct Template {
    pub id: TemplateId,
    /// Test credentials have templates of their own.
    pub mode: Mode,
    pub alias: Alias,
    pub name: String,
    pub kind: TemplateKind,
    pub latest_version: i32,
    pub published_version: Option<i32>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a version holds.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateContent {
    pub default_locale: Locale,
    pub locales: Variants,
    pub samples: Map<String, Value>,
    /// Aliases that its sources name.
    pub uses: Vec<String>,
}

/// A version as it is stored.
#[derive(Debug, Clone)]
pub struct TemplateVersion {
    pub about: VersionAbout,
    pub content: TemplateContent,
}

/// A version without what it holds.
#[derive(Debug, Clone)]
pub struct VersionAbout {
    pub number: i32,
    pub state: VersionState,
    pub description: String,
    /// What the reviewer said last.
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
}

fn alias(id: Uuid, text: &str) -> Result<Alias, StoreError> {
    decoded(Alias::parse(text).ok(), ("templates", "alias"), id, text)
}

fn locale(id: Uuid, text: &str) -> Result<Locale, StoreError> {
    decoded(Locale::parse(text).ok(), ("template_versions", "default_locale"), id, text)
}

fn variants(id: Uuid, value: Value) -> Result<Variants, StoreError> {
    decoded(serde_json::from_value(value).ok(), ("template_versions", "locales"), id, "an unreadable value")
}

fn state(id: Uuid, text: &str) -> Result<VersionState, StoreError> {
    decoded(VersionState::parse(text), ("template_versions", "state"), id, text)
}

impl Store {
    /// The project's templates, newest first, from below `before` on.
    pub async fn list_templates(
        &self,
        owner: Owner,
        before: Option<TemplateId>,
        limit: i64,
    ) -> Result<Vec<Template>, StoreError> {
        self.select_templates(owner, None, before, limit).await
    }

    /// The project's template with that id or alias.
    pub async fn find_template(&self, owner: Owner, name: &TemplateName) -> Result<Option<Template>, StoreError> {
        Ok(self.select_templates(owner, Some(name), None, 1).await?.pop())
    }

    async fn select_templates(
        &self,
        (project, mode): Owner,
        name: Option<&TemplateName>,
        before: Option<TemplateId>,
        limit: i64,
    ) -> Result<Vec<Template>, StoreError> {
        let rows = on_pool!(
            self,
            "templates.list",
            conn,
            sqlx::query!(
                r#"
                SELECT id, mode, alias, name, kind, latest_version, published_version, created_at, updated_at FROM templates
                WHERE project_id = $1 AND mode = $6 AND ($2::uuid IS NULL OR id = $2) AND ($3::text IS NULL OR alias = $3)
                  AND ($4::uuid IS NULL OR id < $4)
                ORDER BY id DESC LIMIT $5
                "#,
                project.uuid(),
                name.and_then(TemplateName::id).map(TemplateId::uuid),
                name.and_then(TemplateName::alias),
                before.map(TemplateId::uuid),
                limit,
                mode.name(),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                Ok(Template {
                    id: TemplateId::from_uuid(row.id),
                    mode: decoded(Mode::parse(&row.mode), ("templates", "mode"), row.id, &row.mode)?,
                    alias: alias(row.id, &row.alias)?,
                    name: row.name,
                    kind: decoded(TemplateKind::parse(&row.kind), ("templates", "kind"), row.id, &row.kind)?,
                    latest_version: row.latest_version,
                    published_version: row.published_version,
                    created_at: row.created_at,
                    updated_at: row.updated_at,
                })
            })
            .collect()
    }

    /// A template's versions without what they hold, newest first, from below `before` on.
    pub async fn list_template_versions(
        &self,
        template: TemplateId,
        before: Option<i32>,
        limit: i64,
    ) -> Result<Vec<VersionAbout>, StoreError> {
        let rows = on_pool!(
            self,
            "template_versions.list",
            conn,
            sqlx::query!(
                r#"
                SELECT number, state, description, reason, created_at, created_by FROM template_versions
                WHERE template_id = $1 AND ($2::int IS NULL OR number < $2) ORDER BY number DESC LIMIT $3
                "#,
                template.uuid(),
                before,
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                Ok(VersionAbout {
                    number: row.number,
                    state: state(template.uuid(), &row.state)?,
                    description: row.description,
                    reason: row.reason,
                    created_at: row.created_at,
                    created_by: row.created_by,
                })
            })
            .collect()
    }

    /// One version of a template.
    pub async fn find_template_version(
        &self,
        template: TemplateId,
        number: i32,
    ) -> Result<Option<TemplateVersion>, StoreError> {
        let id = template.uuid();
        let row = on_pool!(
            self,
            "template_versions.find",
            conn,
            sqlx::query!(
                r#"
                SELECT number, state, default_locale, locales, samples, uses, description, reason, created_at, created_by
                FROM template_versions WHERE template_id = $1 AND number = $2
                "#,
                id,
                number,
            )
            .fetch_optional(conn)
        )?;
        row.map(|row| {
            let samples = row.samples.as_object().cloned();
            Ok(TemplateVersion {
                about: VersionAbout {
                    number: row.number,
                    state: state(id, &row.state)?,
                    description: row.description,
                    reason: row.reason,
                    created_at: row.created_at,
                    created_by: row.created_by,
                },
                content: TemplateContent {
                    default_locale: locale(id, &row.default_locale)?,
                    locales: variants(id, row.locales)?,
                    samples: decoded(samples, ("template_versions", "samples"), id, "no object")?,
                    uses: row.uses,
                },
            })
        })
        .transpose()
    }

    /// Whether a published version names this alias in its sources.
    pub async fn is_template_used(&self, (project, mode): Owner, alias: &Alias) -> Result<bool, StoreError> {
        let row = on_pool!(
            self,
            "templates.is_used",
            conn,
            sqlx::query!(
                r#"
                SELECT EXISTS (
                    SELECT FROM templates t JOIN template_versions v ON v.template_id = t.id AND v.number = t.published_version
                    WHERE t.project_id = $1 AND t.mode = $3 AND $2 = ANY(v.uses) AND t.alias <> $2) AS "is_used!"
                "#,
                project.uuid(),
                alias.as_str(),
                mode.name(),
            )
            .fetch_one(conn)
        )?;
        Ok(row.is_used)
    }
}
