//! What a next hop may be asked to bear.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::domain::span::Span;

/// So many in such a time: `10/s`, `600/m`, `1000/h`, `50000/d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    /// In a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("'{text}' is not a rate such as 10/s, 600/m, 1000/h or 50000/d");
        let (count, unit) = text.split_once('/').ok_or_else(fault)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(fault()),
        };
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(fault)?;
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Limits of one lane: all processes together, from one source address.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub connections: usize,
    pub connection_rate: Option<Rate>,
    pub message_rate: Option<Rate>,
    pub messages_per_connection: usize,
    /// How long an idle session is kept.
    pub idle: Duration,
}

/// What rules are asked about.
#[derive(Debug, Clone, Copy)]
pub struct NextHop<'a> {
    pub domain: &'a str,
    /// The MX group's name.
    pub group: &'a str,
    pub provider: Option<&'a str>,
}

/// What a rule changes.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    connections: Option<NonZeroUsize>,
    connection_rate: Option<Rate>,
    message_rate: Option<Rate>,
    messages_per_connection: Option<NonZeroUsize>,
    idle: Option<Span>,
}

impl Patch {
    fn over(&self, limits: Limits) -> Limits {
        Limits {
            connections: self.connections.map_or(limits.connections, NonZeroUsize::get),
            connection_rate: self.connection_rate.or(limits.connection_rate),
            message_rate: self.message_rate.or(limits.message_rate),
            messages_per_connection: self
                .messages_per_connection
                .map_or(limits.messages_per_connection, NonZeroUsize::get),
            idle: self.idle.map_or(limits.idle, |span| span.0),
        }
    }
}

/// Rules by what they speak of.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRules {
    default: Option<Patch>,
    #[serde(default)]
    provider: BTreeMap<String, Patch>,
    #[serde(default)]
    mx: BTreeMap<String, Patch>,
    #[serde(default)]
    domain: BTreeMap<String, Patch>,
}

impl LimitRules {
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.provider.keys().map(String::as_str)
    }

    pub fn names_domain(&self, domain: &str) -> bool {
        self.domain.contains_key(domain)
    }

    /// `base` as these rules change it, the most general one first.
    pub fn over(&self, base: Limits, hop: NextHop<'_>) -> Limits {
        let patches = [
            self.default.as_ref(),
            hop.provider.and_then(|provider| self.provider.get(provider)),
            self.mx.get(hop.group),
            self.domain.get(hop.domain),
        ];
        patches.into_iter().flatten().fold(base, |limits, patch| patch.over(limits))
    }
}
