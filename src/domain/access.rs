//! Who may do what: keys, modes, scopes.

use super::id::ProjectId;
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
    /// Whoever scheduled a message, which was admitted then.
    pub const fn of_schedule(project: ProjectId, mode: Mode) -> Self {
        Self { project, mode, scopes: Vec::new(), from_domains: None }
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
