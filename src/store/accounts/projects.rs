//! Projects: what they are called, what they may use, and whether they may send. Written by operators only.

use uuid::Uuid;

use super::keys::{large, signed};
use crate::domain::alarm::AlarmRates;
use crate::domain::clock::Timestamp;
use crate::domain::id::ProjectId;
use crate::domain::quota::{MailFate, Suspension, UsageLimits};
use crate::store::{Store, StoreError, decoded, on_pool};

/// What holds for everyone who calls for a project.
#[derive(Debug, Clone)]
pub struct ProjectTerms {
    pub project: ProjectId,
    pub limits: UsageLimits,
    pub suspension: Option<Suspension>,
}

/// A project as it is shown.
#[derive(Debug, Clone)]
pub struct StoredProject {
    pub name: String,
    pub created_at: Timestamp,
    /// Its live mail leaves from verified domains only.
    pub requires_verified_domain: bool,
    /// What its live mail may go to; `None`: anybody.
    pub allowed_recipients: Option<Vec<String>>,
    pub alarm: AlarmRates,
    /// Since when an alarm stands, and why.
    pub alarmed: Option<(Timestamp, String)>,
    pub terms: ProjectTerms,
}

impl Store {
    /// The project named `name`, made if it is new.
    pub async fn ensure_project(
        &self,
        id: ProjectId,
        name: &str,
        requires_verified_domain: bool,
        now: Timestamp,
    ) -> Result<ProjectId, StoreError> {
        self.within("projects.ensure", async {
            let mut conn = self.conn().await?;
            sqlx::query!(
                "INSERT INTO projects (id, name, created_at, requires_verified_domain) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
                id.uuid(),
                name,
                now,
                requires_verified_domain,
            )
            .execute(conn.get()?)
            .await?;
            let row = sqlx::query!("SELECT id FROM projects WHERE name = $1", name).fetch_one(conn.get()?).await?;
            conn.keep().await?;
            Ok(ProjectId::from_uuid(row.id))
        })
        .await
    }

    /// Stores a new project; the constraint `projects_name_key` refuses a name that is taken.
    pub async fn insert_project(&self, project: &StoredProject) -> Result<(), StoreError> {
        let limits = &project.terms.limits;
        on_pool!(
            self,
            "projects.insert",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO projects (id, name, created_at, messages_per_second, recipients_per_message, recipients_per_day,
                    recipients_per_month, bytes_per_month, requires_verified_domain, allowed_recipients, alarm_bounce_percent,
                    alarm_complaint_percent, alarm_pauses)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                "#,
                project.terms.project.uuid(),
                project.name,
                project.created_at,
                signed(limits.messages_per_second),
                signed(limits.recipients_per_message),
                large(limits.recipients_per_day),
                large(limits.recipients_per_month),
                large(limits.bytes_per_month),
                project.requires_verified_domain,
                project.allowed_recipients.as_deref(),
                project.alarm.bounce_percent,
                project.alarm.complaint_percent,
                project.alarm.pauses,
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// Writes all of a project that may change, its suspension only if that was decided: an alarm may have raised one meanwhile. The
    /// constraint `projects_name_key` refuses a name that is taken.
    pub async fn update_project(&self, project: &StoredProject, decides_suspension: bool) -> Result<bool, StoreError> {
        let ProjectTerms { limits, suspension, .. } = &project.terms;
        let done = on_pool!(
            self,
            "projects.update",
            conn,
            sqlx::query!(
                r#"
                UPDATE projects SET name = $2, messages_per_second = $3, recipients_per_message = $4, recipients_per_day = $5,
                    recipients_per_month = $6, bytes_per_month = $7,
                    suspended_at = CASE WHEN $16 THEN $8 ELSE suspended_at END,
                    suspended_reason = CASE WHEN $16 THEN $9 ELSE suspended_reason END,
                    suspended_mail = CASE WHEN $16 THEN $10 ELSE suspended_mail END, requires_verified_domain = $11, allowed_recipients = $12, alarm_bounce_percent = $13,
                    alarm_complaint_percent = $14, alarm_pauses = $15
                WHERE id = $1
                "#,
                project.terms.project.uuid(),
                project.name,
                signed(limits.messages_per_second),
                signed(limits.recipients_per_message),
                large(limits.recipients_per_day),
                large(limits.recipients_per_month),
                large(limits.bytes_per_month),
                suspension.as_ref().map(|suspension| suspension.at),
                suspension.as_ref().map(|suspension| &*suspension.reason),
                suspension.as_ref().map(|suspension| suspension.mail.name()),
                project.requires_verified_domain,
                project.allowed_recipients.as_deref(),
                project.alarm.bounce_percent,
                project.alarm.complaint_percent,
                project.alarm.pauses,
                decides_suspension,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// The project with that id or that name.
    pub async fn find_project(&self, id_or_name: &str) -> Result<Option<ProjectId>, StoreError> {
        Ok(self.find_terms(id_or_name).await?.map(|terms| terms.project))
    }

    /// What holds for the project with that id or that name.
    pub async fn find_terms(&self, id_or_name: &str) -> Result<Option<ProjectTerms>, StoreError> {
        let id = ProjectId::parse(id_or_name).map(ProjectId::uuid);
        let row = on_pool!(
            self,
            "projects.find",
            conn,
            sqlx::query_as!(
                TermsRow,
                r#"
                SELECT id, messages_per_second, recipients_per_message, recipients_per_day, recipients_per_month,
                    bytes_per_month, suspended_at, suspended_reason, suspended_mail
                FROM projects WHERE id = $1 OR name = $2 ORDER BY id = $1 DESC LIMIT 1
                "#,
                id,
                id_or_name
            )
            .fetch_optional(conn)
        )?;
        row.map(TermsRow::decode).transpose()
    }

    /// Projects, newest first, from below `before` on: one of them, or all.
    pub async fn list_projects(
        &self,
        only: Option<ProjectId>,
        before: Option<ProjectId>,
        limit: i64,
    ) -> Result<Vec<StoredProject>, StoreError> {
        let rows = on_pool!(
            self,
            "projects.list",
            conn,
            sqlx::query!(
                r#"
                SELECT id, name, created_at, messages_per_second, recipients_per_message, recipients_per_day,
                    recipients_per_month, bytes_per_month, suspended_at, suspended_reason, suspended_mail,
                    requires_verified_domain, allowed_recipients, alarm_bounce_percent, alarm_complaint_percent, alarm_pauses,
                    alarmed_at, alarm_reason
                FROM projects WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id < $2)
                ORDER BY id DESC LIMIT $3
                "#,
                only.map(ProjectId::uuid),
                before.map(ProjectId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let terms = TermsRow {
                    id: row.id,
                    messages_per_second: row.messages_per_second,
                    recipients_per_message: row.recipients_per_message,
                    recipients_per_day: row.recipients_per_day,
                    recipients_per_month: row.recipients_per_month,
                    bytes_per_month: row.bytes_per_month,
                    suspended_at: row.suspended_at,
                    suspended_reason: row.suspended_reason,
                    suspended_mail: row.suspended_mail,
                };
                Ok(StoredProject {
                    name: row.name,
                    created_at: row.created_at,
                    requires_verified_domain: row.requires_verified_domain,
                    allowed_recipients: row.allowed_recipients,
                    alarm: AlarmRates {
                        bounce_percent: row.alarm_bounce_percent.unwrap_or(AlarmRates::DEFAULT.bounce_percent),
                        complaint_percent: row.alarm_complaint_percent.unwrap_or(AlarmRates::DEFAULT.complaint_percent),
                        pauses: row.alarm_pauses,
                    },
                    alarmed: row.alarmed_at.zip(row.alarm_reason),
                    terms: terms.decode()?,
                })
            })
            .collect()
    }

    /// The projects that are suspended, and what becomes of their mail.
    pub async fn list_suspended(&self) -> Result<Vec<(ProjectId, MailFate)>, StoreError> {
        let rows = on_pool!(
            self,
            "projects.list_suspended",
            conn,
            sqlx::query!(r#"SELECT id, suspended_mail AS "mail!" FROM projects WHERE suspended_mail IS NOT NULL"#)
                .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let fate = decoded(MailFate::parse(&row.mail), ("projects", "suspended_mail"), row.id, &row.mail)?;
                Ok((ProjectId::from_uuid(row.id), fate))
            })
            .collect()
    }
}

/// What a row says of a project's terms.
pub(super) struct TermsRow {
    pub(super) id: Uuid,
    pub(super) messages_per_second: Option<i32>,
    pub(super) recipients_per_message: Option<i32>,
    pub(super) recipients_per_day: Option<i64>,
    pub(super) recipients_per_month: Option<i64>,
    pub(super) bytes_per_month: Option<i64>,
    pub(super) suspended_at: Option<Timestamp>,
    pub(super) suspended_reason: Option<String>,
    pub(super) suspended_mail: Option<String>,
}

impl TermsRow {
    pub(super) fn decode(self) -> Result<ProjectTerms, StoreError> {
        let suspension = match (self.suspended_at, self.suspended_mail) {
            (Some(at), Some(mail)) => Some(Suspension {
                at,
                reason: self.suspended_reason.unwrap_or_default(),
                mail: decoded(MailFate::parse(&mail), ("projects", "suspended_mail"), self.id, &mail)?,
            }),
            _ => None,
        };
        Ok(ProjectTerms {
            project: ProjectId::from_uuid(self.id),
            limits: UsageLimits {
                messages_per_second: self.messages_per_second.map(i32::unsigned_abs),
                recipients_per_message: self.recipients_per_message.map(i32::unsigned_abs),
                recipients_per_day: self.recipients_per_day.map(i64::unsigned_abs),
                recipients_per_month: self.recipients_per_month.map(i64::unsigned_abs),
                bytes_per_month: self.bytes_per_month.map(i64::unsigned_abs),
            },
            suspension,
        })
    }
}
