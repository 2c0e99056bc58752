//! Header fields that a part of the request writes: the message's identity, a one-time code, and what machines are to answer.

use crate::domain::address::{Address, is_atext, is_within, parse_domain, unbracketed};
use crate::domain::fault::{FaultCode, Flaw};
use crate::domain::words::words;

/// Octets of a message id without angle brackets: with its field's name it fits into a line.
const MESSAGE_ID_MAX: usize = 250;
const CODE_MAX: usize = 64;
const ORIGIN_MAX: usize = 255;

/// The caller's own `Message-ID` (RFC 5322 §3.6.4), without angle brackets: two dot-atoms with `@` between, in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMessageId(String);

impl OwnMessageId {
    /// With or without angle brackets.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let inner = unbracketed(text);
        let is_dot_atom = |part: &str| part.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext));
        let is_sound = inner.len() <= MESSAGE_ID_MAX
            && inner.split_once('@').is_some_and(|(left, right)| is_dot_atom(left) && is_dot_atom(right));
        let detail = || {
            format!(
                "must be an id such as order-17@example.com in ASCII, at most {MESSAGE_ID_MAX} bytes (RFC 5322 §3.6.4)"
            )
        };
        if is_sound { Ok(Self(inner.to_owned())) } else { Err(Flaw::new(FaultCode::InvalidMessageId, detail())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where notices of non-delivery go: the address in `MAIL FROM` (RFC 5321 §4.1.1.2), in the author's domain or a subdomain
/// of it, so that SPF speaks for the author (RFC 7489 §3.1.2) and nobody else is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnPath(Address);

impl ReturnPath {
    pub fn parse(text: &str, author: &Address) -> Result<Self, Flaw> {
        let address = Address::parse(text)?;
        let own = author.domain();
        if is_within(address.domain(), own) {
            return Ok(Self(address));
        }
        let detail = format!("must be an address at {own} or at a subdomain of it, as the domain of 'from' is");
        Err(Flaw::new(FaultCode::ForbiddenAddress, detail))
    }

    pub const fn address(&self) -> &Address {
        &self.0
    }
}

/// A one-time code, and the origin at which it may be entered: the field `OTP-Token` (draft-goto-otp-token), by which a mail
/// client offers the code there and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otp {
    code: OtpCode,
    origin: Origin,
}

impl Otp {
    pub const fn new(code: OtpCode, origin: Origin) -> Self {
        Self { code, origin }
    }

    pub fn code(&self) -> &str {
        &self.code.0
    }

    pub fn origin(&self) -> &str {
        &self.origin.0
    }

    /// The field's value: a string with a parameter (RFC 9651 §3.3.3, §3.1.2).
    pub fn field(&self) -> String {
        format!("{}; origin={}", structured_string(&self.code.0), structured_string(&self.origin.0))
    }
}

/// 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtpCode(String);

impl OtpCode {
    pub fn parse(text: String) -> Result<Self, Flaw> {
        if (1..=CODE_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text));
        }
        Err(Flaw::new(FaultCode::InvalidOtp, format!("must have 1 to {CODE_MAX} visible ASCII characters")))
    }
}

/// A web origin (RFC 6454): `https://` with a host and perhaps a port; `http://` for this machine alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let detail = "must be an origin such as https://example.com, without a path; http:// only for localhost";
        let wrong = || Flaw::new(FaultCode::InvalidOtp, detail);
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?)),
            None => (rest, None),
        };
        let is_local = ["localhost", "127.0.0.1"].contains(&host);
        let host = if is_local { host.to_owned() } else { parse_domain(host).map_err(|_| wrong())? };
        if text.len() > ORIGIN_MAX || !(scheme == "https" || (scheme == "http" && is_local)) {
            return Err(wrong());
        }
        Ok(Self(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))))
    }
}

/// RFC 9651 §4.1.6, of visible ASCII.
fn structured_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

words! {
    /// Whether machines should answer.
    pub enum AutoReplies {
        /// Nothing is said about it.
        Allow = "allow",
        /// `Auto-Submitted: auto-generated` (RFC 3834) and `X-Auto-Response-Suppress: All` say that they should not.
        Suppress = "suppress",
    }
}

impl AutoReplies {
    /// The fields that say so.
    pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Allow => &[],
            Self::Suppress => &[("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_two_dot_atoms() {
        for text in ["a@b", "<thread-1@sender.test>", " x.y+z=1@h-1.example "] {
            assert!(OwnMessageId::parse(text).is_ok(), "{text}");
        }
        assert_eq!(OwnMessageId::parse("<a@b>").unwrap().as_str(), "a@b");
        for text in ["", "a", "a@", "@b", "a@b@c", "a b@c", "<a@b", "a@b>", "ä@b", "a..b@c", "a@b\r\nX: y"] {
            assert!(OwnMessageId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_code_is_bound_to_an_origin() {
        let otp = |code: &str, origin: &str| {
            Some(Otp::new(OtpCode::parse(code.to_owned()).ok()?, Origin::parse(origin).ok()?).field())
        };
        assert_eq!(otp("123456", "https://Example.com").unwrap(), r#""123456"; origin="https://example.com""#);
        assert_eq!(otp("a\"\\", "http://localhost:3000").unwrap(), r#""a\"\\"; origin="http://localhost:3000""#);
        for (code, origin) in [
            ("", "https://example.com"),
            ("1 2", "https://example.com"),
            ("1", "http://example.com"),
            ("1", "https://example.com/"),
            ("1", "https://example.com:0"),
            ("1", "https://"),
            ("1", "example.com"),
        ] {
            assert_eq!(otp(code, origin), None, "{code} {origin}");
        }
    }
}
