//! What a send needs of a template: one version, and the layouts and partials that its sources name.

use super::{Owner, alias, locale, state, variants};
use crate::domain::id::TemplateId;
use crate::domain::template::{Alias, Locale, TemplateKind, TemplateName, Variants, VersionState};
use crate::store::{Store, StoreError, decoded, on_pool};

/// A template that was asked for, and the version of it, if it has that one.
#[derive(Debug)]
pub struct FoundToSend {
    pub id: TemplateId,
    pub kind: TemplateKind,
    pub version: Option<FoundVersion>,
}

#[derive(Debug)]
pub struct FoundVersion {
    pub number: i32,
    pub state: VersionState,
    pub default_locale: Locale,
    pub locales: Variants,
    pub uses: Vec<String>,
}

/// A layout or partial.
#[derive(Debug)]
pub struct FoundLayout {
    pub alias: Alias,
    pub default_locale: Locale,
    pub locales: Variants,
    pub uses: Vec<String>,
}

impl Store {
    /// The version `number` of a template, or its published one.
    pub async fn find_template_to_send(
        &self,
        (project, mode): Owner,
        name: &TemplateName,
        number: Option<i32>,
    ) -> Result<Option<FoundToSend>, StoreError> {
        let row = on_pool!(
            self,
            "templates.to_send",
            conn,
            sqlx::query!(
                r#"
                SELECT t.id, t.kind, v.number AS "number?", v.state AS "state?", v.default_locale AS "default_locale?",
                    v.locales AS "locales?", v.uses AS "uses?"
                FROM templates t
                LEFT JOIN template_versions v ON v.template_id = t.id AND v.number = COALESCE($4, t.published_version)
                WHERE t.project_id = $1 AND t.mode = $5 AND (t.id = $2 OR t.alias = $3)
                "#,
                project.uuid(),
                name.id().map(TemplateId::uuid),
                name.alias(),
                number,
                mode.name(),
            )
            .fetch_optional(conn)
        )?;
        let Some(row) = row else { return Ok(None) };
        let version = match (row.number, row.state, row.default_locale, row.locales, row.uses) {
            (Some(number), Some(word), Some(default), Some(locales), Some(uses)) => Some(FoundVersion {
                number,
                state: state(row.id, &word)?,
                default_locale: locale(row.id, &default)?,
                locales: variants(row.id, locales)?,
                uses,
            }),
            _ => None,
        };
        let kind = decoded(TemplateKind::parse(&row.kind), ("templates", "kind"), row.id, &row.kind)?;
        Ok(Some(FoundToSend { id: TemplateId::from_uuid(row.id), kind, version }))
    }

    /// The published layouts and partials of these names; with `drafts` also the latest version of what was never
    /// published.
    pub async fn find_layouts(
        &self,
        (project, mode): Owner,
        aliases: &[String],
        drafts: bool,
    ) -> Result<Vec<FoundLayout>, StoreError> {
        let rows = on_pool!(
            self,
            "templates.layouts",
            conn,
            sqlx::query!(
                r#"
                SELECT t.id, t.alias, v.default_locale, v.locales, v.uses
                FROM templates t JOIN template_versions v ON v.template_id = t.id
                    AND v.number = COALESCE(t.published_version, CASE WHEN $3 THEN t.latest_version END)
                WHERE t.project_id = $1 AND t.mode = $4 AND t.alias = ANY($2) AND t.kind <> 'message'
                "#,
                project.uuid(),
                aliases,
                drafts,
                mode.name(),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                Ok(FoundLayout {
                    alias: alias(row.id, &row.alias)?,
                    default_locale: locale(row.id, &row.default_locale)?,
                    locales: variants(row.id, row.locales)?,
                    uses: row.uses,
                })
            })
            .collect()
    }
}
