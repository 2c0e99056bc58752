//! An account with a DNS provider, by which records are published for the operator's own domains.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::address::parse_domain;

/// Which provider it is, and which domains it is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsAccount {
    /// Project, by name or id, whose domains are published: others could prove names in these zones by it.
    pub project: String,
    pub zones: Vec<String>,
    pub provider: DnsProvider,
    /// Id of the access key; the name of the TSIG key. Not for providers that have tokens alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The token, or the secret of the key; of a TSIG key in base64.
    pub secret: String,
    /// Id of the hosted zone, for `route53`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone_id: String,
    /// `tcp://ip:port` or `udp://ip:port` of the primary server for `rfc2136`; another endpoint for `route53`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
}

/// Providers that records are published by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsProvider {
    /// Alibaba Cloud DNS.
    Alidns,
    Cloudflare,
    Digitalocean,
    /// Tencent Cloud.
    Dnspod,
    /// Dynamic updates with TSIG, by HMAC-SHA256.
    Rfc2136,
    Route53,
}

impl DnsAccount {
    /// What is wrong with it, if anything is.
    pub fn fault(&self) -> Option<&'static str> {
        let has_key = !matches!(self.provider, DnsProvider::Cloudflare | DnsProvider::Digitalocean);
        match () {
            () if self.zones.is_empty() => Some("zones must name one at least"),
            () if !self.zones.iter().all(is_zone) => {
                Some("zones must be domains in lower case, as A-labels, without a dot at the end")
            }
            () if has_key && self.key.is_empty() => Some("key must be given for this provider"),
            () if self.secret.is_empty() => Some("secret must be given"),
            () if self.provider == DnsProvider::Rfc2136 && !self.is_server() => {
                Some("server must be tcp://ip:port or udp://ip:port")
            }
            () if self.provider == DnsProvider::Rfc2136 && STANDARD.decode(&self.secret).is_err() => {
                Some("secret must be in base64")
            }
            () if self.provider == DnsProvider::Route53 && (self.zone_id.is_empty() || self.zones.len() > 1) => {
                Some("zone_id must be given, and zones be that one")
            }
            () => None,
        }
    }

    fn is_server(&self) -> bool {
        let address = self.server.strip_prefix("tcp://").or_else(|| self.server.strip_prefix("udp://"));
        address.is_some_and(|address| address.parse::<SocketAddr>().is_ok())
    }
}

fn is_zone(zone: &String) -> bool {
    parse_domain(zone).is_ok_and(|parsed| parsed == *zone)
}

impl std::fmt::Debug for DnsAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {} for {}", self.provider, self.project, self.zones.join(", "))
    }
}
