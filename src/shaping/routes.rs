//! Which way mail takes, by project and by the recipient's domain.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::domain::id::ProjectId;
use crate::domain::route::Route;

/// One rule; the first that matches counts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// A project's name or id; all when not given.
    #[serde(default)]
    pub(super) project: Option<ProjectName>,
    /// `example.net`, or `*.example.net` for what lies below it; all when not given.
    #[serde(default)]
    domain: Option<String>,
    /// `mx`, or smarthosts; the configured route when not given.
    #[serde(default, deserialize_with = "route")]
    pub via: Option<Route>,
    /// The pool of source addresses.
    #[serde(default)]
    pub pool: Option<String>,
    /// At least this much TLS.
    #[serde(default)]
    pub tls: Option<Choice>,
}

/// A project as an operator names it, by name or id.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub struct ProjectName {
    text: String,
    /// Not known yet of a name.
    id: Option<ProjectId>,
}

impl From<String> for ProjectName {
    fn from(text: String) -> Self {
        Self { id: ProjectId::parse(&text), text }
    }
}

impl ProjectName {
    pub fn is(&self, project: ProjectId) -> bool {
        self.id == Some(project)
    }

    /// The name, while its id is not known.
    pub fn unknown(&self) -> Option<&str> {
        self.id.is_none().then_some(&self.text)
    }

    /// Tells which project a name is.
    pub fn tell(&mut self, name: &str, id: ProjectId) {
        if self.unknown() == Some(name) {
            self.id = Some(id);
        }
    }
}

/// What a route, or a message, asks of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    Opportunistic,
    Required,
}

fn route<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Route>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

impl RouteRule {
    pub fn matches(&self, project: ProjectId, domain: &str) -> bool {
        self.project.as_ref().is_none_or(|named| named.is(project))
            && self.domain.as_deref().is_none_or(|pattern| is_of(pattern, domain))
    }
}

/// `*.example.net` is what lies below `example.net`, at a dot.
fn is_of(pattern: &str, domain: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => suffix.starts_with('.') && domain.len() > suffix.len() && domain.ends_with(suffix),
        None => pattern == domain,
    }
}
