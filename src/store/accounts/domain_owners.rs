//! Whose a domain is: added, proved by an operator's word, lost; and the keys that are made for it. One proof after the other.

use sqlx::{Connection, PgConnection};

use super::dkim_keys::{KeptDkimKey, NewDkimKey, insert_keys};
use super::domains::StoredDomain;
use crate::domain::clock::Timestamp;
use crate::domain::dkim::aligned;
use crate::domain::id::ProjectId;
use crate::store::{Store, StoreError, on_pool};

/// Whether a project may have a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayAdd {
    Yes,
    /// It has it.
    Exists,
    /// Another one has proved it, or one above it.
    Taken,
    TooMany,
}

impl Store {
    /// Whether a project may have a domain now; nothing is held for it.
    pub async fn may_add_domain(&self, project: ProjectId, name: &str, limit: usize) -> Result<MayAdd, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        on_pool!(self, "domains.may_add", conn, may_add(conn, project, name, limit))
    }

    /// Makes a project's domain its own by an operator's word. `Ok(false)`: another project has proved it, or one above it.
    pub async fn vouch_for_domain(&self, domain: &StoredDomain) -> Result<bool, StoreError> {
        let now = self.now();
        on_pool!(self, "domains.vouch", conn, vouch(conn, domain, now))
    }

    /// Stores further keys that wait, all or none; nothing if some wait already, or the domain is gone.
    pub async fn add_pending_keys(
        &self,
        domain: &StoredDomain,
        keys: &[NewDkimKey],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let keys = self.keep_private_keys(keys);
        on_pool!(self, "domains.add_pending_keys", conn, add_pending(conn, domain, &keys, now))
    }

    /// Stores a new domain and its keys. `Ok(false)`: another project has proved it or one above it; the constraints
    /// `domains_name_key` and `domains_limit` refuse one that the project has, and one too many.
    pub async fn insert_domain(
        &self,
        domain: &StoredDomain,
        keys: &[NewDkimKey],
        limit: usize,
    ) -> Result<bool, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let keys = self.keep_private_keys(keys);
        on_pool!(self, "domains.insert", conn, insert(conn, domain, &keys, limit))
    }
}

async fn may_add(conn: &mut PgConnection, project: ProjectId, name: &str, limit: i64) -> Result<MayAdd, StoreError> {
    if is_taken(conn, project, name).await? {
        return Ok(MayAdd::Taken);
    }
    let row = sqlx::query!(
        r#"SELECT count(*) AS "count!", count(*) FILTER (WHERE name = $2) AS "same!" FROM domains WHERE project_id = $1"#,
        project.uuid(),
        name,
    )
    .fetch_one(conn)
    .await?;
    Ok(match row.same {
        0 if row.count >= limit => MayAdd::TooMany,
        0 => MayAdd::Yes,
        _ => MayAdd::Exists,
    })
}

async fn vouch(conn: &mut PgConnection, domain: &StoredDomain, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    lock_proofs(&mut tx).await?;
    if is_taken(&mut tx, domain.project, &domain.name).await? {
        return Ok(false);
    }
    make_way(&mut tx, domain, now).await?;
    sqlx::query!(
        r#"
        UPDATE domains SET state = 'verified', proved_at = COALESCE(proved_at, $2), wrong_since = NULL WHERE id = $1
        "#,
        domain.id.uuid(),
        now,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// Whoever lost the domain long ago makes way.
pub(super) async fn make_way(conn: &mut PgConnection, domain: &StoredDomain, now: Timestamp) -> Result<(), StoreError> {
    // Its keys sign no more: they would say that the domain is still theirs.
    sqlx::query!(
        r#"
        WITH lost AS (
            UPDATE domains SET proved_at = NULL, state = 'pending', wrong_since = NULL
            WHERE name = $1 AND id <> $2 AND proved_at IS NOT NULL AND state = 'failed' RETURNING project_id, name)
        UPDATE dkim_keys k SET retired_at = $3 FROM lost
        WHERE k.project_id = lost.project_id AND k.domain = lost.name AND k.retired_at IS NULL
        "#,
        domain.name,
        domain.id.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn add_pending(
    conn: &mut PgConnection,
    domain: &StoredDomain,
    keys: &[KeptDkimKey<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = conn.begin().await?;
    let there = sqlx::query_scalar!(r#"SELECT 1 AS "one!" FROM domains WHERE id = $1 FOR UPDATE"#, domain.id.uuid())
        .fetch_optional(&mut *tx)
        .await?;
    let waits = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM dkim_keys
            WHERE project_id = $1 AND domain = $2 AND signs_since IS NULL AND retired_at IS NULL) AS "waits!"
        "#,
        domain.project.uuid(),
        domain.name,
    )
    .fetch_one(&mut *tx)
    .await?;
    if there.is_none() || waits {
        return Ok(());
    }
    let selectors: Vec<_> = keys.iter().map(|key| key.new.selector.clone()).collect();
    sqlx::query!(
        "DELETE FROM dkim_keys WHERE project_id = $1 AND domain = $2 AND selector = ANY($3) AND retired_at IS NOT NULL",
        domain.project.uuid(),
        domain.name,
        &selectors,
    )
    .execute(&mut *tx)
    .await?;
    insert_keys(&mut tx, domain.project, &domain.name, keys, now, false).await?;
    sqlx::query!("UPDATE domains SET next_check_at = $2 WHERE id = $1", domain.id.uuid(), now)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

async fn insert(
    conn: &mut PgConnection,
    domain: &StoredDomain,
    keys: &[KeptDkimKey<'_>],
    limit: i64,
) -> Result<bool, StoreError> {
    let mut tx = conn.begin().await?;
    lock_proofs(&mut tx).await?;
    if is_taken(&mut tx, domain.project, &domain.name).await? {
        return Ok(false);
    }
    let count =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM domains WHERE project_id = $1"#, domain.project.uuid())
            .fetch_one(&mut *tx)
            .await?;
    if count >= limit {
        return Err(StoreError::Refused("domains_limit".to_owned()));
    }
    // Keys of a domain that was deleted while they were made.
    sqlx::query!(
        "DELETE FROM dkim_keys WHERE project_id = $1 AND domain = $2 AND signs_since IS NULL AND retired_at IS NULL",
        domain.project.uuid(),
        domain.name,
    )
    .execute(&mut *tx)
    .await?;
    let is_vouched = domain.proved_at.is_some();
    if is_vouched {
        make_way(&mut tx, domain, domain.created_at).await?;
    }
    sqlx::query!(
        r#"
        INSERT INTO domains (id, project_id, name, state, proved_at, is_delegated, rotate_days, return_path_label,
            link_label, created_at, next_check_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $11, $9::timestamptz,
            -- Whoever vouches for it is still to publish its records.
            $9::timestamptz + CASE WHEN $10 THEN interval '15 minutes' ELSE interval '0' END)
        "#,
        domain.id.uuid(),
        domain.project.uuid(),
        domain.name,
        domain.standing.state.name(),
        domain.proved_at,
        domain.is_delegated,
        domain.rotate_days,
        domain.return_path_label,
        domain.created_at,
        is_vouched,
        domain.link_label,
    )
    .execute(&mut *tx)
    .await?;
    insert_keys(&mut tx, domain.project, &domain.name, keys, domain.created_at, domain.proved_at.is_some()).await?;
    tx.commit().await?;
    Ok(true)
}

/// One proof after the other: two projects cannot both find that nobody has the domain.
pub(super) async fn lock_proofs(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('mailwright.domains.proofs'))").execute(conn).await?;
    Ok(())
}

/// Whether another project has proved the domain or one above it, and did not lose it since.
pub(super) async fn is_taken(conn: &mut PgConnection, project: ProjectId, name: &str) -> Result<bool, StoreError> {
    let names: Vec<_> = aligned(name).map(str::to_owned).collect();
    let taken = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM domains WHERE name = ANY($2) AND proved_at IS NOT NULL AND state <> 'failed'
            AND project_id <> $1) AS "taken!"
        "#,
        project.uuid(),
        &names,
    )
    .fetch_one(conn)
    .await?;
    Ok(taken)
}
