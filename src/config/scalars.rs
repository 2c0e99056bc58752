//! The forms in which settings are written: spans of time, sizes, lists, routes.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::route::Route;
pub use crate::domain::span::Span;

macro_rules! written_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

/// Spans with commas between: a retry schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delays(pub Vec<Duration>);

impl FromStr for Delays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spans = text.split(',').filter(|_| !text.trim().is_empty());
        spans.map(|span| span.parse().map(|Span(delay)| delay)).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans: Vec<_> = self.0.iter().map(|delay| Span(*delay).to_string()).collect();
        f.write_str(&spans.join(","))
    }
}
written_as_text!(Delays);

/// A number of bytes, with `KiB`, `MiB` or `GiB` if wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub usize);

const SIZES: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        SIZES
            .iter()
            .find_map(|(unit, each)| text.trim().strip_suffix(unit)?.trim().parse::<usize>().ok()?.checked_mul(*each))
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a size such as 65536, 64KiB, 25MiB or 1GiB"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, each) =
            SIZES.into_iter().find(|(_, each)| self.0 >= *each && self.0.is_multiple_of(*each)).unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / each)
    }
}
written_as_text!(ByteSize);

/// Values with commas between; empty text is the empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T: FromStr<Err: fmt::Display>> FromStr for List<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| item.parse().map_err(|error| format!("'{item}': {error}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<T: fmt::Display> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        serializer.serialize_str(&items.join(","))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Address that a server listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim().parse().map(Self).map_err(|_| {
            let forms = "127.0.0.1:8080 (this machine alone), 0.0.0.0:8080 or [::]:8080 (every address)";
            format!("'{text}' is not an IP address and a port, such as {forms}")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
written_as_text!(Listen);

/// A service whose HTTP API is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    AliCloud,
    AokSend,
    Mailgun,
    Postmark,
    Resend,
    SendCloud,
    SendGrid,
    Ses,
}

impl Dialect {
    pub const ALL: [Self; 8] = [
        Self::AliCloud,
        Self::AokSend,
        Self::Mailgun,
        Self::Postmark,
        Self::Resend,
        Self::SendCloud,
        Self::SendGrid,
        Self::Ses,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::AliCloud => "alicloud",
            Self::AokSend => "aoksend",
            Self::Mailgun => "mailgun",
            Self::Postmark => "postmark",
            Self::Resend => "resend",
            Self::SendCloud => "sendcloud",
            Self::SendGrid => "sendgrid",
            Self::Ses => "ses",
        }
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|dialect| dialect.name() == text).ok_or_else(|| format!("is none of {names}"))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a connection is kept from being read by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// By STARTTLS (RFC 3207).
    StartTls,
    /// By TLS from the first octet on (RFC 8314).
    Tls,
    /// Not at all: on this machine alone.
    Plain,
}

/// Address on which mail is submitted, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmissionListen {
    pub security: Security,
    pub address: SocketAddr,
}

impl FromStr for SubmissionListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (security, address) = match text.trim().split_once("://") {
            None => (Security::StartTls, text.trim()),
            Some(("starttls", address)) => (Security::StartTls, address),
            Some(("tls", address)) => (Security::Tls, address),
            Some(("plain", address)) => (Security::Plain, address),
            Some((other, _)) => return Err(format!("'{other}' is none of starttls, tls, plain")),
        };
        let Listen(address) = address.parse()?;
        if security == Security::Plain && !address.ip().is_loopback() {
            return Err(
                "keys are sent in the clear to this machine alone: plain:// needs a loopback address".to_owned()
            );
        }
        Ok(Self { security, address })
    }
}

impl fmt::Display for SubmissionListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::StartTls => "starttls",
            Security::Tls => "tls",
            Security::Plain => "plain",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// A log filter: a level, or `target=level` pairs, with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(pub String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for item in text.split(',').map(str::trim) {
            let level = item.rsplit_once('=').map_or(item, |(_, level)| level);
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(format!("'{level}' is not a level: one of {}", LEVELS.join(", ")));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
written_as_text!(LogLevel);

/// A route and the text it came from, which may hold passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteText {
    text: String,
    pub route: Route,
}

impl FromStr for RouteText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let route = text.parse().map_err(|error: crate::domain::route::RouteError| error.to_string())?;
        Ok(Self { text: text.to_owned(), route })
    }
}

impl fmt::Display for RouteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
written_as_text!(RouteText);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_read_and_written_alike() {
        for text in ["500ms", "30s", "5m", "2h", "3d", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["", "5", "m", "-1s", "1w", "1.5s", "99999999999999999999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["100", "64KiB", "25MiB", "3GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        assert!("25MB".parse::<ByteSize>().is_err());
        for text in ["starttls://0.0.0.0:587", "tls://[::]:465", "plain://127.0.0.1:2525"] {
            assert_eq!(text.parse::<SubmissionListen>().unwrap().to_string(), text);
        }
        assert_eq!("0.0.0.0:587".parse::<SubmissionListen>().unwrap().security, Security::StartTls);
        for text in ["plain://0.0.0.0:25", "smtp://127.0.0.1:25", "tls://mail.example", "587"] {
            assert!(text.parse::<SubmissionListen>().is_err(), "{text}");
        }
        assert_eq!("1s,5s, 30s".parse::<Delays>().unwrap().to_string(), "1s,5s,30s");
    }
}
