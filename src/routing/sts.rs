//! MTA-STS (RFC 8461): what a domain demands of TLS, by a policy that outlives the web server that it came from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::clock::{Clock, Timestamp};
use crate::net::dns::Resolver;
use crate::net::fetch::{Document, fetch};
use crate::net::tls::TlsConfigs;
use crate::store::fleet::sts::StoredPolicy;
use crate::store::{Store, StoreError};

/// RFC 8461 §3.2: a policy is small; §3.3: fetching takes a minute at most.
const POLICY_MAX: usize = 64 << 10;
const FETCH: Duration = Duration::from_secs(20);
/// A policy that could not be fetched is not asked for again within this time (§3.3: at least five minutes).
const FETCH_PAUSE: Duration = Duration::from_mins(5);
/// §3.2: at most a year.
const AGE_MAX: u64 = 31_557_600;
/// Patterns of a policy.
const MX_MAX: usize = 100;
/// Domains that are remembered in memory.
const MEMORY: usize = 20_000;

/// What a policy wants of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Deliver only to the hosts named, over validated TLS.
    Enforce,
    /// Report, and deliver all the same.
    Testing,
    None,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Enforce, Self::Testing, Self::None].into_iter().find(|mode| mode.name() == name)
    }
}

/// A policy as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    /// Hosts, or `*.` and the rest of one.
    pub mx: Vec<String>,
    pub max_age: Duration,
}

impl Policy {
    /// Reads a policy file (§3.2); any text is taken.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (mut version, mut mode, mut max_age, mut mx) = (false, None, None, Vec::new());
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.trim() {
                "version" => version = value == "STSv1",
                "mode" => mode = mode.or(Mode::parse(value)),
                "max_age" => max_age = max_age.or(value.parse::<u64>().ok()),
                "mx" if mx.len() < MX_MAX => mx.push(value.trim_end_matches('.').to_ascii_lowercase()),
                _ => {}
            }
        }
        if !version {
            return Err("the policy is not of version STSv1");
        }
        let mode = mode.ok_or("the policy has no mode")?;
        let max_age = max_age.ok_or("the policy has no max_age")?;
        if mx.is_empty() && mode != Mode::None {
            return Err("the policy names no mx");
        }
        Ok(Self { mode, mx, max_age: Duration::from_secs(max_age.min(AGE_MAX)) })
    }

    /// Whether mail may go to that host (§4.1): a `*` is exactly one label.
    pub fn names(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(label, tail)| !label.is_empty() && tail == rest),
            None => pattern == host,
        })
    }
}

/// The id in a `_mta-sts` record (§3.1); `None` unless exactly one record is of that kind.
pub fn record_id(texts: &[String]) -> Option<String> {
    let mut records = texts.iter().filter(|text| text.starts_with("v=STSv1"));
    let (only, None) = (records.next()?, records.next()) else { return None };
    let id = only.split(';').find_map(|field| field.trim().strip_prefix("id="))?.trim();
    let is_sound = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_sound.then(|| id.to_owned())
}

/// The policies that are known, in memory and in the store.
pub struct Policies {
    pub store: Store,
    pub resolver: Resolver,
    pub tls: TlsConfigs,
    pub clock: Arc<dyn Clock>,
    /// Port of policy hosts: 443.
    pub port: u16,
    pub known: Mutex<HashMap<String, Known>>,
}

/// What is known of a domain.
#[derive(Debug, Clone, Default)]
pub struct Known {
    policy: Option<StoredPolicy>,
    /// When fetching failed last, and why.
    failed: Option<(Instant, String)>,
}

/// What became of looking for a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub policy: Option<Arc<Policy>>,
    /// Why the newest policy could not be had.
    pub trouble: Option<String>,
}

impl Policies {
    /// The policy of a domain. A policy that was fetched once holds until it expires, whether or not its record and
    /// its web server are still there. A record with another id has it fetched again, and so has half its life (§5.1: before
    /// it expires).
    pub async fn of(&self, domain: &str) -> Result<Found, StoreError> {
        let now = self.clock.now();
        let texts = self.resolver.texts(&format!("_mta-sts.{domain}")).await;
        let mut known = self.known(domain).await?;
        let id = texts.ok().and_then(|texts| record_id(&texts));
        if id.is_none() && known.policy.is_none() {
            // Another process may have fetched one since; that its record is gone, or cannot be read, ends nothing (§5.1).
            known.policy = self.store.get_sts_policy(domain).await?;
        }
        let held = known.policy.filter(|policy| policy.expires_at > now);
        Ok(match (id, held) {
            (None, held) => Found { policy: held.as_ref().and_then(read), trouble: None },
            (Some(id), Some(held)) if held.id == id && !is_half_over(&held, now) => {
                Found { policy: read(&held), trouble: None }
            }
            (Some(id), held) => match known.failed {
                Some((at, why)) if at.elapsed() < FETCH_PAUSE => {
                    Found { policy: held.as_ref().and_then(read), trouble: Some(why) }
                }
                _ => self.renew(domain, id, held, now).await,
            },
        })
    }

    async fn renew(&self, domain: &str, id: String, held: Option<StoredPolicy>, now: Timestamp) -> Found {
        match self.fetch(domain).await {
            Ok((policy, text)) => {
                let stored = StoredPolicy { id, text, expires_at: now + policy.max_age };
                if let Err(error) = self.store.put_sts_policy(domain, &stored).await {
                    tracing::warn!(domain, %error, "an MTA-STS policy could not be stored");
                }
                self.remember(domain, Known { policy: Some(stored), failed: None });
                Found { policy: Some(Arc::new(policy)), trouble: None }
            }
            Err(why) => {
                tracing::info!(domain, why, "an MTA-STS policy could not be fetched");
                let failed = Some((Instant::now(), why.clone()));
                self.remember(domain, Known { policy: held.clone(), failed });
                Found { policy: held.as_ref().and_then(read), trouble: Some(why) }
            }
        }
    }

    async fn fetch(&self, domain: &str) -> Result<(Policy, String), String> {
        let host = format!("mta-sts.{domain}");
        let document = Document { host: &host, port: self.port, path: "/.well-known/mta-sts.txt", limit: POLICY_MAX };
        let bytes = fetch(&self.resolver, &self.tls, document, FETCH).await?;
        let text = String::from_utf8(bytes).map_err(|_| "the policy is not text".to_owned())?;
        Ok((Policy::parse(&text).map_err(str::to_owned)?, text))
    }

    async fn known(&self, domain: &str) -> Result<Known, StoreError> {
        if let Some(known) = self.map().get(domain) {
            return Ok(known.clone());
        }
        let known = Known { policy: self.store.get_sts_policy(domain).await?, failed: None };
        self.remember(domain, known.clone());
        Ok(known)
    }

    fn remember(&self, domain: &str, known: Known) {
        let mut map = self.map();
        if map.len() >= MEMORY {
            map.clear();
        }
        map.insert(domain.to_owned(), known);
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_half_over(stored: &StoredPolicy, now: Timestamp) -> bool {
    read(stored).is_none_or(|policy| stored.expires_at - now < policy.max_age / 2)
}

fn read(stored: &StoredPolicy) -> Option<Arc<Policy>> {
    Policy::parse(&stored.text).ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_and_names_hosts_label_by_label() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 86400\r\n";
        let policy = Policy::parse(text).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, Duration::from_hours(24)));
        for (host, named) in [
            ("mail.example.com", true),
            ("a.example.net", true),
            ("a.b.example.net", false),
            ("example.net", false),
            ("evilmail.example.com", false),
        ] {
            assert_eq!(policy.names(host), named, "{host}");
        }
    }

    #[test]
    fn what_is_not_a_policy_is_refused() {
        for text in
            ["", "mode: enforce\nmx: a\nmax_age: 1", "version: STSv1\nmode: enforce\nmax_age: 1", "version: STSv1"]
        {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
        let endless = format!("version: STSv1\nmode: none\nmax_age: {}", u64::MAX);
        assert_eq!(Policy::parse(&endless).unwrap().max_age.as_secs(), AGE_MAX);
    }

    #[test]
    fn one_record_and_no_more_has_an_id() {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(record_id(&texts(&["v=STSv1; id=20260101T0;", "other"])).as_deref(), Some("20260101T0"));
        assert_eq!(record_id(&texts(&["v=STSv1; id=1", "v=STSv1; id=2"])), None);
        assert_eq!(record_id(&texts(&["v=STSv1; id=no spaces"])), None);
    }
}
