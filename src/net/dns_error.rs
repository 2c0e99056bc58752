//! What keeps a name from being used: some of it lasts, some of it passes.

use crate::domain::net::NetUse;

/// The setting that allows more.
const fn list(purpose: NetUse) -> &'static str {
    match purpose {
        NetUse::Mail => "net.allow_private_mail",
        NetUse::Web => "net.allow_private_web",
    }
}

/// Why a name gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN): no retry will help soon.
    #[error("{0} does not exist")]
    NoName(String),
    /// The name exists without the records that were asked for.
    #[error("{0} has no address")]
    NoRecords(String),
    /// Addresses were found, and none may be connected to.
    #[error("{0} has private, reserved or own addresses only, which {list} does not list", list = list(*.1))]
    Forbidden(String, NetUse),
    /// HTTP does not go to that port.
    #[error("port {0} is none that may be called: net.web_ports lists those")]
    ForbiddenPort(u16),
    /// RFC 7505: the domain says that it takes no mail.
    #[error("{0} takes no mail (null MX)")]
    NullMx(String),
    /// SERVFAIL, a timeout, no name server: it may pass.
    #[error("{0}: {1}")]
    Temporary(String, String),
}
