//! Templates: mail whose words are kept in the store and filled in when it is sent.
//!
//! A template has numbered versions that never change. Each holds the template's parts in one or more locales. What a
//! send request names is a [`TemplateRef`].

mod alias;
mod locale;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use alias::Alias;
pub use locale::Locale;

use super::fault::{FaultCode, Flaw};
use super::id::TemplateId;
use super::words::words;

words! {
    /// What a template is for. Only a message can be sent; the others are what templates extend and include.
    pub enum TemplateKind {
        Message = "message",
        Layout = "layout",
        Partial = "partial",
    }
}

words! {
    /// How far a version has come. `approved` may be sent with a live credential.
    pub enum VersionState {
        Draft = "draft",
        Submitted = "submitted",
        Approved = "approved",
        Refused = "refused",
    }
}

words! {
    /// What a reviewer says of a submitted version.
    pub enum Decision {
        Approve = "approve",
        Refuse = "refuse",
    }
}

words! {
    /// A step in the life of a template, as its audit shows it.
    pub enum TemplateAction {
        Created = "created",
        /// A new version was made.
        Changed = "changed",
        /// Name or alias changed.
        Renamed = "renamed",
        Submitted = "submitted",
        Approved = "approved",
        Refused = "refused",
        Published = "published",
        Deleted = "deleted",
    }
}

words! {
    /// A part of a message that a template gives.
    pub enum Part {
        Subject = "subject",
        Text = "text",
        Html = "html",
    }
}

/// The parts of a version in one locale, as sources.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Given, or made of `mjml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mjml: Option<String>,
}

/// A version's parts by locale.
pub type Variants = BTreeMap<Locale, Variant>;

impl Variant {
    pub fn part(&self, part: Part) -> Option<&str> {
        match part {
            Part::Subject => self.subject.as_deref(),
            Part::Text => self.text.as_deref(),
            Part::Html => self.html.as_deref(),
        }
    }

    /// What its author wrote: HTML that was made of MJML is not.
    pub fn written(&self) -> [(&'static str, Option<&str>); 4] {
        let html = self.html.as_deref().filter(|_| self.mjml.is_none());
        [
            ("subject", self.subject.as_deref()),
            ("text", self.text.as_deref()),
            ("html", html),
            ("mjml", self.mjml.as_deref()),
        ]
    }
}

/// A template's name in a request: its id, or the alias that its project gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TemplateName {
    Id(TemplateId),
    Alias(Alias),
}

impl TemplateName {
    /// What a path or a field names; `None` when it can be no template's.
    pub fn parse(text: &str) -> Option<Self> {
        match TemplateId::parse(text) {
            Some(id) => Some(Self::Id(id)),
            None => Alias::parse(text).ok().map(Self::Alias),
        }
    }

    pub fn id(&self) -> Option<TemplateId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Alias(_) => None,
        }
    }

    pub fn alias(&self) -> Option<&str> {
        match self {
            Self::Id(_) => None,
            Self::Alias(alias) => Some(alias.as_str()),
        }
    }
}

impl std::fmt::Display for TemplateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Alias(alias) => f.write_str(alias.as_str()),
        }
    }
}

/// What a send request says of its template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TemplateRef {
    pub name: TemplateName,
    /// `None`: the published one.
    pub version: Option<i32>,
    /// `None`: the template's default locale.
    pub locale: Option<Locale>,
}

impl TemplateRef {
    /// An id, as the field `id` gives it.
    pub fn id(text: &str) -> Result<TemplateName, Flaw> {
        let id = TemplateId::parse(text).map(TemplateName::Id);
        id.ok_or_else(|| Flaw::new(FaultCode::UnknownTemplate, "there is no template with that id"))
    }

    /// An alias, as the field `alias` gives it.
    pub fn alias(text: &str) -> Result<TemplateName, Flaw> {
        Alias::parse(text).map(TemplateName::Alias)
    }

    /// The number of a version.
    pub fn version(number: i64) -> Result<i32, Flaw> {
        let number = i32::try_from(number).ok().filter(|number| *number >= 1);
        number.ok_or_else(|| Flaw::new(FaultCode::UnknownVersion, "there is no such version: the first one is 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_id_or_an_alias() {
        let id = format!("tpl_{}", "0".repeat(32));
        assert!(matches!(TemplateName::parse(&id), Some(TemplateName::Id(_))));
        assert_eq!(TemplateName::parse("welcome").unwrap().alias(), Some("welcome"));
        assert_eq!(TemplateName::parse("tpl_1"), None);
        assert_eq!(TemplateName::parse("../x"), None);
    }

    #[test]
    fn versions_begin_with_one() {
        assert_eq!(TemplateRef::version(1), Ok(1));
        for number in [0, -1, i64::from(i32::MAX) + 1] {
            assert_eq!(TemplateRef::version(number).unwrap_err().code, FaultCode::UnknownVersion);
        }
    }
}
