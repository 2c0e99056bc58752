//! API keys. Read on the way in, with what their projects may use; written by operators and by projects themselves.

use ipnet::IpNet;
use uuid::Uuid;

use super::projects::{ProjectTerms, TermsRow};
use crate::domain::access::{KeyState, Mode, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::{KeyId, ProjectId};
use crate::domain::quota::UsageLimits;
use crate::sealing::Whose;
use crate::store::{Store, StoreError, decoded, on_pool};

/// What a key may do: everything about it but its name, its times and its text.
#[derive(Debug, Clone)]
pub struct KeyRights {
    pub project: ProjectId,
    pub mode: Mode,
    pub scopes: Vec<Scope>,
    pub is_operator: bool,
    /// `None`: as any domain.
    pub from_domains: Option<Vec<String>>,
    /// `None`: from anywhere.
    pub allowed_ips: Option<Vec<IpNet>>,
    pub limits: UsageLimits,
}

/// A key about to be stored: its text is not.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub id: KeyId,
    pub name: &'a str,
    pub rights: &'a KeyRights,
    pub prefix: &'a str,
    /// SHA-256 of the key's text.
    pub hash: [u8; 32],
    /// Its text, if it signs requests; without a sealing key it cannot.
    pub signing: Option<&'a str>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// A key as it is looked up by its hash; revoked and expired ones are not found.
#[derive(Debug, Clone)]
pub struct FoundKey {
    pub id: KeyId,
    pub rights: KeyRights,
    pub terms: ProjectTerms,
}

/// A key as it is shown.
#[derive(Debug, Clone)]
pub struct StoredKey {
    pub id: KeyId,
    pub name: String,
    pub rights: KeyRights,
    pub project_name: String,
    pub prefix: String,
    /// Whether it signs requests.
    pub signs: bool,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl StoredKey {
    /// Whether it works at that instant.
    pub fn state(&self, now: Timestamp) -> KeyState {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => KeyState::Revoked,
            (None, Some(at)) if at <= now => KeyState::Expired,
            (None, _) => KeyState::Valid,
        }
    }
}

/// Which keys are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyFilter {
    /// `None`: of all projects.
    pub project: Option<ProjectId>,
    /// `None`: of both modes.
    pub mode: Option<Mode>,
    /// Whether operators' keys are among them.
    pub with_operators: bool,
    pub id: Option<KeyId>,
    /// From below this one on.
    pub before: Option<KeyId>,
}

impl Store {
    pub async fn insert_key(&self, key: &NewKey<'_>) -> Result<(), StoreError> {
        let rights = key.rights;
        let scopes: Vec<_> = rights.scopes.iter().map(|scope| scope.name().to_owned()).collect();
        let networks = networks_text(rights.allowed_ips.as_deref());
        let kept = key.signing.map(|text| self.keep(text.as_bytes(), Whose::ApiKey(key.id)));
        let sealed = kept.filter(|kept| kept.sealed).map(|kept| kept.octets);
        on_pool!(
            self,
            "keys.insert",
            conn,
            sqlx::query!(
                r#"
                INSERT INTO api_keys (id, project_id, mode, scopes, prefix, hash, created_at, expires_at, name, is_operator,
                    from_domains, allowed_ips, messages_per_second, recipients_per_day, sealed)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
                "#,
                key.id.uuid(),
                rights.project.uuid(),
                rights.mode.name(),
                &scopes,
                key.prefix,
                &key.hash[..],
                key.created_at,
                key.expires_at,
                key.name,
                rights.is_operator,
                rights.from_domains.as_deref(),
                networks.as_deref(),
                signed(rights.limits.messages_per_second),
                large(rights.limits.recipients_per_day),
                sealed.as_deref(),
            )
            .execute(conn)
        )?;
        Ok(())
    }

    /// The valid key with that hash.
    pub async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, StoreError> {
        let now = self.now();
        let row = on_pool!(
            self,
            "keys.find",
            conn,
            sqlx::query!(
                r#"
                SELECT k.id, k.project_id, k.mode, k.scopes, k.is_operator, k.from_domains, k.allowed_ips,
                    k.messages_per_second, k.recipients_per_day, p.messages_per_second AS project_messages_per_second,
                    p.recipients_per_message AS project_recipients_per_message,
                    p.recipients_per_day AS project_recipients_per_day,
                    p.recipients_per_month AS project_recipients_per_month,
                    p.bytes_per_month AS project_bytes_per_month, p.suspended_at, p.suspended_reason, p.suspended_mail
                FROM api_keys k JOIN projects p ON p.id = k.project_id
                WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
                "#,
                &hash[..],
                now,
            )
            .fetch_optional(conn)
        )?;
        let Some(row) = row else { return Ok(None) };
        let terms = TermsRow {
            id: row.project_id,
            messages_per_second: row.project_messages_per_second,
            recipients_per_message: row.project_recipients_per_message,
            recipients_per_day: row.project_recipients_per_day,
            recipients_per_month: row.project_recipients_per_month,
            bytes_per_month: row.project_bytes_per_month,
            suspended_at: row.suspended_at,
            suspended_reason: row.suspended_reason,
            suspended_mail: row.suspended_mail,
        };
        let rights = RightsRow {
            id: row.id,
            project_id: row.project_id,
            mode: row.mode,
            scopes: row.scopes,
            is_operator: row.is_operator,
            from_domains: row.from_domains,
            allowed_ips: row.allowed_ips,
            messages_per_second: row.messages_per_second,
            recipients_per_day: row.recipients_per_day,
        };
        Ok(Some(FoundKey { id: KeyId::from_uuid(row.id), rights: rights.decode()?, terms: terms.decode()? }))
    }

    /// The text of the valid key with that id, if it signs requests.
    pub async fn find_signing_key(&self, id: KeyId) -> Result<Option<String>, StoreError> {
        let now = self.now();
        let sealed = on_pool!(
            self,
            "keys.sealed",
            conn,
            sqlx::query_scalar!(
                r#"
                SELECT sealed AS "sealed!" FROM api_keys
                WHERE id = $1 AND sealed IS NOT NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                "#,
                id.uuid(),
                now,
            )
            .fetch_optional(conn)
        )?;
        let Some(sealed) = sealed else { return Ok(None) };
        let text = self.open(sealed, true, Whose::ApiKey(id))?;
        decoded(String::from_utf8(text).ok(), ("api_keys", "sealed"), id, "no text").map(Some)
    }

    /// Keys, newest first.
    pub async fn list_keys(&self, filter: KeyFilter, limit: i64) -> Result<Vec<StoredKey>, StoreError> {
        let rows = on_pool!(
            self,
            "keys.list",
            conn,
            sqlx::query!(
                r#"
                SELECT k.id, p.name AS project_name, k.project_id, k.mode, k.scopes, k.is_operator, k.from_domains,
                    k.allowed_ips, k.messages_per_second, k.recipients_per_day, k.name, k.prefix, k.created_at, k.revoked_at,
                    k.expires_at, (k.sealed IS NOT NULL) AS "signs!"
                FROM api_keys k JOIN projects p ON p.id = k.project_id
                WHERE ($1::uuid IS NULL OR k.project_id = $1) AND ($2::text IS NULL OR k.mode = $2)
                  AND ($3 OR NOT k.is_operator) AND ($4::uuid IS NULL OR k.id = $4) AND ($5::uuid IS NULL OR k.id < $5)
                ORDER BY k.id DESC LIMIT $6
                "#,
                filter.project.map(ProjectId::uuid),
                filter.mode.map(Mode::name),
                filter.with_operators,
                filter.id.map(KeyId::uuid),
                filter.before.map(KeyId::uuid),
                limit,
            )
            .fetch_all(conn)
        )?;
        rows.into_iter()
            .map(|row| {
                let rights = RightsRow {
                    id: row.id,
                    project_id: row.project_id,
                    mode: row.mode,
                    scopes: row.scopes,
                    is_operator: row.is_operator,
                    from_domains: row.from_domains,
                    allowed_ips: row.allowed_ips,
                    messages_per_second: row.messages_per_second,
                    recipients_per_day: row.recipients_per_day,
                };
                Ok(StoredKey {
                    id: KeyId::from_uuid(row.id),
                    name: row.name,
                    rights: rights.decode()?,
                    project_name: row.project_name,
                    prefix: row.prefix,
                    signs: row.signs,
                    created_at: row.created_at,
                    revoked_at: row.revoked_at,
                    expires_at: row.expires_at,
                })
            })
            .collect()
    }

    /// Writes what may change of a key: its name, its limits, and the instant at which it ends.
    pub async fn update_key(&self, key: &StoredKey) -> Result<bool, StoreError> {
        let limits = &key.rights.limits;
        let done = on_pool!(
            self,
            "keys.update",
            conn,
            sqlx::query!(
                r#"
                UPDATE api_keys SET name = $2, messages_per_second = $3, recipients_per_day = $4, expires_at = $5
                WHERE id = $1 AND revoked_at IS NULL
                "#,
                key.id.uuid(),
                key.name,
                signed(limits.messages_per_second),
                large(limits.recipients_per_day),
                key.expires_at,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Revokes a key; `false` when there is none, or it was revoked before.
    pub async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let done = on_pool!(
            self,
            "keys.revoke",
            conn,
            sqlx::query!(
                "UPDATE api_keys SET revoked_at = $2, sealed = NULL WHERE id = $1 AND revoked_at IS NULL",
                id.uuid(),
                now,
            )
            .execute(conn)
        )?;
        Ok(done.rows_affected() == 1)
    }
}

/// What a row says that a key may do.
struct RightsRow {
    id: Uuid,
    project_id: Uuid,
    mode: String,
    scopes: Vec<String>,
    is_operator: bool,
    from_domains: Option<Vec<String>>,
    allowed_ips: Option<Vec<String>>,
    messages_per_second: Option<i32>,
    recipients_per_day: Option<i64>,
}

impl RightsRow {
    fn decode(self) -> Result<KeyRights, StoreError> {
        let network = |text: &String| decoded(text.parse().ok(), ("api_keys", "allowed_ips"), self.id, text);
        Ok(KeyRights {
            project: ProjectId::from_uuid(self.project_id),
            mode: decoded(Mode::parse(&self.mode), ("api_keys", "mode"), self.id, &self.mode)?,
            // A scope that a later version knows is none here.
            scopes: self.scopes.iter().filter_map(|name| Scope::parse(name)).collect(),
            is_operator: self.is_operator,
            // A limit that cannot be read is no reason to have none.
            allowed_ips: match &self.allowed_ips {
                Some(texts) => Some(texts.iter().map(network).collect::<Result<_, _>>()?),
                None => None,
            },
            from_domains: self.from_domains,
            limits: UsageLimits {
                messages_per_second: self.messages_per_second.map(i32::unsigned_abs),
                recipients_per_day: self.recipients_per_day.map(i64::unsigned_abs),
                ..UsageLimits::default()
            },
        })
    }
}

fn networks_text(networks: Option<&[IpNet]>) -> Option<Vec<String>> {
    networks.map(|networks| networks.iter().map(ToString::to_string).collect())
}

/// As a column keeps it.
pub(super) fn signed(limit: Option<u32>) -> Option<i32> {
    limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX))
}

/// As a column keeps it.
pub(super) fn large(limit: Option<u64>) -> Option<i64> {
    limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
