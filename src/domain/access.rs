//! Who may do what, and how much of it: keys, modes, scopes, limits.

use std::net::IpAddr;

use ipnet::IpNet;

use super::id::{KeyId, ProjectId};
use super::quota::{Suspension, UsageLimits};
use super::words::words;

words! {
    /// Whether mail may reach the network. A test key's mail ends in the sandbox.
    pub enum Mode {
        Live = "live",
        Test = "test",
    }
}

words! {
    /// One right of a key or token. `admin` has all the others.
    pub enum Scope {
        Send = "send",
        MessagesRead = "messages:read",
        MessagesWrite = "messages:write",
        Domains = "domains",
        Templates = "templates",
        Suppressions = "suppressions",
        Webhooks = "webhooks",
        Keys = "keys",
        Admin = "admin",
    }
}

words! {
    /// Whether a key works.
    pub enum KeyState {
        Valid = "valid",
        Expired = "expired",
        Revoked = "revoked",
    }
}

/// Characters of a token's subject that are kept.
const SUBJECT_MAX: usize = 200;

/// Who is calling, once the credentials have been checked.
#[derive(Debug, Clone)]
pub struct Caller {
    pub project: ProjectId,
    pub mode: Mode,
    pub scopes: Vec<Scope>,
    /// Author domains (A-labels) that a credential is limited to; `None` is no limit.
    pub from_domains: Option<Vec<String>>,
    /// The API key; `None` for a token.
    pub key: Option<KeyId>,
    /// Whom a token speaks of, by its issuer's name for them.
    pub subject: Option<String>,
    /// Whether it acts for any project: a key that the command line made so, and never a token.
    pub is_operator: bool,
    /// Networks that the credential may be used from; `None` is no limit.
    pub allowed_ips: Option<Vec<IpNet>>,
    /// What the key may use, within what its project may.
    pub key_limits: UsageLimits,
    /// What the project may use.
    pub project_limits: UsageLimits,
    /// Why the project may not send.
    pub suspension: Option<Suspension>,
}

impl Caller {
    /// Whoever scheduled a message, which was admitted then.
    pub const fn of_schedule(project: ProjectId, mode: Mode) -> Self {
        Self::new(project, mode, Vec::new())
    }

    /// A caller without any limits.
    pub const fn new(project: ProjectId, mode: Mode, scopes: Vec<Scope>) -> Self {
        const NONE: UsageLimits = UsageLimits {
            messages_per_second: None,
            recipients_per_message: None,
            recipients_per_day: None,
            recipients_per_month: None,
            bytes_per_month: None,
        };
        Self {
            project,
            mode,
            scopes,
            from_domains: None,
            key: None,
            subject: None,
            is_operator: false,
            allowed_ips: None,
            key_limits: NONE,
            project_limits: NONE,
            suspension: None,
        }
    }

    /// What names the credential in what it does: a key's id, or `token:` and whom a token speaks of, cut after 200 characters.
    pub fn credential(&self) -> Option<String> {
        let of_token = |subject: &String| format!("token:{}", subject.chars().take(SUBJECT_MAX).collect::<String>());
        self.key.map(|key| key.to_string()).or_else(|| self.subject.as_ref().map(of_token))
    }

    /// Whether the credential may be used from an address; one that is not known is in no network.
    pub fn may_come_from(&self, address: Option<IpAddr>) -> bool {
        let Some(networks) = &self.allowed_ips else { return true };
        address.is_some_and(|address| networks.iter().any(|network| network.contains(&address.to_canonical())))
    }

    /// Whether the caller has every one of these rights: nobody gives what they do not have.
    pub fn has_all(&self, mode: Mode, scopes: &[Scope]) -> bool {
        self.sees_only().is_none_or(|only| only == mode) && scopes.iter().all(|scope| self.may(*scope))
    }

    /// The mode that this caller is limited to: a test credential sees and changes test things only.
    pub fn sees_only(&self) -> Option<Mode> {
        (self.mode == Mode::Test).then_some(Mode::Test)
    }

    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether the caller may send as `domain`. A limit names the domain itself, not its subdomains.
    pub fn may_send_as(&self, domain: &str) -> bool {
        self.from_domains.as_ref().is_none_or(|list| list.iter().any(|d| d == domain))
    }
}

/// The visible start of a key: mode and first eight characters of the secret.
pub fn key_prefix(key: &str) -> String {
    key.chars().take("mw_live_".len() + 8).collect()
}

/// A new key's text: `mw_<mode>_` and 32 random bytes in URL-safe base64 (43 characters).
pub fn key_text(mode: Mode, secret: &str) -> String {
    format!("mw_{}_{secret}", mode.name())
}

/// Whether `text` has the form of an API key, as against a JWT.
pub fn is_key_shaped(text: &str) -> bool {
    text.starts_with("mw_live_") || text.starts_with("mw_test_")
}
