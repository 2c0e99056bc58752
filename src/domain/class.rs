//! What an outcome is taken for: a class of the service's own, or one of a rule pack.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::words::words;

words! {
    /// The classes that the program itself gives. No rule pack may define one of these names.
    pub enum OwnClass {
        Accepted = "accepted",
        Expired = "expired",
        Suppressed = "suppressed",
        Connection = "connection",
        Tls = "tls",
        Dns = "dns",
        NullMx = "null_mx",
        NoSuchDomain = "no_such_domain",
        NoMailHost = "no_mail_host",
        ForbiddenAddress = "forbidden_address",
        Uncertain = "uncertain",
        Throttled = "throttled",
        MessageGone = "message_gone",
        LeaseExpired = "lease_expired",
        MtaSts = "mta_sts",
        RequireTls = "requiretls",
        Route = "route",
        Auth = "auth",
        Protocol = "protocol",
        NotSendable = "not_sendable",
    }
}

impl OwnClass {
    /// What it means, in a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Accepted => "the next hop took responsibility for the message",
            Self::Expired => "the last instant of the delivery passed before the message was taken",
            Self::Suppressed => "the address is on the project's list of suppressions, so that nothing was sent to it",
            Self::Connection => {
                "the connection to the mail host could not be made, or broke before the message was taken"
            }
            Self::Tls => "the session could not be secured as the policy of this destination demands",
            Self::Dns => "the DNS gave no usable answer for this destination at this time",
            Self::NullMx => "the domain says in its DNS that it takes no mail (RFC 7505)",
            Self::NoSuchDomain => "the domain does not exist",
            Self::NoMailHost => "the domain exists, and has neither a mail host nor an address",
            Self::ForbiddenAddress => "the mail hosts of the domain have only addresses that must not be connected to",
            Self::Uncertain => "the whole message was sent, and the reply to it was lost: the server may have taken it",
            Self::Throttled => "the configured rate of new connections to this next hop is used up",
            Self::MessageGone => "the message is no longer stored, so that it cannot be sent",
            Self::LeaseExpired => "the process that held the delivery stopped before it recorded how the try ended",
            Self::MtaSts => "the MTA-STS policy of the domain names none of its mail hosts",
            Self::RequireTls => "the message demands REQUIRETLS, which the mail hosts of the domain cannot satisfy",
            Self::Route => "the route in force leads to no mail host",
            Self::Auth => "the configured relay did not let us log in",
            Self::NotSendable => {
                "the message was scheduled, and could not be sent as it was asked for when its time had come"
            }
            Self::Protocol => "a command or its order is refused, or the server broke the protocol",
        }
    }

    /// Whether rules may give this class to a reply too.
    pub const fn is_for_rules(self) -> bool {
        matches!(self, Self::Protocol)
    }
}

/// The class of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    Own(OwnClass),
    /// Of a rule pack, by its name.
    Pack(Arc<str>),
}

impl Class {
    /// The class of that name: one of ours if there is one, else a pack's.
    pub fn of(name: &str) -> Self {
        OwnClass::parse(name).map_or_else(|| Self::Pack(Arc::from(name)), Self::Own)
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Own(own) => own.name(),
            Self::Pack(name) => name,
        }
    }
}

impl From<OwnClass> for Class {
    fn from(own: OwnClass) -> Self {
        Self::Own(own)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::of(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_ours_is_never_a_packs() {
        assert_eq!(Class::of("tls"), Class::Own(OwnClass::Tls));
        assert_eq!(Class::of("greylisted").name(), "greylisted");
        assert_ne!(Class::of("greylisted"), Class::of("busy"));
    }
}
