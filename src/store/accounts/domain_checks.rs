//! What looks at domains found out: their state, whose they are, and which keys sign, in one commit with the events of it.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::domain_owners::{is_taken, lock_proofs, make_way};
use super::domains::StoredDomain;
use crate::domain::access::Mode;
use crate::domain::clock::{Rng, rfc3339};
use crate::domain::event::EventType;
use crate::domain::id::DkimKeyId;
use crate::domain::sending_domain::{DomainState, RecordCheck, Standing};
use crate::store::fleet::listings::upsert_listing;
use crate::store::mail::project_events::{NewProjectEvent, insert_project_events};
use crate::store::{Moment, Store, StoreError, on_pool};

/// What was found out about a domain, about to be written.
#[derive(Debug)]
pub struct DomainCheck<'c> {
    pub before: &'c StoredDomain,
    pub standing: &'c Standing,
    pub dmarc: Option<serde_json::Value>,
    pub next_in: Duration,
    /// Pending keys whose records were seen everywhere: they sign from now on.
    pub seen: &'c [DkimKeyId],
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStored {
    Stored,
    /// The domain, or one above it, was proved by another project before.
    Taken,
    /// It was changed meanwhile, or is gone.
    Stale,
}

impl Store {
    /// Writes what was found: state, keys that sign from now on, and the events of it, in one commit.
    pub async fn put_domain_check(&self, check: &DomainCheck<'_>, rng: &dyn Rng) -> Result<CheckStored, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "domains.put_check", conn, put_check(conn, check, at))
    }
}

impl Store {
    /// Writes that a list names a domain, with the event of it; `true` if it did not before.
    pub async fn put_domain_listing(
        &self,
        domain: &StoredDomain,
        list: &str,
        answers: &[String],
        rng: &dyn Rng,
    ) -> Result<bool, StoreError> {
        let at = self.moment(rng);
        on_pool!(self, "listings.put_domain", conn, put_listing(conn, domain, (list, answers), at))
    }
}

async fn put_listing(
    conn: &mut PgConnection,
    domain: &StoredDomain,
    (list, answers): (&str, &[String]),
    at: Moment<'_>,
) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    let is_new = upsert_listing(&mut tx, &domain.name, (list, answers), at.now).await?;
    if is_new {
        let reason = format!("{list} lists it: {}", answers.join(" "));
        let event = event(domain, &domain.standing, (&[reason], &[]));
        insert_project_events(&mut tx, EventType::DomainListed, &[event], at).await?;
    }
    tx.commit().await?;
    Ok(is_new)
}

async fn put_check(
    conn: &mut PgConnection,
    check: &DomainCheck<'_>,
    at: Moment<'_>,
) -> Result<CheckStored, StoreError> {
    let DomainCheck { before, standing, .. } = check;
    let mut tx = conn.begin().await?;
    let is_proof = before.proved_at.is_none() && standing.state.is_good();
    if is_proof {
        lock_proofs(&mut tx).await?;
        if is_taken(&mut tx, before.project, &before.name).await? {
            sqlx::query!(
                "UPDATE domains SET checked_at = $2, next_check_at = $3 WHERE id = $1",
                before.id.uuid(),
                at.now,
                at.now + check.next_in,
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            return Ok(CheckStored::Taken);
        }
        make_way(&mut tx, before, at.now).await?;
    } else if before.standing.state == DomainState::Failed && standing.state.is_good() {
        // Nobody takes it in this moment.
        lock_proofs(&mut tx).await?;
    }
    let checks = serde_json::to_value(&standing.checks).unwrap_or_default();
    let done = sqlx::query!(
        r#"
        UPDATE domains SET state = $3, proved_at = CASE WHEN $4 THEN $5 ELSE proved_at END, wrong_since = $6,
            has_return_path = $7, has_link_host = $13, checks = $8, dmarc = $9, checked_at = $5, next_check_at = $10
        WHERE id = $1 AND state = $2 AND return_path_label = $11 AND link_label = $14 AND (proved_at IS NOT NULL) = $12
        "#,
        before.id.uuid(),
        before.standing.state.name(),
        standing.state.name(),
        is_proof,
        at.now,
        standing.wrong_since,
        standing.has_return_path,
        checks,
        check.dmarc,
        at.now + check.next_in,
        before.return_path_label,
        before.proved_at.is_some(),
        standing.has_link_host,
        before.link_label,
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(CheckStored::Stale);
    }
    let selectors = let_sign(&mut tx, check, at).await?;
    if before.standing.state != standing.state {
        let event_type = match standing.state {
            DomainState::Verified => EventType::DomainVerified,
            DomainState::Warning => EventType::DomainWarning,
            DomainState::Failed | DomainState::Pending => EventType::DomainFailed,
        };
        insert_project_events(&mut tx, event_type, &[event(before, standing, (&reasons(standing), &[]))], at).await?;
    } else if !selectors.is_empty() {
        insert_project_events(
            &mut tx,
            EventType::DomainKeyRotated,
            &[event(before, standing, (&reasons(standing), &selectors))],
            at,
        )
        .await?;
    }
    tx.commit().await?;
    Ok(CheckStored::Stored)
}

/// Lets keys sign that were seen, and retires those of the same algorithm that did; gives the new ones' selectors.
async fn let_sign(conn: &mut PgConnection, check: &DomainCheck<'_>, at: Moment<'_>) -> Result<Vec<String>, StoreError> {
    if check.seen.is_empty() {
        return Ok(Vec::new());
    }
    let seen: Vec<Uuid> = check.seen.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        r#"
        UPDATE dkim_keys k SET retired_at = $3 FROM dkim_keys s
        WHERE s.id = ANY($1) AND s.signs_since IS NULL AND s.retired_at IS NULL AND k.project_id = $2
          AND k.domain = s.domain AND k.algorithm = s.algorithm AND k.signs_since IS NOT NULL AND k.retired_at IS NULL
        "#,
        &seen,
        check.before.project.uuid(),
        at.now,
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"
        UPDATE dkim_keys SET signs_since = $3
        WHERE id = ANY($1) AND project_id = $2 AND signs_since IS NULL AND retired_at IS NULL RETURNING selector
        "#,
        &seen,
        check.before.project.uuid(),
        at.now,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.selector).collect())
}

/// What is told of a domain as it stands.
fn event(domain: &StoredDomain, standing: &Standing, (reasons, selectors): (&[String], &[String])) -> NewProjectEvent {
    NewProjectEvent {
        project: domain.project.uuid(),
        mode: Mode::Live,
        about: domain.id.uuid(),
        data: json!({
            "domain_id": domain.id,
            "name": domain.name,
            "state": standing.state,
            "wrong_since": standing.wrong_since.map(rfc3339),
            "reasons": reasons,
            "selectors": selectors,
        }),
    }
}

/// What is wrong with a domain's records.
fn reasons(standing: &Standing) -> Vec<String> {
    let reason = |check: &RecordCheck| Some(format!("{}: {}", check.host, check.finding.reason()?));
    standing.checks.iter().filter_map(reason).collect()
}
