//! Suppressions: addresses that a project sends nothing more to, why, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::Mode;
use super::address::{Address, parse_domain};
use super::clock::{Rng, Timestamp, rfc3339};
use super::draft::{Stream, Tag};
use super::fault::{FaultCode, Flaw};
use super::id::{MessageId, ProjectId, RecipientId, SuppressionId};
use super::shard::Shard;
use super::words::words;

/// How long an address that a server said not to exist is left alone: as long as a mailbox is usually kept closed before its
/// name is given to somebody else.
pub const BOUNCE_LIFETIME: Duration = Duration::from_hours(24 * 365);
/// Characters of a note, and of any text of evidence.
pub const TEXT_MAX: usize = 1000;

words! {
    /// Why nothing more is sent to an address; in order of weight: a later one is never replaced by an earlier one.
    pub enum SuppressionReason {
        /// A server said that the address takes no mail.
        Bounce = "bounce",
        /// Somebody decided so.
        Manual = "manual",
        /// The recipient wants no more.
        Unsubscribe = "unsubscribe",
        /// The recipient called it spam.
        Complaint = "complaint",
    }
}

impl SuppressionReason {
    /// When it ends by itself: what a server said may change, what a person said does not.
    pub fn expiry(self, since: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Bounce => Some(since + BOUNCE_LIFETIME),
            Self::Manual | Self::Unsubscribe | Self::Complaint => None,
        }
    }
}

/// Which mail of the project a suppression stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuppressionScope {
    /// All of it.
    Project,
    /// That of one stream.
    Stream(String),
    /// That with one tag.
    Tag(String),
}

impl SuppressionScope {
    /// The scope that a text writes: `project`, `stream:NAME` or `tag:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "project" => Some(Self::Project),
            Some(("stream", name)) => {
                Stream::parse(name.to_owned()).ok().map(|name| Self::Stream(name.as_str().to_owned()))
            }
            Some(("tag", name)) => Tag::parse(name.to_owned()).ok().map(|tag| Self::Tag(tag.as_str().to_owned())),
            _ => None,
        }
    }

    /// The names of stream and tag, of which at most one is given.
    pub fn columns(&self) -> (&str, &str) {
        match self {
            Self::Project => ("", ""),
            Self::Stream(stream) => (stream, ""),
            Self::Tag(tag) => ("", tag),
        }
    }

    pub fn of_columns(stream: String, tag: String) -> Self {
        match (stream.is_empty(), tag.is_empty()) {
            (true, true) => Self::Project,
            (false, _) => Self::Stream(stream),
            (true, false) => Self::Tag(tag),
        }
    }

    /// Whether mail with these tags, of this stream, is stopped.
    pub fn covers<'t>(&self, mut tags: impl Iterator<Item = &'t str>, stream: Option<&str>) -> bool {
        match self {
            Self::Project => true,
            Self::Stream(name) => stream == Some(name),
            Self::Tag(name) => tags.any(|tag| tag == name),
        }
    }
}

impl std::fmt::Display for SuppressionScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Project => f.write_str("project"),
            Self::Stream(name) => write!(f, "stream:{name}"),
            Self::Tag(name) => write!(f, "tag:{name}"),
        }
    }
}

impl Serialize for SuppressionScope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

words! {
    /// How a list of suppressions is written.
    pub enum ListFormat {
        /// One line for each, behind a line of names.
        Csv = "csv",
        /// One JSON object on each line.
        Ndjson = "ndjson",
        Sendgrid = "sendgrid",
        Mailgun = "mailgun",
        Postmark = "postmark",
        Ses = "ses",
        Resend = "resend",
    }
}

/// What a suppression follows from: a reply, a request, or a list that was imported. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// What wrote it: `reply`, `api` or `import`.
    pub source: Option<String>,
    pub code: Option<i32>,
    pub enhanced: Option<String>,
    pub text: Option<String>,
    pub host: Option<String>,
    /// The message that was refused.
    pub message_id: Option<String>,
    /// The rule that judged the reply.
    pub rule: Option<String>,
}

/// Whom an entry is about, in lower case: a mailbox, or all of a domain, `@example.com`.
pub fn parse_subject(text: &str) -> Result<String, Flaw> {
    match text.trim().strip_prefix('@') {
        Some(domain) => {
            let wrong = |_| Flaw::new(FaultCode::InvalidAddress, "must be an address, or @ and a domain for all of it");
            parse_domain(domain).map(|domain| format!("@{domain}")).map_err(wrong)
        }
        None => Ok(Address::parse(text.trim())?.folded()),
    }
}

/// The entry that is about all of an address's domain.
pub fn domain_form(folded: &str) -> String {
    format!("@{}", folded.rsplit('@').next().unwrap_or_default())
}

/// A suppression about to be stored. One that is there already becomes it, unless it weighs more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSuppression {
    pub project: ProjectId,
    pub mode: Mode,
    /// As [`Address::folded`](super::address::Address::folded) gives it.
    pub address: String,
    pub scope: SuppressionScope,
    pub reason: SuppressionReason,
    /// The class of the reply.
    pub class: Option<String>,
    pub evidence: Evidence,
    pub note: String,
    /// When the reason arose.
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

impl NewSuppression {
    /// What follows from something that was learnt of an address, in lower case: all of the project's mail to it ends, for as long as the
    /// reason says.
    pub fn learnt(
        (project, mode): (ProjectId, Mode),
        address: String,
        reason: SuppressionReason,
        class: Option<String>,
        evidence: Evidence,
        now: Timestamp,
    ) -> Self {
        Self {
            project,
            mode,
            address,
            scope: SuppressionScope::Project,
            reason,
            class,
            evidence,
            note: String::new(),
            created_at: now,
            expires_at: reason.expiry(now),
        }
    }

    pub fn shard(&self) -> Shard {
        shard_of(self.project, &self.address)
    }

    /// A new id, which finds it.
    pub fn new_id(&self, now: Timestamp, rng: &dyn Rng) -> SuppressionId {
        SuppressionId::new_in(self.shard(), now, rng)
    }
}

/// Where the suppressions of an address lie.
pub fn shard_of(project: ProjectId, address: &str) -> Shard {
    Shard::of_key(project.uuid(), address)
}

/// A suppression as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    pub id: SuppressionId,
    pub mode: Mode,
    pub address: String,
    pub scope: SuppressionScope,
    pub reason: SuppressionReason,
    pub class: Option<String>,
    pub evidence: Evidence,
    pub note: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

impl Suppression {
    /// Whether it follows from this message. What that was refused with need not stop it: it is about to be refused with it
    /// again, and to be recorded as refused.
    pub fn follows_from(&self, message: MessageId) -> bool {
        self.evidence.source.as_deref() == Some("reply")
            && self.evidence.message_id.as_deref().and_then(MessageId::parse) == Some(message)
    }

    /// What it means for a recipient.
    pub fn verdict(&self) -> Suppressed {
        Suppressed { id: self.id, reason: self.reason, scope: self.scope.clone(), since: self.created_at }
    }
}

/// Why nothing was sent to a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    pub id: SuppressionId,
    pub reason: SuppressionReason,
    pub scope: SuppressionScope,
    #[serde(serialize_with = "as_rfc3339")]
    pub since: Timestamp,
}

fn as_rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

impl Suppressed {
    /// Of a recipient whose address says by itself that it is suppressed, in the sandbox: no entry is stored.
    pub fn by_name(recipient: RecipientId, since: Timestamp) -> Self {
        let id = SuppressionId::from_uuid(recipient.uuid());
        Self { id, reason: SuppressionReason::Manual, scope: SuppressionScope::Project, since }
    }

    /// In words, for a person.
    pub fn text(&self) -> String {
        let Self { id, reason, scope, since } = self;
        let of = if *scope == SuppressionScope::Project { String::new() } else { format!(" for {scope}") };
        format!("suppressed{of} since {}: {reason} ({id})", rfc3339(*since))
    }
}

/// What became of suppressions that were to be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Added {
    pub added: u64,
    /// There already, and changed.
    pub updated: u64,
    /// There already with more weight, or just so.
    pub unchanged: u64,
}

impl std::ops::AddAssign for Added {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_scope_is_read_back_as_it_is_written() {
        for text in ["project", "tag:news", "tag:a:b", "stream:bulk"] {
            assert_eq!(SuppressionScope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "tag:", "tag", "Project", "stream:", "list:x", "tag:a\nb"] {
            assert_eq!(SuppressionScope::parse(text), None, "{text:?}");
        }
        let scope = SuppressionScope::Tag("news".into());
        let (stream, tag) = scope.columns();
        assert_eq!(SuppressionScope::of_columns(stream.into(), tag.into()), scope);
    }

    #[test]
    fn a_scope_stops_its_own_mail_only() {
        let tag = SuppressionScope::Tag("news".into());
        assert!(tag.covers(["x", "news"].into_iter(), None));
        assert!(!tag.covers(["x"].into_iter(), Some("news")));
        assert!(SuppressionScope::Project.covers(std::iter::empty(), None));
        assert!(!SuppressionScope::Stream("bulk".into()).covers(["bulk"].into_iter(), None));
    }

    #[test]
    fn what_a_server_said_ends_and_what_a_person_said_does_not() {
        let since = datetime!(2026-11-27 10:00 UTC);
        for reason in SuppressionReason::ALL {
            assert_eq!(reason.expiry(since).is_some(), *reason == SuppressionReason::Bounce, "{reason}");
        }
    }

    #[test]
    fn reasons_weigh_in_order() {
        use SuppressionReason as R;
        assert!(R::Bounce < R::Manual && R::Manual < R::Unsubscribe && R::Unsubscribe < R::Complaint);
    }
}
