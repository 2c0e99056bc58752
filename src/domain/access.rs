//! Who may do what: keys, modes, scopes.

use super::id::ProjectId;

/// Whether mail may reach the network. A test key's mail ends in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Live,
    Test,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Live, Self::Test].into_iter().find(|mode| mode.name() == name)
    }
}

/// One right of a key or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Send,
    MessagesRead,
    MessagesWrite,
    Domains,
    Templates,
    Suppressions,
    Webhooks,
    Keys,
    /// All the others.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 9] = [
        Self::Send,
        Self::MessagesRead,
        Self::MessagesWrite,
        Self::Domains,
        Self::Templates,
        Self::Suppressions,
        Self::Webhooks,
        Self::Keys,
        Self::Admin,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::MessagesRead => "messages:read",
            Self::MessagesWrite => "messages:write",
            Self::Domains => "domains",
            Self::Templates => "templates",
            Self::Suppressions => "suppressions",
            Self::Webhooks => "webhooks",
            Self::Keys => "keys",
            Self::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Who is calling, once the credentials have been checked.
#[derive(Debug, Clone)]
pub struct Caller {
    pub project: ProjectId,
    pub mode: Mode,
    pub scopes: Vec<Scope>,
    /// Author domains (A-labels) that a token is limited to; `None` is no limit.
    pub from_domains: Option<Vec<String>>,
}

impl Caller {
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
