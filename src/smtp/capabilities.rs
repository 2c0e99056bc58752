//! What a server offers in its reply to EHLO (RFC 5321 §4.1.1.1).

use crate::smtp::reply::RawReply;

/// What EHLO offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an extension that is offered or not")]
pub struct Capabilities {
    pub pipelining: bool,
    pub starttls: bool,
    /// `None` is no SIZE extension, `Some(0)` no fixed limit (RFC 1870).
    pub size: Option<usize>,
    pub chunking: bool,
    pub eight_bit: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    pub require_tls: bool,
    pub auth_plain: bool,
    pub auth_login: bool,
}

impl Capabilities {
    pub fn of(raw: &RawReply) -> Self {
        let mut capabilities = Self::default();
        for line in raw.lines.iter().skip(1) {
            let upper = line.to_ascii_uppercase();
            let mut words = upper.split([' ', '=']);
            match words.next() {
                Some("PIPELINING") => capabilities.pipelining = true,
                Some("CHUNKING") => capabilities.chunking = true,
                Some("8BITMIME") => capabilities.eight_bit = true,
                Some("SMTPUTF8") => capabilities.smtputf8 = true,
                Some("DSN") => capabilities.dsn = true,
                Some("REQUIRETLS") => capabilities.require_tls = true,
                Some("STARTTLS") => capabilities.starttls = true,
                Some("SIZE") => capabilities.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                Some("AUTH") => {
                    for mechanism in words {
                        capabilities.auth_plain |= mechanism == "PLAIN";
                        capabilities.auth_login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        capabilities
    }
}
