//! The outcome of an attempt: a closed set. What is not understood is deferred.

use std::borrow::Cow;

use super::access::Mode;
use super::address::Address;
use super::class::{Class, OwnClass};
use super::judgement::{Action, Disposition, Judgement, LaneAction};
use super::reply::Reply;
use super::stage::Stage;
use super::suppression::Suppressed;
use super::words::words;

words! {
    /// How a try ended, in a word: in rows, in answers and in metrics.
    pub enum OutcomeKind {
        Accepted = "accepted",
        Deferred = "deferred",
        Rejected = "rejected",
        Uncertain = "uncertain",
        Expired = "expired",
        Suppressed = "suppressed",
    }
}

/// How one try of a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop took responsibility: 2yz to the final dot.
    Accepted(Reply),
    /// Not now: a 4yz, or trouble on the way before the body was handed over.
    Deferred(Trouble),
    /// Never: a 5yz, or a reason of our own that no retry can change.
    Rejected(Trouble),
    /// The body was sent and no reply to the final dot came: it may have been taken.
    Uncertain(Trouble),
    /// Its last instant passed before a try was made.
    Expired,
    /// Nothing is sent to the address any more.
    Suppressed(Suppressed),
}

/// Why an attempt did not end in acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the server said, when it said anything.
    pub reply: Option<Reply>,
    pub class: Class,
    /// In words, for a person.
    pub detail: String,
    /// The rule that judged the reply, and its confidence in percent.
    pub rule: Option<(Box<str>, u8)>,
    /// What follows for the next try, the lane and the address.
    pub action: Action,
}

impl Trouble {
    /// Trouble that no reply explains.
    pub fn new(class: OwnClass, detail: impl Into<String>) -> Self {
        Self { reply: None, class: class.into(), detail: detail.into(), rule: None, action: Action::default() }
    }

    /// Trouble on the way to a server, which many deliveries have at once.
    pub fn on_the_way(class: OwnClass, detail: impl Into<String>) -> Self {
        let action = Action { schedule: Cow::Borrowed("outage"), ..Action::default() };
        Self { action, ..Self::new(class, detail) }
    }

    fn judged(judgement: Judgement, reply: Reply) -> Self {
        let Judgement { class, rule, confidence, action, .. } = judgement;
        Self { detail: reply.to_string(), reply: Some(reply), class, rule: rule.map(|rule| (rule, confidence)), action }
    }
}

impl Outcome {
    /// What a classified refusal leads to.
    pub fn of_judgement(judgement: Judgement, reply: Reply) -> Self {
        match judgement.disposition {
            Disposition::Bounce => Self::Rejected(Trouble::judged(judgement, reply)),
            Disposition::Defer => Self::Deferred(Trouble::judged(judgement, reply)),
        }
    }

    /// Why it was not accepted.
    pub const fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => Some(t),
            Self::Accepted(_) | Self::Expired | Self::Suppressed(_) => None,
        }
    }

    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Accepted(_) => OutcomeKind::Accepted,
            Self::Deferred(_) => OutcomeKind::Deferred,
            Self::Rejected(_) => OutcomeKind::Rejected,
            Self::Uncertain(_) => OutcomeKind::Uncertain,
            Self::Expired => OutcomeKind::Expired,
            Self::Suppressed(_) => OutcomeKind::Suppressed,
        }
    }

    /// The word of its kind.
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The word of its class.
    pub fn class(&self) -> &str {
        match self {
            Self::Accepted(_) => OwnClass::Accepted.name(),
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => t.class.name(),
            Self::Expired => OwnClass::Expired.name(),
            Self::Suppressed(_) => OwnClass::Suppressed.name(),
        }
    }

    pub const fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) => Some(reply),
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => t.reply.as_ref(),
            Self::Expired | Self::Suppressed(_) => None,
        }
    }

    /// Whether a try ended by trouble of the server or of the way to it, and not by what it said of this message: others meet
    /// the same.
    pub fn speaks_of_server(&self) -> bool {
        match self {
            Self::Uncertain(_) => true,
            Self::Deferred(trouble) => trouble.reply.is_none() || trouble.action.lane != LaneAction::Keep,
            Self::Accepted(_) | Self::Rejected(_) | Self::Expired | Self::Suppressed(_) => false,
        }
    }

    /// Whether a server refused the address itself, for good: nothing more should be sent there.
    pub fn condemns_address(&self) -> bool {
        matches!(self, Self::Rejected(trouble) if trouble.reply.is_some() && trouble.action.suppress)
    }

    /// Whether a server refused or put off the message because of who sends it, or how much, or what.
    pub fn speaks_of_sender(&self) -> bool {
        self.trouble().is_some_and(|trouble| trouble.reply.is_some() && trouble.action.of_sender)
    }

    /// The reply's text, or the trouble in words.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Accepted(reply) => Cow::Borrowed(&reply.text),
            Self::Deferred(t) | Self::Rejected(t) | Self::Uncertain(t) => {
                Cow::Borrowed(t.reply.as_ref().map_or(&t.detail, |reply| &reply.text))
            }
            Self::Expired => Cow::Borrowed("expired before it could be delivered"),
            Self::Suppressed(why) => Cow::Owned(why.text()),
        }
    }
}

/// An address that takes no mail, and for which mail that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    pub mode: Mode,
    pub address: Address,
}

/// Stands for words that the store refused.
const UNWRITABLE: &str = "(words that could not be stored)";

/// One try of a delivery as it will be recorded.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    pub outcome: Outcome,
    /// The stage in which it ended.
    pub stage: Option<Stage>,
    /// The recipient's domain, where the attempt came to know it.
    pub domain: Option<String>,
    /// The address that a server refused for good: nothing more should be sent there.
    pub condemned: Option<Condemned>,
    /// Who runs the next hop, as far as the rule pack knows; a bounded set.
    pub provider: Option<String>,
    pub host: Option<String>,
    pub ip: Option<String>,
    pub source_ip: Option<String>,
    /// Protocol version and verdict, or `none`.
    pub tls: Option<String>,
    /// The dialogue, without credentials and without the body.
    pub transcript: String,
}

impl AttemptReport {
    /// Whether it ended before the server heard of the message.
    pub fn is_before_mail(&self) -> bool {
        !self.stage.is_some_and(Stage::is_of_message)
    }

    /// Leaves out whatever a server said, or is called, but for its reply's code.
    pub fn forget_words(&mut self) {
        let words = match &mut self.outcome {
            Outcome::Accepted(reply) => Some(&mut reply.text),
            Outcome::Deferred(trouble) | Outcome::Rejected(trouble) | Outcome::Uncertain(trouble) => {
                UNWRITABLE.clone_into(&mut trouble.detail);
                trouble.reply.as_mut().map(|reply| &mut reply.text)
            }
            Outcome::Expired | Outcome::Suppressed(_) => None,
        };
        if let Some(words) = words {
            UNWRITABLE.clone_into(words);
        }
        self.host = None;
        self.transcript.clear();
    }

    /// A try that ended before any server was spoken to.
    pub fn without_session(outcome: Outcome, stage: Stage) -> Self {
        Self {
            outcome,
            stage: Some(stage),
            domain: None,
            condemned: None,
            provider: None,
            host: None,
            ip: None,
            source_ip: None,
            tls: None,
            transcript: String::new(),
        }
    }
}
