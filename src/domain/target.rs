//! A host to speak to, with all that decides how.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::route::{Credentials, TlsPolicy};
use super::tlsa::Tlsa;

/// One address of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name that a certificate must show.
    pub host: String,
    pub address: SocketAddr,
    /// Lower is tried first; of MX hosts, their preference.
    pub preference: u16,
    pub tls: TlsPolicy,
    /// Who asked for that policy.
    pub basis: TlsBasis,
    /// The records to check a certificate by, under [`TlsPolicy::Dane`].
    pub tlsa: Option<Arc<Vec<Tlsa>>>,
    pub credentials: Option<Credentials>,
}

impl Target {
    /// Whether one session can carry mail for both: the same server, on the same terms, as the same user.
    pub fn shares_session_with(&self, other: &Self) -> bool {
        self.address == other.address
            && self.host == other.host
            && self.tls == other.tls
            && self.tlsa == other.tlsa
            && self.username() == other.username()
    }

    fn username(&self) -> Option<&str> {
        self.credentials.as_ref().map(|credentials| credentials.username.as_str())
    }
}

/// What a host offers, or must know, and is not asked for: it did not work there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a host")]
pub struct Distrust {
    /// STARTTLS, where the policy is opportunistic.
    pub starttls: bool,
    /// CHUNKING: DATA carries the message.
    pub chunking: bool,
    /// EHLO, where neither TLS nor AUTH is asked for: HELO is said.
    pub ehlo: bool,
    /// That a session lasts: no message leaves before its envelope was answered.
    pub lasting: bool,
}

impl Distrust {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            starttls: self.starttls || other.starttls,
            chunking: self.chunking || other.chunking,
            ehlo: self.ehlo || other.ehlo,
            lasting: self.lasting || other.lasting,
        }
    }

    /// How a connection is made that does without it, for a transcript.
    pub const fn without(self) -> &'static str {
        match self {
            Self { starttls: true, .. } => "in the clear",
            Self { chunking: true, .. } => "without CHUNKING",
            Self { lasting: true, .. } => "that asks first",
            _ => "with HELO",
        }
    }
}

/// Where a TLS policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsBasis {
    /// No one asked for it: it is opportunistic, or what the route says.
    #[default]
    Route,
    /// The message.
    Message,
    /// The domain, by MTA-STS (RFC 8461).
    Sts,
    /// No one asked for it, but the domain wants reports of what enforcing would do (RFC 8461 §5, mode `testing`).
    StsTesting,
    /// The host, by DANE (RFC 7672).
    Dane,
}

impl TlsBasis {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Message => "message",
            Self::Sts => "mta-sts",
            Self::StsTesting => "mta-sts testing",
            Self::Dane => "dane",
        }
    }
}

/// The name of the source that leaves the choice of address to the system.
pub const SYSTEM_SOURCE: &str = "system";

/// An address of ours that mail goes out from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    pub name: String,
    /// `None`: the system's choice.
    pub ip: Option<IpAddr>,
    /// What EHLO says.
    pub hello: String,
}

impl Source {
    /// Whether it can speak to that address: same family, or the system's choice.
    pub fn reaches(&self, target: &Target) -> bool {
        self.ip.is_none_or(|ip| ip.is_ipv4() == target.address.is_ipv4())
    }
}
