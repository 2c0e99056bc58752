//! Webhook endpoints: configuration, by project.

use crate::domain::access::Mode;
use crate::domain::clock::Timestamp;
use crate::domain::id::{EndpointId, ProjectId};
use crate::domain::log::LogCursor;
use crate::domain::webhook::{EndpointMode, PayloadForm, Secret};
use crate::sealing::Whose;
use crate::store::{Store, StoreError, decoded, on_pool};

/// An endpoint as it is stored.
#[derive(Clone)]
pub struct Endpoint {
    pub id: EndpointId,
    pub mode: EndpointMode,
    pub form: PayloadForm,
    pub url: String,
    pub events: Vec<String>,
    pub tags: Vec<String>,
    pub description: String,
    pub enabled: bool,
    pub disabled_reason: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// Since when it is said of it that it does not answer.
    pub stalled_at: Option<Timestamp>,
    /// The private key of Ed25519.
    pub signing_seed: Vec<u8>,
    pub created_at: Timestamp,
}

impl Store {
    /// Stores a new endpoint; `false` when the project has `limit` of them already.
    pub async fn insert_endpoint(
        &self,
        project: ProjectId,
        endpoint: &Endpoint,
        secret: &Secret,
        limit: i64,
    ) -> Result<bool, StoreError> {
        // It hears of what is committed from now on.
        let position = LogCursor { seen: Some(self.look().await?), within: None }.to_string();
        let kept = self.keep_secret(secret, endpoint.id);
        let done = on_pool!(
            self,
            "endpoints.insert",
            conn,
            sqlx::query!(
                r#"
            WITH endpoint AS (
                INSERT INTO webhook_endpoints (id, project_id, url, events, tags, description, secret, enabled,
                    disabled_reason, created_at, mode, signing_seed, form, sealed)
                SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $14, $15, $16
                WHERE (SELECT count(*) FROM webhook_endpoints WHERE project_id = $2) < $11
                RETURNING id, project_id, created_at)
            INSERT INTO webhook_positions (endpoint_id, project_id, position, fed_until)
            SELECT e.id, e.project_id, $13, e.created_at FROM endpoint e
            "#,
                endpoint.id.uuid(),
                project.uuid(),
                endpoint.url,
                &endpoint.events,
                &endpoint.tags,
                endpoint.description,
                &kept.hmac,
                endpoint.enabled,
                endpoint.disabled_reason,
                endpoint.created_at,
                limit,
                endpoint.mode.name(),
                position,
                &kept.seed,
                endpoint.form.name(),
                kept.sealed,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// The project's endpoints of one mode, or of all, newest first, from below `before` on.
    pub async fn list_endpoints(
        &self,
        project: ProjectId,
        only: Option<Mode>,
        before: Option<EndpointId>,
        limit: i64,
    ) -> Result<Vec<Endpoint>, StoreError> {
        self.select_endpoints(project, only, None, before, limit).await
    }

    async fn select_endpoints(
        &self,
        project: ProjectId,
        only: Option<Mode>,
        id: Option<EndpointId>,
        before: Option<EndpointId>,
        limit: i64,
    ) -> Result<Vec<Endpoint>, StoreError> {
        let rows = on_pool!(
            self,
            "endpoints.list",
            conn,
            sqlx::query!(
                r#"
            SELECT id, mode, form, url, events, tags, description, enabled, disabled_reason, failing_since, stalled_at,
                signing_seed, sealed, created_at
            FROM webhook_endpoints
            WHERE project_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::uuid IS NULL OR id < $3)
              AND ($5::text IS NULL OR mode = $5)
            ORDER BY id DESC LIMIT $4
            "#,
                project.uuid(),
                id.map(EndpointId::uuid),
                before.map(EndpointId::uuid),
                limit,
                only.map(Mode::name),
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let id = EndpointId::from_uuid(row.id);
                let mode = EndpointMode::parse(&row.mode);
                Ok(Endpoint {
                    id,
                    mode: decoded(mode, ("webhook_endpoints", "mode"), id, &row.mode)?,
                    form: decoded(PayloadForm::parse(&row.form), ("webhook_endpoints", "form"), id, &row.form)?,
                    url: row.url,
                    events: row.events,
                    tags: row.tags,
                    description: row.description,
                    enabled: row.enabled,
                    disabled_reason: row.disabled_reason,
                    failing_since: row.failing_since,
                    stalled_at: row.stalled_at,
                    signing_seed: self.open(row.signing_seed, row.sealed, Whose::EndpointSeed(id))?,
                    created_at: row.created_at,
                })
            })
            .collect()
    }

    /// The project's endpoint with that id, if it is of that mode.
    pub async fn find_endpoint(
        &self,
        project: ProjectId,
        only: Option<Mode>,
        id: EndpointId,
    ) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.select_endpoints(project, only, Some(id), None, 1).await?.pop())
    }

    /// Writes what may change of an endpoint; enabling clears its record of failures, and makes due what waited for it.
    pub async fn update_endpoint(&self, project: ProjectId, endpoint: &Endpoint) -> Result<bool, StoreError> {
        let now = self.now();
        let done = on_pool!(
            self,
            "endpoints.update",
            conn,
            sqlx::query!(
                r#"
                WITH jobs AS (
                    UPDATE webhook_jobs j SET due_at = LEAST(j.due_at, $10) FROM webhook_endpoints w
                    WHERE w.id = $2 AND w.project_id = $1 AND NOT w.enabled AND $7 AND j.endpoint_id = w.id
                      AND j.lease_token IS NULL)
                UPDATE webhook_endpoints SET url = $3, events = $4, tags = $5, description = $6, enabled = $7,
                    disabled_reason = $8, mode = $9, form = $11, failing_since = CASE WHEN $7 AND NOT enabled THEN NULL ELSE failing_since END,
                    stalled_at = CASE WHEN $7 AND enabled THEN stalled_at END
                WHERE project_id = $1 AND id = $2
                "#,
                project.uuid(),
                endpoint.id.uuid(),
                endpoint.url,
                &endpoint.events,
                &endpoint.tags,
                endpoint.description,
                endpoint.enabled,
                endpoint.disabled_reason,
                endpoint.mode.name(),
                now,
                endpoint.form.name(),
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes an endpoint; its waiting jobs find it gone and end.
    pub async fn delete_endpoint(&self, project: ProjectId, id: EndpointId) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "endpoints.delete",
            conn,
            sqlx::query!("DELETE FROM webhook_endpoints WHERE project_id = $1 AND id = $2", project.uuid(), id.uuid(),)
                .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}
